import { balanceBody, bucketRefresh, currentCycle, nextRefresh } from '../../domain/balance';
import { toMilli } from '../../domain/credits';
import { readProduct } from '../products/product';
import { imagineart, parsed, smallest } from './catalogs';
import { lotOf, onPlan, type SnapshotChange, snapshotOf } from './snapshots';

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

  it('counts nothing of a lot that is over and not yet expired in the books', () => {
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
    expect(body({ ...spent40, rules: { suspended: true } }).canGenerate).toBe(false);
  });
});

describe('percent left', () => {
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

  it('does not count what came back as granted anew', () => {
    const lots = [
      lotOf({ lot: 1, granted: 100, available: 40 }),
      lotOf({ lot: 2, granted: 20, source: 'return' }),
    ];
    expect(bucketOf('daily', { lots })).toMatchObject({ granted: 100, available: 60, percentLeft: 60 });
  });
});

describe('the next refresh', () => {
  const daily = catalog.buckets.filter((one) => one.bucket === 'daily');
  const dailyAt = (change: SnapshotChange) =>
    daily.map((bucket) => bucketRefresh({ bucket, snapshot: snapshotOf(change), catalog })?.at);

  it('is local midnight, also on the days that are short or long', () => {
    expect(dailyAt({ now: '2027-03-28T12:00:00.000Z' })).toEqual(['2027-03-28T23:00:00.000Z']);
    expect(dailyAt({ now: '2026-11-21T12:00:00.000Z', rules: { timezone: 'Asia/Tokyo' } })).toEqual([
      '2026-11-21T15:00:00.000Z',
    ]);
  });

  it('is when a change of zone put it, as long as that lies ahead', () => {
    const calendar = { daily: { nextAt: '2026-11-22T15:00:00.000Z' } };
    expect(dailyAt({ calendar })).toEqual(['2026-11-22T15:00:00.000Z']);
    expect(dailyAt({ calendar, now: '2026-11-22T15:00:00.000Z' })).toEqual(['2026-11-23T00:00:00.000Z']);
  });

  it('of a subscriber is that of the cycle', () => {
    const snapshot = snapshotOf({ rules: onPlan('basic', { anchor: '2026-10-31T12:00:00.000Z' }) });
    expect(nextRefresh({ snapshot, catalog })).toEqual({
      at: '2026-11-30T12:00:00.000Z',
      amountMilli: 3_000_000,
    });
    expect(currentCycle(snapshot)).toEqual({
      anchor: '2026-10-31T12:00:00.000Z',
      start: '2026-10-31T12:00:00.000Z',
      end: '2026-11-30T12:00:00.000Z',
    });
  });

  it('is the earliest of several', () => {
    const both = parsed(smallest());
    const snapshot = snapshotOf({ rules: onPlan('one', { anchor: '2026-10-21T20:00:00.000Z' }) });
    expect(nextRefresh({ snapshot, catalog: both })?.at).toBe('2026-11-21T20:00:00.000Z');
  });

  describe('for a price', () => {
    // A basic subscriber of the older terms: 50 credits each midnight, 3,000 at each cycle.
    const snapshot = (debt: number) =>
      snapshotOf({ rules: onPlan('basic'), debt: toMilli(debt), calendar: {} });
    const enough = (required: number, debt = 0) =>
      nextRefresh({
        snapshot: snapshot(debt),
        catalog: readProduct('imagineart-legacy'),
        required: toMilli(required),
      });

    it('is the earliest with which it can be paid: a day’s credits, or the cycle’s and that day’s', () => {
      expect(enough(50)).toEqual({ at: '2026-11-22T00:00:00.000Z', amountMilli: toMilli(50) });
      expect(enough(51)).toEqual({ at: '2026-12-21T09:00:00.000Z', amountMilli: toMilli(3050) });
    });

    it('is the earliest of all where none would do', () => {
      expect(enough(3051)).toEqual({ at: '2026-11-22T00:00:00.000Z', amountMilli: toMilli(50) });
    });

    it('counts what a debt leaves of it; daily credits pay none', () => {
      expect(enough(1050, 2000)).toEqual({ at: '2026-12-21T09:00:00.000Z', amountMilli: toMilli(1050) });
      expect(enough(50, 2000)?.at).toBe('2026-11-22T00:00:00.000Z');
    });
  });

  it('is none where nothing is refreshed', () => {
    const bygone = snapshotOf({ rules: onPlan('bygone') });
    const [plan] = catalog.buckets.filter((one) => one.bucket === 'plan');
    expect(plan && bucketRefresh({ bucket: plan, snapshot: bygone, catalog })).toBeNull();
  });
});
