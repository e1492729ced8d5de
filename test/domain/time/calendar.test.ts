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

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const iso = (ms: number) => new Date(ms).toISOString();
const starts = (anchor: string, count: number) =>
  Array.from({ length: count }, (_, n) => iso(cycleStart(Date.parse(anchor), n)));

/** Among them zones that skip or repeat midnight, one that lost a day, and odd offsets. */
const ZONES = [
  'UTC',
  'Europe/London',
  'America/New_York',
  'America/Sao_Paulo',
  'America/Santiago',
  'America/Asuncion',
  'America/Havana',
  'America/St_Johns',
  'Africa/Cairo',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'Pacific/Honolulu',
];
const zone = fc.constantFrom(...ZONES);
const instant = fc.integer({
  min: Date.parse('2010-01-01T00:00:00Z'),
  max: Date.parse('2032-01-01T00:00:00Z'),
});

/** The calendar date as the platform itself has it, without luxon. */
function dateOf(ms: number, timeZone: string): string {
  return new Intl.DateTimeFormat('en-CA', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  }).format(ms);
}

describe('cycles', () => {
  it('from the 31st are clamped to the month’s last day, and never chained', () => {
    expect(starts('2027-01-31T09:30:00.000Z', 5)).toEqual([
      '2027-01-31T09:30:00.000Z',
      '2027-02-28T09:30:00.000Z',
      '2027-03-31T09:30:00.000Z',
      '2027-04-30T09:30:00.000Z',
      '2027-05-31T09:30:00.000Z',
    ]);
  });

  it('know leap years', () => {
    expect(iso(cycleStart(Date.parse('2028-01-30T00:00:00Z'), 1))).toBe('2028-02-29T00:00:00.000Z');
    expect(iso(cycleStart(Date.parse('2028-02-29T00:00:00Z'), 12))).toBe('2029-02-28T00:00:00.000Z');
    expect(iso(cycleStart(Date.parse('2028-02-29T00:00:00Z'), 48))).toBe('2032-02-29T00:00:00.000Z');
  });

  it('go back before the anchor too', () => {
    expect(iso(cycleStart(Date.parse('2027-03-31T00:00:00Z'), -1))).toBe('2027-02-28T00:00:00.000Z');
  });

  it('begin exactly at their first millisecond', () => {
    const anchor = Date.parse('2027-01-31T09:30:00Z');
    const start = cycleStart(anchor, 1);
    expect([start - 1, start].map((at) => cycleNumber(anchor, at))).toEqual([0, 1]);
  });

  it('cover time without gap or overlap, one per calendar month', () => {
    fc.assert(
      fc.property(instant, instant, (anchor, at) => {
        const n = cycleNumber(anchor, at);
        expect(cycleStart(anchor, n) <= at && at < cycleStart(anchor, n + 1)).toBe(true);
        const [a, b] = [new Date(anchor), new Date(cycleStart(anchor, n))];
        const months = (b.getUTCFullYear() - a.getUTCFullYear()) * 12 + b.getUTCMonth() - a.getUTCMonth();
        expect(months).toBe(n);
        const lastOfMonth = new Date(Date.UTC(b.getUTCFullYear(), b.getUTCMonth() + 1, 0)).getUTCDate();
        expect(b.getUTCDate()).toBe(Math.min(a.getUTCDate(), lastOfMonth));
        expect(b.getTime() % DAY_MS).toBe(a.getTime() % DAY_MS);
      }),
    );
  });
});

