import { Client } from 'pg';
import { openDatabase } from '../../db/connection/connection';

/** Accounts and history for the ledger bench, put there without going through the engine where that would take hours. */

const FUNDS_MILLI = 1_000_000_000_000;

/** Accounts `<prefix>-0` … that are settled for ever and rich. */
export async function openFunded(options: {
  databaseUrl: string;
  prefix: string;
  count: number;
}): Promise<void> {
  const { databaseUrl, prefix, count } = options;
  const database = openDatabase({ url: databaseUrl, max: 4 });
  const settle = {
    settleVersion: 0,
    rulesVersion: 1,
    steps: [],
    calendar: {},
    nextDueAt: 'infinity',
    wakeAt: 'infinity',
  };
  const rules = JSON.stringify({ catalog: 'imagineart', plan: 'free', planSource: 'free' });
  const grant = {
    op: 'grant',
    key: 'sys:bench',
    hash: 'bench',
    bucket: 'pack',
    rank: 3,
    amount: FUNDS_MILLI,
    source: 'bench',
  };
  for (let from = 0; from < count; from += 100) {
    const accounts = Array.from(
      { length: Math.min(100, count - from) },
      (_, index) => `${prefix}-${from + index}`,
    );
    await database.pool.query('SELECT ledger.open_account(id, $2, NULL) FROM unnest($1::text[]) id', [
      accounts,
      rules,
    ]);
    const calls = accounts.map((account) => ({ account, ops: [grant], settle }));
    await database.pool.query('SELECT ledger.apply($1)', [JSON.stringify(calls)]);
  }
  await database.close();
}

/** Accounts that the history is spread over. */
const OLD_ACCOUNTS = 10_000;

/**
 * History as pairs leave it: of every two journal rows a reserve and a capture, with their keys and their hold. It is
 * in nobody's balance, so it is not the audit's business; indexes and tables are as large as they would be.
 */
export async function fillJournal({
  databaseUrl,
  rows,
}: {
  databaseUrl: string;
  rows: number;
}): Promise<string> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const startedMs = performance.now();
  await client.query(
    "INSERT INTO ledger.accounts (account_id) SELECT 'old-' || i FROM generate_series(0, $1 - 1) i",
    [OLD_ACCOUNTS],
  );
  const pairsEach = Math.ceil(rows / 2 / OLD_ACCOUNTS);
  const name = `md5(i || ':' || n)`;
  const pairs = `generate_series(0, $1 - 1) i, generate_series(1, $2) n`;
  await client.query(
    `INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after, held_after,
                                 debt_after, moves, detail)
     SELECT 'old-' || i, 2 * n - s, clock_timestamp(), clock_timestamp(), CASE s WHEN 1 THEN 'reserve' ELSE 'capture' END, 'applied',
            CASE s WHEN 1 THEN 'req:' ELSE 'sys:capture:hold_old-' || i || '.' END || ${name}, 'hold_old-' || i || '.' || ${name},
            -2000 * s, 1000000, 2000 * s, 0,
            ARRAY[ROW(1, CASE s WHEN 1 THEN 'available' ELSE 'held' END, CASE s WHEN 1 THEN 'held' ELSE 'spent' END, 2000)::ledger.move],
            '{"final": true}'
       FROM ${pairs}, generate_series(0, 1) s`,
    [OLD_ACCOUNTS, pairsEach],
  );
  await client.query(
    `INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer)
     SELECT account_id, key, md5(key) || md5(hold_id), seq, repeat('x', 480) FROM ledger.journal WHERE account_id LIKE 'old-%'`,
  );
  await client.query(
    `INSERT INTO ledger.holds (account_id, hold_id, amount, held, captured, lots, lots_held, lots_captured, open, opened_at, overdue_at,
                               closed_at, expires_at, work)
     SELECT 'old-' || i, 'hold_old-' || i || '.' || ${name}, 2000, 0, 2000, '{1}', '{0}', '{2000}', false, now(), now(), now(), now(),
            '{"action": "image", "draws": [{"bucket": "pack", "milli": 2000}]}'
       FROM ${pairs}`,
    [OLD_ACCOUNTS, pairsEach],
  );
  await client.query('VACUUM ANALYZE');
  await client.end();
  return `done in ${Math.round((performance.now() - startedMs) / 1000)} s`;
}

/** What an operation leaves on disk, table by table with its indexes, over everything that the bench has done so far. */
export async function bytesPerOperation(databaseUrl: string): Promise<string> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ name: string; bytes: string; operations: string }>(
    `WITH sizes AS (
       SELECT CASE WHEN c.relname LIKE 'journal%' THEN 'journal' ELSE c.relname END AS name, sum(pg_total_relation_size(c.oid)) AS bytes
         FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r'
        GROUP BY 1)
     SELECT name, round(bytes / (SELECT count(*) FROM ledger.journal)) AS bytes, (SELECT count(*) FROM ledger.journal) AS operations
       FROM sizes WHERE name IN ('journal', 'op_keys', 'holds') ORDER BY bytes DESC`,
  );
  await client.end();
  const all = rows.reduce((sum, { bytes }) => sum + Number(bytes), 0);
  const parts = rows.map(({ name, bytes }) => `${name} ${bytes}`).join(', ');
  return `Bytes an operation leaves, with indexes: ${all} (${parts}), over ${Number(rows[0]?.operations).toLocaleString('en')} operations`;
}
