import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as fc from 'fast-check';
import { createRoutes, type RouteDeps } from '../../../api/routes';
import { runAudit } from '../../../db/audit';
import { ABSURD, bodiesOf, type Known, queriesOf } from './bodies';
import { startWhole, type Whole } from '../whole';

/** Whatever is sent, it is the caller's mistake or it is done: never ours. */

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 60);
const CATALOG = path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json');

let whole: Whole;
let known: Known;
let generation: string;
let ended: string;
let hold: string;

beforeAll(async () => {
  whole = await startWhole();
  const { ledger } = whole.engine;
  const open = (account: string, clockAt?: string) =>
    ledger.open({
      account,
      catalog: 'working-day',
      plan: 'standard',
      planSource: 'admin',
      planInterval: 'month',
      clockAt,
    });
  await open('fuzz');
  await open('frozen', '2026-03-10T10:00:00Z');
  generation = (await whole.running('fuzz', 1)).id;
  const over = await whole.running('fuzz', 1);
  ended = over.id;
  await ledger.run('fuzz', {
    op: 'release',
    key: `sys:release:${over.holdId}`,
    hash: 'release',
    holdId: over.holdId,
    cause: 'engine',
    generation: { status: 'failed' },
  });
  const held = { account: 'fuzz', credits: 5, ttlSeconds: 86_400 };
  hold = String((await whole.app.call('POST', '/v1/holds', { body: held, idempotencyKey: 'h' })).body['id']);
  known = {
    account: ['fuzz', 'frozen'],
    catalog: ['working-day'],
    action: ['image', 'video', 'site', 'rename'],
    plan: ['free', 'basic', 'standard', 'ultimate'],
    pack: ['tokens-1000'],
    bucket: ['pack', 'promo', 'plan', 'daily'],
    model: ['example'],
    timezone: ['UTC', 'Asia/Kolkata', 'America/New_York'],
    parent: [generation],
    id: [generation, 'fuzz', 'made'],
    params: [{}, { outputs: 2 }, { outputs: 1e308 }, { seconds: -1 }, JSON.parse('{"__proto__": 1}')],
    when: ['now', 'period_end'],
    email: ['a@b.test'],
  };
});
afterAll(() => whole.close());

const filled = (at: string) =>
  at
    // One that runs would be waited for: nobody ends it here.
    .replace(/generations\/\{id\}\/(cancel|release)/, `generations/${ended}/$1`)
    .replace('/accounts/{id}', '/accounts/fuzz')
    .replace('/holds/{id}', `/holds/${hold}`)
    .replace('/generations/{id}', `/generations/${generation}`)
    .replace('{member}', 'ada')
    .replace('{catalog}', 'working-day')
    .replace('{id}', 'x');

/** What failed of ours, or null. */
async function failure(method: string, at: string, body: unknown): Promise<string | null> {
  const idempotencyKey = Math.random().toString(36); // each try is a request of its own, also when fast-check shrinks
  const reply = await whole.app.call(method, at, { body, ...(method === 'POST' ? { idempotencyKey } : {}) });
  // 503: there is no Temporal here to start anything.
  if (reply.status < 500 || reply.body['code'] === 'unavailable') return null;
  const last = whole.app.logLines.findLast((line) => line['err'] !== undefined);
  return `${method} ${at} answered ${reply.text}: ${JSON.stringify(last?.['err'])}`;
}

const routes = createRoutes({} as RouteDeps).filter(({ body }) => body !== null);

test.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))(
  '%s never fails of a body',
  async (_name, { method, path: at, body }) => {
    if (body === null) throw new Error('a route without a body was not left out');
    await fc.assert(
      fc.asyncProperty(bodiesOf(body, known), async (sent) => {
        expect(await failure(method, filled(at), sent)).toBeNull();
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
);

const asked = createRoutes({} as RouteDeps).filter(({ method, query }) => method === 'GET' && query !== null);

test.each(asked.map((route) => [`${route.method} ${route.path}`, route] as const))(
  '%s never fails of a query',
  async (_name, { method, path: at, query }) => {
    if (query === null) throw new Error('a route without a query was not left out');
    for (const text of queriesOf(query))
      expect(await failure(method, `${filled(at)}?${text}`, undefined)).toBeNull();
  },
);

const named = createRoutes({} as RouteDeps).filter(({ path: at }) => at.includes('{'));
const NO_IDS = [
  '%00',
  'a%00b',
  '%F0%9F%92%B8',
  '%20',
  '..%2F..',
  "'",
  'x'.repeat(500),
  '%EF%BF%BF',
  '-1',
  '1e999',
];

test.each(named.map((route) => [`${route.method} ${route.path}`, route] as const))(
  '%s never fails of an id',
  async (_name, { method, path: at, body }) => {
    for (const id of NO_IDS) {
      const where = at.replaceAll(/\{\w+\}/g, id);
      expect(await failure(method, where, body === null ? undefined : {})).toBeNull();
    }
  },
);

const PLACES = ['0000-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z'].flatMap((at) => {
  const place = {
    createdAt: at,
    openedAt: at,
    raisedAt: at,
    account: 'x',
    kind: 'x',
    subject: 'x',
    id: 'x',
    name: 'x',
    catalog: 'x',
    type: 'x',
  };
  return [
    { ...place, seq: 1 },
    { ...place, seq: Number.MAX_SAFE_INTEGER, id: Number.MAX_SAFE_INTEGER },
  ];
});

test.each(asked.map((route) => [`${route.method} ${route.path}`, route] as const))(
  '%s never fails of a cursor somebody made up',
  async (_name, { method, path: at }) => {
    for (const place of PLACES) {
      const cursor = Buffer.from(JSON.stringify(place)).toString('base64url');
      expect(await failure(method, `${filled(at)}?cursor=${cursor}`, undefined)).toBeNull();
    }
  },
);

test('a catalog with something absurd in it is refused or would be published, and fails nobody', async () => {
  const text = readFileSync(CATALOG, 'utf8');
  const values = [...text.matchAll(/: ("[^"]*"|-?[\d.]+|true|false|null)/g)];
  const changed = fc.tuple(fc.constantFrom(...values), fc.constantFrom(...ABSURD)).map(([was, now]) => {
    const catalog = `${text.slice(0, was.index)}: ${JSON.stringify(now)}${text.slice(was.index + was[0].length)}`;
    return { ...(JSON.parse(catalog) as object), dryRun: true };
  });
  await fc.assert(
    fc.asyncProperty(changed, async (body) => {
      expect(await failure('POST', '/v1/catalogs', body)).toBeNull();
    }),
    { numRuns: 2 * RUNS, endOnFailure: true },
  );
});

test.each([
  ['input', '{"a":[{"__proto__":1}]}'],
  ['params', '{"__proto__":{"x":1}}'],
  ['metadata', '{"__proto__":1}'],
  ['metadata', '{"a":1e999}'],
  ['input', '[-1e400]'],
])('%s of %s is refused with its place', async (field, json) => {
  const rawBody = `{"account":"fuzz","action":"image","${field}":${json}}`;
  const reply = await whole.app.call('POST', '/v1/generations', { rawBody, idempotencyKey: 'k' });
  expect([reply.status, reply.body['code']]).toEqual([422, 'invalid_request']);
  expect(reply.body['errors']).toMatchObject([{ path: expect.stringContaining(field) }]);
});

test('and after all of it the audit finds nothing', async () => {
  const report = await runAudit(whole.database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
