import type { Pool } from 'pg';
import type { Instant } from '../../domain/account';
import { TAKE_WITHIN_MS } from '../../domain/generations/generation';

/**
 * The database's clock, by which everything is decided (rule 32). A process' own wall clock decides nothing: it may be
 * hours off. What a process knows of an instant is what the database told it, and how long ago that was by a clock that
 * only measures spans (`performance.now`, here called monotonic).
 */
export interface ClockReading {
  databaseMs: number;
  /** When it was heard of, in monotonic milliseconds of this process. */
  heardMs: number;
}

/** When a request came in that wants credits; both say so, and the earlier one counts. */
export interface Arrival {
  /** In monotonic milliseconds of this process. */
  arrivedMs: number;
  /** As it was told, on the database's clock; one that lies ahead of `arrivedMs` widens nothing. */
  receivedAt?: Instant | undefined;
}

/** A moment of this process on the database's clock. At most as late as it was, by the time the reading took to get here. */
export function onDatabaseClock(reading: ClockReading, monotonicMs: number): number {
  return reading.databaseMs + (monotonicMs - reading.heardMs);
}

/** The instant on the database's clock after which nothing may be taken any more. */
export function reserveBefore(reading: ClockReading, { arrivedMs, receivedAt }: Arrival): Instant {
  const hereMs = onDatabaseClock(reading, arrivedMs);
  const toldMs = receivedAt === undefined ? hereMs : Date.parse(receivedAt);
  return new Date(Math.min(hereMs, toldMs) + TAKE_WITHIN_MS).toISOString();
}

/** Now, by the database, in milliseconds. */
export async function databaseNowMs(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ now: Date }>({
    name: 'database_now',
    text: 'SELECT clock_timestamp() AS now',
  });
  if (rows[0] === undefined) throw new Error('the database did not say what time it is');
  return rows[0].now.getTime();
}
