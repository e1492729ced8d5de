import type { AccountRules, BucketCalendar, CalendarState, Instant, Snapshot } from './account';
import { toMs } from './account';
import { cycleNumber, cycleStart, dayStart, localDate, nextMidnight } from './calendar';
import { type Bucket, type Catalog, isPaid, planOf, returnGraceSeconds } from './catalog';
import { type MilliCredits, toMilli } from './credits';

/**
 * Brings one account up to its clock: which grants are due, in boundary order, and when to look again.
 * Pure; the database applies the result under its lock if nothing moved meanwhile (rule 11).
 */

/** One grant that is due; `at` is the boundary it belongs to, however late it is written. */
export interface SettleStep {
  at: Instant;
  key: string;
  hash: string;
  bucket: string;
  rank: number;
  amount: MilliCredits;
  expiresAt: Instant | null;
  graceSeconds: number | null;
  source: string;
  /** It takes the place of what the same schedule granted before: set, not added. */
  replaces: true;
}

export interface Settlement {
  settleVersion: number;
  rulesVersion: number;
  steps: SettleStep[];
  calendar: CalendarState;
  /** The account must be settled before any use from this instant on. */
  nextDueAt: Instant;
  /** The next step somebody could observe though nobody touches the account. */
  renewsAt: Instant;
}

/** At most this many grants in one settlement; the account is settled again until nothing is due. */
export const MAX_STEPS = 120;

