import type { Knex } from 'knex';
import type { ItemKind } from './operationsItems';

/**
 * Holds whose work has taken longer than its rate's `maxDuration` allows (rule 12). They go on: the hold lives as long
 * as its workflow; but somebody should look. A lease is not among them: it ends by itself.
 */

/** Enough for an alert; beyond it only the number's size is told. */
const COUNTED = 10_000;

const OVERDUE = `FROM ledger.holds h JOIN ledger.accounts a USING (account_id)
  WHERE h.open AND h.expires_at IS NULL AND h.overdue_at <= coalesce(a.clock_at, clock_timestamp())`;

/** How many there are now, each by its account's clock; at most COUNTED. */
export async function countOverdueHolds(knex: Knex): Promise<number> {
  const { rows } = await knex.raw<{ rows: { holds: number }[] }>(
    `SELECT count(*)::int AS holds FROM (SELECT ${OVERDUE} LIMIT ?) o`,
    [COUNTED],
  );
  return rows[0]?.holds ?? 0;
}

/** Raises an item for each that has none yet, at most `limit` of them; how many it raised. */
export async function raiseOverdueHolds(knex: Knex, { limit }: { limit: number }): Promise<number> {
  const kind: ItemKind = 'hold_overdue';
  const { rows } = await knex.raw<{ rows: unknown[] }>(
    `INSERT INTO holdfast.operations_items (account_id, kind, subject, detail)
     SELECT account_id, :kind, h.hold_id, jsonb_build_object('generation', h.generation_id, 'workflowId', h.workflow_id,
              'heldMilli', h.held, 'openedAt', h.opened_at, 'overdueAt', h.overdue_at)
     ${OVERDUE}
        AND NOT EXISTS (SELECT FROM holdfast.operations_items i
                         WHERE i.account_id = h.account_id AND i.kind = :kind AND i.subject = h.hold_id)
      ORDER BY h.overdue_at LIMIT :limit
     ON CONFLICT DO NOTHING RETURNING subject`,
    { kind, limit },
  );
  return rows.length;
}
