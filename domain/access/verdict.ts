import { type BalanceSnapshot, DEFAULT_MAX_OPEN_GENERATIONS } from '../account';
import type { Catalog } from '../catalog/catalog';
import type { MilliCredits } from '../credits';
import { drawFrom } from './spendOrder';
import { excludedBuckets, planGate } from './gates';
import { type Count, countsOf, firstExceeded, roleOf } from './limits';
import { outlook, spendableOf } from '../time/outlook';
import { type Paywall, paywall } from './paywall';
import { upgradeTerms } from '../time/planChange';
import type { Priced } from '../prices/line';
import type { RefusalCode } from '../refusals';
import { hasSubscription, type InForce } from '../time/settle';

/** What a reservation would be told now, in the order in which one is refused. Pure; the lock has the last word. */

export interface Verdict {
  allowed: boolean;
  reason: RefusalCode | null;
  /** What can be done about it; null where nothing the customer buys or waits for would help. */
  paywall: Paywall | null;
  /** Which buckets would pay, in order; empty where it is not allowed. */
  draws: { bucket: string; milli: MilliCredits }[];
}

export interface VerdictRequest {
  snapshot: BalanceSnapshot;
  catalog: Catalog;
  /** Versions of the catalog that come into force later. */
  later?: readonly InForce[];
  priced: Priced;
  member: string | null;
}

/** The counters a verdict depends on; read them, and pass what they say as `used`. */
export function countsFor({ snapshot, catalog, priced, member }: VerdictRequest): Count[] {
  return countsOf({ snapshot, catalog, priced, member, amount: priced.ceilingMilli });
}

export function verdict(request: VerdictRequest, used: ReadonlyMap<string, number>): Verdict {
  const { snapshot, catalog, later = [], priced, member } = request;
  const { rules, lots, now } = snapshot;
  const amount = priced.ceilingMilli;
  const excluded = excludedBuckets({ catalog, priced });
  const { draws, spendable } = drawFrom({ lots, now, excluded, amount });
  const limited = firstExceeded(countsFor(request), used);
  const reason = reasonOf({ ...request, limited, short: spendable < amount });
  if (reason === null) return { allowed: true, reason, paywall: null, draws };
  const isWall = !NO_WALL.has(reason);
  const wall = paywall({
    catalog,
    plan: rules.plan,
    subscriptionActive: hasSubscription(catalog, rules),
    role: roleOf(snapshot, member),
    requiredMilli: amount,
    availableMilli: spendable,
    requiredPlan: priced.requiredPlan,
    left: spendableOf(lots, { now, excluded }),
    coming: outlook({
      snapshot,
      versions: [{ catalog, effectiveAt: now }, ...later],
      also: limited?.resetsAt == null ? [] : [limited.resetsAt],
    }),
    upgrade: upgradeTerms({ snapshot, catalog }),
    excluded,
    debtMilli: snapshot.debt,
    ...(limited === null || limited.refusal !== reason ? {} : { limited }),
  });
  return { allowed: false, reason, paywall: isWall ? wall : null, draws: [] };
}

/** Refusals that no pack, plan or refresh would change. */
const NO_WALL: ReadonlySet<RefusalCode> = new Set(['account_suspended', 'too_many_open_generations']);

function reasonOf(options: VerdictRequest & { limited: Count | null; short: boolean }): RefusalCode | null {
  const { snapshot, catalog, priced, limited, short } = options;
  const { rules } = snapshot;
  if (rules.suspended) return 'account_suspended';
  const gate = planGate({ catalog, plan: rules.plan, priced });
  if (gate !== null) return gate.code;
  if (limited !== null) return limited.refusal;
  const maxOpen = rules.maxOpen ?? DEFAULT_MAX_OPEN_GENERATIONS;
  if (!priced.free && snapshot.openHolds >= maxOpen) return 'too_many_open_generations';
  return short ? 'insufficient_credits' : null;
}
