import type { Pool } from 'pg';

/** Whether what is found on a standby would be found on its primary: it is a copy of that very database, and not behind. */

export interface Standing {
  /** Given to a cluster when it is made; its standbys share it. */
  cluster: string;
  database: string;
  /** Where its log stands, such as `0/1A2B3C`: what was written, or on a standby what was replayed. */
  position: string;
}

const EVERY_MS = 1_000;

export async function standingOf(pool: Pool): Promise<Standing> {
  const { rows } = await pool.query<Standing>(
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster, current_database() AS database,
            (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS position`,
  );
  const [standing] = rows;
  if (standing === undefined) throw new Error('a row without a table always comes back');
  return standing;
}

/** Waits until the standby has all that the primary had when this was called. Throws where it is not a copy, or stays behind. */
export async function awaitStandby(
  { primary, standby }: { primary: () => Promise<Standing>; standby: () => Promise<Standing> },
  { withinMs = 60_000 } = {},
): Promise<void> {
  const wanted = await primary();
  const untilMs = Date.now() + withinMs;
  for (;;) {
    const found = await standby();
    if (found.cluster !== wanted.cluster || found.database !== wanted.database)
      throw new Error('--audit-on names another database than DATABASE_URL, not a standby of it');
    if (byteOf(found.position) >= byteOf(wanted.position)) return;
    if (Date.now() > untilMs)
      throw new Error(
        `the standby has replayed ${found.position} and the primary was at ${wanted.position}: let it catch up`,
      );
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** Two numbers of 32 bits, in hexadecimal. */
function byteOf(position: string): bigint {
  const [high = '', low = ''] = position.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}
