import type {
  AccountRules,
  BalanceSnapshot,
  CalendarState,
  Instant,
  PlanInterval,
  Snapshot,
} from '../account';
import { toMs } from '../account';
import { cycleNumber, cycleStart } from './calendar';
import {
  type Bucket,
  type Catalog,
  freePlan,
  type Plan,
  planOf,
  returnGraceSeconds,
} from '../catalog/catalog';
import { add, floorShare, type MilliCredits, milli } from '../credits';
import { allotment, hasSubscription } from './settle';

/**
 * What a change of plan does, worked out before it is done: the preview and the change are one function. Pure; the
 * ledger carries it out if nothing it was worked out from has moved (rules 14, 18-20).
 */

/** A lot that an upgrade adds beside those there are. */
export interface PlanGrant {
  bucket: string;
  rank: number;
  amount: MilliCredits;
  expiresAt: Instant;
  graceSeconds: number | null;
  source: string;
}

export interface WantedPlan {
  plan: Plan;
  /** Ignored on the free plan. */
  interval: PlanInterval;
  /** Undefined: at once for more, at the end of the period for less. */
  when?: 'now' | 'period_end' | undefined;
}

export interface PlanChange {
  /** When the account is on the new plan. */
  effectiveAt: Instant;
  /** By the catalog's prices, in the catalog's currency; null where a price is on request. */
  dueNow: number | null;
  /** Credits that come at once, in all. */
  creditsNow: MilliCredits;
  /** Credits of the old plan that stay, until they would have ended anyway. */
  carried: MilliCredits;
  /** What the ledger is told; null: everything is as wanted already. */
  operation: { rules: Record<string, unknown>; grants?: PlanGrant[]; ends?: 'plan'; forfeits?: true } | null;
}

const MONTHS: Record<PlanInterval, number> = { month: 1, quarter: 3, year: 12 };

/** Where the paid period that contains now begins and ends: one, three or twelve cycles from where they are counted from. */
function paidPeriod(options: { rules: AccountRules; nowMs: number }): {
  startMs: number;
  endMs: number;
} {
  const { rules, nowMs } = options;
  const months = MONTHS[rules.planInterval ?? 'month'];
  const anchorMs = toMs(rules.anchor);
  const base = cycleNumber(anchorMs, toMs(rules.periodFrom ?? rules.anchor));
  const first = base + Math.floor((cycleNumber(anchorMs, nowMs) - base) / months) * months;
  return { startMs: cycleStart(anchorMs, first), endMs: cycleStart(anchorMs, first + months) };
}

/** `source` names the lots of an upgrade, `plan:upgrade:<its operation>`: they are the plan's and end with it (rule 19). */
export function planChange(options: {
  snapshot: BalanceSnapshot;
  catalog: Catalog;
  wanted: WantedPlan;
  source: string;
}): PlanChange {
  const { snapshot, catalog, wanted } = options;
  const { rules } = snapshot;
  const current = planOf(catalog, rules.plan) ?? freePlan(catalog);
  const subscribed = hasSubscription(catalog, rules);
  if (wanted.plan.rank === 0) return subscribed ? less(options, current) : nothing(snapshot);
  if (!subscribed) return subscribe(options);
  const step =
    wanted.plan.rank - current.rank || MONTHS[wanted.interval] - MONTHS[rules.planInterval ?? 'month'];
  if (step === 0) return resume(snapshot);
  if (step < 0) return less(options, current);
  return wanted.when === 'period_end' ? later(options) : upgrade(options, current);
}

/** Takes back what was to happen at the end of the period. */
export function resume(snapshot: BalanceSnapshot): PlanChange {
  if (snapshot.rules.pending === null) return nothing(snapshot);
  return { ...nothing(snapshot), operation: { rules: { pending: null } } };
}

type Options = Parameters<typeof planChange>[0];

function nothing({ now }: BalanceSnapshot): PlanChange {
  return { effectiveAt: now, dueNow: 0, creditsNow: milli(0), carried: milli(0), operation: null };
}

/** Less is at the end of the period, nothing carried; at once only if somebody insists, and then nothing is left either. */
function less(options: Options, current: Plan): PlanChange {
  const { snapshot, catalog, wanted } = options;
  if (wanted.when !== 'now') return later(options);
  // A shorter interval of the same plan takes no credits: only where the period ends moves.
  const same = wanted.plan.plan === current.plan;
  const ends = same ? {} : { ends: 'plan' as const, forfeits: true as const };
  return {
    ...nothing(snapshot),
    carried: left(snapshot, { buckets: monthlyBuckets(catalog), carry: same }),
    operation: { rules: planRules(options), ...ends },
  };
}

function later({ snapshot, wanted }: Options): PlanChange {
  const { plan, interval } = wanted;
  const { endMs } = paidPeriod({ rules: snapshot.rules, nowMs: toMs(snapshot.now) });
  const at = new Date(endMs).toISOString();
  const free = plan.rank === 0;
  const source = free ? 'free' : snapshot.rules.planSource;
  const pending = { plan: plan.plan, source, interval: free ? null : interval, at };
  return { ...nothing(snapshot), effectiveAt: at, operation: { rules: { pending } } };
}

