import type { PoolClient } from 'pg';
import type { Database } from '../../../db/connection/connection';
import { byHand } from './byHand';

/**
 * Months that have ended, for tests. Rows are written now, so a past is made of them by hand: months are numbered back from the
 * present one, and what the journal holds moves there.
 */

/** `2026-01`, this many months ago. */
export function monthAgo(months: number): string {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1)).toISOString().slice(0, 7);
}

export const partitionOf = (month: string) => `ledger.journal_${month.replace('-', '_')}`;

/** An empty month of the past. */
export async function makeMonth(owner: Database, month: string): Promise<void> {
  await owner.pool.query(
    `CREATE TABLE IF NOT EXISTS ${partitionOf(month)} PARTITION OF ledger.journal
       FOR VALUES FROM ('${month}-01Z') TO ('${month}-01Z'::timestamptz + interval '1 month')`,
  );
  await owner.pool.query(`GRANT SELECT ON ${partitionOf(month)} TO holdfast_app`);
}

/** What was written after that month was written in it, in the same order. A day takes in four months. */
export async function moveTo(client: Pick<PoolClient, 'query'>, month: string): Promise<void> {
  await client.query("SET session_replication_role = 'replica'");
  await client.query(
    `UPDATE ledger.journal SET recorded_at = '${month}-02Z'::timestamptz + (recorded_at - ('${month}-01Z'::timestamptz + interval '1 month')) / 130
      WHERE recorded_at >= '${month}-01Z'::timestamptz + interval '1 month'`,
  );
  await client.query("SET session_replication_role = 'origin'");
}

/** All there is so far becomes the past. */
export async function becomesPast(owner: Database, month: string): Promise<void> {
  await makeMonth(owner, month);
  const client = await owner.pool.connect();
  try {
    await moveTo(client, month);
  } finally {
    client.release();
  }
}

/** The rows of each account are spread over these months, oldest first, and the present one: as many in each. */
export async function spread(owner: Database, months: readonly string[]): Promise<void> {
  for (const month of months) await makeMonth(owner, month);
  await byHand(owner, (client) =>
    client.query(
      `UPDATE ledger.journal j SET recorded_at = (($1::text[])[part] || '-02Z')::timestamptz + j.seq * interval '1 second'
         FROM (SELECT account_id, seq, ntile($2) OVER (PARTITION BY account_id ORDER BY seq) AS part FROM ledger.journal) p
        WHERE p.account_id = j.account_id AND p.seq = j.seq AND part < $2`,
      [months, months.length + 1],
    ),
  );
}
