import * as fc from 'fast-check';
import type { Engine } from '../../../../db/engine';
import type { Catalog } from '../../../../domain/catalog/catalog';
import { milli } from '../../../../domain/credits';
import type { TestApp } from '../../app';
import { type Customers, startCustomers, T0 } from '../../customers';
import { defined } from '../../../../domain/defined';

/** Plans change, end and come back (rules 14, 18-20); that nobody gains by it is farming.test.ts. */

let app: TestApp;
let engine: Engine;
let customer: Customers['customer'];
let close: Customers['close'];

beforeAll(async () => {
  const started = await startCustomers();
  ({ app, engine, customer, close } = started);
  await started.publish('draftly', strict, '2026-03-01T00:00:00.000Z');
});
afterAll(() => close());

/** Draftly under a name of its own, where an upgrade carries nothing. */
const strict = (catalog: Catalog): Catalog => ({
  ...catalog,
  catalog: 'draftly-strict',
  rules: { ...catalog.rules, upgrade: { ...catalog.rules.upgrade, carry: false } },
});
const hours = (n: number) => new Date(Date.parse(T0) + n * 3_600_000).toISOString();

describe('a first subscription', () => {
  test('begins a cycle of its own, grants its month at once, and leaves today’s free credits until midnight', async () => {
    const ada = await customer();
    await ada.buckets();
    await ada.at('2026-03-10T15:00:00.000Z');
    const { status, body } = await ada.post('plan', { plan: 'basic' });
    expect([status, body]).toMatchObject([
      200,
      {
        plan: 'basic',
        subscription: { status: 'active', interval: 'month', pendingChange: null },
        cycle: { start: '2026-03-10T15:00:00.000Z', end: '2026-04-10T15:00:00.000Z' },
      },
    ]);
    expect(await ada.buckets()).toEqual({ daily: 100, plan: 3000 });
    await ada.at('2026-03-11T00:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 3000 });
  });

  test('carries what a free month left, which still ends when it would have', async () => {
    const dora = await customer('draftly');
    expect(await dora.buckets()).toEqual({ plan: 10 });
    await dora.at('2026-04-01T00:00:00.000Z');
    const preview = await dora.post('plan/preview', { plan: 'basic' });
    expect(preview.body).toEqual({
      dueNow: 25,
      creditsNow: 1500,
      carried: 10,
      effectiveAt: '2026-04-01T00:00:00.000Z',
    });
    await dora.post('plan', { plan: 'basic' });
    expect(await dora.buckets()).toEqual({ plan: 1510 });
    await dora.at('2026-04-10T10:00:00.000Z');
    expect(await dora.buckets()).toEqual({ plan: 1500 });
  });

  test('paid for a year grants every month of it, each ending as the next begins', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'standard', interval: 'year' });
    for (let month = 4; month <= 12; month += 1) {
      await ada.at(`2026-${String(month).padStart(2, '0')}-10T10:00:00.000Z`);
      expect(await ada.buckets()).toEqual({ plan: 8000 });
    }
    const grants = await ada.events('credits.granted');
    expect(grants.map(({ at, credits }) => [String(at).slice(0, 7), credits])).toEqual([
      ...['12', '11', '10', '09', '08', '07', '06', '05', '04', '03'].map((month) => [`2026-${month}`, 8000]),
      ['2026-03', 100], // of the day, before it subscribed
    ]);
  });
});

describe('a subscription that begins with a free month', () => {
  test('takes nothing of what that gave off its own credits (rule 19)', async () => {
    const dora = await customer('draftly');
    expect(await dora.buckets()).toEqual({ plan: 10 });
    const preview = await dora.post('plan/preview', { plan: 'basic' });
    expect(preview.body).toMatchObject({ dueNow: 25, creditsNow: 1500, carried: 10 });
    await dora.post('plan', { plan: 'basic' });
    expect(await dora.buckets()).toEqual({ plan: 1510 });
    await dora.at('2026-04-10T10:00:00.000Z');
    expect(await dora.buckets()).toEqual({ plan: 1500 });
  });

  test('gives as much where the free credits were used up', async () => {
    const dora = await customer('draftly');
    await dora.charge(10);
    const preview = await dora.post('plan/preview', { plan: 'pro' });
    expect(preview.body).toMatchObject({ dueNow: 60, creditsNow: 6000, carried: 0 });
    await dora.post('plan', { plan: 'pro' });
    expect(await dora.buckets()).toEqual({ plan: 6000 });
  });

  test('leaves nothing of it where the catalog carries nothing over', async () => {
    const dora = await customer('draftly-strict');
    expect(await dora.buckets()).toEqual({ plan: 10 });
    const preview = await dora.post('plan/preview', { plan: 'basic' });
    expect(preview.body).toMatchObject({ creditsNow: 1500, carried: 0 });
    await dora.post('plan', { plan: 'basic' });
    expect(await dora.buckets()).toEqual({ plan: 1500 });
  });
});

