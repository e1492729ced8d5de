import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { AtEnd } from './bare/bare';
import { type Engine, startEngine } from './engine';
import { openAccounts } from './generations';
import { percentile } from './kit/latency';
import { columns, machine } from './kit/report';

/**
 * `npm run bench:bulkheads`: what one slow class of use does to the others (rule 36). A probe asks for `/healthz`, for an account
 * with a stored key, and for a charge, ten times a second each, alone and beside each kind of load. Then what `/metrics`
 * and `/readyz` cost with no hold open, and with very many.
 */

const SECONDS = 8;
const PROBE_EVERY_MS = 100;
const PROBE_WITHIN_MS = 15_000;
const STRANGERS = 100;
const OPEN_HOLDS = 100_000;
/** An answer of an open route serves all who ask for a second; enough of them that the database's numbers are asked for, too. */
const REMADE_AFTER_MS = 1_100;
const OPEN_ROUTE_ASKS = 20;

/** A kind of load: `clients` of them, each asking again as soon as it is answered. */
interface Load {
  name: string;
  clients: number;
  ask: (client: number) => Promise<unknown>;
}

interface Probe {
  name: string;
  times: number[];
  refused: number;
}

interface Ask {
  method?: string;
  path: string;
  key?: string;
  body?: string;
  headers?: Record<string, string>;
}

