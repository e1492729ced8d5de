import { generationId } from '../../domain/ids';
import {
  type Engine,
  type Generation,
  type Problem,
  skewedBy,
  startEngine,
} from '../support/processes/engine';
import { defined } from '../../domain/defined';

/** Processes whose clocks are wrong: whatever decides about credits stands on the database's (rules 8 and 32). */

const MINUTE_MS = 60_000;

let engine: Engine;
/** An API a minute behind the database, and one an hour ahead of it. The worker is a minute behind. */
let behind: string;
let ahead: string;
let account: string;

beforeAll(async () => {
  engine = await startEngine({ workerEnv: skewedBy(-MINUTE_MS) });
  [behind, ahead] = await Promise.all([
    engine.startAnotherApi(skewedBy(-MINUTE_MS)),
    engine.startAnotherApi(skewedBy(60 * MINUTE_MS)),
  ]);
  account = engine.newId('skew');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => engine.stop());

/** Four images for 96 credits, which the pipeline makes itself. */
const order = (deadlineSeconds = 600) => ({
  account,
  action: 'image',
  params: { outputs: 4 },
  provider: { type: 'external', deadlineSeconds },
});
let keys = 0;
const post = <T = Generation>(at: string, body: unknown, url?: string) =>
  engine.call<T>('POST', at, {
    body,
    idempotencyKey: `skew-${(keys += 1)}`,
    ...defined({ url }),
  });

async function databaseMs(): Promise<number> {
  const { rows } = await engine.database.owner.pool.query<{ ms: number }>(
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
  );
  return rows[0]?.ms ?? Number.NaN;
}

test('through an API that is a minute behind, charges, leases and generations are taken', async () => {
  for (let turn = 0; turn < 2; turn += 1) {
    const charge = await post('/v1/charges', { account, credits: 1 }, behind);
    const lease = await post('/v1/holds', { account, credits: 1, ttlSeconds: 60 }, behind);
    const generation = await post('/v1/generations', order(), behind);
    expect([charge.status, lease.status, generation.status]).toEqual([201, 201, 201]);
  }
});

test('what an API an hour ahead answered with 503 is never held, however late the worker comes', async () => {
  const worker = engine.worker();
  worker.kill('SIGSTOP');
  const key = engine.newId('key');
  try {
    const late = await engine.call<Problem>('POST', '/v1/generations', {
      body: order(),
      idempotencyKey: key,
      url: ahead,
    });
    expect([late.status, late.body.code]).toEqual([503, 'unavailable']);
    expect(late.body.detail).toContain('nothing is held');
  } finally {
    worker.kill('SIGCONT');
  }
  const id = generationId(account, key);
  const handle = engine.temporal.workflow.getHandle(id);
  await expect(handle.result()).rejects.toThrow('Workflow execution failed');
  expect((await handle.describe()).status.name).toBe('FAILED');
  expect((await engine.call('GET', `/v1/generations/${id}`)).status).toBe(404);
});

test('a heartbeat through an API that is a minute behind moves the deadline ahead of now', async () => {
  const { body } = await post('/v1/generations', order());
  const before = await databaseMs();
  const beat = await post(`/v1/generations/${body.id}/heartbeat`, { extendSeconds: 30 }, behind);
  const after = await databaseMs();
  expect(beat.status).toBe(200);
  const deadlineMs = Date.parse(beat.body.deadlineAt ?? '');
  expect(deadlineMs).toBeGreaterThanOrEqual(Math.floor(before) + 30_000);
  expect(deadlineMs).toBeLessThanOrEqual(after + 30_000);
  const done = await post(`/v1/generations/${body.id}/complete`, { outputs: [{}, {}, {}, {}] });
  expect([done.status, done.body.credits.captured]).toEqual([200, 96]);
});

test('the first deadline counts from the database’s now, and not from a worker’s that is a minute behind', async () => {
  const before = await databaseMs();
  const { status, body } = await post('/v1/generations', order(40));
  const after = await databaseMs();
  expect(status).toBe(201);
  const deadlineMs = Date.parse(body.deadlineAt ?? '');
  expect(deadlineMs).toBeGreaterThanOrEqual(Math.floor(before) + 40_000);
  expect(deadlineMs).toBeLessThanOrEqual(after + 40_000);
  const read = await engine.call('GET', `/v1/generations/${body.id}`);
  expect(read.body.deadlineAt).toBe(body.deadlineAt);
});

test('every API says that clocks are off, and by how much', async () => {
  const ready = await fetch(`${engine.url}/readyz`);
  expect([ready.status, await ready.json()]).toMatchObject([
    200,
    { status: 'degraded', checks: { database: 'ok', temporal: 'ok', skew: 'failing' } },
  ]);
  const text = await (await fetch(`${ahead}/metrics`)).text();
  const skews = [...text.matchAll(/^holdfast_clock_skew_seconds\{kind="(\w+)",process="[^"]+"\} (\S+)$/gm)];
  const minutes = skews.map(([, kind, seconds]) => `${kind} ${Math.round(Number(seconds) / 60)}`);
  expect(minutes.toSorted()).toEqual(expect.arrayContaining(['api 60', 'worker -1']));
});
