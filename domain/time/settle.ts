import type { AccountRules, BucketCalendar, CalendarState, Instant, Snapshot } from '../account';
import { toMs } from '../account';
import { cycleNumber, cycleStart, dayStart, localDate, nextMidnight } from './calendar';
import { type Bucket, type Catalog, isPaid, planOf, returnGraceSeconds } from '../catalog/catalog';
import { add, type MilliCredits, milli, toMilli } from '../credits';
import { isoDurationSeconds } from '../catalog/duration';

/**
 * Brings one account up to its clock: what is due, in boundary order, and when to look again. Pure; the database
 * applies the result under its lock if nothing moved meanwhile (rule 11).
 */

interface Step {
  /** The boundary it belongs to, however late it is written. */
  at: Instant;
  key: string;
  hash: string;
}

/** One grant that is due. */
export interface GrantStep extends Step {
  bucket: string;
  rank: number;
  amount: MilliCredits;
  expiresAt: Instant | null;
  graceSeconds: number | null;
  source: string;
  /** It takes the place of what the same schedule granted before: set, not added. */
  replaces: boolean;
}

/** The plan changes, as was decided before. */
interface PlanStep extends Step {
  op: 'rules';
  rules: Record<string, unknown>;
  /** A downgrade: the old plan's credits end with it, and what comes back of them is forfeited (rule 14). */
  ends?: 'plan';
  forfeits?: true;
}

/** Credits are announced before they end, if any are left by then. */
interface NoticeStep extends Step {
  op: 'notice';
  expiresAt: Instant;
}

export type SettleStep = GrantStep | PlanStep | NoticeStep;

export interface Settlement {
  settleVersion: number;
  rulesVersion: number;
  steps: SettleStep[];
  calendar: CalendarState;
  /** The account must be settled before any use from this instant on. */
  nextDueAt: Instant;
  /** The next thing somebody could observe though nobody touches the account. */
  wakeAt: Instant;
  /** A balance below this is low; null: nobody is told of balances. */
  lowBelow: MilliCredits | null;
  /** Credits that end are announced this long before; null: they are not. */
  noticeSeconds: number | null;
  /** From here on there is more to settle, to be worked out from what this leaves; null: this is all. */
  until: Instant | null;
}

/** Whether anything is granted or changed, and not only announced. */
function moves({ steps }: Settlement): boolean {
  return steps.some((step) => !('op' in step) || step.op !== 'notice');
}

/** At most this many grants in one settlement; the account is settled again until nothing is due. */
export const MAX_STEPS = 120;

