import { milli } from '../../../domain/credits';
import {
  daysOf,
  daysAtMost,
  type Dimension,
  percentOf,
  periodRange,
  spansOf,
  type UsageRow,
  withEveryDay,
  withinDay,
} from '../../../domain/books/usage';
import type { AccountRules } from '../../../domain/account';

const ms = (instant: string) => Date.parse(instant);
const range = (from: string, to: string) => ({ fromMs: ms(from), toMs: ms(to) });
const instants = ({ fromMs, toMs }: { fromMs: number; toMs: number }) =>
  [fromMs, toMs].map((at) => new Date(at).toISOString());

describe('periods', () => {
  const snapshot = (now: string, timezone = 'UTC') => ({
    now,
    // Ranges depend on nothing else that decides.
    rules: { timezone, anchor: '2026-01-31T12:00:00.000Z' } as AccountRules,
  });

  test.each([
    ['cycle', '2026-02-28T12:00:00.000Z', '2026-03-31T12:00:00.000Z'],
    ['previous-cycle', '2026-01-31T12:00:00.000Z', '2026-02-28T12:00:00.000Z'],
    ['day', '2026-03-08T15:00:00.000Z', '2026-03-09T15:00:00.000Z'],
    ['7d', '2026-03-02T15:00:00.000Z', '2026-03-09T15:00:00.000Z'],
    ['30d', '2026-02-07T15:00:00.000Z', '2026-03-09T15:00:00.000Z'],
  ] as const)('%s is whole days of the zone, or a whole cycle from the anchor', (period, from, to) => {
    const asked = snapshot('2026-03-08T20:00:00.000Z', 'Asia/Tokyo');
    expect(instants(periodRange({ period, snapshot: asked }))).toEqual([from, to]);
  });

  test('seven days with a change of the clocks are an hour shorter', () => {
    const { fromMs, toMs } = periodRange({
      period: '7d',
      snapshot: snapshot('2026-03-31T10:00:00Z', 'Europe/Berlin'),
    });
    expect((toMs - fromMs) / 3_600_000).toBe(7 * 24 - 1);
  });
});

describe('days', () => {
  test('begin at midnight in the zone, the first one where the range begins', () => {
    const days = daysOf(range('2026-03-28T12:00:00Z', '2026-03-30T22:00:00Z'), 'Europe/Berlin');
    expect(days.map(({ date, startMs }) => [date, new Date(startMs).toISOString()])).toEqual([
      ['2026-03-28', '2026-03-28T12:00:00.000Z'],
      ['2026-03-29', '2026-03-28T23:00:00.000Z'],
      ['2026-03-30', '2026-03-29T22:00:00.000Z'],
    ]);
  });

  test('of an empty range there are none', () => {
    expect(daysOf(range('2026-03-28T12:00:00Z', '2026-03-28T12:00:00Z'), 'UTC')).toEqual([]);
  });

  test('are never more than were estimated', () => {
    const asked = range('2026-10-24T21:59:59Z', '2026-10-26T00:00:00Z');
    const days = daysOf(asked, 'Europe/Berlin');
    expect(days).toHaveLength(3);
    expect(daysAtMost(asked)).toBeGreaterThanOrEqual(days.length);
  });

  test('one day cuts a range, and leaves nothing of one that lies elsewhere', () => {
    const march = range('2026-03-01T12:00:00Z', '2026-03-31T00:00:00Z');
    const cut = (day: string) => instants(withinDay({ range: march, day, zone: 'UTC' }));
    expect(cut('2026-03-02')).toEqual(['2026-03-02T00:00:00.000Z', '2026-03-03T00:00:00.000Z']);
    expect(cut('2026-03-01')).toEqual(['2026-03-01T12:00:00.000Z', '2026-03-02T00:00:00.000Z']);
    for (const elsewhere of ['2026-02-01', '2026-05-01']) {
      const [from, to] = cut(elsewhere);
      expect(from).toBe(to);
    }
  });
});

