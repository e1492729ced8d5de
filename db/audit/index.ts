import type { Pool } from 'pg';
import { CHECKS, type Check } from './checks';

export interface CheckResult {
  id: string;
  title: string;
  violations: number;
  /** Some of the rows that break it. */
  sample: Record<string, unknown>[];
}

export interface AuditReport {
  ok: boolean;
  checkedAt: string;
  checks: CheckResult[];
}

export interface AuditOptions {
  /** One account only. */
  account?: string;
  /** Rows shown of each violation. */
  sample?: number;
  /** For tests and for people in a hurry: only these checks. */
  checks?: readonly Check[];
}

/** Runs every check on one snapshot of the database, so that what is being written meanwhile cannot be half seen. */
export async function runAudit(pool: Pool, options: AuditOptions = {}): Promise<AuditReport> {
  const { account, sample = 5, checks = CHECKS } = options;
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query('SET LOCAL statement_timeout = 0');
    const { rows: clock } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    const results: CheckResult[] = [];
    for (const check of checks) {
      const sql = limitedTo(check.sql, account);
      const { rows } = await client.query<{ violations: number; sample: Record<string, unknown>[] | null }>(
        `WITH broken AS (${sql})
         SELECT (SELECT count(*) FROM broken)::int AS violations, (SELECT json_agg(b) FROM (SELECT * FROM broken LIMIT ${sample}) b) AS sample`,
        account === undefined ? [] : [account],
      );
      const [row] = rows;
      results.push({
        id: check.id,
        title: check.title,
        violations: row?.violations ?? 0,
        sample: row?.sample ?? [],
      });
    }
    await client.query('COMMIT');
    const ok = results.every(({ violations }) => violations === 0);
    return { ok, checkedAt: (clock[0]?.now ?? new Date()).toISOString(), checks: results };
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

/** `{j.account_id}` becomes `j.account_id = $1`, or `true` for all accounts. */
function limitedTo(sql: string, account: string | undefined): string {
  return sql.replaceAll(/\{((?:\w+\.)?account_id)\}/g, (_, column: string) =>
    account === undefined ? 'true' : `${column} = $1`,
  );
}
