import { type Snapshot, toMs } from '../account';
import { cycleNumber, cycleStart, dateStart, dayStart, localDate, nextMidnight } from '../time/calendar';
import { add, type MilliCredits, milli, toCredits } from '../credits';

/** What was used, by one or two dimensions: ranges, days and shares. Reading is db/books/usage.ts's. Pure. */

export const DIMENSIONS = [
  'action',
  'model',
  'member',
  'feature',
  'project',
  'resolution',
  'provider',
  'bucket',
  'day',
] as const;

export type Dimension = (typeof DIMENSIONS)[number];

/** A value of each dimension that was asked for; null: the work has none. */
type UsageKeys = readonly (string | null)[];

export interface UsageSums {
  /** Captured less refunded. */
  creditsMilli: MilliCredits;
  generations: number;
  outputs: number;
}

export type UsageRow = UsageSums & { keys: UsageKeys };

export interface UsageRange {
  fromMs: number;
  /** Exclusive. */
  toMs: number;
}

export const PERIODS = ['cycle', 'previous-cycle', 'day', '7d', '30d'] as const;

export type Period = (typeof PERIODS)[number];

/** The whole of a period, today included also where it has not ended. */
export function periodRange({
  period,
  snapshot,
}: {
  period: Period;
  snapshot: Pick<Snapshot, 'now' | 'rules'>;
}): UsageRange {
  const nowMs = toMs(snapshot.now);
  const { timezone } = snapshot.rules;
  if (period === 'day') return lastDays({ days: 1, nowMs, zone: timezone });
  if (period === '7d') return lastDays({ days: 7, nowMs, zone: timezone });
  if (period === '30d') return lastDays({ days: 30, nowMs, zone: timezone });
  const anchorMs = toMs(snapshot.rules.anchor);
  const n = cycleNumber(anchorMs, nowMs) - (period === 'cycle' ? 0 : 1);
  return { fromMs: cycleStart(anchorMs, n), toMs: cycleStart(anchorMs, n + 1) };
}

function lastDays({ days, nowMs, zone }: { days: number; nowMs: number; zone: string }): UsageRange {
  const today = new Date(`${localDate(nowMs, zone)}T00:00:00Z`);
  const first = new Date(today.getTime() - (days - 1) * DAY_MS).toISOString().slice(0, 10);
  return { fromMs: dateStart(first, zone), toMs: nextMidnight(nowMs, zone) };
}

const DAY_MS = 86_400_000;

/** What of a range lies on one day; nothing where the two do not meet. */
export function withinDay({
  range,
  day,
  zone,
}: {
  range: UsageRange;
  day: string;
  zone: string;
}): UsageRange {
  const startMs = dateStart(day, zone);
  const fromMs = Math.max(range.fromMs, startMs);
  return { fromMs, toMs: Math.max(fromMs, Math.min(range.toMs, nextMidnight(startMs, zone))) };
}

export interface UsageDay {
  /** `2026-11-21` in the account's zone. */
  date: string;
  /** For what lies within the range: a range may begin in the middle of a day. */
  startMs: number;
}

/** At least as many as there are days in any zone; cheap for ranges of which the days are not to be listed. */
export function daysAtMost({ fromMs, toMs: endMs }: UsageRange): number {
  return Math.ceil((endMs - fromMs) / DAY_MS) + 2;
}

export function daysOf({ fromMs, toMs: endMs }: UsageRange, zone: string): UsageDay[] {
  const days: UsageDay[] = [];
  for (let startMs = fromMs; startMs < endMs; startMs = nextMidnight(startMs, zone))
    days.push({ date: localDate(startMs, zone), startMs });
  return days;
}

const HOUR_MS = 3_600_000;

/**
 * A range cut into whole days of the zone and, where it begins or ends within one, whole hours since midnight: a list for each
 * day. They follow each other without a gap; what is less than an hour at either end is in none.
 */
export function spansOf(range: UsageRange, zone: string): UsageRange[][] {
  const days: UsageRange[][] = [];
  const within = ({ fromMs, toMs: endMs }: UsageRange) => fromMs >= range.fromMs && endMs <= range.toMs;
  let midnightMs = dayStart(range.fromMs, zone);
  while (midnightMs < range.toMs) {
    const day = { fromMs: midnightMs, toMs: nextMidnight(midnightMs, zone) };
    const spans = (within(day) ? [day] : hoursOf(day)).filter(within);
    if (spans.length > 0) days.push(spans);
    midnightMs = day.toMs;
  }
  return days;
}

function hoursOf({ fromMs, toMs: endMs }: UsageRange): UsageRange[] {
  return Array.from({ length: Math.ceil((endMs - fromMs) / HOUR_MS) }, (_, hour) => ({
    fromMs: fromMs + hour * HOUR_MS,
    toMs: Math.min(fromMs + (hour + 1) * HOUR_MS, endMs),
  }));
}

/**
 * The rows by credits; or if there are days among the keys, day by day, with a row for each value that the other dimension has on
 * any of them. Values come in the same order every day, most credits of the range first.
 */
export function withEveryDay(options: {
  rows: readonly UsageRow[];
  groupBy: readonly Dimension[];
  dates: readonly string[];
  /** A range of many days with many values is cut here. */
  limit: number;
}): UsageRow[] {
  const { rows, groupBy, dates, limit } = options;
  const place = groupBy.indexOf('day');
  if (place === -1) return rows.toSorted(byCredits).slice(0, limit);
  const series = new Map<string, { keys: UsageKeys; byDate: Map<string | null, UsageRow> }>();
  // A chart of days has its days also where nothing was used.
  if (groupBy.length === 1) series.set('[null]', { keys: [null], byDate: new Map() });
  for (const row of rows) {
    const keys = row.keys.with(place, null);
    const one = series.get(JSON.stringify(keys)) ?? { keys, byDate: new Map() };
    one.byDate.set(row.keys[place] ?? null, row);
    series.set(JSON.stringify(keys), one);
  }
  const ordered = [...series.values()]
    .map((one) => ({ ...one, ...sumOf([...one.byDate.values()]) }))
    .toSorted(byCredits);
  if (ordered.length === 0) return [];
  return dates
    .slice(0, Math.ceil(limit / ordered.length))
    .flatMap((date) =>
      ordered.map(({ keys, byDate }) => byDate.get(date) ?? { keys: keys.with(place, date), ...NOTHING }),
    )
    .slice(0, limit);
}

const NOTHING: UsageSums = { creditsMilli: milli(0), generations: 0, outputs: 0 };

function sumOf(rows: readonly UsageSums[]): UsageSums {
  return {
    creditsMilli: add(...rows.map(({ creditsMilli }) => creditsMilli)),
    generations: rows.reduce((sum, { generations }) => sum + generations, 0),
    outputs: rows.reduce((sum, { outputs }) => sum + outputs, 0),
  };
}

/** Most credits first, then most generations, then by name; what has none comes last of its equals. */
function byCredits(a: UsageRow, b: UsageRow): number {
  return b.creditsMilli - a.creditsMilli || b.generations - a.generations || byName(a.keys, b.keys);
}

function byName(a: UsageKeys, b: UsageKeys): number {
  for (const [place, key] of a.entries()) {
    const other = b[place] ?? null;
    if (key === other) continue;
    if (key === null) return 1;
    return other !== null && key > other ? 1 : -1;
  }
  return 0;
}

/** A share of the total in percent, with two decimals. Where more was refunded than captured there are no shares: 0. */
export function percentOf(part: MilliCredits, total: MilliCredits): number {
  return total > 0 ? Math.round((toCredits(part) / toCredits(total)) * 10_000) / 100 : 0;
}