test('a year that is taken later is a year from the cycle that runs then', async () => {
  const ada = await customer();
  await ada.post('plan', { plan: 'standard' });
  await ada.at('2026-12-15T00:00:00.000Z');
  await ada.post('plan', { plan: 'standard', interval: 'year' });
  const { body } = await ada.post('cancel', { when: 'period_end' });
  expect(body['subscription']).toMatchObject({ pendingChange: { at: '2027-12-10T10:00:00.000Z' } });
  await ada.post('resume');
  const shorter = await ada.post('plan', { plan: 'ultimate', interval: 'month' });
  expect(shorter.body).toMatchObject({ code: 'invalid_request', errors: [{ path: 'interval' }] });
});

test('a shorter interval of the same plan forfeits nothing that was held over its beginning', async () => {
  const ada = await customer();
  await ada.post('plan', { plan: 'standard', interval: 'quarter' });
  await ada.post('plan', { plan: 'standard', interval: 'month' });
  await ada.at('2026-06-10T09:00:00.000Z');
  const hold = await ada.hold(1000);
  await ada.at('2026-06-10T10:00:00.000Z');
  expect(await ada.buckets()).toEqual({ plan: 8000 });
  const back = await engine.ledger.run(ada.id, {
    op: 'release',
    key: 'sys:back',
    hash: 'back',
    holdId: hold,
    cause: 'provider',
  });
  expect(back).toMatchObject({ returned: 1_000_000, forfeited: 0 });
  expect((await ada.account())['subscription']).toMatchObject({ interval: 'month', pendingChange: null });
});

test('a higher plan at the end of the period is a renewal to what is held over it: its return is graced', async () => {
  const ada = await customer();
  await ada.post('plan', { plan: 'basic' });
  await ada.post('plan', { plan: 'ultimate', when: 'period_end' });
  await ada.at('2026-04-10T09:00:00.000Z');
  const hold = await ada.hold(1000);
  await ada.at('2026-04-10T10:00:00.000Z');
  expect(await ada.buckets()).toEqual({ plan: 16_000 });
  const back = await engine.ledger.run(ada.id, {
    op: 'release',
    key: 'sys:back',
    hash: 'back',
    holdId: hold,
    cause: 'provider',
  });
  expect(back).toMatchObject({ returned: 1_000_000, forfeited: 0 });
});

test('a change that was worked out before a boundary is worked out again after it', async () => {
  const ada = await customer();
  await ada.post('plan', { plan: 'basic' });
  const before = await engine.ledger.snapshot(ada.id);
  await ada.at('2026-04-10T10:00:00.000Z');
  await ada.buckets();
  const late = await engine.ledger.run(ada.id, {
    op: 'rules',
    key: 'sys:late',
    hash: 'late',
    rules: { calendar: before?.calendar },
    rulesVersion: before?.rulesVersion ?? 0,
    settleVersion: before?.settleVersion ?? 0,
  });
  expect(late?.status).toBe('stale');
});

