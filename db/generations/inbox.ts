import type { Knex } from 'knex';
import { inMs, MS } from '../books/listOrder';

/** The accounts' inboxes: a row per thing to do, each with a key, so that it is put there once (rule 24). */

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
  receivedAt: Date;
  attempts: number;
  /** Why it could not be done when it was last tried; null once it is done. */
  lastError: string | null;
  doneAt: Date | null;
}

type NewRow = Pick<InboxRow, 'account' | 'key' | 'kind' | 'requestHash' | 'body'>;

/** Puts a row into the inbox; false if it is there already. Have it done, and ring the account, afterwards. */
export async function putIntoInbox(knex: Knex, row: NewRow): Promise<boolean> {
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

/**
 * What is to be done now, oldest first: also what failed before, once its time has come again. With `key` that row only,
 * whatever its time.
 */
export async function pendingInInbox(
  knex: Knex,
  { account, key, limit }: { account: string; key?: string | undefined; limit: number },
): Promise<InboxRow[]> {
  const query = knex('holdfast.inbox')
    .where({ account_id: account, done_at: null })
    .orderBy(['received_at', 'inbox_key'])
    .limit(limit);
  void (key === undefined
    ? query.whereRaw('retry_at <= clock_timestamp()')
    : query.where({ inbox_key: key }));
  const rows: StoredRow[] = await query;
  return rows.map(fromStored);
}

/** False: somebody else has done it. */
export async function markDone(
  knex: Knex,
  { account, key }: { account: string; key: string },
): Promise<boolean> {
  const marked = await knex('holdfast.inbox')
    .where({ account_id: account, inbox_key: key, done_at: null })
    .update({ done_at: knex.raw('statement_timestamp()'), last_error: null });
  return marked === 1;
}

/**
 * Keeps the error beside the row and puts it off: for a second, then for twice as long each time, up to an hour. Null:
 * somebody else has done it meanwhile.
 */
export async function markFailed(
  knex: Knex,
  { account, key, error }: { account: string; key: string; error: string },
): Promise<{ attempts: number } | null> {
  const rows: { attempts: number }[] = await knex('holdfast.inbox')
    .where({ account_id: account, inbox_key: key, done_at: null })
    .update({
      attempts: knex.raw('attempts + 1'),
      last_error: error,
      retry_at: knex.raw(
        "statement_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(attempts, 20))",
      ),
    })
    .returning('attempts');
  return rows[0] ?? null;
}

const RECEIVED = inMs('received_at');

export interface PurchaseFilter {
  account: string;
  from?: Date | undefined;
  to?: Date | undefined;
  /** Only older than this one. */
  before?: { createdAt: string; id: string } | undefined;
  limit: number;
}

/** What an account bought, newest first, done or not. */
export async function listPurchases(knex: Knex, filter: PurchaseFilter): Promise<InboxRow[]> {
  const { account, from, to, before, limit } = filter;
  const query = knex('holdfast.inbox')
    .where({ account_id: account, kind: 'pack_purchase' })
    .orderByRaw(`${RECEIVED} DESC, inbox_key DESC`)
    .limit(limit);
  if (from !== undefined) void query.whereRaw(`${RECEIVED} >= ${MS}`, [from]);
  if (to !== undefined) void query.whereRaw(`${RECEIVED} < ${MS}`, [to]);
  if (before !== undefined) {
    void query.whereRaw(`(${RECEIVED}, inbox_key) < (${MS}, ?)`, [before.createdAt, before.id]);
  }
  const rows: StoredRow[] = await query;
  return rows.map(fromStored);
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

/** Purchases of an account: waiting ones, then the newest. */
export async function notablePurchases(
  knex: Knex,
  { account, limit }: { account: string; limit: number },
): Promise<InboxRow[]> {
  const purchases = () =>
    knex('holdfast.inbox')
      .where({ account_id: account, kind: 'pack_purchase' })
      .orderByRaw(`${RECEIVED} DESC, inbox_key DESC`)
      .limit(limit);
  const waiting: StoredRow[] = await purchases().whereNull('done_at');
  const done: StoredRow[] = await purchases().whereNotNull('done_at');
  return [...waiting, ...done].slice(0, limit).map(fromStored);
}

interface StoredRow {
  account_id: string;
  inbox_key: string;
  kind: 'pack_purchase';
  request_hash: string;
  body: PackPurchase;
  received_at: Date;
  attempts: number;
  last_error: string | null;
  done_at: Date | null;
}

function fromStored(row: StoredRow): InboxRow {
  return {
    account: row.account_id,
    key: row.inbox_key,
    kind: row.kind,
    requestHash: row.request_hash,
    body: row.body,
    receivedAt: row.received_at,
    attempts: row.attempts,
    lastError: row.last_error,
    doneAt: row.done_at,
  };
}