async function main(): Promise<void> {
  const stops: (() => Promise<void>)[] = [];
  const atEnd: AtEnd = (stop) => stops.push(stop);
  try {
    console.log(`holdfast bulkheads bench on ${machine()}`);
    const engine = await startEngine(atEnd);
    const [account = ''] = await openAccounts(engine, 1);
    const made = await ask(engine, {
      method: 'POST',
      path: '/v1/api-keys',
      key: engine.adminKey,
      body: JSON.stringify({ name: 'probe', scopes: ['read', 'generate'] }),
    });
    const { secret } = JSON.parse(made.text) as { secret: string };
    const rows = [['beside', 'probe', 'p50 ms', 'p99 ms', 'worst ms', '503']];
    for (const load of [null, ...loads(engine, account)]) {
      for (const probe of await measured(engine, { load, account, key: secret })) {
        const told = [50, 99, 100].map((percent) => percentile(probe.times, percent).toFixed(0));
        const share = `${Math.round((100 * probe.refused) / probe.times.length)} %`;
        rows.push([load?.name ?? 'nothing', probe.name, ...told, share]);
      }
    }
    console.log(columns(rows));
    console.log(columns(await besideOpenHolds(engine, account)));
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

/** What the open routes cost with nothing held, and with many open holds that nobody closes. */
async function besideOpenHolds(engine: Engine, account: string): Promise<string[][]> {
  const rows = [['open holds', 'route', 'p50 ms', 'worst ms']];
  const measure = async (holds: number) => {
    for (const path of ['/metrics', '/readyz']) {
      const times: number[] = [];
      for (let n = 0; n < OPEN_ROUTE_ASKS; n += 1) {
        await sleep(REMADE_AFTER_MS);
        const startedMs = performance.now();
        const { status } = await ask(engine, { path });
        if (status !== 200) throw new Error(`${path} answered ${status}`);
        times.push(performance.now() - startedMs);
      }
      const told = [50, 100].map((percent) => percentile(times, percent).toFixed(1));
      rows.push([String(holds), path, ...told]);
    }
  };
  await measure(0);
  const client = new Client({ connectionString: engine.databaseUrl });
  await client.connect();
  try {
    await client.query(
      `INSERT INTO ledger.holds (account_id, hold_id, amount, held, lots, lots_held, lots_captured, opened_at, overdue_at)
       SELECT $1, 'bench-' || n, 1, 1, '{1}', '{1}', '{0}', now() - interval '2 days', now() - interval '1 day'
         FROM generate_series(1, $2::int) n`,
      [account, OPEN_HOLDS],
    );
    await client.query('ANALYZE ledger.holds');
  } finally {
    await client.end();
  }
  await measure(OPEN_HOLDS);
  return rows;
}

function loads(engine: Engine, account: string): Load[] {
  const { adminKey: key } = engine;
  const large = JSON.stringify({ list: Array.from({ length: 100_000 }, () => 0) });
  const strange: Ask[] = [
    { path: '/metrics' },
    { path: '/readyz' },
    { path: '/healthz' },
    { path: '/v1/accounts' },
    { method: 'POST', path: '/v1/charges', body: large },
    { path: '/nothing/there' },
  ];
  const catalog = () =>
    ask(engine, { path: '/v1/catalogs/imagineart', key }).then(({ text }) => {
      const {
        version: _v,
        publishedBy: _p,
        scheduled: _s,
        ...draft
      } = JSON.parse(text) as Record<string, unknown>;
      return JSON.stringify({ ...draft, dryRun: true });
    });
  let draft: Promise<string> | null = null;
  return [
    {
      name: `${STRANGERS} connections without a key`,
      clients: STRANGERS,
      ask: (client) => ask(engine, strange[client % strange.length] ?? { path: '/' }),
    },
    { name: '10 audits', clients: 10, ask: () => ask(engine, { path: '/v1/audit', key }) },
    {
      name: '12 dry runs of a catalog',
      clients: 12,
      async ask() {
        draft ??= catalog();
        return ask(engine, { method: 'POST', path: '/v1/catalogs', key, body: await draft });
      },
    },
    {
      name: '20 usage reports',
      clients: 20,
      ask: () => ask(engine, { path: `/v1/usage?account=${account}&groupBy=day`, key }),
    },
  ];
}

async function measured(
  engine: Engine,
  { load, account, key }: { load: Load | null; account: string; key: string },
): Promise<Probe[]> {
  const stopped = new AbortController();
  const crowd = Array.from({ length: load?.clients ?? 0 }, async (_, client) => {
    while (!stopped.signal.aborted) await load?.ask(client).catch(() => sleep(50));
  });
  await sleep(500);
  const probes: { probe: Probe; of: () => Ask }[] = [
    { probe: { name: 'GET /healthz', times: [], refused: 0 }, of: () => ({ path: '/healthz' }) },
    {
      probe: { name: 'GET account, stored key', times: [], refused: 0 },
      of: () => ({ path: `/v1/accounts/${account}`, key }),
    },
    {
      probe: { name: 'POST /v1/charges', times: [], refused: 0 },
      of: () => ({
        method: 'POST',
        path: '/v1/charges',
        key: engine.adminKey,
        body: JSON.stringify({ account, credits: 0.001 }),
        headers: { 'idempotency-key': crypto.randomUUID() },
      }),
    },
  ];
  const asked: Promise<void>[] = [];
  const endMs = performance.now() + SECONDS * 1_000;
  while (performance.now() < endMs) {
    for (const { probe, of } of probes) asked.push(timed(engine, { probe, ask: of() }));
    await sleep(PROBE_EVERY_MS);
  }
  await Promise.all(asked);
  stopped.abort();
  await Promise.all(crowd);
  return probes.map(({ probe }) => probe);
}

async function timed(engine: Engine, { probe, ask: wanted }: { probe: Probe; ask: Ask }): Promise<void> {
  const startedMs = performance.now();
  const { status } = await ask(engine, wanted).catch(() => ({ status: 503 }));
  probe.times.push(performance.now() - startedMs);
  if (status >= 500) probe.refused += 1;
}

/** Each on a connection of its own, as many strangers would. */
function ask(engine: Engine, wanted: Ask): Promise<{ status: number; text: string }> {
  const { method = 'GET', path, key, body, headers = {} } = wanted;
  return new Promise((resolve, reject) => {
    const sent = request(
      engine.baseUrl + path,
      {
        method,
        agent: false,
        timeout: PROBE_WITHIN_MS,
        headers: {
          ...headers,
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
        response.on('error', reject);
      },
    );
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end(body);
  });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
