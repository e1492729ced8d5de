import { readFileSync } from 'node:fs';
import path from 'node:path';
import { startWhole, type Whole } from '../whole';
import { defined } from '../../../domain/defined';

/**
 * No handler waits for a second connection while it holds one: ten such requests at once would hold all ten, and wait for an
 * eleventh. Here each pool has one, so that a single such request would wait in vain.
 */

let whole: Whole;
let startAdvance: (clock: string) => Promise<void> = () => Promise.resolve();
beforeAll(async () => {
  whole = await startWhole({ connections: 1, startAdvance: (clock) => startAdvance(clock) });
});
afterAll(() => whole.close());

const LOST = '11111111-2222-4333-8444-555555555555';

const workingDay = JSON.parse(
  readFileSync(path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json'), 'utf8'),
) as { label: string };

const clock = async () =>
  (await whole.app.call('POST', '/v1/test-clocks', { body: { frozenAt: '2027-01-01T00:00:00Z' } })).body[
    'id'
  ];

let counter = 0;
/** A valid request for each route whose answers are kept by the API key. */
const requests: Record<
  string,
  () => Promise<{ path: string; body: unknown }> | { path: string; body: unknown }
> = {
  '/v1/accounts': () => ({
    path: '/v1/accounts',
    body: { id: `one-${(counter += 1)}`, catalog: 'working-day', plan: 'standard' },
  }),
  '/v1/catalogs': () => ({
    path: '/v1/catalogs',
    body: { ...workingDay, label: `Working day ${(counter += 1)}` },
  }),
  '/v1/estimates': () => ({
    path: '/v1/estimates',
    body: { catalog: 'working-day', items: [{ action: 'image', credits: 24, perDay: 1, days: 2 }] },
  }),
  '/v1/operations/items/resolve': () => ({
    path: '/v1/operations/items/resolve',
    body: { account: null, kind: 'hold_overdue', subject: 'nothing' },
  }),
  '/v1/operations/lost-namespaces': () => ({
    path: '/v1/operations/lost-namespaces',
    body: { namespaceId: LOST, reason: 'gone' },
  }),
  '/v1/operations/lost-namespaces/{namespaceId}/release': async () => {
    const row = { namespace_id: LOST, reason: 'gone', declared_by: 'test' };
    await whole.database.owner.knex('holdfast.lost_namespaces').insert(row).onConflict().ignore();
    return { path: `/v1/operations/lost-namespaces/${LOST}/release`, body: {} };
  },
  '/v1/api-keys': () => ({ path: '/v1/api-keys', body: { name: `k${(counter += 1)}`, scopes: ['read'] } }),
  '/v1/test-clocks': () => ({ path: '/v1/test-clocks', body: { frozenAt: '2027-01-01T00:00:00Z' } }),
  '/v1/test-clocks/{id}/advance': async () => ({
    path: `/v1/test-clocks/${String(await clock())}/advance`,
    body: { to: '2027-01-02T00:00:00Z' },
  }),
};

test('there is a request here for every route whose effect and answer are one transaction', () => {
  const kept = whole.routes.filter(({ keptBy, method }) => keptBy === 'api-key' && method === 'POST');
  expect(Object.keys(requests).toSorted()).toEqual(kept.map((route) => route.path).toSorted());
});

test.each(Object.keys(requests))('POST %s needs one connection, with a key and without', async (route) => {
  for (const idempotencyKey of [undefined, `key of ${route}`]) {
    const request = await requests[route]?.();
    const options = { body: request?.body, ...defined({ idempotencyKey }) };
    const reply = await whole.app.call('POST', request?.path ?? '', options);
    expect([200, 201, 202]).toContain(reply.status);
    expect(reply.text).not.toContain('The database');
  }
});

test('a dry run of a catalog needs one connection, too', async () => {
  const reply = await whole.app.call('POST', '/v1/catalogs', {
    body: { ...workingDay, label: 'Other', dryRun: true },
  });
  expect(reply.body).toMatchObject({ dryRun: true, changed: true });
});

test('while Temporal is told that a clock advances, no connection waits for it, and the clock is not locked', async () => {
  const id = String(await clock());
  const seen: unknown[] = [];
  startAdvance = async () => {
    const { rows } = await whole.database.owner.pool.query<{ status: string }>(
      'SELECT status FROM holdfast.test_clocks WHERE clock_id = $1 FOR UPDATE NOWAIT',
      [id],
    );
    const read = await whole.app.call('GET', `/v1/test-clocks/${id}`);
    seen.push(rows[0]?.status, read.body['status']);
  };
  const told = await whole.app.call('POST', `/v1/test-clocks/${id}/advance`, {
    body: { to: '2027-01-02T00:00:00Z' },
  });
  expect([told.status, seen]).toEqual([202, ['advancing', 'advancing']]);
});
