import { type Catalog, isPaid, type Plan, planOf } from './catalog';
import { add, type MilliCredits, milli, toCredits, toMilli } from './credits';

/** What a customer can do about a refusal: which packs and plans would do, and whether waiting is enough. Pure. */

export type Way = 'buy_pack' | 'upgrade' | 'wait' | 'ask_owner';

interface Standing {
  catalog: Catalog;
  plan: string;
  subscriptionActive: boolean;
  /** Of the member who asks; null: nobody in particular. */
  role: 'owner' | 'member' | null;
  nextRefresh: { at: string; amountMilli: MilliCredits } | null;
}

export interface PaywallRequest extends Standing {
  requiredMilli: MilliCredits;
  /** What the account can spend on this. */
  availableMilli: MilliCredits;
  requiredPlan: string | null;
  /** Buckets that may not pay for this. */
  excluded?: string[];
  /** What is bought or granted pays it first. */
  debtMilli?: MilliCredits;
  /** Where a limit stands in the way, not the balance. */
  limited?: Limited;
}

export interface Limited {
  refusal: 'quota_reached' | 'member_limit_reached' | 'account_limit_reached';
  /** The quota or member. */
  name: string;
  limit: number | null;
  /** What was asked for: waiting does not help where a whole period allows less. */
  units: number;
  resetsAt: string | null;
}

export type Paywall = ReturnType<typeof openWall>;

export function paywall(request: PaywallRequest): Paywall {
  return request.limited === undefined ? openWall(request) : limitWall(request, request.limited);
}

/** Where the plan or the balance stands in the way. */
function openWall(request: PaywallRequest) {
  const { catalog, plan, requiredMilli, availableMilli, requiredPlan, nextRefresh, excluded = [] } = request;
  const shortfall = milli(Math.max(0, requiredMilli - availableMilli));
  const missing = shortfall === 0 ? shortfall : add(shortfall, request.debtMilli ?? milli(0));
  const gated = rankOf(catalog, requiredPlan) > rankOf(catalog, plan);
  const packs = gated || !mayBuyPacks(request) ? [] : catalog.packs;
  const creditsOf = (planId: string) => monthlyCredits({ catalog, plan: planId, excluded });
  const plans = higherPlans(catalog, plan)
    .filter((one) => one.rank >= rankOf(catalog, requiredPlan))
    // An upgrade adds the difference between the allotments. Where the plan itself is missing, none is left out.
    .filter((one) => gated || creditsOf(one.plan) - creditsOf(plan) >= missing);
  const refreshed = nextRefresh === null ? 0 : nextRefresh.amountMilli;
  return {
    ways: waysOut({ canBuy: packs.length > 0, canUpgrade: plans.length > 0, canWait: !gated, ...request }),
    required: toCredits(requiredMilli),
    available: toCredits(availableMilli),
    shortfall: toCredits(shortfall),
    requiredPlan,
    packs: packs.map(({ pack, credits, price, currency }) => ({
      pack,
      credits,
      price,
      currency,
      covers: !excluded.includes('pack') && toMilli(credits) >= missing,
    })),
    plans: plans.map((one) => ({
      plan: one.plan,
      credits: toCredits(creditsOf(one.plan)),
      price: one.prices?.month ?? null,
    })),
    nextRefreshAt: nextRefresh?.at ?? null,
    // A refresh sets a bucket anew, so what is left there is not added: this may say "no" where it would just do.
    waitSuffices: !gated && nextRefresh !== null && refreshed >= requiredMilli,
  };
}

/** More credits would not help here: a higher plan does where it allows more uses, an owner where a member is limited. */
function limitWall(request: PaywallRequest, { refusal, name, limit, units, resetsAt }: Limited): Paywall {
  const { catalog, plan, role, requiredMilli, availableMilli } = request;
  const most = limit ?? Number.POSITIVE_INFINITY;
  const shortfall = milli(Math.max(0, requiredMilli - availableMilli));
  const allows = (one: Plan) => one.quotas[name] ?? Number.POSITIVE_INFINITY;
  const plans =
    refusal === 'quota_reached'
      ? higherPlans(catalog, plan).filter((one) => allows(one) > most && allows(one) >= units)
      : [];
  const asks = refusal === 'member_limit_reached' || (role === 'member' && catalog.rules.buyers === 'owners');
  const ways: Way[] = [];
  if (asks && (plans.length > 0 || refusal === 'member_limit_reached')) ways.push('ask_owner');
  else if (plans.length > 0) ways.push('upgrade');
  if (resetsAt !== null && units <= most) ways.push('wait');
  return {
    ways,
    required: toCredits(requiredMilli),
    available: toCredits(availableMilli),
    shortfall: toCredits(shortfall),
    requiredPlan: plans[0]?.plan ?? null,
    packs: [],
    plans: plans.map((one) => ({
      plan: one.plan,
      credits: toCredits(monthlyCredits({ catalog, plan: one.plan, excluded: [] })),
      price: one.prices?.month ?? null,
    })),
    nextRefreshAt: resetsAt,
    waitSuffices: resetsAt !== null && units <= most && shortfall === 0,
  };
}

/** The ways that are open to this account, whatever it wants to do, in the order they are shown. */
export function paywallWays(standing: Standing): Way[] {
  const { catalog, plan } = standing;
  return waysOut({
    canBuy: mayBuyPacks(standing) && catalog.packs.length > 0,
    canUpgrade: higherPlans(catalog, plan).length > 0,
    canWait: true,
    ...standing,
  });
}

type WaysOut = Pick<Standing, 'catalog' | 'role' | 'nextRefresh'> &
  Record<'canBuy' | 'canUpgrade' | 'canWait', boolean>;

function waysOut({ catalog, canBuy, canUpgrade, canWait, role, nextRefresh }: WaysOut): Way[] {
  const ways: Way[] = [];
  if (role === 'member' && catalog.rules.buyers === 'owners') {
    if (canBuy || canUpgrade) ways.push('ask_owner');
  } else {
    if (canBuy) ways.push('buy_pack');
    if (canUpgrade) ways.push('upgrade');
  }
  if (canWait && nextRefresh !== null) ways.push('wait');
  return ways;
}

function mayBuyPacks({ catalog, subscriptionActive }: Standing): boolean {
  return catalog.rules.packsFor === 'everyone' || subscriptionActive;
}

function higherPlans(catalog: Catalog, plan: string): Plan[] {
  const rank = rankOf(catalog, plan);
  return catalog.plans.filter((one) => isPaid(one) && one.rank > rank).toSorted((a, b) => a.rank - b.rank);
}

function rankOf(catalog: Catalog, plan: string | null): number {
  return plan === null ? 0 : (planOf(catalog, plan)?.rank ?? 0);
}

/** What a plan gives per month that may pay for this. */
export function monthlyCredits(options: {
  catalog: Catalog;
  plan: string;
  excluded: string[];
}): MilliCredits {
  const { catalog, plan, excluded } = options;
  const allotments = planOf(catalog, plan)?.allotments ?? {};
  const monthly = catalog.buckets.filter(
    ({ bucket, refresh }) => refresh === 'month' && !excluded.includes(bucket),
  );
  return add(...monthly.map(({ bucket, amount }) => toMilli(allotments[bucket] ?? amount ?? 0)));
}