/**
 * A first subscription, or one after another has ended: its cycle begins now, and its first slot is granted as every
 * slot is. Only where the last one was ended in a slot that still runs does that slot continue, and gives the difference, which
 * is what is paid for: cancelling and coming back yields nothing (rule 19), and costs nothing.
 */
function subscribe(options: Options): PlanChange {
  const { snapshot, catalog, wanted } = options;
  const { now, rules } = snapshot;
  const dueNow = wanted.plan.prices === null ? null : (wanted.plan.prices[wanted.interval] ?? null);
  const running = monthlyBuckets(catalog).filter((bucket) => slotGoesOn(snapshot, bucket));
  if (running.length > 0) {
    const back = more(options, planRules(options));
    return {
      ...back,
      dueNow: dueNow === null ? null : dueFor(dueNow, { ...options, gives: back.creditsNow }),
    };
  }

  const after = { ...rules, plan: wanted.plan.plan, planSource: 'admin' as const };
  const buckets = monthlyBuckets(catalog);
  const anchor = new Date(toMs(now)).toISOString();
  const calendar: CalendarState = Object.fromEntries(buckets.map(({ bucket }) => [bucket, {}]));
  return {
    effectiveAt: now,
    dueNow,
    creditsNow: add(...buckets.map((bucket) => allotment({ bucket, catalog, rules: after }))),
    carried: left(snapshot, { buckets, carry: catalog.rules.upgrade.carry }),
    operation: { rules: { ...planRules(options), anchor, periodFrom: null, calendar } },
  };
}

/** What is due of a price where the first month of its period gives only so much: for that month, its share. */
function dueFor(
  price: number,
  { catalog, snapshot, wanted, gives }: Options & { gives: MilliCredits },
): number {
  const rules = { ...snapshot.rules, plan: wanted.plan.plan, planSource: 'admin' as const };
  const month = add(...monthlyBuckets(catalog).map((bucket) => allotment({ bucket, catalog, rules })));
  if (month === 0) return price;
  const whole = MONTHS[wanted.interval] * month;
  return centsOf(price, { part: whole - month + gives, whole }) / 100;
}

/** More, or for longer, at once: the difference of the allotments, and of the prices for the rest of the period. */
function upgrade(options: Options, current: Plan): PlanChange {
  const { snapshot, wanted } = options;
  const { rules } = snapshot;
  const nowMs = toMs(snapshot.now);
  const was = current.prices?.[rules.planInterval ?? 'month'];
  const will = wanted.plan.prices?.[wanted.interval];
  const { startMs, endMs } = paidPeriod({ rules, nowMs });
  const rest = { part: Math.floor(endMs - nowMs), whole: endMs - startMs };
  // The rest of the old period is given back. A longer one begins with the cycle that runs, and its rest is due.
  const same = wanted.interval === (rules.planInterval ?? 'month');
  const next = same ? null : newPeriod(options);
  const asked =
    next === null ? rest : { part: Math.floor(next.endMs - nowMs), whole: next.endMs - next.startMs };
  const due =
    was === undefined || will === undefined
      ? null
      : Math.max(0, centsOf(will, asked) - centsOf(was, rest)) / 100;
  return { ...more(options, planRules(options)), dueNow: due };
}

function more(options: Options, rules: Record<string, unknown>): PlanChange {
  const { snapshot, catalog, wanted, source } = options;
  const buckets = monthlyBuckets(catalog);
  const added = buckets.flatMap((bucket) => difference(options, bucket) ?? []);
  // Where no slot runs, settling grants the one that does as a whole, and none of those that passed without one.
  const again = buckets.map(({ bucket }) => [bucket, {}] as const);
  const calendar: CalendarState = Object.fromEntries([
    ...again,
    ...added.map(
      ({ bucket, highest }) =>
        [bucket.bucket, { ...snapshot.calendar[bucket.bucket], allotment: highest, paid: true }] as const,
    ),
  ]);
  const grants = added
    .filter(({ amount }) => amount > 0)
    .map(({ bucket, amount, expiresAt }) => ({
      bucket: bucket.bucket,
      rank: bucket.rank,
      amount,
      expiresAt,
      graceSeconds: returnGraceSeconds(bucket),
      source,
    }));
  const carry = catalog.rules.upgrade.carry || wanted.plan.plan === snapshot.rules.plan;
  return {
    effectiveAt: snapshot.now,
    dueNow: null,
    creditsNow: add(...grants.map(({ amount }) => amount)),
    carried: left(snapshot, { buckets, carry }),
    operation: { rules: { ...rules, calendar }, grants, ...(carry ? {} : { ends: 'plan' }) },
  };
}

/** What a higher plan gives at once of what it gives a month: what that is more than `highest`, and of it the share. */
export interface UpgradeTerms {
  /** The paid plans of the slot that runs; 0 where there was none. */
  highest: MilliCredits;
  part: number;
  whole: number;
}

