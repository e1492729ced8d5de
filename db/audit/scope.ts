/** How much of the ledger a check looks at, and what its history begins with. */
export interface Scope {
  /** A condition on a column of account ids; `true` for all accounts. */
  accounts: (column: string) => string;
  tables: Record<Table, string>;
  values: unknown[];
}

const TABLES = [
  'journal',
  'hold_journal', // every row of the holds that are looked at
  'holds',
  'generations',
  'op_keys',
  'openings',
  'opening_holds',
] as const;
type Table = (typeof TABLES)[number];

const WHOLE_TABLES: Scope['tables'] = {
  journal: 'ledger.journal',
  hold_journal: 'ledger.journal',
  holds: 'ledger.holds',
  generations: 'ledger.generations',
  op_keys: 'ledger.op_keys',
  openings: 'ledger.openings',
  opening_holds: 'ledger.opening_holds',
};

export const EVERYTHING: Scope = { accounts: () => 'true', tables: WHOLE_TABLES, values: [] };

export function ofAccount(account: string): Scope {
  return { accounts: (column) => `${column} = $1`, tables: WHOLE_TABLES, values: [account] };
}

/**
 * What came after the rows that were audited before: of each account the journal from there on, with the keys those rows name;
 * and of the holds they name, and of those that are open, everything. History begins with the mark, or with the opening
 * where there is no mark or a month was archived since.
 */
export function since(marks: readonly { account: string; seq: number }[]): Scope {
  const journal = `(SELECT j0.* FROM unnest($1::text[], $2::bigint[]) q (id, seq)
      JOIN ledger.journal j0 ON j0.account_id = q.id AND j0.seq > q.seq)`;
  const named = `(SELECT account_id, hold_id FROM ${journal} q0 WHERE hold_id IS NOT NULL
       UNION SELECT account_id, hold_id FROM ledger.holds WHERE open AND account_id = ANY ($1::text[]))`;
  return {
    accounts: (column) => `${column} = ANY ($1::text[])`,
    tables: {
      journal,
      hold_journal: `(SELECT j1.* FROM ${named} n JOIN ledger.journal j1 USING (account_id, hold_id))`,
      holds: `(SELECT h0.* FROM ${named} n JOIN ledger.holds h0 USING (account_id, hold_id))`,
      generations: `(SELECT g0.* FROM ${named} n JOIN ledger.holds h0 USING (account_id, hold_id)
          JOIN ledger.generations g0 USING (account_id, generation_id))`,
      op_keys: `(SELECT k0.* FROM (SELECT account_id, key FROM ${journal} q0 WHERE key IS NOT NULL) n
          JOIN ledger.op_keys k0 USING (account_id, key))`,
      openings: `(SELECT m0.* FROM ledger.audit_marks m0
           WHERE NOT EXISTS (SELECT FROM ledger.openings o0 WHERE o0.account_id = m0.account_id AND o0.seq > m0.seq)
          UNION ALL
         SELECT o0.* FROM ledger.openings o0
           WHERE NOT EXISTS (SELECT FROM ledger.audit_marks m0 WHERE m0.account_id = o0.account_id AND m0.seq >= o0.seq))`,
      opening_holds: `(SELECT b0.* FROM ${named} n JOIN ledger.opening_holds b0 USING (account_id, hold_id))`,
    },
    values: [marks.map(({ account }) => account), marks.map(({ seq }) => seq)],
  };
}

const TABLE = new RegExp(`\\{(${TABLES.join('|')})\\}`, 'g');

/** The check's query with everything in braces filled in. */
export function scoped(
  sql: string,
  { accounts, tables, values }: Scope,
): { text: string; values: unknown[] } {
  const text = sql
    .replaceAll(TABLE, (_, table: Table) => tables[table])
    .replaceAll(/\{((?:\w+\.)?account_id)\}/g, (_, column: string) => accounts(column));
  // Postgres wants no value that the text does not name.
  return { text, values: values.filter((_, index) => text.includes(`$${index + 1}`)) };
}
