import type { Catalog } from '../catalog/catalog';
import type { MilliCredits } from '../credits';
import type { Refusal } from '../refusals';

/** A request for a price, and the price with its working. */

export type ParamValue = string | number | boolean;

export interface PriceLine {
  label: string;
  quantity: number;
  unit: string;
  rateMilli: MilliCredits;
  creditsMilli: MilliCredits;
  /** The phase of a pipeline that costs this. */
  phase?: string;
}

export interface Priced {
  action: string;
  model: string | null;
  /** Complete: defaults filled in, only what changes the price, and `outputs`. */
  params: Record<string, ParamValue>;
  creditsMilli: MilliCredits;
  /** Differ from `creditsMilli` only where the final price is not known beforehand. */
  minMilli: MilliCredits;
  ceilingMilli: MilliCredits;
  /** How many outputs are ordered; each uses one of every quota. */
  outputs: number;
  lines: PriceLine[];
  free: boolean;
  /** The highest plan that any gate on the way asks for. */
  requiredPlan: string | null;
  tags: string[];
  quotas: string[];
  needsConfirmation: boolean;
  maxDurationSeconds: number;
  approximate: boolean;
  /** Who does the work, as the catalog has it. */
  provider: { type: string } & Record<string, unknown>;
}

export type PriceResult = { ok: true; priced: Priced } | { ok: false; refusal: Refusal };

export interface PriceRequest {
  catalog: Catalog;
  action: string;
  model?: string;
  params?: Record<string, unknown>;
}
