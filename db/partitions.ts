import type { Pool } from 'pg';

/** Far enough ahead that a year without a restart or a look is no problem. */
const MONTHS_AHEAD = 12;

/** Makes the journal's partitions ahead of time; returns how many were missing. */
export async function ensurePartitions(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ made: number }>('SELECT ledger.ensure_partitions($1) AS made', [
    MONTHS_AHEAD,
  ]);
  return rows[0]?.made ?? 0;
}
