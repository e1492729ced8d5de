import type { Instant, Member, Snapshot } from '../account';
import { toMs } from '../account';
import { cycleNumber, cycleStart, localDate, nextMonth } from '../time/calendar';
import { type Catalog, freePlan, planOf, type Quota } from '../catalog/catalog';
import { type MilliCredits, milli, toCredits } from '../credits';
import { quotaUses } from './gates';
import type { Priced } from '../prices/line';
import { dayOf } from '../time/zoneChange';

/**
 * What is limited per period beside the balance: uses of a quota, credits of a member, credits of the account in a
 * day. Here it is worked out which counters a request moves; the ledger compares and moves them under its lock
 * (rules 9, 22). Pure.
 */

export type PeriodKind = Quota['period'];

export interface Period {
  /** What the counter of this period is called in the ledger. */
  period: string;
  /** When the next one begins; null: never. */
  resetsAt: Instant | null;
}

/** The period that contains the snapshot's now. Days and calendar months are those of the account's zone. */
export function periodOf(kind: PeriodKind, { now, rules }: Pick<Snapshot, 'now' | 'rules'>): Period {
  const nowMs = toMs(now);
  const { timezone } = rules;
  switch (kind) {
    case 'day': {
      const { date, untilMs } = dayOf(rules, nowMs);
      return { period: `day:${date}`, resetsAt: instant(untilMs) };
    }
    case 'calendar-month': {
      const { date, untilMs } = dayOf(rules, nowMs);
      const month = (day: string) => day.slice(0, 7);
      const over = month(localDate(untilMs, timezone)) !== month(date);
      return {
        period: `month:${month(date)}`,
        resetsAt: instant(over ? untilMs : nextMonth(untilMs, timezone)),
      };
    }
    case 'cycle': {
      const anchorMs = toMs(rules.anchor);
      const n = cycleNumber(anchorMs, nowMs);
      return {
        period: `cycle:${instant(cycleStart(anchorMs, n))}`,
        resetsAt: instant(cycleStart(anchorMs, n + 1)),
      };
    }
    default: // ever
      return { period: 'ever', resetsAt: null };
  }
}

/** One counter that a request moves. */
export interface Count extends Period {
  counter: string;
  /** A use comes back once, if nothing was captured; credits come back as they do. */
  of: 'uses' | 'credits';
  units: number;
  /** Null: counted, not limited. */
  limit: number | null;
  refusal: 'quota_reached' | 'member_limit_reached' | 'account_limit_reached';
  /** The quota or member, as its owner calls it. */
  name: string;
}

/** In the order in which they may refuse: quotas, then the member, then the account's own limit. */
export function countsOf(options: {
  snapshot: Snapshot;
  catalog: Catalog;
  /** Null for a bare amount, which uses no quota. */
  priced: Priced | null;
  member: string | null;
  amount: MilliCredits;
}): Count[] {
  const { snapshot, catalog, priced, member, amount } = options;
  const { plan, creditsPerDay } = snapshot.rules;
  const counts: Count[] = (priced === null ? [] : quotaUses({ catalog, plan, priced })).map(
    ({ quota, period, limit, uses }) => ({
      ...periodOf(period, snapshot),
      counter: quotaCounter(quota),
      of: 'uses',
      units: uses,
      limit,
      refusal: 'quota_reached',
      name: quota,
    }),
  );
  if (member !== null && amount > 0) {
    counts.push({
      ...periodOf(catalog.rules.memberLimits, snapshot),
      counter: memberCounter(member),
      of: 'credits',
      units: amount,
      limit: memberOf(snapshot, member)?.monthlyLimit ?? null,
      refusal: 'member_limit_reached',
      name: member,
    });
  }
  if (creditsPerDay !== null && amount > 0) {
    counts.push({
      ...periodOf('day', snapshot),
      counter: ACCOUNT_COUNTER,
      of: 'credits',
      units: amount,
      limit: creditsPerDay,
      refusal: 'account_limit_reached',
      name: snapshot.account,
    });
  }
  return counts;
}

