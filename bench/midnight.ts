import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { type Database, openDatabase } from '../db/connection/connection';
import { createEngine } from '../db/engine';
import type { Ledger } from '../db/ledger/ledger';
import { accountWorkflowId } from '../domain/ids';
import { jitterMs } from '../domain/jitter';
import { ACCOUNT_PRIORITY, accountTaskQueue, MAIN_TASK_QUEUE, WORKFLOWS } from '../domain/contract';
import { dataConverter } from '../activities/temporal/payloads';
import type { AtEnd } from './bare/bare';
import { type Engine, startEngine } from './engine';
import { openAccounts, ordersOverHttp } from './generations';
import { latencies, percentile } from './kit/latency';
import { perSecond } from './kit/measure';
import { columns, machine } from './kit/report';

/**
 * `npm run bench:midnight`: what a flood of boundaries does to a reservation. Thousands of accounts come due together, in a
 * minute or in one second instead of the quarter of an hour that the jitter spreads them over; meanwhile clients order
 * generations and wait for the answer, which comes when the credits are held. `--accounts=1000`
 */

const CLIENTS = 4;
const WARM_UP_SECONDS = 5;
const QUIET_SECONDS = 10;
/** The longest part of a flood that is measured. */
const FLOOD_SECONDS = 20;
const STARTED_AT_ONCE = 32;

interface Bench {
  client: Client;
  database: Database;
  ledger: Ledger;
  order: (client: number) => Promise<void>;
}

interface Figures {
  p50: number;
  p99: number;
  /** Orders that were refused because nothing could be decided in time. */
  refused: number;
}

async function main(): Promise<void> {
  const accounts = Number(/--accounts=(\d+)/.exec(process.argv.join(' '))?.[1] ?? 1_000);
  const stops: (() => Promise<void>)[] = [];
  const atEnd: AtEnd = (stop) => stops.push(stop);
  try {
    console.log(`holdfast midnight bench on ${machine()}`);
    const engine = await startEngine(atEnd);
    const bench = await prepare(engine, atEnd);
    await perSecond({ clients: CLIENTS, seconds: WARM_UP_SECONDS, work: bench.order });
    console.log(`${CLIENTS} clients order generations; ${accounts} accounts come due at once\n`);
    const own = accountTaskQueue(MAIN_TASK_QUEUE);
    for (const { name, ...flood } of [
      { name: 'own queue, spread over a minute', queue: own, spreadMs: 60_000 },
      { name: 'own queue, in one second', queue: own, spreadMs: 0 },
      { name: 'main queue, in one second', queue: MAIN_TASK_QUEUE, spreadMs: 0 },
    ]) {
      const quiet = await measured(bench, QUIET_SECONDS);
      const due = await boundaries(bench, { accounts, ...flood });
      await new Promise((resolve) => setTimeout(resolve, due.atMs - Date.now()));
      const flooded = await measured(bench, FLOOD_SECONDS);
      console.log(report({ name, quiet, flooded, seconds: await due.settled() }));
    }
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

async function prepare(engine: Engine, atEnd: AtEnd): Promise<Bench> {
  const connection = await Connection.connect({ address: engine.temporalAddress });
  atEnd(() => connection.close());
  const database = openDatabase({ url: engine.databaseUrl });
  atEnd(() => database.close());
  const quiet = { ring: () => undefined, namespaceId: 'bench', temporalUrl: () => null };
  const { ledger } = createEngine({ database, ...quiet });
  const order = ordersOverHttp(engine, await openAccounts(engine, CLIENTS));
  return { client: new Client({ connection, dataConverter }), database, ledger, order };
}

async function measured({ order }: Bench, seconds: number): Promise<Figures> {
  const times = latencies();
  let refused = 0;
  await perSecond({
    clients: CLIENTS,
    seconds,
    work: async (client) => {
      const startedMs = performance.now();
      try {
        await order(client);
      } catch (error) {
        if (!String(error).includes('"unavailable"')) throw error;
        refused += 1;
      }
      times.add(performance.now() - startedMs);
    },
  });
  return { p50: percentile(times.all(), 50), p99: percentile(times.all(), 99), refused };
}

/** Accounts whose month ends in the same second, each with its workflow waiting for it. */
async function boundaries(
  { client, database, ledger }: Bench,
  { accounts, queue, spreadMs }: { accounts: number; queue: string; spreadMs: number },
): Promise<{ atMs: number; settled: () => Promise<number> }> {
  const name = `midnight-${randomUUID().slice(0, 8)}`;
  const boundary = new Date(Date.now() + 10_000 + accounts * 15);
  const anchor = new Date(boundary);
  anchor.setUTCMonth(anchor.getUTCMonth() - 1);
  const plan = { catalog: 'imagineart', plan: 'standard', planSource: 'admin' } as const;
  const ids = Array.from({ length: accounts }, (_, n) => `${name}-${n}`);
  for (let start = 0; start < accounts; start += STARTED_AT_ONCE) {
    await Promise.all(
      ids.slice(start, start + STARTED_AT_ONCE).map(async (account) => {
        await ledger.open({ account, ...plan, anchor: anchor.toISOString() });
        await ledger.settle(account, { touch: true });
        await client.workflow.start(WORKFLOWS.account, {
          workflowId: accountWorkflowId(account),
          taskQueue: queue,
          priority: ACCOUNT_PRIORITY,
          startDelay: boundary.getTime() - Date.now() + jitterMs({ account, windowMs: spreadMs }),
          args: [{ account }],
        });
      }),
    );
  }
  if (Date.now() > boundary.getTime()) throw new Error('the accounts were not ready in time: take fewer');
  return {
    atMs: boundary.getTime(),
    /** Seconds from the boundary until the last account was settled. */
    async settled() {
      for (;;) {
        const { rows } = await database.pool.query<{ settled: number; last: Date }>(
          `SELECT count(DISTINCT account_id)::int AS settled, max(recorded_at) AS last FROM ledger.journal
            WHERE account_id LIKE $1 AND at >= $2 AND kind = 'grant'`,
          [`${name}-%`, boundary.toISOString()],
        );
        const [row] = rows;
        if (row?.settled === accounts) return (row.last.getTime() - boundary.getTime()) / 1000;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    },
  };
}

function report(row: { name: string; quiet: Figures; flooded: Figures; seconds: number }): string {
  const { name, quiet, flooded, seconds } = row;
  const ratio = (percent: 'p50' | 'p99') => [
    quiet[percent].toFixed(0),
    flooded[percent].toFixed(0),
    (flooded[percent] / quiet[percent]).toFixed(2),
  ];
  return columns([
    [
      'account workflows',
      'p50 ms',
      'in the flood',
      'ratio',
      'p99 ms',
      'in the flood',
      'ratio',
      'refused',
      'settled after s',
    ],
    [name, ...ratio('p50'), ...ratio('p99'), String(flooded.refused), seconds.toFixed(0)],
  ]);
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