interface BucketPlan {
  steps: GrantStep[];
  calendar: BucketCalendar;
  nextDueMs: number;
  wakeMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/** A version of the account's catalog, and from when it is in force. */
export interface InForce {
  catalog: Catalog;
  effectiveAt: Instant;
}

/** What is due, and when each bucket is filled next as things stand then. */
export interface Planned {
  settlement: Settlement;
  dueMs: ReadonlyMap<string, number>;
}

/** The earliest instant that something not settled yet may belong to; after a change of rules, when it was to wake next. */
export function dueSince({ now, nextDueAt, wakeAt, rules }: Snapshot): number {
  // A plan that nobody pays for is granted credits only when somebody uses the account: they are due now.
  if (rules.planSource === 'free') return toMs(now);
  const [dueMs, wakeMs] = [toMs(nextDueAt), toMs(wakeAt)];
  return Math.min(toMs(now), Number.isFinite(dueMs) ? dueMs : wakeMs);
}

/**
 * What is due, by the catalog that was in force when it came due: how late it is settled changes nothing (rule 20).
 * `versions`: the one in force at `dueSince`, and those that come into force after it, in their order.
 */
export function settleBy(options: {
  snapshot: Snapshot;
  versions: readonly InForce[];
  touch: boolean;
}): Planned {
  const { snapshot, versions, touch } = options;
  const nowMs = toMs(snapshot.now);
  let [inForce] = versions;
  if (inForce === undefined) throw new Error(`account ${snapshot.account} has no catalog`);
  for (const next of versions.slice(1)) {
    const untilMs = toMs(next.effectiveAt);
    if (untilMs > nowMs) break;
    if (untilMs > dueSince(snapshot)) {
      const before = planned({ snapshot, catalog: inForce.catalog, touch: false, untilMs });
      if (moves(before.settlement)) return before;
    }
    inForce = next;
  }
  return planned({ snapshot, catalog: inForce.catalog, touch });
}

/**
 * `touch` says that somebody uses the account now. A timer does not touch: daily credits and those of a plan
 * that costs nothing are granted on touch only, so days nobody was there are never granted (rules 18, 21).
 */
export function settle(options: Settling): Settlement {
  return planned(options).settlement;
}

interface Settling {
  snapshot: Snapshot;
  catalog: Catalog;
  touch: boolean;
  /** Only what is due before: from then on there is another version of the catalog. */
  untilMs?: number;
}

function planned(options: Settling): Planned {
  const { snapshot, catalog, touch, untilMs = NEVER } = options;
  const { account, rules } = snapshot;
  const nowMs = toMs(snapshot.now);
  const changeMs = rules.pending === null ? NEVER : toMs(rules.pending.at);
  // Until plan or catalog change everything goes by the old one; what comes after is worked out from what that leaves.
  const endMs = Math.min(changeMs, untilMs);
  const ends = endMs <= nowMs;
  const changes = ends && changeMs <= untilMs;
  const context: Context = { account, rules, nowMs: ends ? endMs - 1 : nowMs, catalog, touch };
  const plans = catalog.buckets
    .filter(({ refresh }) => refresh === 'month' || (refresh === 'day' && !ends))
    .map((bucket) => {
      const done = snapshot.calendar[bucket.bucket] ?? {};
      const plan = bucket.refresh === 'day' ? daily(bucket, done, context) : monthly(bucket, done, context);
      return { bucket: bucket.bucket, ...plan };
    });
  const grants = plans.flatMap(({ steps }) => steps);
  const notices = noticesOf({ snapshot, grants, context });
  const change = changes ? [planStep(snapshot, catalog)] : [];
  const steps = [...grants, ...notices.steps, ...change].toSorted((a, b) => toMs(a.at) - toMs(b.at));
  const nextDueMs = Math.min(endMs, ...plans.map((plan) => plan.nextDueMs));
  const settlement = {
    settleVersion: snapshot.settleVersion,
    rulesVersion: snapshot.rulesVersion,
    steps,
    calendar: Object.fromEntries(plans.map((plan) => [plan.bucket, plan.calendar])),
    nextDueAt: instant(nextDueMs),
    wakeAt: instant(Math.min(endMs, notices.wakeMs, ...plans.map((plan) => plan.wakeMs))),
    lowBelow: lowBelow(catalog, rules),
    noticeSeconds: noticeSeconds(catalog),
    until: ends
      ? instant(changes ? changeMs : untilMs - 1)
      : grants.length >= MAX_STEPS && nextDueMs <= nowMs
        ? (steps.at(-1)?.at ?? null)
        : null,
  };
  return { settlement, dueMs: new Map(plans.map((plan) => [plan.bucket, plan.nextDueMs])) };
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

export function noticeSeconds({ rules }: Catalog): number | null {
  const { expiringBefore } = rules.notices;
  return expiringBefore === null ? null : isoDurationSeconds(expiringBefore);
}

interface Context {
  account: string;
  rules: AccountRules;
  nowMs: number;
  catalog: Catalog;
  touch: boolean;
}

/** The share of what all buckets give in a period below which the balance is low. */
function lowBelow(catalog: Catalog, rules: AccountRules): MilliCredits | null {
  const { lowBalancePercent } = catalog.rules.notices;
  if (lowBalancePercent === null) return null;
  const given = catalog.buckets
    .filter(({ refresh }) => refresh !== null)
    .map((bucket) => allotment({ bucket, catalog, rules }));
  return milli(Math.floor((add(...given) * lowBalancePercent) / 100));
}

function planStep({ account, rules: { pending, plan: before } }: Snapshot, catalog: Catalog): PlanStep {
  if (pending === null) throw new Error(`account ${account} has no change of plan ahead`);
  const key = `sys:plan-end:${account}:${instant(toMs(pending.at))}`;
  const { plan, source, interval } = pending;
  const rankOf = (name: string) => planOf(catalog, name)?.rank ?? 0;
  return {
    op: 'rules',
    at: pending.at,
    key,
    hash: `${plan} ${source} ${interval}`,
    ...(rankOf(plan) < rankOf(before) ? { ends: 'plan', forfeits: true } : {}), // what is not a downgrade is as a renewal
    rules: {
      plan,
      planSource: source,
      planInterval: interval,
      periodFrom: pending.at,
      pending: null,
      ...(source === 'free' ? { endedAt: pending.at, paidUntil: null } : {}),
    },
  };
}

/** Every end of credits is announced once, and wakes the account; those of a plan that costs nothing do not. */
function noticesOf(options: { snapshot: Snapshot; grants: readonly GrantStep[]; context: Context }) {
  const { snapshot, grants, context } = options;
  const { account, rules, nowMs, catalog } = context;
  const paid = hasSubscription(catalog, rules);
  const before = noticeSeconds(catalog);
  const noticeMs = before === null ? NEVER : before * 1000;
  const granted = grants.flatMap(({ at, expiresAt, source }) =>
    expiresAt === null ? [] : [{ at: expiresAt, since: at, of: source.split(':')[0] ?? '' }],
  );
  const endings = [...snapshot.ending, ...granted].filter(
    ({ at, of }) => toMs(at) > nowMs && of !== 'daily' && (of !== 'plan' || paid),
  );
  const steps = new Map<string, NoticeStep>();
  let wakeMs = NEVER;
  for (const { at, since } of endings) {
    const announcedMs = toMs(at) - noticeMs;
    const due = announcedMs > toMs(since) && announcedMs <= nowMs;
    // One that is due was perhaps written before: then its key is known, and nothing happens.
    const key = `sys:expiring:${account}:${instant(toMs(at))}`;
    if (due) steps.set(key, { op: 'notice', at: instant(announcedMs), key, hash: key, expiresAt: at });
    wakeMs = Math.min(wakeMs, announcedMs > Math.max(nowMs, toMs(since)) ? announcedMs : toMs(at));
  }
  return { steps: [...steps.values()], wakeMs };
}

/** A day is a calendar date in the account's zone; its credits replace yesterday's, which end at midnight. */
function daily(bucket: Bucket, done: BucketCalendar, context: Context): BucketPlan {
  const { account, rules, nowMs, catalog, touch } = context;
  const amount = allotment({ bucket, catalog, rules });
  const nothing = { steps: [], calendar: done, nextDueMs: NEVER, wakeMs: NEVER };
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
      wakeMs: NEVER,
    };
  }
  const key = `sys:daily:${account}:${date}`;
  const step = {
    ...lotTerms(bucket, key),
    at: instant(fromMs),
    amount,
    expiresAt: instant(midnightMs),
    replaces: true,
  };
  return { steps: [step], calendar, nextDueMs: midnightMs, wakeMs: NEVER };
}

