import { type AccountRules, type CalendarState, type Snapshot, toMs, type ZoneChange } from '../account';
import { dayStart, firstResetAfterZoneChange, localDate, nextMidnight } from './calendar';

/**
 * A new zone counts from its first midnight at least 20 hours after the last reset (rule 21). Until then the day of the
 * change continues, whatever midnight it is elsewhere.
 */

export interface Day {
  date: string;
  fromMs: number;
  untilMs: number;
}

/** The day that an account's daily credits and limits are counted by. */
export function dayOf({ timezone, zoneChange }: AccountRules, atMs: number): Day {
  if (zoneChange !== null && atMs < toMs(zoneChange.from)) {
    const fromMs = toMs(zoneChange.dayFrom);
    return { date: localDate(fromMs, zoneChange.was), fromMs, untilMs: toMs(zoneChange.from) };
  }
  return {
    date: localDate(atMs, timezone),
    fromMs: dayStart(atMs, timezone),
    untilMs: nextMidnight(atMs, timezone),
  };
}

interface Rezoned {
  timezone: string;
  zoneChange: ZoneChange;
  calendar: CalendarState;
}

/** What a change of zone does to the rules: also when each daily bucket may be filled again. */
export function rezoned({ rules, calendar, now }: Snapshot, zone: string): Rezoned {
  const nowMs = toMs(now);
  const { fromMs } = dayOf(rules, nowMs);
  const { zoneChange } = rules;
  const underWay = zoneChange !== null && nowMs < toMs(zoneChange.from);
  const firstAfter = (lastResetMs: number) => rfc(firstResetAfterZoneChange({ lastResetMs, nowMs, zone }));
  const daily = Object.entries(calendar).filter(([, done]) => done.from !== undefined);
  return {
    timezone: zone,
    zoneChange: {
      was: underWay ? zoneChange.was : rules.timezone,
      dayFrom: rfc(fromMs),
      from: firstAfter(fromMs),
    },
    calendar: Object.fromEntries(
      daily.map(([bucket, done]) => {
        const lastResetMs = toMs(done.from ?? rules.createdAt);
        return [bucket, { ...done, nextAt: firstAfter(lastResetMs) }];
      }),
    ),
  };
}

const rfc = (ms: number) => new Date(ms).toISOString();
