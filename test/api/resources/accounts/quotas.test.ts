import type { TestApp } from '../../app';
import { type Customer, type Customers, startCustomers } from '../../customers';

/** Quotas over a change of plan (rule 22). Draftly's free plan has one video clip in all; no other plan limits them. */

let app: TestApp;
let customer: Customers['customer'];
let close: Customers['close'];

beforeAll(async () => {
  ({ app, customer, close } = await startCustomers());
});
afterAll(() => close());

let orders = 0;
const clip = { action: 'video', params: { seconds: 4 } };
const order = ({ id }: Customer, what: 'charges' | 'holds', more: object = {}) => {
  orders += 1;
  const body = { account: id, ...clip, ...more };
  return app.call('POST', `/v1/${what}`, { body, idempotencyKey: `order-${orders}` });
};
const quotasOf = async ({ id }: Customer) => {
  const { body } = await app.call('GET', `/v1/accounts/${id}/balance`);
  return (body['quotas'] as { quota: string }[]).filter(({ quota }) => quota === 'videos');
};

test('what a plan does not limit is counted all the same, and a lower plan knows it', async () => {
  const dora = await customer('draftly');
  await dora.post('plan', { plan: 'basic' });
  expect((await order(dora, 'charges')).status).toBe(201);
  expect(await quotasOf(dora)).toEqual([]); // limits are shown, and Basic has none of this
  await dora.post('cancel', { when: 'now' });
  expect(await quotasOf(dora)).toMatchObject([{ limit: 1, used: 1, resetsAt: null }]);
  const refused = await order(dora, 'charges');
  expect([refused.status, refused.body]).toMatchObject([
    429,
    { code: 'quota_reached', quota: 'videos', limit: 1, used: 1, resetsAt: null },
  ]);
});

test('what comes back unused of what no limit counted is not counted either', async () => {
  const dora = await customer('draftly');
  await dora.post('plan', { plan: 'basic' });
  const { body } = await order(dora, 'holds', { ttlSeconds: 600 });
  await dora.post('cancel', { when: 'now' });
  expect(await quotasOf(dora)).toMatchObject([{ limit: 1, used: 1 }]);
  expect((await app.call('POST', `/v1/holds/${String(body['id'])}/release`, { body: {} })).status).toBe(200);
  expect(await quotasOf(dora)).toMatchObject([{ limit: 1, used: 0 }]);
});
