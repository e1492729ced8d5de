import type { PoolClient } from 'pg';

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

const staged = (name: string) => `audit_${name}`;
const parametersOf = (sql: string) => (sql.includes('$2') ? 2 : sql.includes('$1') ? 1 : 0);

/** Of each row on the left those on the right, one by one by their index: OFFSET keeps Postgres from reading all of them. */
const each = (left: string, right: string, condition: string) =>
  `SELECT r.* FROM ${left} n CROSS JOIN LATERAL (SELECT * FROM ${right} t WHERE ${condition} OFFSET 0) r`;
const HOLD_NAMES = 'pg_temp.audit_hold_names';
const SAME_HOLD = 't.account_id = n.account_id AND t.hold_id = n.hold_id';

/** What is copied, in this order; $1: accounts, $2: the numbers of the rows at which each was marked. */
const STAGES: readonly { name: Table | 'hold_names'; columns: string; rows: string }[] = [
  {
    name: 'openings',
    columns: 'LIKE ledger.openings',
    rows: `SELECT * FROM ledger.audit_marks m WHERE account_id = ANY ($1::text[])
              AND NOT EXISTS (SELECT FROM ledger.openings o WHERE o.account_id = m.account_id AND o.seq > m.seq)
            UNION ALL
           SELECT * FROM ledger.openings o WHERE account_id = ANY ($1::text[])
              AND NOT EXISTS (SELECT FROM ledger.audit_marks m WHERE m.account_id = o.account_id AND m.seq >= o.seq)`,
  },
  {
    name: 'journal',
    columns: 'LIKE ledger.journal',
    rows: each(
      'unnest($1::text[], $2::bigint[])',
      'ledger.journal',
      't.account_id = n.account_id AND t.seq > n.seq',
    ).replace(' n CROSS', ' n (account_id, seq) CROSS'),
  },
  {
    name: 'hold_names',
    columns: 'account_id text, hold_id text',
    rows: `SELECT account_id, hold_id FROM pg_temp.audit_journal WHERE hold_id IS NOT NULL
            UNION SELECT account_id, hold_id FROM ledger.holds WHERE open AND account_id = ANY ($1::text[])`,
  },
  {
    name: 'hold_journal',
    columns: 'LIKE ledger.journal',
    rows: each(HOLD_NAMES, 'ledger.journal', SAME_HOLD),
  },
  { name: 'holds', columns: 'LIKE ledger.holds', rows: each(HOLD_NAMES, 'ledger.holds', SAME_HOLD) },
  {
    name: 'opening_holds',
    columns: 'LIKE ledger.opening_holds',
    rows: each(HOLD_NAMES, 'ledger.opening_holds', SAME_HOLD),
  },
  {
    name: 'generations',
    columns: 'LIKE ledger.generations',
    rows: each(
      'pg_temp.audit_holds',
      'ledger.generations',
      't.account_id = n.account_id AND t.generation_id = n.generation_id',
    ),
  },
  {
    name: 'op_keys',
    columns: 'LIKE ledger.op_keys',
    rows: each(
      '(SELECT account_id, key FROM pg_temp.audit_journal WHERE key IS NOT NULL)',
      'ledger.op_keys',
      't.account_id = n.account_id AND t.key = n.key',
    ),
  },
];

/**
 * What came after the rows that were audited before: of each account the journal from there on, with the keys those rows name;
 * and of the holds they name, and of those that are open, everything. History begins with the mark, or with the opening
 * where there is no mark or a month was archived since. It is copied into tables of the session's own, because only
 * with their statistics does Postgres know how little it is.
 */
export async function stageSince(
  client: PoolClient,
  marks: readonly { account: string; seq: number }[],
): Promise<Scope> {
  const accounts = marks.map(({ account }) => account);
  const seqs = marks.map(({ seq }) => seq);
  for (const { name, columns, rows } of STAGES) {
    await client.query(`CREATE TEMP TABLE IF NOT EXISTS ${staged(name)} (${columns}) ON COMMIT DELETE ROWS`);
    await client.query(
      `INSERT INTO pg_temp.${staged(name)} ${rows}`,
      [accounts, seqs].slice(0, parametersOf(rows)),
    );
    await client.query(`ANALYZE pg_temp.${staged(name)}`);
  }
  const tables = { ...WHOLE_TABLES };
  for (const table of TABLES) tables[table] = `pg_temp.${staged(table)}`;
  return { accounts: (column) => `${column} = ANY ($1::text[])`, tables, values: [accounts] };
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