/** Every counter that may limit what this account, or this member of it, does now. */
export function countersOf(options: { snapshot: Snapshot; catalog: Catalog; member: string | null }) {
  const { snapshot } = options;
  const { creditsPerDay } = snapshot.rules;
  const own = creditsPerDay === null ? [] : [{ counter: ACCOUNT_COUNTER, ...periodOf('day', snapshot) }];
  return [...limitsShown(options).counters, ...own].map(({ counter, period }) => ({ counter, period }));
}

/** When the first of these periods ends: what is decided later must be worked out again. */
export function countsUntil(counts: readonly Count[]): Instant | null {
  const ends = counts.flatMap(({ resetsAt }) => resetsAt ?? []);
  return ends.toSorted((a, b) => toMs(a) - toMs(b))[0] ?? null;
}

const ACCOUNT_COUNTER = 'account';
const quotaCounter = (quota: string) => `quota:${quota}`;
export const memberCounter = (member: string) => `member:${member}`;

/** Most members of a team, also where its plan sets no number of seats: each request of the account reads who they are. */
export const MAX_MEMBERS = 1_000;

/** Undefined: not in the team, which limits nothing. */
export function memberOf({ members }: Pick<Snapshot, 'members'>, member: string | null): Member | undefined {
  return member !== null && Object.hasOwn(members, member) ? members[member] : undefined;
}

/**
 * Null: nobody in particular, or an account that is not a team. A person who is not listed in the team may spend, but is not an
 * owner.
 */
export function roleOf(
  snapshot: Pick<Snapshot, 'members'>,
  member: string | null,
): 'owner' | 'member' | null {
  if (member === null) return null;
  const isTeam = Object.keys(snapshot.members).length > 0;
  return memberOf(snapshot, member)?.role ?? (isTeam ? 'member' : null);
}

/** The first of the counts that would pass its limit, with what is used of it; the ledger finds the same one. */
export function firstExceeded(
  counts: readonly Count[],
  used: ReadonlyMap<string, number>,
): (Count & { used: number }) | null {
  for (const count of counts) {
    const already = used.get(count.counter) ?? 0;
    if (count.limit !== null && already + count.units > count.limit) return { ...count, used: already };
  }
  return null;
}

function instant(ms: number): Instant {
  return new Date(ms).toISOString();
}

/** What a balance shows of limits: the counters to read, and how they look once they were read. Unlimited quotas are not shown. */
export function limitsShown(options: { snapshot: Snapshot; catalog: Catalog; member: string | null }) {
  const { snapshot, catalog, member } = options;
  const limits = (planOf(catalog, snapshot.rules.plan) ?? freePlan(catalog)).quotas;
  const quotas = catalog.quotas.flatMap(({ quota, label, period }) => {
    const limit = limits[quota] ?? null;
    return limit === null
      ? []
      : [{ quota, label, limit, counter: quotaCounter(quota), ...periodOf(period, snapshot) }];
  });
  const own =
    member === null
      ? null
      : {
          counter: memberCounter(member),
          limit: memberOf(snapshot, member)?.monthlyLimit ?? null,
          ...periodOf(catalog.rules.memberLimits, snapshot),
        };
  return {
    counters: [...quotas, ...(own === null ? [] : [own])],
    show(used: ReadonlyMap<string, number>) {
      const of = (counter: string) => used.get(counter) ?? 0;
      return {
        quotas: quotas.map(({ quota, label, limit, counter, resetsAt }) => ({
          quota,
          label,
          limit,
          used: of(counter),
          resetsAt,
        })),
        member:
          own === null
            ? null
            : {
                limit: own.limit === null ? null : toCredits(own.limit),
                used: toCredits(milli(of(own.counter))),
                left: own.limit === null ? null : toCredits(milli(Math.max(0, own.limit - of(own.counter)))),
                resetsAt: own.resetsAt,
              },
      };
    },
  };
}

export type LimitsShown = ReturnType<ReturnType<typeof limitsShown>['show']>;
