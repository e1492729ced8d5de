import type { Engine } from '../../db/engine';
import type { TestApp } from './app';
import { type Customers, startCustomers, T0 } from './customers';

/** Loops that somebody could farm credits by, each of which ends with nothing gained (rules 14, 19, 21). */

let app: TestApp;
let engine: Engine;
let customer: Customers['customer'];
let close: Customers['close'];

beforeAll(async () => {
  ({ app, engine, customer, close } = await startCustomers());
});
afterAll(() => close());

const hours = (n: number) => new Date(Date.parse(T0) + n * 3_600_000).toISOString();

describe('nobody gains by', () => {
  test('upgrading, cancelling and coming back', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    for (let loop = 0; loop < 3; loop += 1) {
      await ada.post('plan', { plan: 'ultimate' });
      await ada.post('cancel', { when: 'now' });
      await ada.post('plan', { plan: 'basic' });
    }
    expect(await ada.buckets()).toEqual({ daily: 100 });
    const granted = await ada.events('credits.granted');
    expect(granted.map(({ credits }) => credits)).toEqual([13_000, 3000, 100]);
    await ada.at('2026-04-10T10:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 3000 });
  });

  test('holding everything while cancelling: what comes back is forfeited, whoever caused it', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await engine.ledger.run(ada.id, ({ snapshot }) => ({
      ...{ op: 'reserve', key: 'req:all', hash: 'all', holdId: `hold_${ada.id}.all` },
      ...{ rulesVersion: snapshot.rulesVersion, amount: snapshot.available, maxOpen: 9, ttlSeconds: 600 },
      ...{ excluded: [], reserveBefore: '2100-01-01T00:00:00Z', work: {} },
    }));
    await ada.post('cancel', { when: 'now' });
    const back = await engine.ledger.run(ada.id, {
      ...{ op: 'release', key: 'sys:back', hash: 'back', holdId: `hold_${ada.id}.all`, cause: 'provider' },
    });
    expect(back).toMatchObject({ returned: 100_000, forfeited: 3_000_000 }); // the day’s are no plan’s
    await ada.post('plan', { plan: 'basic' });
    expect(await ada.buckets()).toEqual({ daily: 100 });
  });

  test('holding credits over the end of the cycle and letting go', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.at('2026-04-10T09:00:00.000Z');
    const hold = await ada.hold(3000);
    await ada.at('2026-04-10T10:00:00.000Z');
    const { body } = await app.call('POST', `/v1/holds/${hold}/release`, { body: {} });
    expect(body['credits']).toMatchObject({ held: 0, released: 0, forfeited: 3000 });
    expect(await ada.buckets()).toEqual({ plan: 3000 });
  });

  test('subscribing in the middle of a day and leaving again: the day was granted already', async () => {
    const ada = await customer();
    expect(await ada.charge(100)).toBe(201);
    await ada.post('plan', { plan: 'basic' });
    await ada.post('cancel', { when: 'now' });
    expect(await ada.buckets()).toEqual({});
    await ada.at('2026-03-11T00:00:00.000Z');
    expect(await ada.buckets()).toEqual({ daily: 100 });
  });

  test('moving through the time zones: each day’s credits come twenty hours after the last at the earliest', async () => {
    const ada = await customer('imagineart', 'Pacific/Auckland');
    let spent = 0;
    const zones = ['Pacific/Honolulu', 'Asia/Tokyo', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'UTC'];
    for (let hour = 0; hour < 48; hour += 1) {
      await ada.at(hours(hour));
      const timezone = zones[hour % zones.length];
      await app.call('PATCH', `/v1/accounts/${ada.id}`, { body: { timezone } });
      const { daily = 0 } = await ada.buckets();
      if (daily > 0 && (await ada.charge(daily)) === 201) spent += daily;
    }
    expect(spent).toBeLessThanOrEqual(300);
  });
});
