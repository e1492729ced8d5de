import { toMs } from '../account';
import { type Catalog, freePlan, isPaid, type Plan, planOf } from '../catalog/catalog';
import { add, type MilliCredits, milli, toCredits, toMilli } from '../credits';
import { type Coming, type Spendable, standingsOf, type ThenStanding } from '../time/outlook';
import { upgradeGives, type UpgradeTerms } from '../time/planChange';

/** What a customer can do about a refusal: which packs and plans would do, and whether waiting is enough. Pure. */

export type Way = 'buy_pack' | 'upgrade' | 'wait' | 'ask_owner';

interface Standing {
  catalog: Catalog;
  plan: string;
  subscriptionActive: boolean;
  /** The member who asks; null: nobody in particular. */
  role: 'owner' | 'member' | null;
}

export interface PaywallRequest extends Standing {
  requiredMilli: MilliCredits;
  /** What the account can spend on this. */
  availableMilli: MilliCredits;
  requiredPlan: string | null;
  /** What the account has, of buckets that may pay. */
  left: readonly Spendable[];
  /** What comes on its own; where a limit stands in the way, with the instant at which that starts again. */
  coming: readonly Coming[];
  /** What an upgrade would give. */
  upgrade: UpgradeTerms;
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
  const { catalog, plan, requiredMilli, availableMilli, requiredPlan, excluded = [] } = request;
  const shortfall = milli(Math.max(0, requiredMilli - availableMilli));
  const missing = shortfall === 0 ? shortfall : add(shortfall, request.debtMilli ?? milli(0));
  const gated = rankOf(catalog, requiredPlan) > rankOf(catalog, plan);
  const packs = gated || !mayBuyPacks(request) ? [] : catalog.packs;
  const packsPay = !excluded.includes('pack');
  const plans = higherPlans(catalog, plan)
    .filter((one) => one.rank >= rankOf(catalog, requiredPlan))
    // Where the plan itself is missing, none is left out: what is short on it can be bought there.
    .filter((one) => gated || upgradePays(request, one.plan));
  const standings = standingsOf(futureOf(request));
  const enough = standings.find((then) => pays(request, then));
  return {
    ways: waysOut({
      ...request,
      canBuy: packs.length > 0 && packsPay,
      canUpgrade: plans.length > 0,
      canWait: enough !== undefined,
    }),
    required: toCredits(requiredMilli),
    available: toCredits(availableMilli),
    shortfall: toCredits(shortfall),
    requiredPlan,
    packs: packs.map(({ pack, credits, price, currency }) => ({
      pack,
      credits,
      price,
      currency,
      covers: packsPay && toMilli(credits) >= missing,
    })),
    plans: plans.map((one) => planOffered(request, one)),
    nextRefreshAt: (enough ?? standings.find(({ refreshed }) => refreshed))?.at ?? null,
    waitSuffices: enough !== undefined,
  };
}

/** More credits would not help here: a higher plan does where it allows more uses, an owner where a member is limited. */
function limitWall(request: PaywallRequest, limited: Limited): Paywall {
  const { catalog, plan, role, requiredMilli, availableMilli } = request;
  const { refusal, name, limit, units, resetsAt } = limited;
  const most = limit ?? Number.POSITIVE_INFINITY;
  const shortfall = milli(Math.max(0, requiredMilli - availableMilli));
  const allows = (one: Plan) => one.quotas[name] ?? Number.POSITIVE_INFINITY;
  const plans =
    refusal === 'quota_reached'
      ? higherPlans(catalog, plan).filter(
          (one) => allows(one) > most && allows(one) >= units && upgradePays(request, one.plan),
        )
      : [];
  const then = standingsOf(futureOf(request)).find(
    ({ at }) => resetsAt !== null && toMs(at) === toMs(resetsAt),
  );
  const mostThen =
    refusal !== 'quota_reached' || then === undefined || then.plan === plan
      ? most
      : allows(planOf(catalog, then.plan) ?? freePlan(catalog));
  const waitSuffices = then !== undefined && units <= mostThen && pays(request, then);
  const asks = refusal === 'member_limit_reached' || (role === 'member' && catalog.rules.buyers === 'owners');
  const ways: Way[] = [];
  if (asks && (plans.length > 0 || refusal === 'member_limit_reached')) ways.push('ask_owner');
  else if (plans.length > 0) ways.push('upgrade');
  if (waitSuffices) ways.push('wait');
  return {
    ways,
    required: toCredits(requiredMilli),
    available: toCredits(availableMilli),
    shortfall: toCredits(shortfall),
    requiredPlan: plans[0]?.plan ?? null,
    packs: [],
    plans: plans.map((one) => planOffered({ catalog, excluded: [] }, one)),
    nextRefreshAt: resetsAt,
    waitSuffices,
  };
}

