import { type Catalog, freePlan, planOf, type Quota } from '../catalog/catalog';
import type { Priced } from '../prices/line';
import type { Refusal } from '../refusals';

/** Which plans may do what, and from which buckets it may be paid. Pure. */

/** Null if the plan includes what was priced; that plan or a higher one does (by rank). */
export function planGate(options: { catalog: Catalog; plan: string; priced: Priced }): Refusal | null {
  const { catalog, plan, priced } = options;
  if (priced.requiredPlan === null) return null;
  const required = planOf(catalog, priced.requiredPlan);
  const rank = planOf(catalog, plan)?.rank ?? 0;
  if (required === undefined || rank >= required.rank) return null;
  const what = [priced.action, priced.model].filter((part) => part !== null).join(' with ');
  return {
    code: 'plan_required',
    detail: `${what} needs the plan ${required.label} or a higher one.`,
    facts: { requiredPlan: required.plan },
  };
}

/** Buckets that may not pay for it: those that exclude one of its tags. */
export function excludedBuckets({ catalog, priced }: { catalog: Catalog; priced: Priced }): string[] {
  return catalog.buckets
    .filter((bucket) => bucket.excludes.some((tag) => priced.tags.includes(tag)))
    .map((bucket) => bucket.bucket);
}

export interface QuotaUse {
  quota: string;
  label: string;
  period: Quota['period'];
  /** Uses per period on this plan; null: counted, not limited. */
  limit: number | null;
  /** What this request would use. */
  uses: number;
}

/** The quotas that a request counts against, also those that this plan does not limit: a lower one may (rule 22). */
export function quotaUses(options: { catalog: Catalog; plan: string; priced: Priced }): QuotaUse[] {
  const { catalog, plan, priced } = options;
  const limits = (planOf(catalog, plan) ?? freePlan(catalog)).quotas;
  return catalog.quotas
    .filter(({ quota }) => priced.quotas.includes(quota))
    .map(({ quota, label, period }) => ({
      quota,
      label,
      period,
      limit: limits[quota] ?? null,
      uses: priced.outputs,
    }));
}
