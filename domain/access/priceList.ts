import type { Snapshot } from '../account';
import type { Action, Catalog, Options } from '../catalog/catalog';
import { toCredits } from '../credits';
import { excludedBuckets, planGate } from './gates';
import { countsOf, firstExceeded } from './limits';
import { type Offer, offersOf } from '../prices/offers';
import type { Priced, ParamValue } from '../prices/line';
import type { RefusalCode } from '../refusals';

/** What each action costs one account: every combination there is, and whether the account may order it. Pure. */

export interface PriceRow {
  action: string;
  label: string;
  /** What one output is; every price is that of one. */
  unit: string;
  free: boolean;
  maxOutputs: number;
  needsConfirmation: boolean;
  models: ModelPrices[];
}

interface ModelPrices {
  /** Null for a pipeline, which has no models. */
  model: string | null;
  label: string;
  /** Values by option, those that occur in a variant. */
  options: Record<string, ParamValue[]>;
  /** The lowest price of all variants. */
  from: number;
  variants: Variant[];
}

interface Variant {
  params: Record<string, ParamValue>;
  credits: number;
  /** The most that is held; more than `credits` only for a pipeline. */
  ceiling: number;
  approximate: boolean;
  allowed: boolean;
  /** The code with which one output would be refused, whatever the balance. */
  reason: RefusalCode | null;
  requiredPlan: string | null;
  /** The buckets that may pay for it, in spend order. */
  drawsFrom: string[];
}

export interface PriceListRequest {
  catalog: Catalog;
  snapshot: Snapshot;
  /** Who would order; null: nobody in particular. */
  member: string | null;
  /** By counter, what is used in the period that runs; of `countersOf`. */
  used: ReadonlyMap<string, number>;
}

export function priceList(request: PriceListRequest): PriceRow[] {
  return request.catalog.actions.map((action) => ({
    action: action.action,
    label: action.label,
    unit: action.unit,
    free: action.free,
    maxOutputs: action.maxOutputs,
    needsConfirmation: action.needsConfirmation,
    models: action.free ? [] : modelsOf(action, request),
  }));
}

function modelsOf(action: Action, request: PriceListRequest): ModelPrices[] {
  const offers = offersOf({ catalog: request.catalog, action });
  const models: { model: string | null; label: string; options: Options }[] =
    action.pipeline === undefined
      ? action.models
      : [{ model: null, label: action.label, options: action.pipeline.options }];
  return models.map(({ model, label, options }) => {
    const own = offers.filter((one) => one.model === model);
    const variants = own.map((offer) => variantOf(offer, request));
    return {
      model,
      label,
      options: Object.fromEntries(
        Object.entries(options).map(([name, { values }]) => [
          name,
          values.filter((value) => own.some(({ params }) => params[name] === value)),
        ]),
      ),
      from: Math.min(...variants.map(({ credits }) => credits)),
      variants,
    };
  });
}

function variantOf({ params, priced }: Offer, request: PriceListRequest): Variant {
  const { catalog } = request;
  const reason = reasonOf(priced, request);
  const excluded = excludedBuckets({ catalog, priced });
  return {
    params,
    credits: toCredits(priced.creditsMilli),
    ceiling: toCredits(priced.ceilingMilli),
    approximate: priced.approximate,
    allowed: reason === null,
    reason,
    requiredPlan: priced.requiredPlan,
    drawsFrom: catalog.buckets
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ bucket }) => bucket)
      .filter((bucket) => !excluded.includes(bucket)),
  };
}

function reasonOf(priced: Priced, request: PriceListRequest): RefusalCode | null {
  const { catalog, snapshot, member, used } = request;
  const { plan, suspended } = snapshot.rules;
  if (suspended) return 'account_suspended';
  const gate = planGate({ catalog, plan, priced });
  if (gate !== null) return gate.code;
  const counts = countsOf({ snapshot, catalog, priced, member, amount: priced.ceilingMilli });
  return firstExceeded(counts, used)?.refusal ?? null;
}
