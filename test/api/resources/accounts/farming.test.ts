import * as fc from 'fast-check';
import type { Engine } from '../../../../db/engine';
import { imagineart } from '../../../domain/catalogs';
import type { TestApp } from '../../app';
import { type Customers, startCustomers, T0 } from '../../customers';

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

  test('nor loses: coming back in the month that was paid for costs nothing, and a higher plan its difference', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.post('cancel', { when: 'now' });
    const asked = async (body: object) => (await ada.post('plan/preview', body)).body;
    expect(await asked({ plan: 'basic' })).toMatchObject({ dueNow: 0, creditsNow: 0 });
    // 5,000 more of 8,000; of a year eleven months and as much of the first.
    const month = await asked({ plan: 'standard' });
    const year = await asked({ plan: 'standard', interval: 'year' });
    expect([month['creditsNow'], year['creditsNow']]).toEqual([5000, 5000]);
    const { prices } = imagineart().plans.find(({ plan }) => plan === 'standard') ?? {};
    const cents = (amount: number) => Math.floor(amount * 100) / 100;
    expect(month['dueNow']).toBe(cents(((prices?.month ?? 0) * 5) / 8));
    expect(year['dueNow']).toBe(cents(((prices?.year ?? 0) * (11 + 5 / 8)) / 12));
    await ada.at('2026-04-10T10:00:00.000Z');
    expect(await asked({ plan: 'basic' })).toMatchObject({ creditsNow: 3000, dueNow: 13 });
  });

  test('the free credits before a plan: each slot gives them once, and a plan of that slot once', async () => {
    const dora = await customer('draftly');
    expect(await dora.buckets()).toEqual({ plan: 10 }); // the free month begins at this instant, and so do the plans
    for (let loop = 0; loop < 3; loop += 1) {
      await dora.post('plan', { plan: 'basic' });
      expect(await dora.buckets()).toEqual(loop === 0 ? { plan: 1510 } : {});
      await dora.post('cancel', { when: 'now' });
      expect(await dora.buckets()).toEqual({});
    }
    await dora.post('plan', { plan: 'pro' });
    expect(await dora.buckets()).toEqual({ plan: 4500 });
    await dora.post('cancel', { when: 'now' });
    await dora.at('2026-03-25T10:00:00.000Z');
    await dora.post('plan', { plan: 'basic' });
    expect(await dora.buckets()).toEqual({});
    const granted = await dora.events('credits.granted');
    expect(granted.map(({ credits }) => credits)).toEqual([4500, 1500, 10]);
  });

  test('any order of plans within a month: the free credits once, and the highest plan once', async () => {
    const allotments = { free: 10, basic: 1500, 'basic-plus': 2500, pro: 6000 };
    type Name = keyof typeof allotments;
    const step = fc.record({
      plan: fc.constantFrom<Name[]>('free', 'basic', 'basic-plus', 'pro'),
      hoursLater: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
        const dora = await customer('draftly');
        await dora.buckets();
        let hour = 0;
        for (const { plan, hoursLater } of steps) {
          hour += hoursLater;
          await dora.at(hours(hour));
          if (plan === 'free') await dora.post('cancel', { when: 'now' });
          else await dora.post('plan', { plan, when: 'now' });
        }
        const granted = await dora.events('credits.granted');
        const all = granted.reduce((sum, { credits }) => sum + Number(credits), 0);
        const highest = Math.max(0, ...steps.map(({ plan }) => (plan === 'free' ? 0 : allotments[plan])));
        expect(all).toBe(10 + highest);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  test('the free month after a plan was cancelled, and that plan again', async () => {
    const dora = await customer('draftly');
    await dora.at('2026-03-20T00:00:00.000Z');
    await dora.post('plan', { plan: 'basic' });
    await dora.post('cancel', { when: 'now' });
    await dora.at('2026-04-20T00:00:00.000Z');
    expect(await dora.buckets()).toEqual({ plan: 10 });
    const again = await dora.post('plan/preview', { plan: 'basic' });
    expect(again.body).toMatchObject({ dueNow: 25, creditsNow: 1500, carried: 10 }); // a month of its own, and paid for
    for (let loop = 0; loop < 3; loop += 1) {
      await dora.post('plan', { plan: 'basic' });
      await dora.post('cancel', { when: 'now' });
    }
    expect(await dora.buckets()).toEqual({});
    const granted = await dora.events('credits.granted');
    expect(granted.map(({ credits }) => credits)).toEqual([1500, 10, 1500, 10]);
  });

  test('extending a lease of each day’s credits: a week in all is the most', async () => {
    const ada = await customer();
    const hold = await ada.hold(100);
    const extended = async () => {
      const { body } = await app.call('POST', `/v1/holds/${hold}/extend`, { body: { ttlSeconds: 86_400 } });
      return body['expiresAt'];
    };
    for (let day = 1; day <= 6; day += 1) {
      await ada.at(hours(23 * day));
      expect(await extended()).toBe(hours(23 * day + 24));
    }
    await ada.at(hours(23 * 7));
    expect(await extended()).toBe(hours(24 * 7));
    await ada.at(hours(24 * 7));
    expect((await app.call('GET', `/v1/holds/${hold}`)).body).toMatchObject({
      credits: { held: 0, forfeited: 100 },
    });
  });

  test('holding everything while cancelling: what comes back is forfeited, whoever caused it', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await engine.ledger.run(ada.id, ({ snapshot }) => ({
      op: 'reserve',
      key: 'req:all',
      hash: 'all',
      holdId: `hold_${ada.id}.all`,
      rulesVersion: snapshot.rulesVersion,
      amount: snapshot.available,
      maxOpen: 9,
      ttlSeconds: 600,
      excluded: [],
      reserveBefore: '2100-01-01T00:00:00Z',
      work: {},
    }));
    await ada.post('cancel', { when: 'now' });
    const back = await engine.ledger.run(ada.id, {
      op: 'release',
      key: 'sys:back',
      hash: 'back',
      holdId: `hold_${ada.id}.all`,
      cause: 'provider',
    });
    expect(back).toMatchObject({ returned: 100_000, forfeited: 3_000_000 }); // the day’s are not the plan’s
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
