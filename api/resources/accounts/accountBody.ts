import type { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Ledger } from '../../../db/ledger/ledger';
import { type AccountRules, rfc3339, toMs } from '../../../domain/account';
import { currentCycle } from './balanceBody';
import { type Catalog, isPaid, planOf } from '../../../domain/catalog/catalog';
import { hasSubscription } from '../../../domain/time/settle';
import { unknownAccount } from '../../problems/common';
import type { account } from './schemas';

/** An account as `api.md` shows it. */
export async function showAccount(
  { ledger, catalogs }: { ledger: Ledger; catalogs: CatalogStore },
  id: string,
): Promise<z.output<typeof account>> {
  const snapshot = await ledger.current(id, 'plan');
  if (snapshot === null) throw unknownAccount(id);
  const { rules } = snapshot;
  const { catalog, version } = await catalogs.inForce(rules.catalog, toMs(snapshot.now));
  const { pending } = rules;
  return {
    id,
    catalog: rules.catalog,
    catalogVersion: version,
    plan: rules.plan,
    subscription: {
      status: statusOf(catalog, rules, toMs(snapshot.now)),
      interval: rules.planInterval,
      paidUntil: rfc3339(rules.paidUntil),
      pendingChange: pending === null ? null : { plan: pending.plan, at: rfc3339(pending.at) ?? '' },
    },
    suspended: rules.suspended,
    timezone: rules.timezone,
    cycle: currentCycle(snapshot),
    testClock: rules.testClock,
    now: new Date(toMs(snapshot.now)).toISOString(),
    email: rules.email,
    stripeCustomer: rules.stripeCustomer,
    createdAt: new Date(toMs(rules.createdAt)).toISOString(),
  };
}

function statusOf(catalog: Catalog, rules: AccountRules, nowMs: number) {
  if (!hasSubscription(catalog, rules)) return rules.endedAt === null ? 'none' : 'lapsed';
  const after = rules.pending === null ? undefined : planOf(catalog, rules.pending.plan);
  if (after !== undefined && !isPaid(after)) return 'canceling';
  return rules.paidUntil !== null && toMs(rules.paidUntil) <= nowMs ? 'past_due' : 'active';
}