export function upgradeGives({ highest, part, whole }: UpgradeTerms, monthly: MilliCredits): MilliCredits {
  return floorShare(milli(Math.max(0, monthly - highest)), part, whole);
}

/** The terms on which an account would be on a higher plan now. A catalog fills one bucket a month at most. */
export function upgradeTerms({ snapshot, catalog }: { snapshot: Snapshot; catalog: Catalog }): UpgradeTerms {
  const goesOn = (bucket: Bucket) => hasSubscription(catalog, snapshot.rules) || slotGoesOn(snapshot, bucket);
  const [slot] = monthlyBuckets(catalog)
    .filter(goesOn)
    .flatMap((bucket) => runningSlot({ snapshot, catalog }, bucket) ?? []);
  return slot?.terms ?? { highest: milli(0), part: 1, whole: 1 }; // a month of its own
}

/** The slot that was granted and has not ended, and what an upgrade gives in it: of paid plans never more than the highest, once. */
function runningSlot({ snapshot, catalog }: { snapshot: Snapshot; catalog: Catalog }, bucket: Bucket) {
  const { rules, calendar } = snapshot;
  const done = calendar[bucket.bucket];
  if (done?.slotStart === undefined) return null;
  const anchorMs = toMs(rules.anchor);
  const nowMs = toMs(snapshot.now);
  const slot = cycleNumber(anchorMs, toMs(done.slotStart));
  const [startMs, endMs] = [cycleStart(anchorMs, slot), cycleStart(anchorMs, slot + 1)];
  if (endMs <= nowMs) return null;
  // What the free plan granted is not taken off the first plan that is paid for (rule 19).
  const highest = done.paid === true ? (done.allotment ?? allotment({ bucket, catalog, rules })) : milli(0);
  const rest =
    catalog.rules.upgrade.proration === 'none'
      ? { part: 1, whole: 1 }
      : { part: Math.max(0, Math.floor(endMs - nowMs)), whole: endMs - startMs };
  return { terms: { highest, ...rest }, endMs };
}

function difference({ snapshot, catalog, wanted }: Options, bucket: Bucket) {
  const slot = runningSlot({ snapshot, catalog }, bucket);
  if (slot === null) return null;
  const rules = { ...snapshot.rules, plan: wanted.plan.plan, planSource: 'admin' as const };
  const after = allotment({ bucket, catalog, rules });
  return {
    bucket,
    amount: upgradeGives(slot.terms, after),
    highest: milli(Math.max(slot.terms.highest, after)),
    expiresAt: new Date(slot.endMs).toISOString(),
  };
}

function planRules({ snapshot, wanted }: Options): Record<string, unknown> {
  const free = wanted.plan.rank === 0;
  return {
    plan: wanted.plan.plan,
    planSource: free ? 'free' : 'admin',
    planInterval: free ? null : wanted.interval,
    pending: null,
    endedAt: free ? snapshot.now : null,
    ...(free ? { periodFrom: null } : {}),
    ...(!free && wanted.interval !== snapshot.rules.planInterval
      ? { periodFrom: new Date(newPeriod({ snapshot, wanted }).startMs).toISOString() }
      : {}),
  };
}

/** A period of another length begins with the cycle that runs. */
function newPeriod({ snapshot, wanted }: Pick<Options, 'snapshot' | 'wanted'>) {
  const anchorMs = toMs(snapshot.rules.anchor);
  const cycle = cycleNumber(anchorMs, toMs(snapshot.now));
  return {
    startMs: cycleStart(anchorMs, cycle),
    endMs: cycleStart(anchorMs, cycle + MONTHS[wanted.interval]),
  };
}

function monthlyBuckets({ buckets }: Catalog): Bucket[] {
  return buckets.filter(({ refresh }) => refresh === 'month');
}

/** A slot that a paid plan granted and that has not ended though the subscription has, or any that began just now. */
function slotGoesOn({ rules, calendar, now }: Snapshot, { bucket }: Bucket): boolean {
  const done = calendar[bucket];
  if (done?.slotStart === undefined) return false;
  if (done.paid !== true) return Math.floor(toMs(done.slotStart)) === Math.floor(toMs(now));
  const anchorMs = toMs(rules.anchor);
  return cycleNumber(anchorMs, toMs(done.slotStart)) === cycleNumber(anchorMs, toMs(now));
}

/** What stays in the plan's buckets: all of it, or what no plan granted, such as credits that came back. */
function left(
  { lots }: BalanceSnapshot,
  { buckets, carry }: { buckets: readonly Bucket[]; carry: boolean },
): MilliCredits {
  const stay = lots.filter(
    ({ bucket, source }) =>
      buckets.some((one) => one.bucket === bucket) && (carry || !source.startsWith('plan:')),
  );
  return add(...stay.map(({ available }) => available));
}

/** What a price is for the part of a period, in cents, rounded down. */
function centsOf(price: number, { part, whole }: { part: number; whole: number }): number {
  return floorShare(milli(Math.round(price * 100)), part, whole);
}
