import * as fc from 'fast-check';
import {
  cycleNumber,
  cycleStart,
  dateStart,
  dayStart,
  firstResetAfterZoneChange,
  isTimezone,
  localDate,
  nextMidnight,
} from '../../../domain/time/calendar';
import { type TestDatabase, testDatabase } from '../../support/database';

/**
 * The calendar against another one that knows nothing of it: Postgres, with its own arithmetic of months and its own
 * time zone data. What begins when is found there by looking at every minute, which is slow and cannot be wrong.
 *
 * The two may have the tz database in different versions. Where they disagree about what the clocks say around an
 * instant, that instant says nothing about our arithmetic: it is left out, counted, and there may be only few.
 */

let database: TestDatabase;
/** Every zone that both know. */
let zones: string[];

beforeAll(async () => {
  database = await testDatabase();
  const names = await rows<{ name: string }>('SELECT name FROM pg_timezone_names ORDER BY name', []);
  zones = names.map(({ name }) => name).filter(isTimezone);
});
afterAll(() => database.close());

async function rows<T extends object>(sql: string, values: unknown[]): Promise<T[]> {
  return (await database.db.pool.query<T>(sql, values)).rows;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const FROM = Date.parse('2009-01-01T00:00:00Z');
const TO = Date.parse('2032-01-01T00:00:00Z');
/** Cycles count in milliseconds, days begin on minutes. */
const instant = fc.integer({ min: FROM, max: TO });
const minute = fc.integer({ min: FROM / MINUTE_MS, max: TO / MINUTE_MS }).map((n) => n * MINUTE_MS);

describe('cycles are anchor + n months', () => {
  const months = fc.integer({ min: -120, max: 600 });
  /** The 29th to the 31st, at the edges of months: where the day is clamped. */
  const monthEnd = fc
    .record({
      year: fc.integer({ min: 2019, max: 2033 }),
      month: fc.integer({ min: 0, max: 11 }),
      day: fc.integer({ min: 28, max: 31 }),
      ms: fc.integer({ min: 0, max: 24 * HOUR_MS - 1 }),
    })
    .map(({ year, month, day, ms }) => Date.UTC(year, month, day) + ms);
  const cases = fc.array(fc.record({ anchor: fc.oneof(monthEnd, instant), n: months }), {
    minLength: 100,
    maxLength: 100,
  });

  async function starts(all: readonly { anchor: number; n: number }[]): Promise<number[]> {
    const found = await rows<{ ms: number }>(
      `SELECT (extract(epoch FROM to_timestamp(anchor / 1000.0) + n * interval '1 month') * 1000)::bigint AS ms
         FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY c (anchor, n, i) ORDER BY i`,
      [all.map(({ anchor }) => anchor), all.map(({ n }) => n)],
    );
    return found.map(({ ms }) => ms);
  }

  test('begin where Postgres has them', () =>
    fc.assert(
      fc.asyncProperty(cases, async (all) => {
        expect(all.map(({ anchor, n }) => cycleStart(anchor, n))).toEqual(await starts(all));
      }),
      { numRuns: 50 },
    ));

  test('contain their first millisecond and not their last plus one', () =>
    fc.assert(
      fc.asyncProperty(cases, async (all) => {
        const [from, to] = [
          await starts(all),
          await starts(all.map(({ anchor, n }) => ({ anchor, n: n + 1 }))),
        ];
        all.forEach(({ anchor, n }, i) => {
          const numbers = [from[i] ?? 0, (to[i] ?? 0) - 1, to[i] ?? 0].map((at) => cycleNumber(anchor, at));
          expect({ anchor, numbers }).toEqual({ anchor, numbers: [n, n, n + 1] });
        });
      }),
      { numRuns: 20 },
    ));
});

interface Moment {
  zone: string;
  at: number;
}

interface Window {
  /** When a date began in the zone, in order: where the date is another than a minute before. */
  begins: { ms: number; date: string }[];
  /** What Postgres' clocks are ahead of UTC, in minutes, hour by hour. */
  offsets: number[];
}

const BEFORE_H = 30;

/**
 * What Postgres says of the time from 30 hours before each moment on. A date begins at the midnight of some offset that
 * is in force about then, or when the clocks are changed: those minutes are looked at, and Postgres says which they are.
 */
async function windowsOf(moments: readonly Moment[], afterHours: number): Promise<Window[]> {
  return rows<Window>(
    `SELECT o.offsets, b.begins
       FROM (SELECT zone, to_timestamp(ms / 1000) - interval '${BEFORE_H} hours' AS lo, to_timestamp(ms / 1000) + interval '${afterHours} hours' AS hi, i
               FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY c (zone, ms, i)) c
      CROSS JOIN LATERAL (
        SELECT array_agg((extract(epoch FROM (h AT TIME ZONE zone) - (h AT TIME ZONE 'UTC')) / 60)::int ORDER BY h) AS offsets
          FROM generate_series(lo, hi, '1 hour') h) o
      CROSS JOIN LATERAL (
        SELECT json_agg(json_build_object('ms', (extract(epoch FROM m) * 1000)::bigint, 'date', date) ORDER BY m) AS begins
          FROM (SELECT m, (m AT TIME ZONE zone)::date AS date, ((m - interval '1 minute') AT TIME ZONE zone)::date AS before
                  FROM (SELECT d - make_interval(mins => ahead) AS m
                          FROM generate_series(date_trunc('day', lo) - interval '1 day', hi + interval '1 day', '1 day') d, unnest(o.offsets) ahead
                         UNION
                        SELECT lo + make_interval(hours => n - 1, mins => k) FROM generate_series(1, cardinality(o.offsets) - 1) n, generate_series(0, 60) k
                         WHERE o.offsets[n] <> o.offsets[n + 1]) candidates) v
         WHERE date <> before AND m BETWEEN lo AND hi) b
      ORDER BY i`,
    [moments.map(({ zone }) => zone), moments.map(({ at }) => at)],
  );
}

/** What the platform's clocks are ahead of UTC, in minutes; by Intl and not by what the calendar is made of. */
function platformOffset(zone: string, at: number): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  const part = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 0, day = 0, hour = 0, minute: minutes = 0 } = part;
  return (Date.UTC(year, month - 1, day, hour, minutes) - at) / MINUTE_MS;
}

