import * as fc from 'fast-check';
import type { CalendarState, ZoneChange } from '../../../domain/account';
import { settle } from '../../../domain/time/settle';
import { dayOf, rezoned } from '../../../domain/time/zoneChange';
import { imagineart } from '../catalogs';
import { grantsOf, OPENED, snapshotOf } from '../snapshots';

const catalog = imagineart();
const HOUR_MS = 3_600_000;

const zone = fc.constantFrom(
  ...['UTC', 'Europe/London', 'Asia/Tokyo', 'Pacific/Kiritimati', 'Pacific/Honolulu', 'Pacific/Pago_Pago'],
  ...['America/Havana', 'Australia/Lord_Howe', 'Africa/Casablanca', 'Africa/Cairo', 'Antarctica/Troll'],
);
const day = fc.record({ hours: fc.integer({ min: 1, max: 60 }), zone: fc.option(zone) });

test('whoever moves around the world gets no date twice, and no reset within 20 hours of moving', () => {
  fc.assert(
    fc.property(fc.array(day, { minLength: 10, maxLength: 60 }), (days) => {
      let nowMs = Date.parse(OPENED);
      let timezone = 'Europe/London';
      let zoneChange: ZoneChange | null = null;
      let calendar: CalendarState = {};
      let moved = false;
      const granted: { date: string; atMs: number; moved: boolean }[] = [];
      const touch = () => {
        const snapshot = snapshotOf({
          now: new Date(nowMs).toISOString(),
          calendar,
          rules: { timezone, zoneChange },
        });
        const due = settle({ snapshot, catalog, touch: true });
        for (const { at, key } of grantsOf(due)) {
          granted.push({ date: key.slice(-10), atMs: Date.parse(at), moved });
          moved = false;
        }
        calendar = { ...calendar, ...due.calendar };
        return { ...snapshot, calendar };
      };

      for (const { hours, zone: to } of days) {
        nowMs += hours * HOUR_MS;
        const settled = touch(); // as the route does it: under the old zone first
        if (to === null) continue;
        const after = rezoned(settled, to);
        calendar = { ...calendar, ...after.calendar };
        ({ timezone, zoneChange } = after);
        moved = true;
        touch();
      }

      const tooEarly = granted.filter((grant, i) => {
        const before = granted[i - 1];
        if (before === undefined) return false;
        return grant.date <= before.date || (grant.moved && grant.atMs - before.atMs < 20 * HOUR_MS);
      });
      expect(tooEarly).toEqual([]);
      expect(granted.length).toBeGreaterThan(0);
    }),
    { numRuns: 300 },
  );
});

test('nor a day of its limits twice, or a new one within 20 hours of the last', () => {
  const few = fc.record({ minutes: fc.integer({ min: 1, max: 1500 }), zone: fc.option(zone) });
  fc.assert(
    fc.property(fc.array(few, { minLength: 10, maxLength: 80 }), (steps) => {
      let nowMs = Date.parse(OPENED);
      let { rules } = snapshotOf({ rules: { timezone: 'Europe/London' } });
      let last = dayOf(rules, nowMs);
      for (const { minutes, zone: to } of steps) {
        nowMs += minutes * 60_000;
        const current = dayOf(rules, nowMs);
        expect(nowMs).toBeLessThan(current.untilMs);
        const early = current.fromMs - last.fromMs < 20 * HOUR_MS;
        expect(current.date < last.date || (current.date > last.date && early)).toBe(false);
        last = current;
        if (to === null) continue;
        const { timezone, zoneChange } = rezoned(
          snapshotOf({ now: new Date(nowMs).toISOString(), rules }),
          to,
        );
        rules = { ...rules, timezone, zoneChange };
      }
    }),
    { numRuns: 500 },
  );
});
