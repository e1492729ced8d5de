import type { CatalogStore } from '../db/catalogs';
import type { Ledger } from '../db/ledger';
import { type Snapshot, toMs } from '../domain/account';
import { settle } from '../domain/settle';
import { unknownAccount } from './commonProblems';

/**
 * The account with every grant of its past in the journal, for those who ask about the past. That is not somebody
 * being there, so it grants no daily credits and, unlike a touch, writes nothing while nothing is due (rules 18, 21).
 */
export async function bookedAccount(
  { ledger, catalogs }: { ledger: Ledger; catalogs: CatalogStore },
  id: string,
): Promise<Snapshot> {
  const snapshot = await ledger.snapshot(id);
  if (snapshot === null) throw unknownAccount(id);
  if (toMs(snapshot.now) < toMs(snapshot.nextDueAt)) return snapshot;
  const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
  if (settle({ snapshot, catalog, touch: false }).steps.length === 0) return snapshot;
  await ledger.settle(id, { touch: false });
  return (await ledger.snapshot(id)) ?? snapshot;
}
