import { type Catalog, isPaid, type Plan } from '../catalog/catalog';
import { add, MAX_OPERATION_MILLI, type MilliCredits, milli, toCredits, toMilli } from '../credits';
import { excludedBuckets, planGate, quotaUses } from './gates';
import { monthlyCredits } from './paywall';
import type { ParamValue, Priced } from '../prices/line';
import { price } from '../prices/price';
import type { Refusal } from '../refusals';

/** What a month of work costs, with a buffer, and which plans would cover it. Pure and exact. */

export interface EstimateItem {
  action: string;
  model?: string;
  params?: Record<string, unknown>;
  /** Instead of the catalog's rate. */
  creditsMilli?: MilliCredits;
  /** How many times: per day, on each of its days, or per month. */
  times: { perDay: number; days: number } | { perMonth: number };
}

interface EstimateLine {
  label: string;
  action: string;
  model: string | null;
  params: Record<string, ParamValue>;
  quantity: number;
  unit: string;
  rate: number;
  credits: number;
}

interface Estimate {
  lines: EstimateLine[];
  subtotal: number;
  withBuffer: { low: number; high: number };
  plans: {
    plan: string;
    label: string;
    /** What it gives per month. Daily credits cannot be saved up: they count where work is said by the day. */
    credits: number;
    price: number | null;
    /** Whether it may do all that is listed, and so often. */
    allowed: boolean;
    /** It may, and its credits are enough with the whole buffer. */
    covers: boolean;
    /** What is missing to the upper end of the buffer. */
    shortfall: number;
  }[];
}

export type EstimateResult =
  | { ok: true; estimate: Estimate }
  /** `item` is the place in the list; the refusal's path is inside it. */
  | { ok: false; item: number; refusal: Refusal }
  | { ok: false; item: number; tooMuch: string };

export function estimate(options: {
  catalog: Catalog;
  items: readonly EstimateItem[];
  bufferPercent: readonly [low: number, high: number];
}): EstimateResult {
  const { catalog, items, bufferPercent } = options;
  const lines: EstimateLine[] = [];
  const wanted: Wanted[] = [];
  let subtotal = milli(0);
  for (const [item, { times, creditsMilli, ...request }] of items.entries()) {
    const result = price({ catalog, ...request });
    if (!result.ok) return { ok: false, item, refusal: result.refusal };
    const { priced } = result;
    const quantity = 'perMonth' in times ? times.perMonth : times.perDay * times.days;
    const rate = creditsMilli ?? priced.creditsMilli;
    if (BigInt(rate) * BigInt(quantity) > BigInt(MAX_OPERATION_MILLI))
      return { ok: false, item, tooMuch: 'comes to more than 1,000,000,000 credits a month' };
    const total = milli(rate * quantity);
    subtotal = milli(subtotal + total);
    const each = 'perDay' in times ? times : null;
    wanted.push({ priced, rate, perMonth: quantity, perDay: each?.perDay ?? null, days: each?.days ?? 0 });
    lines.push({ ...named(catalog, priced), quantity, rate: toCredits(rate), credits: toCredits(total) });
  }
  const [low, high] = bufferPercent.map((percent) => withPercent(subtotal, percent));
  if (low === undefined || high === undefined) throw new Error('a buffer has two ends');
  return {
    ok: true,
    estimate: {
      lines,
      subtotal: toCredits(subtotal),
      withBuffer: { low: toCredits(low), high: toCredits(high) },
      plans: plansFor({ catalog, wanted, need: high, percent: bufferPercent[1] }),
    },
  };
}

function named(catalog: Catalog, { action, model, params }: Priced) {
  const offered = catalog.actions.find((one) => one.action === action);
  const by = offered?.models.find((one) => one.model === model);
  const label = [offered?.label ?? action, by?.label].filter((part) => part !== undefined).join(': ');
  return { label, action, model, params, unit: offered?.unit ?? 'call' };
}

/** Rounded up to a millicredit: what is needed is never less than what is said. */
function withPercent(amount: MilliCredits, percent: number): MilliCredits {
  const hundredfold = BigInt(amount) * BigInt(100 + percent);
  return milli(Number((hundredfold + 99n) / 100n));
}

/** How often something is wanted; `perDay` is null where only the month is said. */
interface Wanted {
  priced: Priced;
  rate: MilliCredits;
  perMonth: number;
  perDay: number | null;
  /** Number of days it recurs on. */
  days: number;
}

/** Whether a month of all this stays within the plan's quotas. What is said by month may be spread over its days. */
function withinQuotas({
  catalog,
  plan,
  wanted,
}: {
  catalog: Catalog;
  plan: string;
  wanted: readonly Wanted[];
}) {
  const uses = wanted.flatMap(({ priced, perMonth, perDay }) =>
    quotaUses({ catalog, plan, priced }).map(({ quota, limit, period, uses: each }) => {
      const times = period === 'day' ? (perDay ?? Math.ceil(perMonth / LONGEST_MONTH_DAYS)) : perMonth;
      return { quota, limit, uses: each * times };
    }),
  );
  return uses.every(
    ({ quota, limit }) =>
      limit === null ||
      uses.filter((one) => one.quota === quota).reduce((sum, one) => sum + one.uses, 0) <= limit,
  );
}

const LONGEST_MONTH_DAYS = 31;

/** What a plan's daily credits pay of the work that is said by the day, each day's with that day's, in a month. */
function paidByDays(options: { catalog: Catalog; plan: Plan; wanted: readonly Wanted[]; percent: number }) {
  const { catalog, plan, wanted, percent } = options;
  let paid = milli(0);
  for (const { bucket, refresh, amount, eligibility } of catalog.buckets) {
    const daily = toMilli(plan.allotments[bucket] ?? amount ?? 0);
    if (refresh !== 'day' || daily === 0 || (eligibility === 'without-subscription' && isPaid(plan)))
      continue;
    const payable = wanted.filter(({ priced }) => !excludedBuckets({ catalog, priced }).includes(bucket));
    for (let day = 1; day <= LONGEST_MONTH_DAYS; day += 1) {
      const costs = payable.map(({ rate, perDay, days }) => (day <= days ? rate * (perDay ?? 0) : 0));
      paid = milli(paid + Math.min(daily, withPercent(add(...costs.map(milli)), percent)));
    }
  }
  return paid;
}

function plansFor(options: {
  catalog: Catalog;
  wanted: readonly Wanted[];
  need: MilliCredits;
  percent: number;
}) {
  const { catalog, wanted, need, percent } = options;
  return catalog.plans
    .toSorted((a, b) => a.rank - b.rank)
    .map((one) => {
      const { plan, label, prices } = one;
      const credits = monthlyCredits({ catalog, plan, excluded: [] });
      const left = Math.max(0, need - credits - paidByDays({ catalog, plan: one, wanted, percent }));
      const open = wanted.every(({ priced }) => planGate({ catalog, plan, priced }) === null);
      const allowed = open && withinQuotas({ catalog, plan, wanted });
      return {
        plan,
        label,
        credits: toCredits(credits),
        price: prices?.month ?? null,
        allowed,
        covers: allowed && left === 0,
        shortfall: toCredits(milli(left)),
      };
    });
}
