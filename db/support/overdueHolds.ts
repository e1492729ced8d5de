import type { Knex } from 'knex';
import type { Pool } from 'pg';
import type { ItemKind } from './items';
import type { HoldPlace } from './overdue';

/**
 * Holds whose work takes longer than its rate's `maxDuration` and the deadline that its pipeline agreed allow (rule 12).
 * They continue: the hold lives as long as its workflow; but somebody should look. A lease is not among them: it ends on its own.
 * An item closes with its hold by a trigger (0012); what was raised while its hold closed is closed by the next sweep.
 */

/** Enough for an alert; beyond it only the number's size is told. */
const COUNTED = 10_000;
const KIND: ItemKind = 'hold_overdue';

/** Where a page of holds that outlasted their rate ended. */
export interface OutlastedPlace extends HoldPlace {
  overdueAt: string;
}

/** How many are known, as open items; at most COUNTED. */
export async function countOverdueHolds(points: Pick<Pool, 'query'>): Promise<number> {
  const { rows } = await points.query<{ holds: number }>({
    name: 'count_overdue_holds',
    text: `SELECT count(*)::int AS holds
             FROM (SELECT FROM holdfast.operations_items WHERE kind = $1 AND resolved_at IS NULL LIMIT $2) o`,
    values: [KIND, COUNTED],
  });
  return rows[0]?.holds ?? 0;
}

/**
 * Looks at a page of the open holds that outlasted their rate, and raises an item for each that is past its deadline too and
 * never had one; those of test clocks, by their own clocks, with the first page. How many it raised, and where the next
 * page begins.
 */
export async function raiseOverdueHolds(
  knex: Knex,
  { after, limit }: { after: OutlastedPlace | null; limit: number },
): Promise<{ raised: number; next: OutlastedPlace | null }> {
  const from =
    after === null
      ? ''
      : 'AND (h.overdue_at, h.account_id, h.hold_id) > (CAST(:at AS timestamptz), :account, :hold)';
  const { rows } = await knex.raw<{ rows: { raised: number; places: OutlastedPlace[] | null }[] }>(
    `WITH page AS MATERIALIZED (
       SELECT h.* FROM ledger.holds h
        WHERE h.open AND h.expires_at IS NULL AND h.overdue_at <= statement_timestamp() ${from}
        ORDER BY h.overdue_at, h.account_id, h.hold_id LIMIT :limit),
     clocked AS MATERIALIZED (
       SELECT h.* FROM ledger.accounts a JOIN ledger.holds h USING (account_id)
        WHERE a.clock_at IS NOT NULL AND h.open AND h.expires_at IS NULL AND h.overdue_at <= a.clock_at AND :first
          AND NOT EXISTS (${itemOf('h')})
        LIMIT :limit),
     raised AS (
       INSERT INTO holdfast.operations_items (account_id, kind, subject, detail)
       SELECT h.account_id, :kind, h.hold_id, jsonb_build_object('generation', h.generation_id, 'workflowId', h.workflow_id,
                'heldMilli', h.held, 'openedAt', h.opened_at, 'overdueAt', h.overdue_at, 'deadlineAt', g.deadline_at)
         FROM (SELECT p.* FROM page p JOIN ledger.accounts a USING (account_id) WHERE a.clock_at IS NULL
                UNION ALL SELECT * FROM clocked) h
         LEFT JOIN ledger.generations g USING (account_id, generation_id)
        WHERE coalesce(g.deadline_at <= statement_timestamp(), true) AND NOT EXISTS (${itemOf('h')})
       ON CONFLICT DO NOTHING RETURNING subject)
     SELECT (SELECT count(*)::int FROM raised) AS raised,
            (SELECT jsonb_agg(jsonb_build_object('overdueAt', overdue_at::text, 'account', account_id, 'holdId', hold_id)
                              ORDER BY overdue_at, account_id, hold_id) FROM page) AS places`,
    {
      kind: KIND,
      limit,
      first: after === null,
      ...(after === null ? {} : { at: after.overdueAt, account: after.account, hold: after.holdId }),
    },
  );
  const { raised = 0, places = null } = rows[0] ?? {};
  const full = places !== null && places.length === limit;
  return { raised, next: full ? (places.at(-1) ?? null) : null };
}

/** Closes what is open though its hold is not. */
export async function resolveEndedHolds(knex: Knex): Promise<number> {
  return knex('holdfast.operations_items as i')
    .where('i.kind', KIND)
    .whereNull('i.resolved_at')
    .whereNotExists((open) => {
      void open
        .from('ledger.holds as h')
        .whereRaw('h.account_id = i.account_id AND h.hold_id = i.subject AND h.open');
    })
    .update({ resolved_at: knex.raw('statement_timestamp()') });
}

const itemOf = (hold: string) =>
  `SELECT FROM holdfast.operations_items i WHERE i.account_id = ${hold}.account_id AND i.kind = :kind AND i.subject = ${hold}.hold_id`;
