import type { Knex } from 'knex';
import { accountOf } from '../../domain/ids';

/** Finding accounts; what they are and hold is read through the ledger. */
export async function searchAccounts(
  knex: Knex,
  { text, after, limit }: { text?: string | undefined; after?: string | undefined; limit: number },
): Promise<string[]> {
  const query = knex('ledger.account_rules as r').orderBy('r.account_id').limit(limit);
  if (text !== undefined) narrow(query, text);
  if (after !== undefined) void query.where('r.account_id', '>', after);
  const rows: { account_id: string }[] = await query.select('r.account_id');
  return rows.map((row) => row.account_id);
}

function narrow(query: Knex.QueryBuilder, text: string): void {
  const account = accountOf(text);
  if (account === null) {
    // One after the other: each from its index, where any of the three at once would be looked for in every account.
    void query.whereRaw(
      `r.account_id IN (SELECT :text UNION ALL SELECT account_id FROM ledger.account_rules WHERE lower(email) = lower(:text)
                         UNION ALL SELECT account_id FROM ledger.account_rules WHERE stripe_customer = :text)`,
      { text },
    );
    return;
  }
  // An id that carries its account: only there can it be, so no other account is looked at.
  const having = (table: string, column: string) => (found: Knex.QueryBuilder) => {
    void found.from(table).where({ account_id: account, [column]: text });
  };
  void query.where('r.account_id', account).where((any) => {
    void any
      .whereExists(having('ledger.generations', 'generation_id'))
      .orWhereExists(having('holdfast.inbox', 'inbox_key'));
  });
}
