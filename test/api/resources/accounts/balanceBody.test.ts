import { balanceBody, currentCycle } from '../../../../api/resources/accounts/balanceBody';
import { toMilli } from '../../../../domain/credits';
import { imagineart, parsed, smallest } from '../../../domain/catalogs';
import { lotOf, onPlan, OPENED, type SnapshotChange, snapshotOf } from '../../../domain/snapshots';

const catalog = imagineart();

const body = (change: SnapshotChange = {}, withLots = false) =>
  balanceBody({ snapshot: snapshotOf(change), catalog, withLots });

const bucketOf = (id: string, change: SnapshotChange) =>
  body(change).buckets.find((one) => one.bucket === id);

describe('the balance of a free account', () => {
  const spent40 = { lots: [lotOf({ granted: 100, available: 60 })] };

  it('shows what is left of the day, when it ends, and what the next day gives', () => {
    expect(body(spent40)).toMatchObject({
      account: 'ada',
      asOf: '2026-11-21T09:00:00.000Z',
      available: 60,
      held: 0,
      debt: 0,
      canGenerate: true,
      ways: ['upgrade', 'wait'],
      nextRefreshAt: '2026-11-22T00:00:00.000Z',
    });
    expect(bucketOf('daily', spent40)).toEqual({
      bucket: 'daily',
      label: 'Free credits',
      available: 60,
      held: 0,
      granted: 100,
      percentLeft: 60,
      expiresAt: '2026-11-22T00:00:00.000Z',
      nextRefresh: { at: '2026-11-22T00:00:00.000Z', amount: 100 },
    });
  });

  it('lists every bucket in spend order, also those that are empty', () => {
    expect(body().buckets.map((one) => one.bucket)).toEqual(['promo', 'daily', 'plan', 'pack']);
    expect(bucketOf('pack', {})).toMatchObject({
      available: 0,
      percentLeft: null,
      expiresAt: null,
      nextRefresh: null,
    });
  });

  it('has lots only where they are asked for', () => {
    expect(body(spent40).lots).toBeUndefined();
    expect(body(spent40, true).lots).toMatchObject([
      { id: '1', bucket: 'daily', granted: 100, available: 60 },
    ]);
  });

  it('counts nothing of a lot that has ended and not yet expired in the books', () => {
    const over = { ...spent40, now: '2026-11-22T00:00:00.000Z' };
    expect(body(over)).toMatchObject({ available: 0, canGenerate: false, expiringSoon: [] });
    expect(bucketOf('daily', over)).toMatchObject({ granted: 0, percentLeft: null, expiresAt: null });
  });

  it('warns of what expires within a week, the soonest first', () => {
    const lots = [
      lotOf({ lot: 1, bucket: 'promo', granted: 5, expiresAt: '2026-11-28T09:00:00.000Z' }),
      lotOf({ lot: 2, granted: 100 }),
      lotOf({ lot: 3, bucket: 'promo', granted: 7, expiresAt: '2026-11-28T09:00:00.001Z' }),
      lotOf({ lot: 4, bucket: 'pack', granted: 9, expiresAt: 'infinity' }),
      lotOf({ lot: 5, granted: 9, available: 0 }),
    ];
    expect(body({ lots }).expiringSoon).toEqual([
      { bucket: 'daily', credits: 100, expiresAt: '2026-11-22T00:00:00.000Z' },
      { bucket: 'promo', credits: 5, expiresAt: '2026-11-28T09:00:00.000Z' },
    ]);
  });

  it('cannot generate while it is suspended', () => {
    const suspended = body({ ...spent40, rules: { suspended: true } });
    expect(suspended).toMatchObject({ canGenerate: false, ways: [] });
  });
});

