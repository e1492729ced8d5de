import { toMilli } from '../../../domain/credits';
import { drawFrom } from '../../../domain/access/spendOrder';
import { lotOf, OPENED } from '../snapshots';

const from = (amount: number, lots = LOTS, excluded: string[] = []) => {
  const { draws, spendable } = drawFrom({ lots, now: OPENED, excluded, amount: toMilli(amount) });
  return [...draws.map(({ bucket, milli }) => `${bucket} ${milli / 1000}`), spendable / 1000];
};

const LOTS = [
  lotOf({ lot: 1, bucket: 'pack', rank: 3, granted: 50, expiresAt: 'infinity' }),
  lotOf({ lot: 2, bucket: 'plan', rank: 2, granted: 20, expiresAt: '2026-12-21T09:00:00.000Z' }),
  lotOf({ lot: 3, bucket: 'daily', rank: 1, granted: 10 }),
];

describe('what would pay', () => {
  it('is drawn by rank, each bucket before the next is touched', () => {
    expect(from(10)).toEqual(['daily 10', 80]);
    expect(from(30.5)).toEqual(['daily 10', 'plan 20', 'pack 0.5', 80]);
  });

  it('leaves excluded buckets out', () => {
    expect(from(30.5, LOTS, ['daily'])).toEqual(['plan 20', 'pack 10.5', 70]);
  });

  it('is all there is where that is not enough', () => {
    expect(from(100)).toEqual(['daily 10', 'plan 20', 'pack 50', 80]);
  });

  it('is nothing where nothing is wanted', () => {
    expect(from(0)).toEqual([80]);
  });

  it('within a rank is what expires first, then what is oldest', () => {
    const promo = (lot: number, expiresAt: string) =>
      lotOf({ lot, bucket: `promo-${lot}`, rank: 0, granted: 1, expiresAt });
    const lots = [
      promo(4, 'infinity'),
      promo(3, 'infinity'),
      promo(2, '2026-11-23T00:00:00.000Z'),
      promo(1, '2026-11-24T00:00:00.000Z'),
    ];
    expect(from(4, lots)).toEqual(['promo-2 1', 'promo-1 1', 'promo-3 1', 'promo-4 1', 4]);
  });

  it('is never a lot that has ended, or has nothing left', () => {
    expect(from(5, [lotOf({ granted: 9, expiresAt: OPENED }), lotOf({ granted: 9, available: 0 })])).toEqual([
      0,
    ]);
  });
});