/** Plan credits come once per cycle of the anchor, for every slot whose start is covered (rule 18). */
function monthly(bucket: Bucket, done: BucketCalendar, context: Context): BucketPlan {
  const { account, rules, nowMs, catalog, touch } = context;
  const amount = allotment({ bucket, catalog, rules });
  const nothing = { steps: [], calendar: done, nextDueMs: NEVER, wakeMs: NEVER };
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
  const wanted = Math.min(current, first + MAX_STEPS - 1);
  const steps: GrantStep[] = [];
  let last = granted;
  for (let slot = first; slot <= wanted && slot !== granted && isCovered(slot, context); slot += 1) {
    const startMs = cycleStart(anchorMs, slot);
    steps.push({
      ...lotTerms(bucket, `sys:plan:${account}:${instant(startMs)}`),
      at: instant(Math.max(startMs, toMs(rules.createdAt))),
      amount,
      expiresAt: instant(slotEnd(slot, context)),
      // What a plan left before a subscription began with a cycle of its own is carried, if the catalog says so.
      replaces: !(slot === 0 && granted === null && catalog.rules.upgrade.carry),
    });
    last = slot;
  }
  const next = (last ?? current) + 1;
  // What is not paid comes with the invoice that covers it, not with time.
  const nextMs = paid && !isCovered(next, context) ? NEVER : cycleStart(anchorMs, next);
  const calendar =
    steps.length === 0 || last === null
      ? done
      : {
          slotStart: instant(cycleStart(anchorMs, last)),
          allotment: amount,
          ...(paid ? { paid: true } : {}),
        };
  return { steps, calendar, nextDueMs: nextMs, wakeMs: paid ? nextMs : NEVER };
}

/** A plan that costs nothing and an administrator's cover every slot; Stripe's those that were paid for (rule 18). */
function isCovered(slot: number, { rules }: Context): boolean {
  if (rules.planSource !== 'stripe') return true;
  return rules.paidUntil !== null && cycleStart(toMs(rules.anchor), slot) < toMs(rules.paidUntil);
}

/** With the slot; where an invoice is due then, which takes an hour or so to be paid, a little later (rule 18). */
function slotEnd(slot: number, context: Context): number {
  const endMs = cycleStart(toMs(context.rules.anchor), slot + 1);
  if (isCovered(slot + 1, context)) return endMs;
  return endMs + (isoDurationSeconds(context.catalog.rules.renewalGrace) ?? 0) * 1000;
}

function lotTerms(bucket: Bucket, key: string) {
  return {
    key,
    hash: key, // the key says all there is: one grant per account, bucket and period
    bucket: bucket.bucket,
    rank: bucket.rank,
    graceSeconds: returnGraceSeconds(bucket),
    source: key.replace(/^sys:/, ''),
  };
}

function instant(ms: number): Instant {
  if (ms === NEVER) return 'infinity';
  if (ms === Number.NEGATIVE_INFINITY) return '-infinity';
  return new Date(ms).toISOString();
}