describe('an upgrade', () => {
  test('adds what the new plan gives more in this slot, beside what is left, which ends at the next reset', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.charge(2500);
    await ada.at('2026-03-20T10:00:00.000Z');
    const preview = await ada.post('plan/preview', { plan: 'ultimate' });
    expect(preview.body).toMatchObject({ creditsNow: 13_000, carried: 600 });
    const before = await ada.account();
    const { body } = await ada.post('plan', { plan: 'ultimate' });
    expect(body['cycle']).toEqual(before['cycle']);
    expect(await ada.buckets()).toEqual({ plan: 13_600 });
    await ada.at('2026-04-10T10:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 16_000 });
  });

  test('costs the difference of the prices for the rest of the period, by the catalog', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.at('2026-03-26T00:00:00.000Z'); // 15 days and 10 hours of 31 are left
    const { body } = await ada.post('plan/preview', { plan: 'standard' });
    expect(body['dueNow']).toBe(8.45); // floor(30 $ of it) - floor(13 $ of it)
    const longer = await ada.post('plan/preview', { plan: 'basic', interval: 'year' });
    expect(longer.body).toMatchObject({
      dueNow: 98.07,
      creditsNow: 0,
      effectiveAt: '2026-03-26T00:00:00.000Z',
    });
    const custom = await ada.post('plan/preview', { plan: 'enterprise' });
    expect(custom.body).toMatchObject({ dueNow: null, creditsNow: 497_000 });
  });

  test('asked for again under its key is not done again', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' }, 'first');
    const once = await ada.post('plan', { plan: 'ultimate' }, 'second');
    const again = await ada.post('plan', { plan: 'ultimate' }, 'second');
    expect([again.status, again.body, again.headers.get('idempotent-replayed')]).toEqual([
      200,
      once.body,
      'true',
    ]);
    const other = await ada.post('plan', { plan: 'basic' }, 'second');
    expect(other.body['code']).toBe('idempotency_conflict');
    expect(await ada.buckets()).toEqual({ daily: 100, plan: 16_000 });
  });
});

describe('less', () => {
  test('comes at the end of the period, with nothing carried, and can be taken back until then', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'ultimate' });
    const preview = await ada.post('plan/preview', { plan: 'basic' });
    const end = '2026-04-10T10:00:00.000Z';
    expect(preview.body).toEqual({ dueNow: 0, creditsNow: 0, carried: 0, effectiveAt: end });
    const { body } = await ada.post('plan', { plan: 'basic' });
    expect(body).toMatchObject({
      plan: 'ultimate',
      subscription: { status: 'active', pendingChange: { plan: 'basic', at: end } },
    });
    expect((await ada.post('resume')).body['subscription']).toMatchObject({ pendingChange: null });
    await ada.post('plan', { plan: 'basic' });
    await ada.charge(1000);
    await ada.at(end);
    expect(await ada.buckets()).toEqual({ plan: 3000 });
    expect(await ada.account()).toMatchObject({
      plan: 'basic',
      subscription: { status: 'active', pendingChange: null },
    });
  });

  test('of a yearly plan waits for the end of the year', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'ultimate', interval: 'year' });
    await ada.at('2026-06-01T00:00:00.000Z');
    const { body } = await ada.post('plan', { plan: 'ultimate', interval: 'month' });
    expect(body['subscription']).toMatchObject({
      interval: 'year',
      pendingChange: { plan: 'ultimate', at: '2027-03-10T10:00:00.000Z' },
    });
    await ada.at('2027-03-10T10:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 16_000 });
    expect((await ada.account())['subscription']).toMatchObject({ interval: 'month', pendingChange: null });
  });

  test('at once leaves no plan credits until the next slot', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'ultimate' });
    await ada.post('plan', { plan: 'basic', when: 'now' });
    expect(await ada.buckets()).toEqual({ daily: 100 });
    await ada.at('2026-04-10T10:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 3000 });
  });
});

describe('a subscription that is cancelled', () => {
  test('runs to the end of what is paid, then lapses: packs stay, daily credits come back, a year later too', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'standard', interval: 'quarter' });
    await engine.ledger.run(ada.id, {
      op: 'grant',
      key: 'sys:pack:p1',
      hash: 'p1',
      bucket: 'pack',
      rank: 3,
      source: 'pack:p1',
      amount: milli(8_000_000),
    });
    const { body } = await ada.post('cancel', { when: 'period_end' });
    const end = '2026-06-10T10:00:00.000Z';
    expect(body['subscription']).toEqual({
      status: 'canceling',
      interval: 'quarter',
      paidUntil: null,
      pendingChange: { plan: 'free', at: end },
    });
    await ada.at('2026-06-10T09:59:59.999Z');
    expect(await ada.buckets()).toEqual({ plan: 8000, pack: 8000 });
    await ada.at(end);
    expect(await ada.buckets()).toEqual({ daily: 100, pack: 8000 });
    expect(await ada.account()).toMatchObject({
      plan: 'free',
      subscription: { status: 'lapsed', interval: null, pendingChange: null },
    });
    await ada.at('2027-06-10T09:59:59.999Z');
    expect(await ada.buckets()).toEqual({ daily: 100, pack: 8000 });
    const refused = await app.call('POST', '/v1/charges', {
      idempotencyKey: 'pro',
      body: { account: ada.id, action: 'image', model: 'nano-banana-pro' },
    });
    expect(refused.body['code']).toBe('plan_required');
    await ada.post('plan', { plan: 'basic' });
    expect((await ada.account())['cycle']).toMatchObject({ start: '2027-06-10T09:59:59.999Z' });
    expect(await ada.buckets()).toEqual({ daily: 100, plan: 3000, pack: 8000 });
  });

  test('may be resumed until it has ended', async () => {
    const ada = await customer();
    await ada.post('plan', { plan: 'basic' });
    await ada.post('cancel', { when: 'period_end' });
    expect((await ada.post('resume')).body['subscription']).toMatchObject({ status: 'active' });
    await ada.at('2026-04-10T10:00:00.000Z');
    expect(await ada.buckets()).toEqual({ plan: 3000 });
    await ada.post('cancel', { when: 'now' });
    expect((await ada.post('resume')).body['code']).toBe('no_subscription');
    expect((await ada.post('cancel', { when: 'now' })).body['code']).toBe('no_subscription');
  });
});

