import type { Knex } from 'knex';

/**
 * Answers to keys, kept as opaque bytes (holdfast.request_keys). A key belongs to an account, or for requests that
 * name none to the API key that sent it; the column `api_key` has whose it is.
 */

export type KeyOwner = { apiKey: string } | { account: string };

export interface RequestKey {
  owner: KeyOwner;
  key: string;
}

export interface KeptAnswer {
  requestHash: string;
  status: number;
  answer: Buffer;
}

export async function findKeptAnswer(knex: Knex, id: RequestKey): Promise<KeptAnswer | null> {
  const row = await knex('holdfast.request_keys')
    .where(columns(id))
    .first<KeptAnswer | undefined>({ requestHash: 'request_hash', status: 'status', answer: 'answer' });
  return row ?? null;
}

/** What an account's key is known for. All null: it is new. */
export interface AccountKey {
  /** The hash of the request it came with, wherever it is kept. */
  hash: string | null;
  /** The answer as it was sent; null while it has none, or where the ledger keeps the facts of it. */
  kept: { status: number; answer: Buffer } | null;
}

/** Looks an account's key up in both places that remember keys: among the answers, and in the ledger. */
export async function findAccountKey(
  knex: Knex,
  { account, key }: { account: string; key: string },
): Promise<AccountKey> {
  const ours = columns({ owner: { account }, key });
  const { rows } = await knex.raw<{
    rows: { hash: string; status: number | null; answer: Buffer | null }[];
  }>(
    `SELECT request_hash AS hash, status, answer FROM holdfast.request_keys WHERE api_key = ? AND key = ?
      UNION ALL
     SELECT request_hash, NULL, NULL FROM ledger.op_keys WHERE account_id = ? AND key = ?`,
    [ours.api_key, ours.key, account, `req:${key}`],
  );
  const [first] = rows; // where it is in both, an answer was kept of what the ledger did
  const full = rows.find(({ answer }) => answer !== null);
  return {
    hash: first?.hash ?? null,
    kept: full?.status == null || full.answer === null ? null : { status: full.status, answer: full.answer },
  };
}

/**
 * True when this transaction is the first with the key. While another one holds it this waits for its end:
 * after a commit the answer is false, after a rollback the key is ours.
 */
export async function claimRequestKey(
  transaction: Knex.Transaction,
  { requestHash, ...id }: RequestKey & { requestHash: string },
): Promise<boolean> {
  const rows: unknown[] = await transaction('holdfast.request_keys')
    .insert({ ...columns(id), request_hash: requestHash })
    .onConflict()
    .ignore()
    .returning('key');
  return rows.length === 1;
}

/** In the transaction that claimed the key and had the effect. */
export async function keepAnswer(
  transaction: Knex.Transaction,
  { status, answer, ...id }: RequestKey & { status: number; answer: Buffer },
): Promise<void> {
  await transaction('holdfast.request_keys').where(columns(id)).update({ status, answer });
}

/** Keeps the answer unless the key has one; what is kept then, which for two at a time is the first one's. */
export async function keepFirstAnswer(
  knex: Knex,
  { requestHash, status, answer, ...id }: RequestKey & KeptAnswer,
): Promise<KeptAnswer> {
  const row = { ...columns(id), request_hash: requestHash, status, answer };
  const { rows } = await knex.raw<{ rows: unknown[] }>(
    `INSERT INTO holdfast.request_keys AS k (api_key, key, request_hash, status, answer)
     VALUES (:api_key, :key, :request_hash, :status, :answer)
     ON CONFLICT (api_key, key) DO UPDATE SET status = excluded.status, answer = excluded.answer
      WHERE k.answer IS NULL AND k.request_hash = excluded.request_hash
     RETURNING key`,
    row,
  );
  if (rows.length === 1) return { requestHash, status, answer };
  const kept = await findKeptAnswer(knex, id);
  if (kept === null) throw new Error('a request key that is in the way has no row: rows are never deleted');
  return kept;
}

/** No API key's id has a colon, and no account's. */
function columns({ owner, key }: RequestKey): { api_key: string; key: string } {
  return { api_key: 'account' in owner ? `account:${owner.account}` : owner.apiKey, key };
}
