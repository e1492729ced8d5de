import type { Knex } from 'knex';

/**
 * Answers to the keys of requests that are about no account, or open one, kept as opaque bytes
 * (holdfast.request_keys): such a key belongs to the API key that sent it.
 */

export interface RequestKey {
  apiKey: string;
  key: string;
}

export interface KeptText {
  status: number;
  answer: Buffer;
}

export interface KeptAnswer extends KeptText {
  requestHash: string;
}

export async function findKeptAnswer(knex: Knex, id: RequestKey): Promise<KeptAnswer | null> {
  const row = await knex('holdfast.request_keys')
    .where(columns(id))
    .first<KeptAnswer | undefined>({ requestHash: 'request_hash', status: 'status', answer: 'answer' });
  return row ?? null;
}

/**
 * True when this transaction is the first with the key. While another one holds it this waits for its end:
 * after a commit the answer is false, after a rollback the key is ours.
 */
export async function claimRequestKey(
  transaction: Knex.Transaction,
  { requestHash, passing, ...id }: RequestKey & { requestHash: string; passing: boolean },
): Promise<boolean> {
  const rows: unknown[] = await transaction('holdfast.request_keys')
    .insert({ ...columns(id), request_hash: requestHash, passing })
    .onConflict()
    .ignore()
    .returning('key');
  return rows.length === 1;
}

/** In the transaction that claimed the key and had the effect. */
export async function keepRequestAnswer(
  transaction: Knex.Transaction,
  { status, answer, ...id }: RequestKey & KeptText,
): Promise<void> {
  await transaction('holdfast.request_keys').where(columns(id)).update({ status, answer });
}

function columns({ apiKey, key }: RequestKey): { api_key: string; key: string } {
  return { api_key: apiKey, key };
}