describe('spans', () => {
  const spans = (from: string, to: string, zone: string) =>
    spansOf(range(from, to), zone).map((day) =>
      day.map((span) => instants(span).map((at) => at.slice(5, 16))),
    );

  test('are whole days, and whole hours where the range begins or ends within one', () => {
    expect(spans('2026-03-01T21:30:00Z', '2026-03-04T01:59:59Z', 'UTC')).toEqual([
      [
        ['03-01T22:00', '03-01T23:00'],
        ['03-01T23:00', '03-02T00:00'],
      ],
      [['03-02T00:00', '03-03T00:00']],
      [['03-03T00:00', '03-04T00:00']],
      [['03-04T00:00', '03-04T01:00']],
    ]);
  });

  test('follow midnight, also where that is at half past, and where a day ends half an hour early', () => {
    expect(spans('2026-03-01T17:10:00Z', '2026-03-01T20:00:00Z', 'Asia/Kolkata')).toEqual([
      [['03-01T17:30', '03-01T18:30']],
      [['03-01T18:30', '03-01T19:30']],
    ]);
    const [lastOfShortDay] = spans('2026-10-04T11:45:00Z', '2026-10-04T13:00:00Z', 'Australia/Lord_Howe');
    expect(lastOfShortDay?.at(-1)).toEqual(['10-04T12:30', '10-04T13:00']);
  });

  test('are none of what is less than an hour, or ends before it begins', () => {
    expect(spans('2026-03-01T10:10:00Z', '2026-03-01T11:50:00Z', 'UTC')).toEqual([]);
    expect(spans('2026-03-02T00:00:00Z', '2026-03-01T00:00:00Z', 'UTC')).toEqual([]);
  });
});

describe('rows', () => {
  const row = (credits: number, ...keys: (string | null)[]): UsageRow => ({
    keys,
    creditsMilli: milli(credits),
    generations: 1,
    outputs: 1,
  });
  const filled = (rows: UsageRow[], groupBy: Dimension[], limit = 100) =>
    withEveryDay({ rows, groupBy, dates: ['2026-03-01', '2026-03-02', '2026-03-03'], limit }).map(
      ({ keys, creditsMilli, generations }) => [...keys, creditsMilli, generations],
    );

  test('that are not days come by credits, equals by name, what has none last', () => {
    const rows = [row(5, null), row(5, 'b'), row(9, 'c'), row(5, 'a'), row(-1, 'd')];
    expect(filled(rows, ['model']).map(([key]) => key)).toEqual(['c', 'a', 'b', null, 'd']);
  });

  test('of days are one for each day, be it of nothing', () => {
    expect(filled([row(7, '2026-03-02')], ['day'])).toEqual([
      ['2026-03-01', 0, 0],
      ['2026-03-02', 7, 1],
      ['2026-03-03', 0, 0],
    ]);
    expect(filled([], ['day'])).toHaveLength(3);
  });

  test('of days and another dimension have each value every day, in one order', () => {
    const rows = [row(1, 'a', '2026-03-01'), row(2, 'b', '2026-03-01'), row(4, 'a', '2026-03-03')];
    expect(filled(rows, ['model', 'day'])).toEqual([
      ['a', '2026-03-01', 1, 1],
      ['b', '2026-03-01', 2, 1],
      ['a', '2026-03-02', 0, 0],
      ['b', '2026-03-02', 0, 0],
      ['a', '2026-03-03', 4, 1],
      ['b', '2026-03-03', 0, 0],
    ]);
    expect(filled([], ['day', 'model'])).toEqual([]);
  });

  test('are no more than asked for', () => {
    const rows = [row(1, '2026-03-01', 'a'), row(2, '2026-03-01', 'b')];
    expect(filled(rows, ['day', 'model'], 3)).toHaveLength(3);
    expect(filled(rows, ['project', 'model'], 1)).toHaveLength(1);
  });
});

test.each([
  [1, 3, 33.33],
  [2, 3, 66.67],
  [-1, 4, -25],
  [5, 0, 0],
  [5, -5, 0],
  [9_007_199_254_740_991, 9_007_199_254_740_991, 100],
])('%i of %i is %d percent', (part, total, percent) => {
  expect(percentOf(milli(part), milli(total))).toBe(percent);
});
