import type { Knex } from 'knex';

/** Something that moved no credits but that a person should look at. The same thing is raised once. */
export async function raiseItem(
  knex: Knex,
  item: { account: string; kind: 'capture_of_closed_hold'; subject: string; detail: Record<string, unknown> },
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
