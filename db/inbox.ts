import type { Knex } from 'knex';

/** The accounts' mailboxes: a row per thing to do, each with a key, so that it is put there once (rule 24). */

export interface PackPurchase {
  purchase: string;
  pack: string;
  quantity: number;
  /** Credits of one pack when it was bought, in millicredits: a later catalog changes nothing (rule 20). */
  creditsMilli: number;
  rank: number;
  graceSeconds: number | null;
  actor: string;
  reason: string | null;
}

export interface InboxRow {
  account: string;
  key: string;
  kind: 'pack_purchase';
  requestHash: string;
  body: PackPurchase;
  doneAt: Date | null;
}

/** Puts a row into the mailbox; false if it is there already. Ring the account afterwards. */
export async function putIntoInbox(knex: Knex, row: Omit<InboxRow, 'doneAt'>): Promise<boolean> {
  const inserted = await knex('holdfast.inbox')
    .insert({
      account_id: row.account,
      inbox_key: row.key,
      kind: row.kind,
      request_hash: row.requestHash,
      body: JSON.stringify(row.body),
    })
    .onConflict(['account_id', 'inbox_key'])
    .ignore()
    .returning('inbox_key');
  return inserted.length === 1;
}

export async function findInInbox(
  knex: Knex,
  { account, key }: { account: string; key: string },
): Promise<InboxRow | undefined> {
  const row = await knex('holdfast.inbox')
    .where({ account_id: account, inbox_key: key })
    .first<StoredRow | undefined>();
  return row === undefined ? undefined : fromStored(row);
}

/** What is to be done now, oldest first: also what failed before, once its time has come again. */
export async function pendingInInbox(
  knex: Knex,
  { account, limit }: { account: string; limit: number },
): Promise<InboxRow[]> {
  const rows: StoredRow[] = await knex('holdfast.inbox')
    .where({ account_id: account, done_at: null })
    .whereRaw('retry_at <= clock_timestamp()')
    .orderBy(['received_at', 'inbox_key'])
    .limit(limit);
  return rows.map(fromStored);
}

export async function markDone(
  knex: Knex,
  { account, key }: { account: string; key: string },
): Promise<void> {
  await knex('holdfast.inbox')
    .where({ account_id: account, inbox_key: key })
    .update({ done_at: knex.raw('clock_timestamp()'), last_error: null });
}

/** Keeps the error beside the row and puts it off: for a second, then for twice as long each time, up to an hour. */
export async function markFailed(
  knex: Knex,
  { account, key, error }: { account: string; key: string; error: string },
): Promise<{ attempts: number }> {
  const rows: { attempts: number }[] = await knex('holdfast.inbox')
    .where({ account_id: account, inbox_key: key })
    .update({
      attempts: knex.raw('attempts + 1'),
      last_error: error,
      retry_at: knex.raw(
        "clock_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(attempts, 20))",
      ),
    })
    .returning('attempts');
  return { attempts: rows[0]?.attempts ?? 0 };
}

/** Milliseconds until the next row is to be done, 0 if one is already; null: the inbox is empty. */
export async function untilNextInInbox(knex: Knex, account: string): Promise<number | null> {
  const row = await knex('holdfast.inbox')
    .where({ account_id: account, done_at: null })
    .first<{ ms: number | null } | undefined>(
      knex.raw(
        '(extract(epoch FROM min(greatest(retry_at, clock_timestamp())) - clock_timestamp()) * 1000)::float8 AS ms',
      ),
    );
  const ms = row?.ms ?? null;
  return ms === null ? null : Math.max(0, Math.ceil(ms));
}

interface StoredRow {
  account_id: string;
  inbox_key: string;
  kind: 'pack_purchase';
  request_hash: string;
  body: PackPurchase;
  done_at: Date | null;
}

function fromStored(row: StoredRow): InboxRow {
  return {
    account: row.account_id,
    key: row.inbox_key,
    kind: row.kind,
    requestHash: row.request_hash,
    body: row.body,
    doneAt: row.done_at,
  };
}
