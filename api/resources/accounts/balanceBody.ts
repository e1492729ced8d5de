import {
  type BalanceSnapshot,
  type Instant,
  type LotView,
  rfc3339,
  type Snapshot,
  toMs,
} from '../../../domain/account';
import { cycleNumber, cycleStart } from '../../../domain/time/calendar';
import type { Bucket, Catalog } from '../../../domain/catalog/catalog';
import { add, type MilliCredits, milli, toCredits } from '../../../domain/credits';
import type { LimitsShown } from '../../../domain/access/limits';
import { scheduleOf, type Coming, outlook, standingsOf } from '../../../domain/time/outlook';
import { paywallWays } from '../../../domain/access/paywall';
import { hasSubscription, type InForce, noticeSeconds } from '../../../domain/time/settle';

/** What the customer's counter shows: the balance of `api.md`, from a settled snapshot. Pure. */

export interface Refresh {
  at: Instant;
  amountMilli: MilliCredits;
}

/** When a bucket is filled again, and with how much; null where it is not, as far as is decided. */
function bucketRefresh(bucket: Bucket, coming: readonly Coming[]): Refresh | null {
  for (const { at, grants } of coming) {
    const grant = grants.findLast((one) => one.bucket === bucket.bucket);
    if (grant !== undefined) return { at, amountMilli: grant.amountMilli };
  }
  return null;
}

/** The cycle that contains now, from the anchor (never chained). */
export function currentCycle(snapshot: Snapshot): { anchor: Instant; start: Instant; end: Instant } {
  const anchorMs = toMs(snapshot.rules.anchor);
  const n = cycleNumber(anchorMs, toMs(snapshot.now));
  const at = (cycle: number) => new Date(cycleStart(anchorMs, cycle)).toISOString();
  return { anchor: new Date(anchorMs).toISOString(), start: at(n), end: at(n + 1) };
}

/** How far ahead credits that end are shown, where the catalog does not announce them. */
const EXPIRING_SOON_SECONDS = 7 * 24 * 3_600;

export function balanceBody(options: {
  snapshot: BalanceSnapshot;
  catalog: Catalog;
  /** Versions of the catalog that come into force later. */
  later?: readonly InForce[];
  withLots: boolean;
  limits?: LimitsShown;
  /** The member who asks; null: nobody in particular. */
  role?: 'owner' | 'member' | null;
}) {
  const { snapshot, catalog, later = [], withLots, limits, role = null } = options;
  const nowMs = toMs(snapshot.now);
  const live = asOf(snapshot.lots, nowMs);
  const available = add(...live.map((lot) => lot.available));
  const coming = outlook({ snapshot, versions: [{ catalog, effectiveAt: snapshot.now }, ...later] });
  const standings = standingsOf({ coming, left: [], debtMilli: snapshot.debt, excluded: [] });
  return {
    account: snapshot.account,
    asOf: rfc3339(snapshot.now) ?? '',
    available: toCredits(available),
    held: toCredits(snapshot.held),
    debt: toCredits(snapshot.debt),
    buckets: catalog.buckets
      .toSorted((a, b) => a.rank - b.rank)
      .map((bucket) => {
        const next = bucketRefresh(bucket, coming);
        const lots = live.filter((lot) => lot.bucket === bucket.bucket);
        // Also in the last period of a plan that ends: nothing follows it, and it gave something.
        const refreshes = next !== null || lots.some((lot) => !lot.over && isScheduled(lot));
        return bucketBody({ bucket, lots, refreshes, next });
      }),
    expiringSoon: expiringSoon({ lots: live, nowMs, catalog }),
    quotas: limits?.quotas ?? [],
    member: limits?.member ?? null,
    canGenerate: available > 0 && !snapshot.rules.suspended,
    ways: paywallWays({
      catalog,
      plan: snapshot.rules.plan,
      subscriptionActive: hasSubscription(catalog, snapshot.rules),
      role,
      suspended: snapshot.rules.suspended,
      awaits: standings.some(({ amountMilli }) => amountMilli > 0),
    }),
    nextRefreshAt: standings.find(({ refreshed }) => refreshed)?.at ?? null,
    ...(withLots ? { lots: snapshot.lots.map(lotBody) } : {}),
  };
}

/** What a lot of a schedule is granted from; see `settle`. */
const OF_SCHEDULE = /^(?:daily|plan):/;

/**
 * The same body of an account as it was. Plan, members, suspension and clock settings are not kept for every instant of
 * the past, so what follows from them is empty or null; what follows from credits and lots is exact.
 */