interface Compared extends Moment {
  ours: unknown;
  theirs: unknown;
}

/** What differs though the clocks are the same, and how many cannot be compared because the clocks are not. */
function differences(all: readonly Compared[], windows: readonly Window[]) {
  const differing = all.flatMap((one, i) => {
    const same = JSON.stringify(one.ours) === JSON.stringify(one.theirs);
    return same ? [] : [{ ...one, offsets: windows[i]?.offsets ?? [] }];
  });
  const isComparable = ({ zone, at, offsets }: (typeof differing)[number]) =>
    offsets.every((offset, h) => platformOffset(zone, at + (h - BEFORE_H) * HOUR_MS) === offset);
  const wrong = differing
    .filter(isComparable)
    .map(({ zone, at, ours, theirs }) => ({ zone, at, ours, theirs }));
  return { wrong, leftOut: differing.length - wrong.length };
}

async function compareDays(moments: readonly Moment[]) {
  const windows = await windowsOf(moments, 30);
  const all = moments.map(({ zone, at }, i) => {
    const begins = windows[i]?.begins ?? [];
    const date = begins.findLast(({ ms }) => ms <= at)?.date ?? '';
    // A date that comes back, because the clocks went behind its midnight, began the first time.
    const start = begins.find((begin) => begin.date === date)?.ms;
    const next = begins.find((begin) => begin.ms > at && begin.date > date)?.ms;
    const theirs = { date, start, next, ofDate: start };
    const ours = {
      date: localDate(at, zone),
      start: dayStart(at, zone),
      next: nextMidnight(at, zone),
      ofDate: dateStart(localDate(at, zone), zone),
    };
    return { zone, at, ours, theirs };
  });
  return differences(all, windows);
}

/** Governments change what is ahead (Morocco's from 2026 on is another since tz 2026c); what was before is the same in each version. */
const SETTLED_UNTIL = Date.parse('2025-01-01T00:00:00Z');

/** Data of different versions differ in a few zones; were it many, this test would say nothing. */
const MAX_LEFT_OUT = 0.03;

