import type { Pool, PoolClient } from 'pg';
import { ENDS_WITH_ITS_CLIENT } from '../connection/connection';
import { KEEP_MONTHS } from '../books/snapshotRead';
import { CHECKS, type Check } from './checks';
import { EVERYTHING, ofAccount, type Scope, scoped } from './scope';

export interface CheckResult {
  id: string;
  title: string;
  violations: number;
  /** Whose rows they are. */
  accounts: string[];
  /** Milliseconds it took. */
  ms: number;
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
  /** For whoever asked: once they are gone it ends, also in the middle of a check. */
  signal?: AbortSignal;
  /** Only one such audit at a time, of all processes; each of its checks within this time. By hand there is no bound. */
  aloneWithinMs?: number;
}

/** Another audit is at work. */
export class AuditAtWork extends Error {
  override readonly name = 'AuditAtWork';
}

/** Runs every check on one snapshot of the database, so that what is being written meanwhile cannot be half seen. */
export async function runAudit(pool: Pool, options: AuditOptions = {}): Promise<AuditReport> {
  const { account, sample = 5, checks = CHECKS, signal, aloneWithinMs } = options;
  const scope = account === undefined ? EVERYTHING : ofAccount(account);
  signal?.throwIfAborted();
  const client = await pool.connect();
  // Ends the connection, and with it the statement: the database looks whether it is still there.
  const leave = () => void client.end();
  signal?.addEventListener('abort', leave);
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(ENDS_WITH_ITS_CLIENT);
    await client.query(KEEP_MONTHS);
    if (aloneWithinMs !== undefined && !(await isAlone(client)))
      throw new AuditAtWork('another audit is at work');
    await client.query(`SET LOCAL statement_timeout = ${aloneWithinMs ?? 0}`);
    const { rows: clock } = await client.query<{ now: Date }>('SELECT clock_timestamp() AS now');
    const results = await runChecks(client, { checks, scope, sample, signal });
    await client.query('COMMIT');
    const ok = results.every(({ violations }) => violations === 0);
    return { ok, checkedAt: (clock[0]?.now ?? new Date()).toISOString(), checks: results };
  } catch (error) {
    signal?.throwIfAborted();
    await client.query('ROLLBACK');
    throw error;
  } finally {
    signal?.removeEventListener('abort', leave);
    client.release(signal?.aborted === true);
  }
}

async function isAlone(client: PoolClient): Promise<boolean> {
  const { rows } = await client.query<{ alone: boolean }>(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('holdfast audit', 0)) AS alone",
  );
  return rows[0]?.alone === true;
}

/** The checks one after the other, in the transaction the client is in. */
export async function runChecks(
  client: PoolClient,
  {
    checks,
    scope,
    sample,
    signal,
  }: { checks: readonly Check[]; scope: Scope; sample: number; signal?: AbortSignal | undefined },
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    signal?.throwIfAborted();
    const startedMs = performance.now();
    const { text, values } = scoped(check.sql, scope);
    const { rows } = await client.query<{
      violations: number;
      accounts: string[] | null;
      sample: Record<string, unknown>[] | null;
    }>(
      `WITH broken AS (${text})
       SELECT (SELECT count(*) FROM broken)::int AS violations, (SELECT array_agg(DISTINCT account_id) FROM broken) AS accounts,
              (SELECT json_agg(b) FROM (SELECT * FROM broken LIMIT ${sample}) b) AS sample`,
      values,
    );
    const [row] = rows;
    results.push({
      id: check.id,
      title: check.title,
      violations: row?.violations ?? 0,
      accounts: row?.accounts ?? [],
      sample: row?.sample ?? [],
      ms: Math.round(performance.now() - startedMs),
    });
  }
  return results;
}
