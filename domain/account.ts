import type { MilliCredits } from './credits';

/**
 * An account as gates, prices and settle see it. Instants are RFC 3339 text, exactly as the database wrote
 * them (microseconds kept); `'infinity'` and `'-infinity'` are the database's own.
 */
export type Instant = string;

export type PlanSource = 'free' | 'admin' | 'stripe';
/** What a plan is paid for at a time, the shortest first. */
export const PLAN_INTERVALS = ['month', 'quarter', 'year'] as const;
export type PlanInterval = (typeof PLAN_INTERVALS)[number];

/** The change of plan that was decided already and comes at the end of the period: a downgrade, or the free plan. */
interface PendingPlan {
  plan: string;
  source: PlanSource;
  interval: PlanInterval | null;
  at: Instant;
}

/** Until `from` it is still the day that began at `dayFrom` in the zone that was (rule 21). */
export interface ZoneChange {
  was: string;
  dayFrom: Instant;
  from: Instant;
}

/** Decides gates and calendar; `rulesVersion` moves when one of these changes, never by a spend. */
export interface AccountRules {
  catalog: string;
  plan: string;
  /** Who covers the plan: nobody has to (`free`), an administrator, or Stripe's paid invoices. */
  planSource: PlanSource;
  planInterval: PlanInterval | null;
  /** Stripe plans: the end of what is paid. An administrator's plan has none (it covers every slot). */
  paidUntil: Instant | null;
  /** What becomes of the plan at the end of the period; null: it stays. */
  pending: PendingPlan | null;
  /** The cycle that paid periods are counted from; null: from the anchor. */
  periodFrom: Instant | null;
  /** When the last subscription ended; null: there is one, or never was. */
  endedAt: Instant | null;
  /** The test clock the account lives on; null: real time. */
  testClock: string | null;
  timezone: string;
  /** The last change of zone; null: there was none. */
  zoneChange: ZoneChange | null;
  anchor: Instant;
  suspended: boolean;
  /** Open generations at one time; null: the default. */
  maxOpen: number | null;
  /** Credits the account may take per day of its zone; null: no limit. */
  creditsPerDay: MilliCredits | null;
  email: string | null;
  stripeCustomer: string | null;
  createdAt: Instant;
}

export interface Member {
  role: 'owner' | 'member';
  /** Credits per month; null: no limit. */
  monthlyLimit: MilliCredits | null;
}

/** What settle has done so far for one refreshing bucket. */
export interface BucketCalendar {
  /** Daily: the last local date granted, when that day began for this account, and when the next may come. */
  date?: string;
  from?: Instant;
  nextAt?: Instant;
  /** Monthly: the start of the last slot that was granted, and the highest allotment granted in it (rule 19). */
  slotStart?: Instant;
  allotment?: MilliCredits;
  /** Monthly: the slot was granted by a plan that somebody pays for. */
  paid?: boolean;
}

/** By bucket; merged bucket by bucket into `account_rules.calendar`. */
export type CalendarState = Record<string, BucketCalendar>;

/** Credits that end and are not daily ones: when, and since when they are there. */
interface Ending {
  at: Instant;
  since: Instant;
  /** The first part of their lots' source: `plan`, `pack`, `return`, … */
  of: string;
}

export interface Snapshot {
  account: string;
  /** The account's own clock: the database's, or a test clock's. */
  now: Instant;
  onTestClock: boolean;
  seq: number;
  available: MilliCredits;
  held: MilliCredits;
  debt: MilliCredits;
  openHolds: number;
  nextDueAt: Instant;
  /** From then on some lot or lease has ended that the totals still count. */
  endsAt: Instant;
  wakeAt: Instant;
  rulesVersion: number;
  settleVersion: number;
  rules: AccountRules;
  /** Members of a team, by name. */
  members: Record<string, Member>;
  calendar: CalendarState;
  ending: Ending[];
}

export interface LotView {
  lot: number;
  bucket: string;
  rank: number;
  effectiveAt: Instant;
  expiresAt: Instant;
  source: string;
  /** It was ended, perhaps before its time, though something of it may still be held. */
  over: boolean;
  granted: MilliCredits;
  available: MilliCredits;
  held: MilliCredits;
}

export interface BalanceSnapshot extends Snapshot {
  lots: LotView[];
}

export const DEFAULT_MAX_OPEN_GENERATIONS = 1000;

/** Milliseconds since the epoch; ±Infinity for the database's infinities. */
export function toMs(instant: Instant): number {
  if (instant === 'infinity') return Number.POSITIVE_INFINITY;
  if (instant === '-infinity') return Number.NEGATIVE_INFINITY;
  const ms = Date.parse(instant);
  if (Number.isNaN(ms)) throw new RangeError(`not an instant: ${instant}`);
  return ms;
}

/** RFC 3339 in UTC with milliseconds; null for "never". */
export function rfc3339(instant: Instant | null): string | null {
  if (instant === null || instant === 'infinity') return null;
  return new Date(toMs(instant)).toISOString();
}
