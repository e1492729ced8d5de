import type { Pool, PoolClient } from 'pg';
import { CHECKS } from './checks';
import { KEEP_MONTHS } from '../reading';
import { type CheckResult, runChecks } from './index';
import { since } from './scope';

export interface QuickReport {
  ok: boolean;
  /** Accounts that had moved since they were looked at last, and the journal rows they moved by. */
  accounts: number;
  rows: number;
  checks: CheckResult[];
}

/** What is looked at in one transaction: so many accounts, or fewer with so many rows. One account is never divided. */
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
  { sample = 5 }: { sample?: number } = {},
): Promise<QuickReport> {
  const total: QuickReport = {
    ok: true,
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
  let after = '';
  for (;;) {
    const batch = await inSnapshot(pool, async (client) => {
      const moved = await movedAfter(client, after);
      if (moved.length === 0) return null;
      const checks = await runChecks(client, { checks: QUICK_CHECKS, scope: since(moved), sample });
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

async function remember(client: PoolClient, accounts: readonly string[]): Promise<void> {
  await client.query(
    `INSERT INTO ledger.audit_marks SELECT n.* FROM ledger.accounts a CROSS JOIN LATERAL ledger.opening_now(a) n WHERE a.account_id = ANY ($1)
     ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq, at = excluded.at, recorded_at = excluded.recorded_at,
       available = excluded.available, held = excluded.held, debt = excluded.debt, owed = excluded.owed, repaid = excluded.repaid,
       lots = excluded.lots, counters = excluded.counters`,
    [accounts],
  );
}

/** One snapshot for all checks, so that a row that moves meanwhile is seen everywhere as it was; tried again if another audit was faster. */
async function inSnapshot<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        await client.query(KEEP_MONTHS);
        await client.query('SET LOCAL statement_timeout = 0');
        const result = await work(client);
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK');
        if (attempt === 5 || !isSerializationFailure(error)) throw error;
      }
    }
  } finally {
    client.release();
  }
}

function isSerializationFailure(error: unknown): boolean {
  return error !== null && typeof error === 'object' && Reflect.get(error, 'code') === '40001';
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
