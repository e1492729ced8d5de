/** How much of the ledger a check looks at, and what its history begins with. */
export interface Scope {
  /** A condition on a column of account ids; `true` for all accounts. */
  accounts: (column: string) => string;
  tables: { journal: string; holds: string; op_keys: string; openings: string };
  values: unknown[];
}

const WHOLE_TABLES = {
  journal: 'ledger.journal',
  holds: 'ledger.holds',
  op_keys: 'ledger.op_keys',
  openings: 'ledger.openings',
};

export const EVERYTHING: Scope = { accounts: () => 'true', tables: WHOLE_TABLES, values: [] };

export function ofAccount(account: string): Scope {
  return { accounts: (column) => `${column} = $1`, tables: WHOLE_TABLES, values: [account] };
}

/**
 * What came after the rows that were audited before: of each account the journal from there on, with the holds and keys
 * those rows name. History begins with the mark, or where there is none yet with the opening.
 */
export function since(marks: readonly { account: string; seq: number }[]): Scope {
  const journal = `(SELECT j0.* FROM unnest($1::text[], $2::bigint[]) q (id, seq)
      JOIN ledger.journal j0 ON j0.account_id = q.id AND j0.seq > q.seq)`;
  return {
    accounts: (column) => `${column} = ANY ($1::text[])`,
    tables: {
      journal,
      holds: `(SELECT h0.* FROM (SELECT DISTINCT account_id, hold_id FROM ${journal} q0 WHERE hold_id IS NOT NULL) n
          JOIN ledger.holds h0 USING (account_id, hold_id))`,
      op_keys: `(SELECT k0.* FROM (SELECT account_id, key FROM ${journal} q0 WHERE key IS NOT NULL) n
          JOIN ledger.op_keys k0 USING (account_id, key))`,
      openings: `(SELECT * FROM ledger.audit_marks
          UNION ALL
         SELECT o0.* FROM ledger.openings o0 WHERE NOT EXISTS (SELECT FROM ledger.audit_marks m0 WHERE m0.account_id = o0.account_id))`,
    },
    values: [marks.map(({ account }) => account), marks.map(({ seq }) => seq)],
  };
}

/** The check's query with everything in braces filled in. */
export function scoped(
  sql: string,
  { accounts, tables, values }: Scope,
): { text: string; values: unknown[] } {
  const text = sql
    .replaceAll(/\{(journal|holds|op_keys|openings)\}/g, (_, table: keyof Scope['tables']) => tables[table])
    .replaceAll(/\{((?:\w+\.)?account_id)\}/g, (_, column: string) => accounts(column));
  // Postgres wants no value that the text does not name.
  return { text, values: values.filter((_, index) => text.includes(`$${index + 1}`)) };
}
