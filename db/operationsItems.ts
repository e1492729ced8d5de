import type { Knex } from 'knex';

/** What it can be that is raised. */
export type ItemKind =
  | 'capture_of_closed_hold'
  /** A report cost more than was held: what remained was taken (rule 15). */
  | 'capture_clamped'
  /** What a pipeline sent as a report was none, and nobody heard so. */
  | 'report_rejected'
  /** A hold is open for longer than its rate's `maxDuration` (db/overdueHolds.ts). */
  | 'hold_overdue';

/** Something that moved no credits but that a person should look at. The same thing is raised once. */
export async function raiseItem(
  knex: Knex,
  item: { account: string; kind: ItemKind; subject: string; detail: Record<string, unknown> },
): Promise<void> {
  await knex('holdfast.operations_items')
    .insert({
      account_id: item.account,
      kind: item.kind,
      subject: item.subject,
      detail: JSON.stringify(item.detail),
    })
    .onConflict(['account_id', 'kind', 'subject'])
    .ignore();
}
