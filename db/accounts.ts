import type { Knex } from 'knex';

/** Finding accounts; what they are and hold is read through the ledger. */
export async function searchAccounts(
  knex: Knex,
  { text, after, limit }: { text?: string | undefined; after?: string | undefined; limit: number },
): Promise<string[]> {
  const query = knex('ledger.account_rules as r').orderBy('r.account_id').limit(limit);
  if (text !== undefined) {
    void query.where((any) => {
      void any
        .where('r.account_id', text)
        .orWhereRaw('lower(r.email) = lower(?)', [text])
        .orWhere('r.stripe_customer', text)
        .orWhereExists((found) => {
          void found
            .from('ledger.generations as g')
            .whereRaw('g.account_id = r.account_id')
            .where('g.generation_id', text);
        });
    });
  }
  if (after !== undefined) void query.where('r.account_id', '>', after);
  const rows: { account_id: string }[] = await query.select('r.account_id');
  return rows.map((row) => row.account_id);
}
