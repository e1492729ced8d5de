import type { Pool, PoolClient } from 'pg';
import { CHECKS } from './checks';
import { KEEP_MONTHS } from '../books/snapshotRead';
import { type CheckResult, runChecks } from './index';
import { stageSince } from './scope';

export interface QuickReport {
  ok: boolean;
  /** Accounts that had moved since they were looked at last, and the journal rows they moved by. */
  accounts: number;
  rows: number;
  checks: CheckResult[];
  /** The last account it came to where it had to stop; null: it has seen them all. */
  next: string | null;
}

/** What is looked at in one transaction: a bounded number of accounts and rows. One account is never divided. */
const BATCH_ACCOUNTS = 500;
const BATCH_ROWS = 50_000;

/** What is rebuilt from all there is of an account is the full audit's. */
const QUICK_CHECKS = CHECKS.filter(({ wholeHistory }) => wholeHistory !== true);

/**
 * The audit for every day: only accounts whose journal grew, only from where the last look ended. Each account that is in
 * order is remembered as it is; one that is not stays where it was and is found again. What was changed behind the mark
 * only the full audit finds (docs/audit.md).
 */
export async function runQuickAudit(
  pool: Pool,
  {
    sample = 5,
    after: from = '',
    batches = Number.POSITIVE_INFINITY,
  }: { sample?: number; after?: string; batches?: number } = {},
): Promise<QuickReport> {
  const total: QuickReport = {
    ok: true,
    next: null,
    accounts: 0,
    rows: 0,
    checks: QUICK_CHECKS.map(({ id, title }) => ({
      id,
      title,
      violations: 0,
      accounts: [],
      sample: [],
      ms: 0,
    })),
  };
  const client = await pool.connect();
  try {
    let after = from;
    for (let done = 0; ; done += 1) {
      if (done >= batches) {
        total.next = after;
        break;
      }
      const batch = await inSnapshot(client, async () => {
        const moved = await movedAfter(client, after);
        if (moved.length === 0) return null;
        const scope = await stageSince(client, moved);
        const checks = await runChecks(client, { checks: QUICK_CHECKS, scope, sample });
        const broken = new Set(checks.flatMap(({ accounts }) => accounts));
        const sound = moved.filter(({ account }) => !broken.has(account)).map(({ account }) => account);
        await remember(client, sound);
        return { moved, checks };
      });
      if (batch === null) break;
      total.accounts += batch.moved.length;
      total.rows += batch.moved.reduce((sum, { rows }) => sum + rows, 0);
      total.checks = total.checks.map((before, index) => joined(before, batch.checks[index], sample));
      after = batch.moved.at(-1)?.account ?? after;
    }
  } finally {
    client.release(true); // the tables of its session end with it
  }
  return { ...total, ok: total.checks.every(({ violations }) => violations === 0) };
}

interface Moved {
  account: string;
  /** Where the last look ended. */
  seq: number;
  rows: number;
}

/** Accounts that are not what they were when they were looked at last, or that never were. */
async function movedAfter(client: PoolClient, after: string): Promise<Moved[]> {
  const { rows } = await client.query<Moved>(
    `SELECT account, seq, rows FROM (
       SELECT q.*, sum(rows) OVER (ORDER BY account) - rows AS rows_before FROM (
         SELECT a.account_id AS account, greatest(m.seq, o.seq, 0) AS seq, abs(a.seq - greatest(m.seq, o.seq, 0)) AS rows
           FROM ledger.accounts a LEFT JOIN ledger.audit_marks m USING (account_id) LEFT JOIN ledger.openings o USING (account_id)
          WHERE a.account_id > $1
            AND (a.seq <> greatest(m.seq, o.seq, 0) OR (a.available, a.held, a.debt) IS DISTINCT FROM
                 CASE WHEN m.seq >= coalesce(o.seq, 0) THEN (m.available, m.held, m.debt)
                      ELSE (coalesce(o.available, 0), coalesce(o.held, 0), coalesce(o.debt, 0)) END)
          ORDER BY a.account_id LIMIT $2) q) w
      WHERE rows_before < $3`,
    [after, BATCH_ACCOUNTS, BATCH_ROWS],
  );
  return rows;
}

const CHANGES = [
  'available',
  'held',
  'frozen',
  'spent',
  'expired',
  'revoked',
  'granted',
  'ended_at',
  'return_grace',
];
const now = (row: string) => CHANGES.map((column) => `${row}.${column}`).join(', ');

/** The lots that were looked at and are not what they were. */
const REMEMBER_LOTS = `
  INSERT INTO ledger.audit_lots AS m SELECT * FROM pg_temp.audit_lots WHERE account_id = ANY ($1)
  ON CONFLICT (account_id, lot_no) DO UPDATE SET (${CHANGES.join(', ')}, open) = (${now('excluded')}, excluded.open)
   WHERE (${now('m')}) IS DISTINCT FROM (${now('excluded')})`;

async function remember(client: PoolClient, accounts: readonly string[]): Promise<void> {
  if (accounts.length === 0) return;
  await client.query(
    `INSERT INTO ledger.audit_marks SELECT n.* FROM ledger.accounts a CROSS JOIN LATERAL ledger.mark_now(ROW(a.*)::ledger.accounts) n WHERE a.account_id = ANY ($1)
     ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq, at = excluded.at, recorded_at = excluded.recorded_at,
       available = excluded.available, held = excluded.held, debt = excluded.debt, owed = excluded.owed, repaid = excluded.repaid`,
    [accounts],
  );
  await client.query(REMEMBER_LOTS, [accounts]);
  await client.query(
    `INSERT INTO ledger.audit_counters AS m (account_id, counter, period, used)
     SELECT account_id, counter, period, used FROM pg_temp.audit_counters WHERE account_id = ANY ($1)
     ON CONFLICT (account_id, counter, period) DO UPDATE SET used = excluded.used WHERE m.used <> excluded.used`,
    [accounts],
  );
}

/**
 * One snapshot for all checks, so that a row that moves meanwhile is seen everywhere as it was. Several quick audits take turns,
 * batch by batch: the lock comes before the snapshot, so who waited finds what the other has remembered.
 */
async function inSnapshot<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await client.query('SET LOCAL statement_timeout = 0');
  await client.query('SET LOCAL lock_timeout = 0');
  await client.query('LOCK TABLE ledger.audit_marks IN SHARE ROW EXCLUSIVE MODE');
  await client.query(KEEP_MONTHS);
  const result = await work();
  await client.query('COMMIT');
  return result;
}

function joined(before: CheckResult, more: CheckResult | undefined, sample: number): CheckResult {
  if (more === undefined) return before;
  return {
    ...before,
    violations: before.violations + more.violations,
    accounts: [...before.accounts, ...more.accounts],
    sample: [...before.sample, ...more.sample].slice(0, sample),
    ms: before.ms + more.ms,
  };
}
