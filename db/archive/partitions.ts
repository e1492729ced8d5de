import type { Pool } from 'pg';

/** Far enough ahead that a year without a restart or a look is not a problem. */
const MONTHS_AHEAD = 12;
const LOOK_EVERY_MS = 24 * 3_600_000;

/** What is used of a logger. */
export interface PartitionLog {
  info: (fields: object, message: string) => void;
  error: (fields: object, message: string) => void;
}

/** Makes the journal's partitions ahead of time; returns how many were missing. */
export async function ensurePartitions(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ made: number }>('SELECT ledger.ensure_partitions($1) AS made', [
    MONTHS_AHEAD,
  ]);
  return rows[0]?.made ?? 0;
}

/** Months after this one that the journal can be written in; -1: not even in this one. */
export async function monthsAhead(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ months: number }>('SELECT ledger.months_ahead() AS months');
  return rows[0]?.months ?? -1;
}

/** A look every day for as long as the process lives, so that it may live for years; returns how to end it. */
export function keepPartitionsAhead(options: { pool: Pool; log: PartitionLog }): () => void {
  const timer = setInterval(() => void lookAtPartitions(options), LOOK_EVERY_MS);
  return () => clearInterval(timer);
}

/** One such look. A failure is logged: there are months ahead, and tomorrow comes the next. */
export async function lookAtPartitions({ pool, log }: { pool: Pool; log: PartitionLog }): Promise<void> {
  try {
    const made = await ensurePartitions(pool);
    if (made > 0) log.info({ made }, 'made months of the journal ahead');
  } catch (error) {
    log.error(
      { err: error },
      'the journal’s months ahead could not be made; see holdfast_journal_months_ahead',
    );
  }
}
