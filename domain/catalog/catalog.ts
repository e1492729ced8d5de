import type { z } from 'zod';
import type { CatalogShape } from './shape';
import { isoDurationSeconds } from './duration';

/**
 * A catalog is one product's plans, buckets, packs, rates and rules: data, validated, versioned, never edited
 * in place. docs/catalogs.md explains each field; every number says where it comes from.
 */

export type Catalog = z.output<typeof CatalogShape>;
export type Bucket = Catalog['buckets'][number];
export type Plan = Catalog['plans'][number];
export type Pack = Catalog['packs'][number];
export type Quota = Catalog['quotas'][number];
export type Action = Catalog['actions'][number];
export type Model = Action['models'][number];
export type Options = Model['options'];
export type Pipeline = NonNullable<Action['pipeline']>;
export type Phase = Pipeline['phases'][number];
export type Assertion = Catalog['assertions'][number];

export function bucketOf(catalog: Catalog, bucketId: string): Bucket | undefined {
  return catalog.buckets.find((one) => one.bucket === bucketId);
}

export function planOf(catalog: Catalog, planId: string): Plan | undefined {
  return catalog.plans.find((one) => one.plan === planId);
}

export function packOf(catalog: Catalog, packId: string): Pack | undefined {
  return catalog.packs.find((one) => one.pack === packId);
}

export function actionOf(catalog: Catalog, actionId: string): Action | undefined {
  return catalog.actions.find((one) => one.action === actionId);
}

/** The plan of rank 0, which every catalog has. */
export function freePlan(catalog: Catalog): Plan {
  const free = catalog.plans.find((one) => one.rank === 0);
  if (free === undefined) throw new Error(`catalog ${catalog.catalog} was not checked: it has no free plan`);
  return free;
}

export function isPaid(one: Plan): boolean {
  return one.rank > 0;
}

/** Seconds that credits live on after they came back to a lot that had expired; null: they are forfeited. */
export function returnGraceSeconds({ onReturn }: Bucket): number | null {
  if (onReturn === 'forfeit') return null;
  return onReturn === 'reissue' ? REISSUE_SECONDS : isoDurationSeconds(onReturn.slice('grace:'.length));
}

const REISSUE_SECONDS = 30 * 86_400;
