import type { Knex } from 'knex';
import { type ItemKind, raiseItem } from './items';

/** Namespaces of which the server says nothing from which anything could be concluded about their holds (rule 17). */

const KIND: ItemKind = 'hold_owner_unclear';

const WAY_OUT =
  'Nothing is freed while Temporal does not say what became of the workflows of these holds. If the namespace will come ' +
  'back, nothing needs to be done. If it is another namespace of a server that answers, run a worker with ' +
  '`TEMPORAL_NAMESPACE` set to it: its own sweep decides. If it is lost for good, declare it: ' +
  '`POST /v1/operations/lost-namespaces` with its id frees its holds once they are an hour old. A single generation: ' +
  '`POST /v1/generations/{id}/release` with `force: true`; or send its order again under its key, and the new run takes ' +
  'the hold over.';

export async function raiseUnclear(
  knex: Knex,
  unclear: { namespaceId: string; holds: number; since: string },
): Promise<void> {
  const { namespaceId, holds, since } = unclear;
  const detail = { namespaceId, holds, since, wayOut: WAY_OUT };
  await raiseItem(knex, { account: null, kind: KIND, subject: namespaceId, detail });
}

/** Closes the items of all other namespaces. */
export async function resolveUnclear(knex: Knex, { except }: { except: readonly string[] }): Promise<void> {
  await knex('holdfast.operations_items')
    .where('kind', KIND)
    .whereNull('resolved_at')
    .whereNotIn('subject', except)
    .update({ resolved_at: knex.raw('statement_timestamp()') });
}
