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
  'lots',
  'other_lots', // what all lots that are not looked at have, account by account
  'counters',
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
  lots: 'ledger.lots',
  other_lots: '(SELECT NULL::text AS account_id, 0::bigint AS available, 0::bigint AS held WHERE false)',
  counters: 'ledger.counters',
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

/** For each row on the left those on the right, one by one by their index: OFFSET keeps Postgres from reading all of them. */
const each = (left: string, right: string, condition: string) =>
  `SELECT r.* FROM ${left} n CROSS JOIN LATERAL (SELECT * FROM ${right} t WHERE ${condition} OFFSET 0) r`;
const HOLD_NAMES = 'pg_temp.audit_hold_names';
const SAME_HOLD = 't.account_id = n.account_id AND t.hold_id = n.hold_id';

const MARKED = 'pg_temp.audit_marked';
const LOT_NAMES = 'pg_temp.audit_lot_names';
const SAME_LOT = 't.account_id = n.account_id AND t.lot_no = n.lot_no';
const COUNTER_NAMES = 'pg_temp.audit_counter_names';
const SAME_COUNTER = 't.account_id = n.account_id AND t.counter = n.counter AND t.period = n.period';
const isMarked = (alias: string) =>
  `EXISTS (SELECT FROM ${MARKED} m WHERE m.account_id = ${alias}.account_id)`;

const SAME_ACCOUNT = 't.account_id = n.account_id';
/** Not by a condition on the lots: whoever looks for it there reads all lots of all accounts. */
const UNMARKED = `(SELECT a.account_id FROM unnest($1::text[]) a (account_id) WHERE NOT ${isMarked('a')})`;

type Stage = Table | 'hold_names' | 'marked' | 'lot_names' | 'lots_then' | 'counter_names' | 'counters_then';

/** What is copied, in this order; $1: accounts, $2: the numbers of the rows at which each was marked. */
const STAGES: readonly { name: Stage; columns: string; rows: string }[] = [
  {
    // Those whose history begins with a mark; of all others everything is looked at.
    name: 'marked',
    columns: 'account_id text',
    rows: `SELECT account_id FROM ledger.audit_marks m WHERE account_id = ANY ($1::text[])
              AND NOT EXISTS (SELECT FROM ledger.openings o WHERE o.account_id = m.account_id AND o.seq > m.seq)`,
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
    // Lots that something happened to, and lots that something is in, now or when the account was marked.
    name: 'lot_names',
    columns: 'account_id text, lot_no int',
    rows: `SELECT j.account_id, m.lot FROM pg_temp.audit_journal j CROSS JOIN LATERAL unnest(j.moves) m
            UNION SELECT j.account_id, (n.value ->> 'lot')::int FROM pg_temp.audit_journal j
             CROSS JOIN LATERAL jsonb_array_elements(j.detail -> 'lots') n WHERE j.detail ? 'lots'
            UNION SELECT j.account_id, e.value::int FROM pg_temp.audit_journal j
             CROSS JOIN LATERAL jsonb_array_elements(j.detail -> 'ended') e WHERE j.detail ? 'ended'
            UNION SELECT h.account_id, u.lot FROM pg_temp.audit_holds h CROSS JOIN LATERAL unnest(h.lots) u (lot) WHERE h.open
            UNION SELECT f.account_id, u.lot FROM ledger.freezes f CROSS JOIN LATERAL unnest(f.lots) u (lot)
             WHERE f.open AND f.account_id = ANY ($1::text[])
            UNION SELECT l.account_id, l.lot_no FROM ledger.lots l WHERE l.open AND l.account_id = ANY ($1::text[])
            UNION SELECT l.account_id, l.lot_no FROM ledger.audit_lots l
             WHERE l.available + l.held + l.frozen > 0 AND l.account_id = ANY ($1::text[])
            UNION SELECT w.account_id, w.lot_no FROM (${each(UNMARKED, 'ledger.lots', SAME_ACCOUNT)}) w`,
  },
  { name: 'lots', columns: 'LIKE ledger.lots', rows: each(LOT_NAMES, 'ledger.lots', SAME_LOT) },
  {
    name: 'lots_then',
    columns: 'LIKE ledger.audit_lots',
    rows: `${each(LOT_NAMES, 'ledger.audit_lots', SAME_LOT)} WHERE ${isMarked('n')}`,
  },
  {
    name: 'other_lots',
    columns: 'account_id text, available bigint, held bigint',
    rows: `SELECT m.account_id, m.available - coalesce(sum(t.available), 0), m.held - coalesce(sum(t.held), 0)
             FROM ledger.audit_marks m JOIN ${MARKED} USING (account_id) LEFT JOIN pg_temp.audit_lots_then t USING (account_id)
            GROUP BY m.account_id, m.available, m.held`,
  },
  {
    name: 'counter_names',
    columns: 'account_id text, counter text, period text',
    rows: `SELECT j.account_id, c.counter, c.period FROM pg_temp.audit_journal j
             CROSS JOIN LATERAL jsonb_to_recordset(j.detail -> 'counts') c (counter text, period text) WHERE j.detail ? 'counts'
            UNION SELECT w.account_id, w.counter, w.period FROM (${each(UNMARKED, 'ledger.counters', SAME_ACCOUNT)}) w`,
  },
  {
    name: 'counters',
    columns: 'LIKE ledger.counters',
    rows: each(COUNTER_NAMES, 'ledger.counters', SAME_COUNTER),
  },
  {
    name: 'counters_then',
    columns: 'LIKE ledger.audit_counters',
    rows: `${each(COUNTER_NAMES, 'ledger.audit_counters', SAME_COUNTER)} WHERE ${isMarked('n')}`,
  },
  {
    // History begins with the mark, of which only these lots and counters matter, or with what was archived.
    name: 'openings',
    columns: 'LIKE ledger.openings',
    rows: `SELECT m.account_id, m.seq, m.at, m.recorded_at, m.available, m.held, m.debt, m.owed, m.repaid, m.keys, m.keys_digest,
                  coalesce((SELECT jsonb_agg(ledger.lot_marked(ROW(t.*)::ledger.audit_lots) ORDER BY t.lot_no)
                              FROM pg_temp.audit_lots_then t WHERE t.account_id = m.account_id), '[]'),
                  coalesce((SELECT jsonb_agg(jsonb_build_object('counter', t.counter, 'period', t.period, 'used', t.used))
                              FROM pg_temp.audit_counters_then t WHERE t.account_id = m.account_id), '[]')
             FROM ledger.audit_marks m JOIN ${MARKED} USING (account_id)
            UNION ALL
           SELECT * FROM ledger.openings o WHERE o.account_id = ANY ($1::text[]) AND NOT ${isMarked('o')}`,
  },
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
 * of the holds they name, and of those that are open, everything; the lots and counters they touch, and the lots that something is
 * in. History begins with the mark, or with the opening where there is no mark or a month was archived since.
 * It is copied into tables of the session's own: only with their statistics does Postgres know how little it is.
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
