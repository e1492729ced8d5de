import type { Knex } from 'knex';

/** Idempotency of requests that name no account (holdfast.request_keys). Answers are opaque bytes here. */

export interface RequestKey {
  apiKey: string;
  key: string;
}

export interface KeptAnswer {
  requestHash: string;
  status: number;
  answer: Buffer;
}

export async function findKeptAnswer(knex: Knex, { apiKey, key }: RequestKey): Promise<KeptAnswer | null> {
  const row = await knex('holdfast.request_keys')
    .where({ api_key: apiKey, key })
    .first<KeptAnswer | undefined>({ requestHash: 'request_hash', status: 'status', answer: 'answer' });
  return row ?? null;
}

/**
 * True when this transaction is the first with the key. While another one holds it this waits for its end:
 * after a commit the answer is false, after a rollback the key is ours.
 */
export async function claimRequestKey(
  transaction: Knex.Transaction,
  { apiKey, key, requestHash }: RequestKey & { requestHash: string },
): Promise<boolean> {
  const rows: unknown[] = await transaction('holdfast.request_keys')
    .insert({ api_key: apiKey, key, request_hash: requestHash })
    .onConflict()
    .ignore()
    .returning('key');
  return rows.length === 1;
}

/** In the transaction that claimed the key and had the effect. */
export async function keepAnswer(
  transaction: Knex.Transaction,
  { apiKey, key, status, answer }: RequestKey & { status: number; answer: Buffer },
): Promise<void> {
  await transaction('holdfast.request_keys').where({ api_key: apiKey, key }).update({ status, answer });
}
