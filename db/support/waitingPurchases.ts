import type { Knex } from 'knex';
import type { ItemKind } from './items';

/**
 * Raises an item for each purchase that was accepted so long ago and is not granted, at most `limit` of them, and brings
 * open ones up to date. It closes with the grant (db/generations/inboxWork.ts); one that a person closed before stays closed.
 */
export async function raiseWaitingPurchases(
  knex: Knex,
  { ageMs, limit }: { ageMs: number; limit: number },
): Promise<void> {
  const kind: ItemKind = 'purchase_waiting';
  // A row that somebody is at just now is left out; one that was done meanwhile is recognised, since it is locked here.
  await knex.raw(
    `WITH waiting AS (
       SELECT b.* FROM holdfast.inbox b
         LEFT JOIN holdfast.operations_items i ON i.account_id = b.account_id AND i.kind = :kind AND i.subject = b.inbox_key
        WHERE b.done_at IS NULL AND b.kind = 'pack_purchase' AND b.received_at < clock_timestamp() - make_interval(secs => :age)
          AND (i.subject IS NULL OR (i.resolved_at IS NULL AND (i.detail -> 'attempts')::int <> b.attempts))
        ORDER BY b.received_at LIMIT :limit
          FOR SHARE OF b SKIP LOCKED)
     INSERT INTO holdfast.operations_items (account_id, kind, subject, detail)
     SELECT account_id, :kind, inbox_key, jsonb_build_object('pack', body -> 'pack', 'quantity', body -> 'quantity',
              'credits', trim_scale((body ->> 'creditsMilli')::numeric * (body ->> 'quantity')::int / 1000),
              'receivedAt', received_at, 'attempts', attempts, 'error', last_error,
              'wayOut', 'It is tried again on its own, at least every hour. Once the error is fixed: POST /v1/accounts/'
                || account_id || '/purchases/' || inbox_key || '/retry')
       FROM waiting
     ON CONFLICT (account_id, kind, subject) DO UPDATE SET detail = excluded.detail
      WHERE operations_items.resolved_at IS NULL`,
    { kind, age: ageMs / 1000, limit },
  );
}
