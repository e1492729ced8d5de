import { readFileSync } from 'node:fs';
import path from 'node:path';
import { insertTestClock } from '../../../../db/accounts/testClocks';
import { startWhole, type Whole } from '../../whole';

/** HOLDFAST_MODE=live: what is for development is refused, and nothing of it is left behind. */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole({ isLive: true });
});
afterAll(() => whole.close());

const post = (at: string, body: unknown, idempotencyKey?: string) =>
  whole.app.call('POST', at, { body, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) });

test('no test clock is made or advanced, and no account is opened on one that development left behind', async () => {
  const made = await post('/v1/test-clocks', { frozenAt: '2026-01-01T00:00:00Z' });
  expect([made.status, made.body['code']]).toEqual([422, 'invalid_request']);
  expect(made.body['detail']).toBe('Test clocks are for development: this Holdfast runs in live mode.');
  const id = `tc_${'a'.repeat(24)}`;
  const frozenAt = new Date('2026-01-01T00:00:00Z');
  await whole.database.db.knex.transaction((transaction) => insertTestClock(transaction, { id, frozenAt }));
  const opened = await post('/v1/accounts', { id: 'late', catalog: 'working-day', testClock: id });
  expect([opened.status, opened.body['errors']]).toMatchObject([422, [{ path: 'testClock' }]]);
  const moved = await post(`/v1/test-clocks/${id}/advance`, { to: '2026-02-01T00:00:00Z' });
  expect([moved.status, moved.body['code']]).toEqual([422, 'invalid_request']);
  expect((await whole.app.call('GET', '/v1/accounts/late')).status).toBe(404);
});

test('nothing is simulated, neither by choice nor because the catalog says so, and no credits are held', async () => {
  expect((await post('/v1/accounts', { id: 'paying', catalog: 'working-day' })).status).toBe(201);
  const order = { account: 'paying', action: 'image' };
  const byCatalog = await post('/v1/generations', order, 'g1');
  expect([byCatalog.status, byCatalog.body['code']]).toEqual([403, 'provider_not_allowed']);
  expect(byCatalog.body['detail']).toContain('in live mode name one that does the work');
  const byChoice = await post('/v1/generations', { ...order, provider: { type: 'simulated' } }, 'g2');
  expect([byChoice.status, byChoice.body['code']]).toEqual([403, 'provider_not_allowed']);
  expect(whole.started).toEqual([]);
  // The pipeline's own work may be done, and a lease is work of the caller's.
  await post('/v1/generations', { ...order, provider: { type: 'external', deadlineSeconds: 60 } }, 'g3');
  expect(whole.started).toHaveLength(1);
  const held = await post('/v1/holds', { ...order, ttlSeconds: 60 }, 'h1');
  expect([held.status, held.body['credits']]).toMatchObject([201, { held: 24 }]);
});

test('a sample is not published, and the answer says what of it may not go live', async () => {
  const file = path.join(__dirname, '../../../../catalogs/imagineart.json');
  const sample = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  for (const dryRun of [true, false]) {
    const refused = await post('/v1/catalogs', { ...sample, dryRun });
    expect(refused.status).toBe(422);
    const places = (refused.body['errors'] as { path: string }[]).map(({ path: place }) => place);
    expect(places).toContain('rules.defaultProvider.type');
    expect(places).toContain('packs.0.price');
  }
  expect((await whole.app.call('GET', '/v1/catalogs/imagineart')).status).toBe(404);
});
