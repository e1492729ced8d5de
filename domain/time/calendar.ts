import { DateTime, IANAZone } from 'luxon';

/**
 * Calendar arithmetic on milliseconds since the epoch. Cycles are UTC instants, always calculated from the
 * anchor and never chained; only days use the account's time zone.
 */

export function isTimezone(zone: string): boolean {
  return IANAZone.isValidZone(zone);
}

const DAY_MS = 86_400_000;

/** anchor + n months, the day clamped to the month's last, the time of day kept. */
export function cycleStart(anchorMs: number, n: number): number {
  const anchor = new Date(anchorMs);
  const [year, month] = [anchor.getUTCFullYear(), anchor.getUTCMonth() + n];
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const timeOfDayMs = anchorMs - Math.floor(anchorMs / DAY_MS) * DAY_MS;
  return Date.UTC(year, month, Math.min(anchor.getUTCDate(), lastDay)) + timeOfDayMs;
}

/** The number of the cycle that contains the instant: cycleStart(n) <= at < cycleStart(n + 1). */
export function cycleNumber(anchorMs: number, atMs: number): number {
  const [anchor, at] = [new Date(anchorMs), new Date(atMs)];
  const years = at.getUTCFullYear() - anchor.getUTCFullYear();
  let n = years * 12 + at.getUTCMonth() - anchor.getUTCMonth();
  while (cycleStart(anchorMs, n + 1) <= atMs) n += 1;
  while (cycleStart(anchorMs, n) > atMs) n -= 1;
  return n;
}

/** The calendar date in the zone, `2026-11-21`. */
export function localDate(atMs: number, zone: string): string {
  const date = DateTime.fromMillis(atMs, { zone }).toISODate();
  if (date === null) throw new RangeError(`not a time zone: ${zone}`);
  return date;
}

/** The first instant of the local day that contains `at`. */
export function dayStart(atMs: number, zone: string): number {
  return startOfDay(DateTime.fromMillis(atMs, { zone }));
}

/** The first instant of a calendar date, `2026-11-21`, in the zone. */
export function dateStart(date: string, zone: string): number {
  return startOfDay(DateTime.fromISO(`${date}T12:00:00`, { zone }));
}

/** The day begins with the first of its midnights. */
function startOfDay(local: DateTime): number {
  return Math.min(...midnights(local));
}

/** Two where the clocks go back to midnight, as in Havana, or from just behind it to before, as in St. John's once. */
function midnights(local: DateTime): number[] {
  const possible = local.startOf('day').getPossibleOffsets();
  return possible.map((midnight) => midnight.toMillis());
}

/** The first local midnight (or the day's first instant, where midnight is skipped) after `at`. */
export function nextMidnight(atMs: number, zone: string): number {
  // Noon of the next date always exists and is never in doubt, whatever daylight saving does at midnight.
  const local = DateTime.fromMillis(atMs, { zone });
  for (let days = 1; days <= 2; days += 1) {
    const next = Math.min(...midnights(local.set({ hour: 12 }).plus({ days })).filter((ms) => ms > atMs));
    if (Number.isFinite(next)) return next;
  }
  throw new RangeError(`no midnight after ${atMs} in ${zone}`);
}

const HOUR_MS = 3_600_000;

/** After a change of zone: the first new-zone midnight at least 20 hours after the last reset (rule 21). */
export function firstResetAfterZoneChange(options: {
  lastResetMs: number;
  nowMs: number;
  zone: string;
}): number {
  const { lastResetMs, nowMs, zone } = options;
  const earliest = lastResetMs + 20 * HOUR_MS;
  const midnight = dayStart(earliest, zone) === earliest ? earliest : nextMidnight(earliest, zone);
  // A reset that is long past would be granted at once anyway; the day it belongs to is today.
  return midnight <= nowMs ? dayStart(nowMs, zone) : midnight;
}

/** The first instant of the next local month. */
export function nextMonth(atMs: number, zone: string): number {
  return startOfDay(
    DateTime.fromMillis(atMs, { zone }).startOf('month').plus({ months: 1 }).set({ hour: 12 }),
  );
}
