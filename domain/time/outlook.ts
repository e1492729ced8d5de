import type { AccountRules, Instant, LotView, Snapshot } from '../account';
import { toMs } from '../account';
import { add, type MilliCredits, milli } from '../credits';
import type { Catalog } from '../catalog/catalog';
import {
  type GrantStep,
  hasSubscription,
  type InForce,
  type Settlement,
  type SettleStep,
  settleBy,
} from './settle';

/**
 * What will come to an account that nobody changes. It is settle that says so: the account is settled at each of its next
 * boundaries, as it will be then by somebody who is there. So what is told of the future is what then happens (rule 33). Pure.
 */

/** What is different from an instant on. */
export interface Coming {
  at: Instant;
  /** The plan from then on. */
  plan: string;
  /** A lower plan: what the old one gave ends, before anything is granted. */
  ends: boolean;
  /** In their order. */
  grants: ComingGrant[];
}

interface ComingGrant {
  bucket: string;
  /** Its schedule, `daily` or `plan`. */
  schedule: string;
  amountMilli: MilliCredits;
  /** When it ends; null: never. */
  until: Instant | null;
  /** It takes the place of what the same schedule gave the bucket before. */
  replaces: boolean;
  /** It comes only to who is there in its day or month: nobody is owed what costs nothing (rules 18, 21). */
  ifThere: boolean;
}

/** Credits that may be spent, as far as waiting looks at them. */
export interface Spendable {
  bucket: string;
  schedule: string;
  until: Instant;
  milli: MilliCredits;
}

/** A bucket each and a change of plan: what has more boundaries than this ahead is told of the first. */
const MAX_BOUNDARIES = 16;
/** As often as the ledger would try. */
const MAX_SETTLEMENTS = 40;

/**
 * The next refresh of each bucket and the change of plan that is pending, in order of time. `versions`: of the catalog, the
 * one in force at the snapshot's now and those after it. `also`: instants to look at though nothing may happen then.
 */
export function outlook(options: {
  snapshot: Snapshot;
  versions: readonly InForce[];
  also?: readonly Instant[];
}): Coming[] {
  const { snapshot, versions, also = [] } = options;
  // What is due already is not the future: it is there for whoever comes now.
  let standing = settled({ ...snapshot, ending: [] }, versions);
  const awaited = new Set(standing.dueMs.keys());
  const later = versions.slice(1).map(({ effectiveAt }) => toMs(effectiveAt));
  let afterVersion: number[] = [];
  const coming: Coming[] = [];
  for (let n = 0; n < MAX_BOUNDARIES; n += 1) {
    const nowMs = toMs(standing.snapshot.now);
    const atMs = earliest([...boundariesOf(standing, awaited), ...also.map(toMs), ...afterVersion], nowMs);
    const versionMs = earliest(later, nowMs);
    if (versionMs !== null && versionMs <= (atMs ?? versionMs)) {
      // It may fill what nothing filled before: at the first boundary of any bucket that finds it in force.
      const before = new Date(versionMs - 1).toISOString();
      standing = settled({ ...standing.snapshot, now: before }, versions);
      later.splice(0, later.indexOf(versionMs) + 1);
      afterVersion = [...standing.dueMs.values()];
      continue;
    }
    if (atMs === null) break;
    const at = new Date(atMs).toISOString();
    const planBefore = standing.snapshot.rules.plan;
    standing = settled({ ...standing.snapshot, now: at }, versions);
    const ifThere = !hasSubscription(inForceAt(versions, atMs), standing.snapshot.rules);
    const { ends, grants } = changesOf(standing.steps, ifThere);
    for (const { bucket } of grants) awaited.delete(bucket);
    const { plan } = standing.snapshot.rules;
    const isAsked = also.some((instant) => toMs(instant) === atMs);
    if (grants.length > 0 || plan !== planBefore || isAsked) coming.push({ at, plan, ends, grants });
  }
  return coming;
}

/** When a bucket is filled that has not been so far, and when the plan changes. */
function boundariesOf({ snapshot, dueMs }: Standing, awaited: ReadonlySet<string>): number[] {
  const { pending } = snapshot.rules;
  return [
    ...[...dueMs].filter(([bucket]) => awaited.has(bucket)).map(([, ms]) => ms),
    ...(pending === null ? [] : [toMs(pending.at)]),
  ];
}

function earliest(instantsMs: readonly number[], afterMs: number): number | null {
  const ahead = instantsMs.filter((ms) => Number.isFinite(ms) && ms > afterMs);
  return ahead.length === 0 ? null : Math.min(...ahead);
}

interface Standing {
  snapshot: Snapshot;
  dueMs: ReadonlyMap<string, number>;
  steps: SettleStep[];
}

/** Settled until nothing is due, as the ledger does it. */
function settled(snapshot: Snapshot, versions: readonly InForce[]): Standing {
  const steps: SettleStep[] = [];
  let standing: Standing = { snapshot, dueMs: new Map(), steps };
  for (let n = 0; n < MAX_SETTLEMENTS; n += 1) {
    const { settlement, dueMs } = settleBy({ snapshot: standing.snapshot, versions, touch: true });
    steps.push(...settlement.steps);
    standing = { snapshot: afterwards(standing.snapshot, settlement), dueMs, steps };
    if (settlement.until === null) break;
  }
  return standing;
}

