import type { CatalogStore } from '../../../db/catalogs/catalogs';
import { rfc3339 } from '../../../domain/account';
import { type Catalog, freePlan, type Plan, planOf } from '../../../domain/catalog/catalog';
import { ProblemError } from '../../problems/problem';

/**
 * A plan that an account may be put on: the catalog has it, and no version that is published already takes it away. Accounts
 * on such a plan keep a version from being published; one that is there already must not find any either.
 */
export async function offeredPlan(
  catalogs: CatalogStore,
  { catalog, plan: name, atMs }: { catalog: Catalog; plan: string; atMs: number },
): Promise<Plan> {
  const plan = planOf(catalog, name);
  if (plan === undefined)
    throw new ProblemError('unknown_plan', {
      detail: `Catalog ${catalog.catalog} has no plan ${name}; it has ${catalog.plans.map((one) => one.plan).join(', ')}.`,
    });
  if (plan === freePlan(catalog)) return plan; // an account must be on some plan
  const leavesAt = await catalogs.planLeavesAt({ catalog: catalog.catalog, plan: name }, atMs);
  if (leavesAt !== null)
    throw new ProblemError('unknown_plan', {
      detail: `Plan ${name} leaves catalog ${catalog.catalog} at ${rfc3339(leavesAt)}: nobody is put on it any more.`,
    });
  return plan;
}
