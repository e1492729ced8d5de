import type { Catalog } from './catalog';
import { MAX_OPERATION_MILLI, type MilliCredits, milli, toCredits } from './credits';
import { planGate } from './gates';
import { monthlyCredits } from './paywall';
import { type ParamValue, type Priced, price } from './prices';
import type { Refusal } from './refusals';

/** What a month of work costs, with a buffer, and which plans would cover it. Pure and exact. */

export interface EstimateItem {
  action: string;
  model?: string;
  params?: Record<string, unknown>;
  /** Instead of the catalog's rate. */
  credits?: MilliCredits;
  /** How many times: per day on so many days, or per month. */
  times: { perDay: number; days: number } | { perMonth: number };
}

export interface EstimateLine {
  label: string;
  action: string;
  model: string | null;
  params: Record<string, ParamValue>;
  quantity: number;
  unit: string;
  rate: number;
  credits: number;
}

export interface Estimate {
  lines: EstimateLine[];
  subtotal: number;
  withBuffer: { low: number; high: number };
  plans: {
    plan: string;
    label: string;
    /** What it gives per month. Daily credits cannot be saved up and are not counted. */
    credits: number;
    price: number | null;
    /** Whether it may do all that is listed. */
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
  const wanted: Priced[] = [];
  let subtotal = milli(0);
  for (const [item, { times, credits, ...request }] of items.entries()) {
    const result = price({ catalog, ...request });
    if (!result.ok) return { ok: false, item, refusal: result.refusal };
    const { priced } = result;
    const quantity = 'perMonth' in times ? times.perMonth : times.perDay * times.days;
    const rate = credits ?? priced.creditsMilli;
    if (BigInt(rate) * BigInt(quantity) > BigInt(MAX_OPERATION_MILLI))
      return { ok: false, item, tooMuch: 'comes to more than 1,000,000,000 credits a month' };
    const total = milli(rate * quantity);
    subtotal = milli(subtotal + total);
    wanted.push(priced);
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
      plans: plansFor({ catalog, wanted, need: high }),
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

function plansFor(options: { catalog: Catalog; wanted: readonly Priced[]; need: MilliCredits }) {
  const { catalog, wanted, need } = options;
  return catalog.plans
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ plan, label, prices }) => {
      const credits = monthlyCredits({ catalog, plan, excluded: [] });
      const allowed = wanted.every((priced) => planGate({ catalog, plan, priced }) === null);
      return {
        plan,
        label,
        credits: toCredits(credits),
        price: prices?.month ?? null,
        allowed,
        covers: allowed && credits >= need,
        shortfall: toCredits(milli(Math.max(0, need - credits))),
      };
    });
}
