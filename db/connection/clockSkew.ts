import os from 'node:os';
import type { Pool } from 'pg';

/**
 * How far the clocks of our processes are from the database's. Nothing is decided by them (db/connection/databaseClock.ts); but an
 * operator reads logs by them, Temporal's own timers run on some, and a clock that is off has a reason. Every process
 * measures its own in the background and writes it into `holdfast.processes`, where any API can read all of them.
 */

/** A clock that is further off than this wants looking at. */
const SKEW_LIMIT_SECONDS = 2;

const MEASURE_EVERY_MS = 20_000;
/** What was said longer ago is of a process that is gone, or hangs. */
const FRESH_SECONDS = 60;
/** An answer that takes longer leaves too much open; the next one will do. */
const LONGEST_ROUND_TRIP_MS = 1_000;

export interface ProcessSkew {
  process: string;
  kind: 'api' | 'worker';
  /** Above 0: ahead of the database. */
  seconds: number;
}

/** What is used of a logger. */
export interface SkewLog {
  info: (fields: object, message: string) => void;
  warn: (fields: object, message: string) => void;
}

export interface SkewWatch {
  /** For every process that measured its own within the last minute. */
  processes: () => readonly ProcessSkew[];
  /** Rejects while one of them is off by more than the limit, and where this process could not measure its own. */
  check: () => Promise<void>;
  stop: () => void;
}

/** Seconds that this process' clock is ahead of the database's, known to half a round trip; null: it took too long to tell. */
export async function measureSkew(pool: Pool): Promise<number | null> {
  const client = await pool.connect(); // a wait for a connection is not part of the round trip
  try {
    const askedMs = performance.now();
    const wallMs = Date.now();
    const { rows } = await client.query<{ ms: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
    );
    const roundTripMs = performance.now() - askedMs;
    const [row] = rows;
    if (row === undefined) throw new Error('the database did not say what time it is');
    return roundTripMs > LONGEST_ROUND_TRIP_MS ? null : (wallMs + roundTripMs / 2 - row.ms) / 1000;
  } finally {
    client.release();
  }
}

/** Measures now and every twenty seconds, for as long as the process lives. A failure is logged: the next time comes soon. */
export async function watchSkew(options: {
  pool: Pool;
  kind: ProcessSkew['kind'];
  log: SkewLog;
  everyMs?: number;
}): Promise<SkewWatch> {
  const { pool, kind, log, everyMs = MEASURE_EVERY_MS } = options;
  const process = `${kind} ${os.hostname()}:${globalThis.process.pid}`;
  let seen: readonly ProcessSkew[] = [];
  let seenMs = Number.NEGATIVE_INFINITY;
  let wasOff = false;

  async function measure(): Promise<void> {
    try {
      const seconds = await measureSkew(pool);
      if (seconds === null) return;
      seen = await tell(pool, { process, kind, seconds });
      seenMs = performance.now();
      const isOff = Math.abs(seconds) > SKEW_LIMIT_SECONDS;
      if (isOff !== wasOff) {
        const fields = { skewSeconds: seconds, limitSeconds: SKEW_LIMIT_SECONDS };
        if (isOff) log.warn(fields, 'this machine’s clock is not the database’s: synchronise it');
        else log.info(fields, 'this machine’s clock is the database’s again');
      }
      wasOff = isOff;
    } catch (error) {
      log.warn({ err: error }, 'the clock’s skew could not be measured');
    }
  }

  const fresh = () => (performance.now() - seenMs < FRESH_SECONDS * 1000 ? seen : []);
  await measure();
  const timer = setInterval(() => void measure(), everyMs);
  timer.unref();
  return {
    processes: fresh,
    async check() {
      const known = fresh();
      if (!known.some((one) => one.process === process))
        throw new Error(`the clock’s skew has not been measured for ${FRESH_SECONDS} s`);
      const off = known.filter(({ seconds }) => Math.abs(seconds) > SKEW_LIMIT_SECONDS);
      if (off.length > 0)
        throw new Error(
          `clocks are off: ${off.map(({ process: which, seconds }) => `${which} by ${seconds.toFixed(3)} s`).join(', ')}`,
        );
    },
    stop: () => clearInterval(timer),
  };
}

/** Writes down what this process measured, and answers what all have. Rows of those that are long gone go. */
async function tell(pool: Pool, { process, kind, seconds }: ProcessSkew): Promise<ProcessSkew[]> {
  await pool.query(
    `INSERT INTO holdfast.processes (process, kind, skew_seconds) VALUES ($1, $2, $3)
     ON CONFLICT (process) DO UPDATE SET skew_seconds = excluded.skew_seconds, seen_at = statement_timestamp()`,
    [process, kind, seconds],
  );
  await pool.query("DELETE FROM holdfast.processes WHERE seen_at < clock_timestamp() - interval '1 hour'");
  const { rows } = await pool.query<ProcessSkew>(
    `SELECT process, kind, skew_seconds AS seconds FROM holdfast.processes
      WHERE seen_at > clock_timestamp() - make_interval(secs => $1) ORDER BY process`,
    [FRESH_SECONDS],
  );
  return rows;
}