test('a preview says exactly what then happens', async () => {
  const plans = { imagineart: ['free', 'basic', 'standard', 'ultimate'], draftly: ['free', 'basic', 'pro'] };
  const step = fc.record({
    plan: fc.nat(3),
    interval: fc.constantFrom('month', 'quarter', 'year'),
    when: fc.constantFrom(undefined, 'now', 'period_end'),
    spend: fc.integer({ min: 0, max: 4000 }),
    hoursLater: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 24 * 50 })),
  });
  const product = fc.constantFrom('imagineart', 'draftly');
  const total = (buckets: Record<string, number>) => buckets['plan'] ?? 0;
  await fc.assert(
    fc.asyncProperty(product, fc.array(step, { minLength: 1, maxLength: 8 }), async (catalog, steps) => {
      const ada = await customer(catalog);
      let hour = 0;
      for (const { plan: n, interval, when, spend, hoursLater } of steps) {
        const plan = plans[catalog][n % plans[catalog].length];
        hour += hoursLater;
        await ada.at(hours(hour));
        const before = total(await ada.buckets());
        if (spend > 0 && spend < before) await ada.charge(spend);
        const left = total(await ada.buckets());
        const wanted = { plan, interval, ...defined({ when }) };
        const preview = await ada.post('plan/preview', wanted);
        const was = await ada.account();
        const done = await ada.post('plan', wanted);
        expect(done.status).toBe(preview.status);
        if (done.status !== 200) continue;
        const { creditsNow, carried, effectiveAt } = preview.body;
        const now = total(await ada.buckets());
        const pending = (done.body['subscription'] as { pendingChange: { at: string } | null }).pendingChange;
        const changed = done.body['plan'] !== was['plan'];
        // At once the old plan's credits are carried or gone; before the end of the period they are as they were.
        const kept = changed ? Number(carried) : left;
        expect({ now, at: pending?.at ?? effectiveAt }).toEqual({
          now: kept + Number(creditsNow),
          at: effectiveAt,
        });
      }
    }),
    { numRuns: 40 },
  );
}, 120_000);

test.each([
  ['plan', { plan: 'gold' }, 'unknown_plan'],
  ['plan', { plan: 'basic', interval: 'week' }, 'invalid_request'],
  ['plan', { plan: 'basic', when: 'period_end' }, 'invalid_request'],
  ['plan', { plan: 'basic', when: 'later' }, 'invalid_request'],
  ['cancel', { when: 'period_end' }, 'no_subscription'],
  ['cancel', {}, 'invalid_request'],
  ['resume', {}, 'no_subscription'],
])('%s %j is refused as %s, and nothing changes', async (what, body, code) => {
  const ada = await customer();
  const before = await ada.account();
  expect((await ada.post(what, body)).body['code']).toBe(code);
  expect(await ada.account()).toEqual(before);
});

test('a plan is sold by the intervals of its prices', async () => {
  const dora = await customer('draftly');
  const { body } = await dora.post('plan', { plan: 'basic', interval: 'quarter' });
  expect(body).toMatchObject({ code: 'invalid_request', errors: [{ path: 'interval' }] });
  expect(body['detail']).toContain('month, year');
});
