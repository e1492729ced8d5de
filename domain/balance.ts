import { type BalanceSnapshot, type Instant, type LotView, rfc3339, type Snapshot, toMs } from './account';
import { cycleNumber, cycleStart, nextMidnight } from './calendar';
import type { Bucket, Catalog } from './catalog';
import { add, type MilliCredits, milli, toCredits } from './credits';
import type { LimitsShown } from './limits';
import { paywallWays } from './paywall';
import { allotment, hasSubscription, noticeSeconds } from './settle';

/** What the customer's counter shows: the balance of `api.md`, from a settled snapshot. Pure. */

export interface Refresh {
  at: Instant;
  amountMilli: MilliCredits;
}

/** When a bucket is filled again, and with how much; null where it is not. */
export function bucketRefresh(options: {
  bucket: Bucket;
  snapshot: Snapshot;
  catalog: Catalog;
}): Refresh | null {
  const { bucket, snapshot, catalog } = options;
  const { rules } = snapshot;
  const amountMilli = allotment({ bucket, catalog, rules });
  if (bucket.refresh === null || amountMilli === 0) return null;
  const nowMs = toMs(snapshot.now);
  if (bucket.refresh === 'day') {
    // Settle knows better where a change of zone moved the next reset.
    const planned = snapshot.calendar[bucket.bucket]?.nextAt;
    const nextMs = planned === undefined ? 0 : toMs(planned);
    const atMs = nextMs > nowMs ? nextMs : nextMidnight(nowMs, rules.timezone);
    return { at: new Date(atMs).toISOString(), amountMilli };
  }
  const anchorMs = toMs(rules.anchor);
  return { at: new Date(cycleStart(anchorMs, cycleNumber(anchorMs, nowMs) + 1)).toISOString(), amountMilli };
}

/**
 * What waiting brings: the earliest refresh, of buckets that may pay, with which `required` can be paid, or else the
 * earliest of all. The amount is what has been refreshed by then; debt is taken from all of it but daily credits.
 */
export function nextRefresh(options: {
  snapshot: Snapshot;
  catalog: Catalog;
  excluded?: string[];
  required?: MilliCredits;
}): Refresh | null {
  const { snapshot, catalog, excluded = [], required = milli(0) } = options;
  const buckets = catalog.buckets.filter(({ bucket }) => !excluded.includes(bucket));
  const refreshes = buckets
    .flatMap((bucket) => {
      const next = bucketRefresh({ bucket, snapshot, catalog });
      if (next === null) return [];
      const debt = bucket.refresh === 'day' ? 0 : snapshot.debt;
      return [{ at: next.at, amountMilli: milli(Math.max(0, next.amountMilli - debt)) }];
    })
    .toSorted((a, b) => toMs(a.at) - toMs(b.at));
  const sums = refreshes.map(({ at }, n) => ({
    at,
    amountMilli: add(...refreshes.slice(0, n + 1).map((one) => one.amountMilli)),
  }));
  return sums.find(({ amountMilli }) => amountMilli >= required) ?? sums[0] ?? null;
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
  withLots: boolean;
  limits?: LimitsShown;
  /** Of the member who asks; null: nobody in particular. */
  role?: 'owner' | 'member' | null;
}) {
  const { snapshot, catalog, withLots, limits, role = null } = options;
  const nowMs = toMs(snapshot.now);
  // Between a boundary and the settle that books it, a lot that is over counts for nothing.
  const live = snapshot.lots.map((lot) =>
    toMs(lot.expiresAt) <= nowMs ? { ...lot, available: milli(0), granted: milli(0) } : lot,
  );
  const available = add(...live.map((lot) => lot.available));
  const refresh = nextRefresh({ snapshot, catalog });
  return {
    account: snapshot.account,
    asOf: rfc3339(snapshot.now) ?? '',
    available: toCredits(available),
    held: toCredits(snapshot.held),
    debt: toCredits(snapshot.debt),
    buckets: catalog.buckets
      .toSorted((a, b) => a.rank - b.rank)
      .map((bucket) => {
        const next = bucketRefresh({ bucket, snapshot, catalog });
        const lots = live.filter((lot) => lot.bucket === bucket.bucket);
        return bucketBody({ bucket, lots, refreshes: next !== null, next });
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
      nextRefresh: refresh,
    }),
    nextRefreshAt: refresh?.at ?? null,
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
  // A lot that had ended and still held something gave nothing to this period.
  const live = past.lots.map((lot) => (toMs(lot.expiresAt) <= atMs ? { ...lot, granted: milli(0) } : lot));
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

/** `refreshes`: whether something fills the bucket again, so that a share of it means something. */
function bucketBody(options: { bucket: Bucket; lots: LotView[]; refreshes: boolean; next: Refresh | null }) {
  const { bucket, lots, refreshes, next } = options;
  const available = add(...lots.map((lot) => lot.available));
  const held = add(...lots.map((lot) => lot.held));
  const granted = add(...lots.filter((lot) => lot.source !== 'return').map((lot) => lot.granted));
  const ends = lots.filter((lot) => lot.available > 0).map((lot) => toMs(lot.expiresAt));
  const firstEnd = Math.min(Number.POSITIVE_INFINITY, ...ends);
  return {
    bucket: bucket.bucket,
    label: bucket.label,
    available: toCredits(available),
    held: toCredits(held),
    granted: toCredits(granted),
    percentLeft: !refreshes || granted === 0 ? null : percent(add(available, held), granted),
    expiresAt: Number.isFinite(firstEnd) ? new Date(firstEnd).toISOString() : null,
    nextRefresh: next === null ? null : { at: next.at, amount: toCredits(next.amountMilli) },
  };
}

/**
 * A share in percent with one decimal, rounded down: "100 %" never hides that something was spent. What is still
 * held from the period before comes on top of this one's, and does not make it more than whole.
 */
function percent(part: MilliCredits, whole: MilliCredits): number {
  return Math.min(100, Math.floor((part * 1000) / whole) / 10);
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