describe('percent left', () => {
  it('is told in the last month of a plan that ends, though nothing follows it', () => {
    const pending = { plan: 'free', source: 'free', interval: null, at: '2026-12-21T09:00:00.000Z' } as const;
    const plan = { bucket: 'plan', source: 'plan:a:1', expiresAt: '2026-12-21T09:00:00.000Z' };
    const lots = [lotOf({ ...plan, granted: 3000, available: 1500 })];
    const rules = { plan: 'basic', planSource: 'admin' as const, planInterval: 'month' as const, pending };
    expect(bucketOf('plan', { lots, rules })).toMatchObject({ nextRefresh: null, percentLeft: 50 });
  });

  it('counts what is held, and is rounded down', () => {
    expect(
      bucketOf('daily', { lots: [lotOf({ granted: 100, available: 33.35, held: 33.3 })] })?.percentLeft,
    ).toBe(66.6);
    expect(bucketOf('daily', { lots: [lotOf({ granted: 100, available: 99.999 })] })?.percentLeft).toBe(99.9);
  });

  it('is never more than all, whatever is still held from yesterday', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 0, held: 50, expiresAt: '2026-11-21T00:00:00.000Z' }),
      lotOf({ lot: 2, granted: 100 }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({
      granted: 100,
      available: 100,
      held: 50,
      percentLeft: 100,
    });
  });

  it('has what came back in its base, though the period did not grant it', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 40 }),
      lotOf({ lot: 2, granted: 20, source: 'return' }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({ granted: 100, available: 60, percentLeft: 50 });
  });

  it('of a bucket that more came back to than was spent is not all there is', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 90 }),
      lotOf({ lot: 2, granted: 50, source: 'return' }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({ available: 140, percentLeft: 93.3 });
  });

  it('does not count what is still held from yesterday as left of today', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 0, held: 50, expiresAt: '2026-11-21T00:00:00.000Z' }),
      lotOf({ lot: 2, granted: 100, available: 60 }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({ granted: 100, held: 50, percentLeft: 60 });
  });

  it('counts nothing of a lot that was ended before its time and is still held', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 0, held: 50, over: true }),
      lotOf({ lot: 2, granted: 100, available: 60 }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({ granted: 100, held: 50, percentLeft: 60 });
  });
});

describe('the next refresh', () => {
  const daily = { calendar: { daily: { date: '2026-11-21', nextAt: '2026-11-22T00:00:00.000Z' } } };

  it('of a bucket is what settle grants it next, and of the balance the first of them', () => {
    const both = parsed(smallest());
    const snapshot = snapshotOf({ ...daily, rules: onPlan('one', { anchor: '2026-10-21T20:00:00.000Z' }) });
    const { buckets, nextRefreshAt } = balanceBody({ snapshot, catalog: both, withLots: false });
    expect(buckets.map(({ bucket, nextRefresh }) => [bucket, nextRefresh])).toEqual([
      ['daily', { at: '2026-11-22T00:00:00.000Z', amount: 10 }],
      ['plan', { at: '2026-11-21T20:00:00.000Z', amount: 100 }],
      ['pack', null],
    ]);
    expect(nextRefreshAt).toBe('2026-11-21T20:00:00.000Z');
  });

  it('is none where nothing is refreshed, and nobody is told to wait', () => {
    const unpaid = body({ rules: onPlan('basic', { planSource: 'stripe', paidUntil: OPENED }) });
    expect(unpaid).toMatchObject({ nextRefreshAt: null, ways: ['buy_pack', 'upgrade'] });
  });

  it('that debt takes whole is one, but nothing to wait for', () => {
    const owing = body({ rules: onPlan('basic'), debt: toMilli(3000) });
    expect(owing).toMatchObject({ nextRefreshAt: '2026-12-21T09:00:00.000Z', ways: ['buy_pack', 'upgrade'] });
    expect(body({ rules: onPlan('basic'), debt: toMilli(2999) }).ways).toContain('wait');
  });

  it('of the cycle that runs is counted from the anchor', () => {
    expect(
      currentCycle(snapshotOf({ rules: onPlan('basic', { anchor: '2026-10-31T12:00:00.000Z' }) })),
    ).toEqual({
      anchor: '2026-10-31T12:00:00.000Z',
      start: '2026-10-31T12:00:00.000Z',
      end: '2026-11-30T12:00:00.000Z',
    });
  });
});
