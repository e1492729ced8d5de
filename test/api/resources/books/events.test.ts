import type { TestApp } from '../../app';
import { type Customers, startCustomers, T0 } from '../../customers';

/** What an account is told of on its own, recorded with the rows that caused it. */

let app: TestApp;
let customer: Customers['customer'];
let close: Customers['close'];

beforeAll(async () => {
  ({ app, customer, close } = await startCustomers());
});
afterAll(() => close());

describe('what an account is told of', () => {
  test('is a balance that becomes low, and empty, once each until something comes', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.charge(2000);
    await ada.charge(600); // the day's 100 went first: 500 of 3,000 are left
    await ada.charge(100);
    expect(await ada.events('balance.low')).toMatchObject([{ credits: 500, at: T0 }]);
    const hold = await ada.hold(400);
    await app.call('POST', `/v1/holds/${hold}/release`, { body: {} });
    expect(await ada.events('balance.depleted')).toEqual([]); // what is held is not gone
    await ada.charge(400);
    expect(await ada.events('balance.depleted')).toMatchObject([{ credits: 0 }]);
    await ada.at('2026-04-10T10:00:00.000Z');
    await ada.buckets();
    await ada.charge(2900);
    expect((await ada.events('balance.low')).map(({ credits }) => credits)).toEqual([100, 500]);
  });

  test('is not a balance that was empty for an instant between two periods', async () => {
    const ada = await customer();
    await ada.buckets();
    await ada.at('2026-03-11T00:00:00.000Z');
    await ada.buckets();
    await ada.post('plan', { plan: 'basic' });
    await ada.at('2026-04-10T10:00:00.000Z');
    await ada.buckets();
    expect(await ada.events('balance.depleted')).toEqual([]);
    expect(await ada.events('balance.low')).toEqual([]);
  });

  test('is credits that end, a week before, if any are left, and their end', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.charge(1000);
    await ada.wake('2026-04-05T00:00:00.000Z');
    const end = '2026-04-10T10:00:00.000Z';
    const announced = { credits: 2100, expiresAt: end, at: '2026-04-03T10:00:00.000Z' };
    expect(await ada.events('credits.expiring')).toMatchObject([announced]);
    await ada.wake('2026-05-02T00:00:00.000Z');
    await ada.charge(3000);
    await ada.wake('2026-05-05T00:00:00.000Z');
    await ada.wake('2026-06-08T00:00:00.000Z');
    await ada.wake('2026-06-09T00:00:00.000Z');
    expect(await ada.events('credits.expiring')).toMatchObject([
      { credits: 3000, at: '2026-06-03T10:00:00.000Z' }, // and of those of April nothing was left
      announced,
    ]);
  });

  test('is a change of its plan, before and after', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.post('cancel', { when: 'period_end' });
    await ada.at('2026-04-10T10:00:00.000Z');
    await ada.buckets();
    expect((await ada.events('subscription.updated')).map(({ plan }) => plan)).toEqual([
      { before: 'basic', after: 'free', interval: null, pending: null },
      {
        before: 'basic',
        after: 'basic',
        interval: 'month',
        pending: { plan: 'free', interval: null, at: '2026-04-10T10:00:00.000Z' },
      },
      { before: 'free', after: 'basic', interval: 'month', pending: null },
    ]);
  });
});
