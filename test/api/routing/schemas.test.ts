import * as fc from 'fast-check';
import { z } from 'zod';
import { listFields, page } from '../../../api/routing/pagination';
import {
  boundedJson,
  creditsIn,
  dayOrInstant,
  instantIn,
  instantOf,
  instantOut,
  shown,
  signedCreditsIn,
} from '../../../api/routing/schemas';
import { seal, unseal } from '../../../api/routing/seal';
import { defined } from '../../../domain/defined';

test.each([
  [0.5, 500],
  [73.535, 73535],
  [1_000_000_000, 1_000_000_000_000],
])('%d credits are %d millicredits', (credits, milli) => {
  expect(creditsIn.parse(credits)).toBe(milli);
});

test.each([0, -1, 0.0001, 1_000_000_000.001, Number.NaN, Number.POSITIVE_INFINITY, '5', null])(
  '%p is not an amount of credits to reserve',
  (credits) => {
    expect(creditsIn.safeParse(credits).success).toBe(false);
  },
);

test('an adjustment may take, and may not be nothing', () => {
  expect(signedCreditsIn.parse(-2.5)).toBe(-2500);
  expect(signedCreditsIn.safeParse(0).success).toBe(false);
  expect(signedCreditsIn.safeParse(-1_000_000_001).success).toBe(false);
});

test('instants come with any offset and are shown in UTC with milliseconds', () => {
  const at = instantIn.parse('2026-03-01T10:00:00+02:00');
  expect(shown(at)).toBe('2026-03-01T08:00:00.000Z');
  expect(instantOut.safeParse(shown(at)).success).toBe(true);
  expect(instantIn.safeParse('2026-03-01').success).toBe(false);
});

test('the end of a range is a day in the account’s zone, or an instant', () => {
  const given = (text: string) => shown(instantOf(dayOrInstant.parse(text), 'America/New_York'));
  expect(given('2026-03-01')).toBe('2026-03-01T05:00:00.000Z');
  expect(given('2026-03-01T10:00:00Z')).toBe('2026-03-01T10:00:00.000Z');
});

test.each(['0000-12-31T23:59:59Z', '9999-12-31T23:59:59-00:01', '10000-01-01T00:00:00Z'])(
  'no instant lies in such a year: %s',
  (text) => {
    expect(instantIn.safeParse(text).success).toBe(false);
  },
);

test('opaque JSON is bounded by its bytes, not its characters', () => {
  const bounded = boundedJson(z.unknown(), 10);
  expect(bounded.safeParse('12345678').success).toBe(true);
  expect(bounded.safeParse('€€€€').success).toBe(false);
});

test('pages of any size go through a list once, in its order', () => {
  const place = z.object({ after: z.number() });
  const query = z.strictObject(listFields(place));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 20 }), (size, limit) => {
      const all = Array.from({ length: size }, (_item, index) => index);
      const seen: number[] = [];
      let cursor: string | null | undefined;
      while (cursor !== null) {
        const asked = query.parse({ limit, ...defined({ cursor }) });
        const start = asked.cursor === undefined ? 0 : asked.cursor.after + 1;
        const rows = all.slice(start, start + asked.limit + 1);
        const shownPage = page({
          rows,
          limit: asked.limit,
          place: (after) => ({ after }),
          show: (row) => row,
        });
        seen.push(...shownPage.data);
        cursor = shownPage.nextCursor;
      }
      expect(seen).toEqual(all);
    }),
  );
});

test('a cursor whose text the database could not take is none of this list', () => {
  const query = z.strictObject(listFields(z.object({ id: z.string() })));
  const cursor = (id: string) => Buffer.from(JSON.stringify({ id })).toString('base64url');
  expect(query.parse({ cursor: cursor('a') }).cursor).toEqual({ id: 'a' });
  expect(query.safeParse({ cursor: cursor('a\0') }).success).toBe(false);
});

test('a sealed answer opens for the key that sealed it and for no other', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (text, bearer, other) => {
      fc.pre(bearer !== other);
      const sealed = seal(text, bearer);
      expect(unseal(sealed, bearer)).toBe(Buffer.from(text).toString());
      expect(unseal(sealed, other)).toBeNull();
    }),
    { numRuns: 30 },
  );
});
