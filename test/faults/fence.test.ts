import { once } from 'node:events';
import { type Engine, eventually, type Problem, startEngine } from '../support/processes/engine';

/** A worker and an API that a newer release shuts out while they run. */

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine({ env: { HOLDFAST_SCHEMA_CHECK_SECONDS: '1' } });
});
afterAll(() => engine.stop());

/** A migration of a newer release that no binary before it may run on, and its undoing, which no release knows. */
const shutOut = () =>
  engine.database.owner
    .knex('holdfast.schema_compatibility')
    .insert({ number: 9_999, name: '9999_later.sql', min_compatible: 9_999 });
const letIn = () =>
  engine.database.owner.knex('holdfast.schema_compatibility').where({ number: 9_999 }).delete();

test('the worker ends what it has begun and stops with the reason; the API is not ready and does nothing more', async () => {
  const account = engine.newId('fenced');
  const body = { id: account, catalog: 'imagineart', plan: 'standard' };
  expect((await engine.call('POST', '/v1/accounts', { body, idempotencyKey: 'open' })).status).toBe(201);
  const order = { account, action: 'image', provider: { type: 'simulated', delayMs: 5_000 } };
  const running = await engine.generate(order, 'before');
  expect(running.status).toBe(201);

  const worker = engine.worker();
  let said = '';
  for (const stream of [worker.stdout, worker.stderr]) stream?.on('data', (chunk) => (said += String(chunk)));
  const ended = once(worker, 'exit');
  await shutOut();
  const [code] = await ended;
  expect(code).toBe(1);
  expect(said).toContain('a newer release has shut this worker out');
  expect(said).toContain('IncompatibleSchema: The database needs a newer Holdfast');

  const refused = await eventually(
    () =>
      engine.call<Problem>('POST', '/v1/charges', { body: { account, credits: 1 }, idempotencyKey: 'after' }),
    ({ status }) => status === 503,
  );
  expect(refused.body).toMatchObject({
    code: 'unavailable',
    detail: expect.stringContaining('nothing was done'),
  });
  expect(refused.headers.get('retry-after')).not.toBeNull();
  const read = await engine.call<Problem>('GET', `/v1/accounts/${account}/balance`);
  expect([read.status, read.body.code]).toEqual([503, 'unavailable']);
  const ready = await engine.call<Problem & { checks: object }>('GET', '/readyz');
  expect([ready.status, ready.body.checks]).toEqual([503, expect.objectContaining({ schema: 'failing' })]);
  expect((await engine.call('GET', '/healthz')).status).toBe(200);

  // The work that was under way is resumed by a worker of the newer release.
  await letIn();
  await engine.startWorker();
  const held = () =>
    engine.database.owner.knex('ledger.generations').where({ account_id: account }).first('status');
  expect(await eventually(held, (row) => row?.status !== 'running', 120_000)).toEqual({
    status: 'succeeded',
  });
});