interface BucketPlan {
  steps: SettleStep[];
  calendar: BucketCalendar;
  nextDueMs: number;
  renewsMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/**
 * `touch` says that somebody uses the account now. A timer does not touch: daily credits and those of a plan
 * that costs nothing are granted on touch only, so days nobody was there are never granted (rules 18, 21).
 */
export function settle(options: { snapshot: Snapshot; catalog: Catalog; touch: boolean }): Settlement {
  const { snapshot, catalog, touch } = options;
  const context = {
    account: snapshot.account,
    rules: snapshot.rules,
    nowMs: toMs(snapshot.now),
    catalog,
    touch,
  };
  const plans = catalog.buckets
    .filter((bucket) => bucket.refresh !== null)
    .map((bucket) => {
      const done = snapshot.calendar[bucket.bucket] ?? {};
      const plan = bucket.refresh === 'day' ? daily(bucket, done, context) : monthly(bucket, done, context);
      return { bucket: bucket.bucket, ...plan };
    });
  return {
    settleVersion: snapshot.settleVersion,
    rulesVersion: snapshot.rulesVersion,
    steps: plans.flatMap((plan) => plan.steps).toSorted((a, b) => toMs(a.at) - toMs(b.at)),
    calendar: Object.fromEntries(plans.map((plan) => [plan.bucket, plan.calendar])),
    nextDueAt: instant(Math.min(NEVER, ...plans.map((plan) => plan.nextDueMs))),
    renewsAt: instant(Math.min(NEVER, ...plans.map((plan) => plan.renewsMs))),
  };
}

/** Credits a bucket gives per period to an account on this plan; 0 for those it is not for. */
export function allotment(options: { bucket: Bucket; catalog: Catalog; rules: AccountRules }): MilliCredits {
  const { bucket, catalog, rules } = options;
  if (bucket.eligibility === 'without-subscription' && hasSubscription(catalog, rules)) return toMilli(0);
  return toMilli(planOf(catalog, rules.plan)?.allotments[bucket.bucket] ?? bucket.amount ?? 0);
}

/** An administrator's paid plan counts as a subscription; so does what is paid, also when it was cancelled. */
export function hasSubscription(catalog: Catalog, rules: AccountRules): boolean {
  const plan = planOf(catalog, rules.plan);
  return plan !== undefined && isPaid(plan) && rules.planSource !== 'free';
}

interface Context {
  account: string;
  rules: AccountRules;
  nowMs: number;
  catalog: Catalog;
  touch: boolean;
}

/** A day is a calendar date in the account's zone; its credits replace yesterday's, which end at midnight. */
function daily(bucket: Bucket, done: BucketCalendar, context: Context): BucketPlan {
  const { account, rules, nowMs, catalog, touch } = context;
  const amount = allotment({ bucket, catalog, rules });
  const nothing = { steps: [], calendar: done, nextDueMs: NEVER, renewsMs: NEVER };
  if (amount === 0) return nothing;
  const nextMs = done.nextAt === undefined ? Number.NEGATIVE_INFINITY : toMs(done.nextAt);
  if (nowMs < nextMs || !touch) return { ...nothing, nextDueMs: nextMs };

  const date = localDate(nowMs, rules.timezone);
  const midnightMs = nextMidnight(nowMs, rules.timezone);
  const fromMs = Math.max(dayStart(nowMs, rules.timezone), toMs(rules.createdAt));
  const calendar = { date, from: instant(fromMs), nextAt: instant(midnightMs) };
  // Dates only increase: a zone change may bring the same date around a second time.
  if (done.date !== undefined && date <= done.date) {
    return {
      steps: [],
      calendar: { ...done, nextAt: instant(midnightMs) },
      nextDueMs: midnightMs,
      renewsMs: NEVER,
    };
  }
  const key = `sys:daily:${account}:${date}`;
  const step = { ...lotTerms(bucket, key), at: instant(fromMs), amount, expiresAt: instant(midnightMs) };
  return { steps: [step], calendar, nextDueMs: midnightMs, renewsMs: NEVER };
}

/** Plan credits come once per cycle of the anchor, for every slot whose start is covered (rule 18). */
function monthly(bucket: Bucket, done: BucketCalendar, context: Context): BucketPlan {
  const { account, rules, nowMs, catalog, touch } = context;
  const amount = allotment({ bucket, catalog, rules });
  const nothing = { steps: [], calendar: done, nextDueMs: NEVER, renewsMs: NEVER };
  if (amount === 0) return nothing;

  const anchorMs = toMs(rules.anchor);
  const current = cycleNumber(anchorMs, nowMs);
  const paid = hasSubscription(catalog, rules);
  const granted = done.slotStart === undefined ? null : cycleNumber(anchorMs, toMs(done.slotStart));
  // Nobody owes a free plan its past: only the current slot, and only when somebody is there.
  const first = paid && granted !== null ? granted + 1 : current;
  if (!paid && !touch) {
    return {
      ...nothing,
      nextDueMs: granted === null ? Number.NEGATIVE_INFINITY : cycleStart(anchorMs, granted + 1),
    };
  }
  const last = Math.min(current, first + MAX_STEPS - 1);
  const steps: SettleStep[] = [];
  for (let slot = first; slot <= last && slot !== granted; slot += 1) {
    const startMs = cycleStart(anchorMs, slot);
    steps.push({
      ...lotTerms(bucket, `sys:plan:${account}:${instant(startMs)}`),
      at: instant(Math.max(startMs, toMs(rules.createdAt))),
      amount,
      // An administrator's plan has no invoice to wait for, so its lots end exactly with the slot.
      expiresAt: instant(cycleStart(anchorMs, slot + 1)),
    });
  }
  const nextMs = cycleStart(anchorMs, last + 1);
  const calendar = { slotStart: instant(cycleStart(anchorMs, last)) };
  return { steps, calendar, nextDueMs: nextMs, renewsMs: paid ? nextMs : NEVER };
}

function lotTerms(bucket: Bucket, key: string) {
  return {
    key,
    hash: key, // the key says all there is: one grant per account, bucket and period
    bucket: bucket.bucket,
    rank: bucket.rank,
    graceSeconds: returnGraceSeconds(bucket),
    source: key.replace(/^sys:/, ''),
    replaces: true as const,
  };
}

function instant(ms: number): Instant {
  if (ms === NEVER) return 'infinity';
  if (ms === Number.NEGATIVE_INFINITY) return '-infinity';
  return new Date(ms).toISOString();
}
