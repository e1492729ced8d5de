import type { Catalog, Plan } from '../catalog/catalog';
import { add, type MilliCredits, milli, toCredits, toMilli } from '../credits';
import { higherPlans, mayBuyPacks, monthlyCredits, type Paywall, rankOf, type Way } from './paywall';

/**
 * Paywalls as they were before they asked settle what comes. Answers of that time are kept as facts and are rendered from
 * them, the same bytes every time (api/resources/generations/keptAnswer.ts); nothing else uses this. Pure.
 */

interface Standing {
  catalog: Catalog;
  plan: string;
  subscriptionActive: boolean;
  role: 'owner' | 'member' | null;
  nextRefresh: { at: string; amountMilli: MilliCredits } | null;
}

export interface PaywallRequestV1 extends Standing {
  requiredMilli: MilliCredits;
  availableMilli: MilliCredits;
  requiredPlan: string | null;
  excluded?: string[];
  debtMilli?: MilliCredits;
  limited?: LimitedV1;
}

interface LimitedV1 {
  refusal: 'quota_reached' | 'member_limit_reached' | 'account_limit_reached';
  name: string;
  limit: number | null;
  units: number;
  resetsAt: string | null;
}

export function paywallV1(request: PaywallRequestV1): Paywall {
  return request.limited === undefined ? openWall(request) : limitWall(request, request.limited);
}

/** Where the plan or the balance stands in the way. */
function openWall(request: PaywallRequestV1) {
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
    // A refresh sets a bucket again, so what is left there is not added: this may say "no" where it would just do.
    waitSuffices: !gated && nextRefresh !== null && refreshed >= requiredMilli,
  };
}

/** More credits would not help here: a higher plan does where it allows more uses, an owner where a member is limited. */
function limitWall(request: PaywallRequestV1, { refusal, name, limit, units, resetsAt }: LimitedV1): Paywall {
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