describe('days', () => {
  test('both know hundreds of zones', () => {
    expect(zones.length).toBeGreaterThan(400);
  });

  test('are those of Postgres, in every zone', async () => {
    let leftOut = 0;
    const runs = 5;
    const ats = fc.array(minute, { minLength: zones.length, maxLength: zones.length });
    await fc.assert(
      fc.asyncProperty(ats, async (all) => {
        const found = await compareDays(zones.map((zone, i) => ({ zone, at: all[i] ?? FROM })));
        expect(found.wrong).toEqual([]);
        leftOut += found.leftOut;
      }),
      { numRuns: runs, endOnFailure: true },
    );
    expect(leftOut / (runs * zones.length)).toBeLessThan(MAX_LEFT_OUT);
  });

  /** Skipped and repeated midnights, half hours, two hours, a day left out, and clocks changed for Ramadan. */
  const ODD = [
    'Europe/London',
    'America/New_York',
    'America/Havana',
    'America/Santiago',
    'America/Sao_Paulo',
    'America/Asuncion',
    'America/St_Johns',
    'America/Nuuk',
    'Atlantic/Azores',
    'Africa/Cairo',
    'Africa/Casablanca',
    'Asia/Beirut',
    'Asia/Gaza',
    'Asia/Amman',
    'Asia/Tehran',
    'Antarctica/Troll',
    'Australia/Lord_Howe',
    'Pacific/Apia',
  ];

  test.each(ODD)('%s: whenever its clocks are changed, before and after', async (zone) => {
    const changes = await rows<{ ms: number }>(
      `SELECT (extract(epoch FROM h) * 1000)::bigint AS ms
         FROM (SELECT h, (h AT TIME ZONE $1) - (h AT TIME ZONE 'UTC') AS o,
                      lag((h AT TIME ZONE $1) - (h AT TIME ZONE 'UTC')) OVER (ORDER BY h) AS was
                 FROM generate_series(to_timestamp($2), to_timestamp($3), '1 hour') h) v WHERE o <> was`,
      [zone, FROM / 1000, TO / 1000],
    );
    const around = [-25, -24, -3, -2, -1.5, -1, -0.5, -1 / 60, 0, 1 / 60, 0.5, 1, 1.5, 2, 3, 23, 24, 25];
    const moments = changes.flatMap(({ ms }) => around.map((hours) => ({ zone, at: ms + hours * HOUR_MS })));
    expect(changes.length).toBeGreaterThan(0);
    const settled = moments.filter(({ at }) => at < SETTLED_UNTIL);
    expect(settled.length).toBeGreaterThan(0);
    const { wrong, leftOut } = await compareDays(settled);
    expect(wrong).toEqual([]);
    expect(leftOut / settled.length).toBeLessThan(0.1);
    const ahead = await compareDays(moments.filter(({ at }) => at >= SETTLED_UNTIL));
    expect(ahead.wrong).toEqual([]);
  });

  test('of places that are known for theirs', async () => {
    const known: [string, string, string, string][] = [
      // zone, an instant, when its day began, when the next begins
      ['Australia/Lord_Howe', '2026-04-04T20:00:00Z', '2026-04-04T13:00:00Z', '2026-04-05T13:30:00Z'],
      ['Pacific/Apia', '2011-12-30T08:00:00Z', '2011-12-29T10:00:00Z', '2011-12-30T10:00:00Z'],
      ['America/Havana', '2026-11-01T05:30:00Z', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z'],
      ['Antarctica/Troll', '2026-03-29T12:00:00Z', '2026-03-29T00:00:00Z', '2026-03-29T22:00:00Z'],
      ['Africa/Casablanca', '2026-02-15T12:00:00Z', '2026-02-14T23:00:00Z', '2026-02-16T00:00:00Z'],
      ['America/St_Johns', '2010-11-07T02:45:00Z', '2010-11-06T02:30:00Z', '2010-11-07T03:30:00Z'],
    ];
    for (const [zone, at, start, next] of known) {
      const ms = Date.parse(at);
      const days = [dayStart(ms, zone), nextMidnight(ms, zone)].map((day) => new Date(day).toISOString());
      expect([zone, ...days]).toEqual([zone, ...[start, next].map((text) => new Date(text).toISOString())]);
    }
    const moments = known.map(([zone, at]) => ({ zone, at: Date.parse(at) }));
    expect(await compareDays(moments)).toEqual({ wrong: [], leftOut: 0 });
  });
});

describe('a change of zone', () => {
  test('takes effect at the first midnight of the new zone at least 20 hours after the last reset', async () => {
    let leftOut = 0;
    const [runs, size] = [5, 300];
    const change = fc.record({ from: fc.nat(), to: fc.nat(), at: minute });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: size, maxLength: size }), async (all) => {
        const zoneOf = (n: number) => zones[n % zones.length] ?? 'UTC';
        const resets = all.map(({ from, to, at }) => ({ zone: zoneOf(to), at: dayStart(at, zoneOf(from)) }));
        const windows = await windowsOf(resets, 50);
        const compared = resets.map(({ zone, at }, i) => {
          const isNew = (begin: { ms: number; date: string }, n: number, begins: Window['begins']) =>
            begin.ms >= at + 20 * HOUR_MS && begin.date > (begins[n - 1]?.date ?? '');
          const theirs = windows[i]?.begins.find(isNew)?.ms;
          const ours = firstResetAfterZoneChange({ lastResetMs: at, nowMs: at, zone });
          return { zone, at, ours, theirs };
        });
        const found = differences(compared, windows);
        expect(found.wrong).toEqual([]);
        leftOut += found.leftOut;
      }),
      { numRuns: runs, endOnFailure: true },
    );
    expect(leftOut / (runs * size)).toBeLessThan(MAX_LEFT_OUT);
  });
});