describe('days', () => {
  it('have 23 hours when the clocks go forward and 25 when they go back', () => {
    const hours = (noon: string) => {
      const at = Date.parse(noon);
      return (nextMidnight(at, 'Europe/London') - dayStart(at, 'Europe/London')) / HOUR_MS;
    };
    expect(['2027-03-28T12:00Z', '2027-06-01T12:00Z', '2027-10-31T12:00Z'].map(hours)).toEqual([23, 24, 25]);
  });

  it('begin at one o’clock where midnight is skipped', () => {
    const at = Date.parse('2026-04-23T12:00:00Z'); // the eve of summer time in Egypt
    expect(iso(nextMidnight(at, 'Africa/Cairo'))).toBe('2026-04-23T22:00:00.000Z');
    expect(localDate(Date.parse('2026-04-23T22:00:00Z'), 'Africa/Cairo')).toBe('2026-04-24');
    expect(localDate(Date.parse('2026-04-23T21:59:59.999Z'), 'Africa/Cairo')).toBe('2026-04-23');
  });

  it('pass over a date that a zone left out', () => {
    const at = Date.parse('2011-12-30T08:00:00Z'); // 29 December in Samoa, which then crossed the date line
    expect(localDate(at, 'Pacific/Apia')).toBe('2011-12-29');
    expect(localDate(nextMidnight(at, 'Pacific/Apia'), 'Pacific/Apia')).toBe('2011-12-31');
  });

  it('have the date the platform has', () => {
    fc.assert(
      fc.property(instant, zone, (at, name) => {
        expect(localDate(at, name)).toBe(dateOf(at, name));
      }),
    );
  });

  it('contain every instant once: start <= at < next midnight, and only there the date changes', () => {
    fc.assert(
      fc.property(instant, zone, (at, name) => {
        const [start, end] = [dayStart(at, name), nextMidnight(at, name)];
        expect(start <= at && at < end).toBe(true);
        expect([dateOf(start, name), dateOf(end - 1, name)]).toEqual([dateOf(at, name), dateOf(at, name)]);
        expect(dateOf(start - 1, name) < dateOf(at, name)).toBe(true);
        expect(dateOf(end, name) > dateOf(at, name)).toBe(true);
        expect(dayStart(end, name)).toBe(end);
      }),
      { numRuns: 500 },
    );
  });

  it('begin with the first midnight where it comes twice', () => {
    const at = Date.parse('2026-10-31T16:00:00Z'); // the eve of winter time in Cuba: 01:00 becomes 00:00
    expect(iso(nextMidnight(at, 'America/Havana'))).toBe('2026-11-01T04:00:00.000Z');
    expect(iso(dayStart(Date.parse('2026-11-01T04:30:00Z'), 'America/Havana'))).toBe(
      '2026-11-01T04:00:00.000Z',
    );
    expect(iso(nextMidnight(Date.parse('2026-11-01T05:30:00Z'), 'America/Havana'))).toBe(
      '2026-11-02T05:00:00.000Z',
    );
  });

  it('end where the date changes, also on every day that has not 24 hours', () => {
    const odd = ZONES.flatMap((name) => oddDays(name).map((day) => ({ name, ...day })));
    expect(odd.length).toBeGreaterThan(40);
    for (const { name, start, end } of odd) {
      const date = dateOf(start, name);
      expect({ name, start: dateStart(date, name) }).toEqual({ name, start });
      expect({ name, last: dateOf(end - 1, name) }).toEqual({ name, last: date });
      expect(dateOf(end, name) > date && dateOf(start - 1, name) < date).toBe(true);
    }
  });
});

/** Days of three years that the clocks made shorter or longer. */
function oddDays(name: string): { start: number; end: number }[] {
  const days = [];
  let start = dayStart(Date.parse('2018-01-01T12:00:00Z'), name);
  for (let n = 0; n < 3 * 365; n += 1) {
    const end = nextMidnight(start, name);
    if (end - start !== DAY_MS) days.push({ start, end });
    start = end;
  }
  return days;
}

describe('a change of zone', () => {
  it('takes effect at the first new midnight at least 20 hours after the last reset', () => {
    const change = (from: string, to: string) =>
      iso(
        firstResetAfterZoneChange({
          lastResetMs: Date.parse(from),
          nowMs: Date.parse(from) + HOUR_MS,
          zone: to,
        }),
      );
    expect(change('2026-11-21T00:00:00Z', 'America/New_York')).toBe('2026-11-22T05:00:00.000Z');
    expect(change('2026-11-21T00:00:00Z', 'Asia/Tokyo')).toBe('2026-11-22T15:00:00.000Z');
    // Exactly 20 hours later it is midnight at UTC+4.
    expect(change('2026-11-21T00:00:00Z', 'Asia/Dubai')).toBe('2026-11-21T20:00:00.000Z');
  });

  it('whose first midnight is past belongs to today', () => {
    const nowMs = Date.parse('2026-11-25T12:00:00Z');
    const lastResetMs = Date.parse('2026-11-21T00:00:00Z');
    expect(iso(firstResetAfterZoneChange({ lastResetMs, nowMs, zone: 'Asia/Tokyo' }))).toBe(
      '2026-11-24T15:00:00.000Z',
    );
  });

  it('never brings the next reset nearer than 20 hours or farther than 46', () => {
    fc.assert(
      fc.property(instant, zone, (lastResetMs, name) => {
        const reset = firstResetAfterZoneChange({ lastResetMs, nowMs: lastResetMs, zone: name });
        const hours = (reset - lastResetMs) / HOUR_MS;
        expect(hours >= 20 && hours <= 46).toBe(true);
        expect(dayStart(reset, name)).toBe(reset);
      }),
    );
  });
});

describe('time zones', () => {
  it('are names of the IANA list', () => {
    expect(['UTC', 'Europe/London', 'Pacific/Apia'].map(isTimezone)).toEqual([true, true, true]);
    expect(['', 'Mars/Olympus', 'Europe/Londno', '25:00'].map(isTimezone)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it('that do not exist have no date', () => {
    expect(() => localDate(0, 'Mars/Olympus')).toThrow(RangeError);
  });
});