/** Rules and calendar as `ledger.apply` leaves them. */
function afterwards(snapshot: Snapshot, { steps, calendar, nextDueAt, wakeAt }: Settlement): Snapshot {
  const change = steps.find((step) => 'op' in step && step.op === 'rules');
  const merged = { ...snapshot.calendar, ...calendar };
  if (change === undefined || !('rules' in change))
    return { ...snapshot, calendar: merged, nextDueAt, wakeAt };
  return {
    ...snapshot,
    calendar: merged,
    rules: { ...snapshot.rules, ...(change.rules as Partial<AccountRules>) }, // settle's planStep writes them
    nextDueAt: '-infinity',
    wakeAt: toMs(wakeAt) < toMs(change.at) ? wakeAt : change.at,
  };
}

function inForceAt(versions: readonly InForce[], atMs: number): Catalog {
  const [first] = versions;
  const found = versions.findLast(({ effectiveAt }) => toMs(effectiveAt) <= atMs) ?? first;
  if (found === undefined) throw new Error('no version of the catalog is in force');
  return found.catalog;
}

/** `ifThere`: whether what the plan of that time grants comes only to somebody who uses the account. */
function changesOf(steps: readonly SettleStep[], ifThere: boolean): Pick<Coming, 'ends' | 'grants'> {
  let ends = false;
  let grants: ComingGrant[] = [];
  for (const step of steps) {
    if (!('op' in step)) grants.push(grantOf(step, ifThere));
    else if (step.op === 'rules' && step.ends === 'plan') {
      ends = true;
      grants = grants.filter(({ schedule }) => schedule !== 'plan');
    }
  }
  return { ends, grants };
}

function grantOf({ bucket, source, amount, expiresAt, replaces }: GrantStep, ifThere: boolean): ComingGrant {
  const schedule = scheduleOf(source);
  const comes = { until: expiresAt, replaces, ifThere: ifThere || schedule === 'daily' };
  return { bucket, schedule, amountMilli: amount, ...comes };
}

/** The first part of a lot's source, by which the ledger knows what a refresh takes the place of. */
export function scheduleOf(source: string): string {
  return source.split(':')[0] ?? '';
}

/** What there is now, of buckets that may pay. */
export function spendableOf(
  lots: readonly LotView[],
  { now, excluded }: { now: Instant; excluded: readonly string[] },
): Spendable[] {
  return lots
    .filter(({ bucket, available }) => available > 0 && !excluded.includes(bucket))
    .filter(({ expiresAt }) => toMs(expiresAt) > toMs(now))
    .map(({ bucket, source, expiresAt, available }) => ({
      bucket,
      schedule: scheduleOf(source),
      until: expiresAt,
      milli: available,
    }));
}

/** How an account stands at an instant that comes, if nothing is spent until then. */
export interface ThenStanding {
  at: Instant;
  plan: string;
  /** What it can spend. */
  amountMilli: MilliCredits;
  /** Whether something was granted that may be spent. */
  refreshed: boolean;
}

/**
 * What can be spent at each of the instants that come, by who comes then and was not there in between; debt takes of all that is
 * granted but daily credits (rule 27).
 */
export function standingsOf(options: {
  coming: readonly Coming[];
  /** What can be spent now. */
  left: readonly Spendable[];
  debtMilli: MilliCredits;
  /** Buckets that may not pay. */
  excluded: readonly string[];
}): ThenStanding[] {
  const { coming, left, debtMilli, excluded } = options;
  let owned: Owned = { lots: left, debt: debtMilli };
  return coming.map(({ at, plan, ends, grants }) => {
    const lasting = owned.lots.filter(
      ({ until, schedule }) => toMs(until) > toMs(at) && !(ends && schedule === 'plan'),
    );
    let there: Owned = { ...owned, lots: lasting };
    owned = there;
    for (const grant of grants) {
      there = grantedTo(there, grant);
      if (!grant.ifThere) owned = grantedTo(owned, grant);
    }
    const lots = there.lots.filter(
      ({ until, bucket }) => toMs(until) > toMs(at) && !excluded.includes(bucket),
    );
    const refreshed = grants.some(({ bucket }) => !excluded.includes(bucket));
    return { at, plan, amountMilli: add(...lots.map((lot) => lot.milli)), refreshed };
  });
}

interface Owned {
  lots: readonly Spendable[];
  debt: number;
}

function grantedTo(
  { lots, debt }: Owned,
  { bucket, schedule, amountMilli, until, replaces }: ComingGrant,
): Owned {
  const repaid = schedule === 'daily' ? 0 : Math.min(debt, amountMilli);
  const rest = replaces ? lots.filter((lot) => lot.bucket !== bucket || lot.schedule !== schedule) : lots;
  const lot = { bucket, schedule, until: until ?? 'infinity', milli: milli(amountMilli - repaid) };
  return { lots: [...rest, lot], debt: debt - repaid };
}
