import * as fc from 'fast-check';
import type { CalendarState } from '../../domain/account';
import { settle } from '../../domain/settle';
import { rezoned } from '../../domain/zoneChange';
import { imagineart } from './catalogs';
import { grantsOf, OPENED, snapshotOf } from './snapshots';

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
      let calendar: CalendarState = {};
      let moved = false;
      const granted: { date: string; atMs: number; moved: boolean }[] = [];
      const touch = () => {
        const snapshot = snapshotOf({ now: new Date(nowMs).toISOString(), calendar, rules: { timezone } });
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
        calendar = { ...calendar, ...rezoned(settled, to) };
        timezone = to;
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
