import * as fc from 'fast-check';
import { add, floorShare, milli, toCredits, toMilli } from '../../domain/credits';

describe('credits', () => {
  it('go to millicredits and back without loss', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (value) => {
        expect(toMilli(toCredits(milli(value)))).toBe(value);
      }),
    );
  });

  it('are read as a person writes them', () => {
    expect([73.5, 0.5, 73.535, 0.001, 0, -2.5].map(toMilli)).toEqual([73_500, 500, 73_535, 1, 0, -2_500]);
  });

  it.each([0.0001, 1.2345, Number.NaN, Number.POSITIVE_INFINITY, 1e16])('are not %d', (value) => {
    expect(() => toMilli(value)).toThrow(RangeError);
  });

  it('are never a fraction of a millicredit', () => {
    expect(() => milli(0.5)).toThrow(RangeError);
    expect(() => milli(2 ** 53)).toThrow(RangeError);
  });

  it('add up without floating point: ten times 0.1 is 1', () => {
    expect(toCredits(add(...Array.from({ length: 10 }, () => toMilli(0.1))))).toBe(1);
    expect(add()).toBe(0);
  });
});

describe('a share', () => {
  it('is rounded down, and exact beyond what a product of doubles can hold', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1e12 }),
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (amount, part, whole) => {
          fc.pre(part <= whole);
          const share = floorShare(milli(amount), part, whole);
          const exact = BigInt(amount) * BigInt(part);
          expect(BigInt(share) * BigInt(whole) <= exact).toBe(true);
          expect((BigInt(share) + 1n) * BigInt(whole) > exact).toBe(true);
        },
      ),
    );
  });

  it('of two thirds of ten credits is 6.666', () => {
    expect(floorShare(toMilli(10), 2, 3)).toBe(6_666);
  });

  it.each([
    [1, 0],
    [-1, 2],
    [0.5, 1],
  ])('is not %d out of %d', (numerator, denominator) => {
    expect(() => floorShare(milli(1), numerator, denominator)).toThrow(RangeError);
  });
});
