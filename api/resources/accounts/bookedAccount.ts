import type { Ledger } from '../../../db/ledger/ledger';
import type { Snapshot } from '../../../domain/account';
import { unknownAccount } from '../../problems/common';

/**
 * The account with every grant of its past in the journal, for those who ask about the past. That is not somebody
 * being there, so it grants no daily credits and, unlike a touch, writes nothing while nothing is due (rules 18, 21).
 */
export async function bookedAccount({ ledger }: { ledger: Ledger }, id: string): Promise<Snapshot> {
  const snapshot = await ledger.current(id, 'grants');
  if (snapshot === null) throw unknownAccount(id);
  return snapshot;
}