export function pastBalanceBody(options: {
  account: string;
  atMs: number;
  past: { available: MilliCredits; held: MilliCredits; debt: MilliCredits; lots: LotView[] };
  /** In force at that instant. */
  catalog: Catalog;
  withLots: boolean;
}) {
  const { account, atMs, past, catalog, withLots } = options;
  const live = asOf(past.lots, atMs);
  return {
    account,
    asOf: new Date(atMs).toISOString(),
    available: toCredits(past.available),
    held: toCredits(past.held),
    debt: toCredits(past.debt),
    buckets: catalog.buckets
      .toSorted((a, b) => a.rank - b.rank)
      .map((bucket) => {
        const lots = live.filter((lot) => lot.bucket === bucket.bucket);
        const refreshes = bucket.refresh !== null && lots.some(({ source }) => OF_SCHEDULE.test(source));
        return bucketBody({ bucket, lots, refreshes, next: null });
      }),
    expiringSoon: expiringSoon({ lots: live, nowMs: atMs, catalog }),
    quotas: [],
    member: null,
    canGenerate: null,
    ways: [],
    nextRefreshAt: null,
    ...(withLots ? { lots: past.lots.map(lotBody) } : {}),
  };
}

function expiringSoon(options: { lots: LotView[]; nowMs: number; catalog: Catalog }) {
  const { lots, nowMs, catalog } = options;
  const soonMs = nowMs + (noticeSeconds(catalog) ?? EXPIRING_SOON_SECONDS) * 1000;
  return lots
    .filter((lot) => lot.available > 0 && toMs(lot.expiresAt) <= soonMs)
    .toSorted((a, b) => toMs(a.expiresAt) - toMs(b.expiresAt))
    .map((lot) => ({
      bucket: lot.bucket,
      credits: toCredits(lot.available),
      expiresAt: rfc3339(lot.expiresAt),
    }));
}

/** Between a boundary and the settle that books it, a lot that has ended counts for nothing but what is held of it. */
function asOf(lots: readonly LotView[], nowMs: number): LotView[] {
  return lots.map((lot) =>
    lot.over || toMs(lot.expiresAt) <= nowMs ? { ...lot, over: true, available: milli(0) } : lot,
  );
}

/** Whether a period gave it, and nobody bought or was given it by hand. */
function isScheduled({ source }: LotView): boolean {
  return ['daily', 'plan'].includes(scheduleOf(source));
}

/** `refreshes`: whether periods fill the bucket, so that a share of it means something. */
function bucketBody(options: { bucket: Bucket; lots: LotView[]; refreshes: boolean; next: Refresh | null }) {
  const { bucket, lots, refreshes, next } = options;
  const available = add(...lots.map((lot) => lot.available));
  const held = add(...lots.map((lot) => lot.held));
  // What is still held of a lot that has ended belongs to the period before.
  const present = lots.filter((lot) => !lot.over);
  const granted = add(...present.filter((lot) => lot.source !== 'return').map((lot) => lot.granted));
  const ends = lots.filter((lot) => lot.available > 0).map((lot) => toMs(lot.expiresAt));
  const firstEnd = Math.min(Number.POSITIVE_INFINITY, ...ends);
  return {
    bucket: bucket.bucket,
    label: bucket.label,
    available: toCredits(available),
    held: toCredits(held),
    granted: toCredits(granted),
    percentLeft: refreshes ? percentLeft(present) : null,
    expiresAt: Number.isFinite(firstEnd) ? new Date(firstEnd).toISOString() : null,
    nextRefresh: next === null ? null : { at: next.at, amount: toCredits(next.amountMilli) },
  };
}

/**
 * Of what the period gave, what came back included, the share that is left, held or not. In percent with one decimal,
 * rounded down: "100 %" never hides that something was spent. Null where there is nothing to have a share of.
 */
function percentLeft(present: readonly LotView[]): number | null {
  const given = add(...present.map((lot) => lot.granted));
  const left = add(...present.map((lot) => add(lot.available, lot.held)));
  return given === 0 ? null : Math.floor((left * 1000) / given) / 10;
}

function lotBody(lot: LotView) {
  return {
    id: String(lot.lot),
    bucket: lot.bucket,
    granted: toCredits(lot.granted),
    available: toCredits(lot.available),
    held: toCredits(lot.held),
    effectiveAt: rfc3339(lot.effectiveAt),
    expiresAt: rfc3339(lot.expiresAt),
    source: lot.source,
  };
}