/** The ways that are open to this account, whatever it wants to do, in the order they are shown. */
export function paywallWays(
  standing: Standing & {
    suspended: boolean;
    /** Whether anything comes on its own. */
    awaits: boolean;
  },
): Way[] {
  const { catalog, plan, suspended, awaits } = standing;
  if (suspended) return []; // nothing a customer does helps
  return waysOut({
    ...standing,
    canBuy: mayBuyPacks(standing) && catalog.packs.length > 0,
    canUpgrade: higherPlans(catalog, plan).length > 0,
    canWait: awaits,
  });
}

type WaysOut = Pick<Standing, 'catalog' | 'role'> & Record<'canBuy' | 'canUpgrade' | 'canWait', boolean>;

function waysOut({ catalog, canBuy, canUpgrade, canWait, role }: WaysOut): Way[] {
  const ways: Way[] = [];
  if (role === 'member' && catalog.rules.buyers === 'owners') {
    if (canBuy || canUpgrade) ways.push('ask_owner');
  } else {
    if (canBuy) ways.push('buy_pack');
    if (canUpgrade) ways.push('upgrade');
  }
  if (canWait) ways.push('wait');
  return ways;
}

function futureOf({ coming, left, excluded = [], debtMilli = milli(0) }: PaywallRequest) {
  return { coming, left, excluded, debtMilli };
}

/** Whether it could be had by waiting until then. */
function pays(
  { catalog, requiredPlan, requiredMilli }: PaywallRequest,
  { plan, amountMilli }: ThenStanding,
): boolean {
  return amountMilli >= requiredMilli && rankOf(catalog, plan) >= rankOf(catalog, requiredPlan);
}

/** Whether it can be paid after an upgrade at once, of which debt is paid first (rules 19, 27). */
function upgradePays(request: PaywallRequest, plan: string): boolean {
  const { catalog, left, upgrade, requiredMilli, excluded = [], debtMilli = milli(0) } = request;
  const kept = left.filter(({ schedule }) => catalog.rules.upgrade.carry || schedule !== 'plan');
  const gives = upgradeGives(upgrade, monthlyCredits({ catalog, plan, excluded }));
  return add(...kept.map((one) => one.milli)) + Math.max(0, gives - debtMilli) >= requiredMilli;
}

function planOffered({ catalog, excluded = [] }: Pick<PaywallRequest, 'catalog' | 'excluded'>, one: Plan) {
  return {
    plan: one.plan,
    credits: toCredits(monthlyCredits({ catalog, plan: one.plan, excluded })),
    price: one.prices?.month ?? null,
  };
}

export function mayBuyPacks({
  catalog,
  subscriptionActive,
}: Pick<Standing, 'catalog' | 'subscriptionActive'>): boolean {
  return catalog.rules.packsFor === 'everyone' || subscriptionActive;
}

export function higherPlans(catalog: Catalog, plan: string): Plan[] {
  const rank = rankOf(catalog, plan);
  return catalog.plans.filter((one) => isPaid(one) && one.rank > rank).toSorted((a, b) => a.rank - b.rank);
}

export function rankOf(catalog: Catalog, plan: string | null): number {
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
