import { Client, Connection } from '@temporalio/client';
import { createGenerationWatch } from '../../../api/workflows/watch';
import { createGenerationStarter } from '../../../api/workflows/starter';
import { createHoldOwners } from '../../../activities/temporal/holdOwners';
import { namespaceOfHold } from '../../../db/generations/holds';
import { createQuoting } from '../../../api/resources/generations/quotes';
import { createRoutes } from '../../../api/routes';
import { listItems } from '../../../db/support/items';
import { milli } from '../../../domain/credits';
import { findNamespace } from '../../../activities/temporal/connect';
import { startApp, type TestApp } from '../app';
import { startWhole, type Whole } from '../whole';

/** Finding 8: what repairs a broken Temporal must not need it, and nobody waits for it longer than seconds. */

const LOST = '11111111-2222-4333-8444-555555555555';
/** The client retries until its deadline; a slow machine has as much again. */
const QUICK_MS = 8_000;

let whole: Whole;
let app: TestApp;
const connection = Connection.lazy({ address: '127.0.0.1:1' });

beforeAll(async () => {
  whole = await startWhole();
  const { engine, database } = whole;
  const { db } = database;
  const client = new Client({ connection });
  const owners = createHoldOwners({
    client,
    namespaceOf: (generation) => namespaceOfHold(db.knex, generation),
  });
  const starter = createGenerationStarter({ client, connection, taskQueue: 'nobody', owners });
  const routes = createRoutes({
    ...engine,
    db,
    starter,
    quoting: createQuoting({ db, ...engine }),
    ring: () => undefined,
    watch: createGenerationWatch({ pool: db.pool, onError: () => undefined }),
    startAdvance: () => Promise.resolve(),
    findNamespace: (id) => connection.withDeadline(Date.now() + 2_000, () => findNamespace(client, id)),
  });
  app = await startApp({ db, routes });
});
afterAll(async () => {
  await app.close();
  await connection.close();
  await whole.close();
});

let accounts = 0;
async function running(): Promise<{ account: string; id: string; holdId: string }> {
  accounts += 1;
  const account = `away-${accounts}`;
  await app.call('POST', '/v1/accounts', { body: { id: account, catalog: 'working-day', plan: 'standard' } });
  return { account, ...(await whole.running(account, 24)) };
}

async function timed<T>(work: Promise<T>): Promise<[T, number]> {
  const startedMs = performance.now();
  return [await work, performance.now() - startedMs];
}

const post = (path: string, body: unknown) => app.call('POST', path, { body });
const balance = async (account: string) => (await app.call('GET', `/v1/accounts/${account}/balance`)).body;

test('a cancellation is answered within seconds, and says that the credits stay held', async () => {
  const { account, id } = await running();
  const [reply, tookMs] = await timed(post(`/v1/generations/${id}/cancel`, {}));
  expect([reply.status, reply.body['code']]).toEqual([503, 'unavailable']);
  expect(reply.body['detail']).toContain('its credits stay held');
  expect(tookMs).toBeLessThan(QUICK_MS);
  expect(await balance(account)).toMatchObject({ held: 24 });
});

test('a release without `force` moves nothing and says what `force` does', async () => {
  const { account, id } = await running();
  const [reply, tookMs] = await timed(post(`/v1/generations/${id}/release`, { reason: 'stuck' }));
  expect([reply.status, reply.body['code']]).toEqual([503, 'unavailable']);
  expect(reply.body['detail']).toMatch(/credits are still held.*`force`: true/);
  expect(tookMs).toBeLessThan(QUICK_MS);
  expect(await balance(account)).toMatchObject({ held: 24 });
});

test('a release with `force` gives the credits back; what is delivered afterwards moves none and is an item', async () => {
  const { account, id, holdId } = await running();
  const [reply, tookMs] = await timed(
    post(`/v1/generations/${id}/release`, { reason: 'stuck', force: true }),
  );
  expect([reply.status, reply.body]).toEqual([
    200,
    expect.objectContaining({ status: 'failed', error: { code: 'released', message: 'stuck' } }),
  ]);
  expect(tookMs).toBeLessThan(QUICK_MS);
  expect(await balance(account)).toMatchObject({ held: 0, available: 8_000 });
  const again = await post(`/v1/generations/${id}/release`, { reason: 'stuck', force: true });
  expect([again.status, again.body]).toEqual([200, reply.body]);

  // The worker that was only unreachable continues.
  const late = await whole.engine.ledger.run(account, {
    op: 'capture',
    key: `sys:capture:${holdId}:final`,
    hash: 'late',
    holdId,
    amount: milli(24_000),
    final: true,
    cause: 'provider',
    generation: { status: 'succeeded' },
  });
  expect(late?.status).toBe('hold_closed');
  expect(await balance(account)).toMatchObject({ held: 0, available: 8_000 });
});

test('holds of a namespace that was declared lost are freed without Temporal, once they are an hour old', async () => {
  const at = '/v1/operations/lost-namespaces';
  const generations = [await running(), await running(), await running()];
  const [young, ...old] = generations;
  const { knex } = whole.database.owner;
  const holds = generations.map(({ holdId }) => holdId);
  await knex('ledger.holds').whereIn('hold_id', holds).update({ namespace_id: LOST });
  await knex('ledger.holds')
    .whereIn(
      'hold_id',
      old.map(({ holdId }) => holdId),
    )
    .update({ opened_at: knex.raw("clock_timestamp() - interval '61 minutes'") });

  const early = await post(`${at}/${LOST}/release`, {});
  expect([early.status, early.body['code']]).toEqual([404, 'not_found']);
  const declared = await app.call('POST', at, {
    body: { namespaceId: LOST, reason: 'its database is gone' },
    idempotencyKey: 'once',
  });
  expect([declared.status, declared.body]).toEqual([
    201,
    expect.objectContaining({ namespaceId: LOST, declaredBy: 'admin', openHolds: 3 }),
  ]);
  const first = await post(`${at}/${LOST}/release`, { limit: 1 });
  expect([first.status, first.body]).toEqual([200, { freed: 1, failed: 0, openHolds: 2 }]);
  expect((await post(`${at}/${LOST}/release`, {})).body).toEqual({ freed: 1, failed: 0, openHolds: 1 });
  expect((await post(`${at}/${LOST}/release`, {})).body).toEqual({ freed: 0, failed: 0, openHolds: 1 });
  for (const { account, id } of old) {
    expect(await balance(account)).toMatchObject({ held: 0, available: 8_000 });
    const { body } = await app.call('GET', `/v1/generations/${id}`);
    expect(body).toMatchObject({ status: 'failed', error: { code: 'workflow_gone' } });
  }
  expect(await balance(young?.account ?? '')).toMatchObject({ held: 24 });

  // The declaration is on record until it is taken back.
  const listed = await app.call('GET', at);
  expect(listed.body['data']).toMatchObject([
    { namespaceId: LOST, reason: 'its database is gone', openHolds: 1 },
  ]);
  expect((await app.call('DELETE', `${at}/${LOST}`)).status).toBe(200);
  expect((await app.call('GET', at)).body['data']).toEqual([]);
  expect((await app.call('DELETE', `${at}/${LOST}`)).status).toBe(404);
  expect(await listItems(whole.database.db.knex, { open: true, limit: 10 })).toEqual([]);
});
