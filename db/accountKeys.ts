import type { Knex } from 'knex';
import type { KeptText } from './requestKeys';

/**
 * An account's keys, which are one space (rule 1). Of its operations the ledger keeps keys and facts (ledger.op_keys);
 * of all other requests the key is claimed before the effect and the answer kept after it (ledger.kept_answers), both
 * under the account's lock, so that no two requests are carried out under one key.
 */

export interface AccountKey {
  account: string;
  /** As it was sent. */
  key: string;
}

/** What a key is known for. `hash` null: it is new. */
export interface KnownKey {
  /** The hash of the request it came with, wherever it is kept. */
  hash: string | null;
  /** Whether it is the key of an operation of the ledger. */
  applied: boolean;
  /** The answer as it was sent; null while it has none, or where the ledger keeps the facts of it. */
  kept: KeptText | null;
}

/** Looks a key up in both places that remember keys. */
export async function findAccountKey(knex: Knex, id: AccountKey): Promise<KnownKey> {
  const { rows } = await knex.raw<{
    rows: { hash: string; applied: boolean; status: number | null; answer: Buffer | null }[];
  }>(
    `SELECT request_hash AS hash, false AS applied, status, answer FROM ledger.kept_answers WHERE account_id = :account AND key = :key
      UNION ALL
     SELECT request_hash, true, NULL, NULL FROM ledger.op_keys WHERE account_id = :account AND key = :key`,
    inLedger(id),
  );
  const [first] = rows; // where it is in both, an answer was kept of what the ledger did
  const full = rows.find(({ answer }) => answer !== null);
  return {
    hash: first?.hash ?? null,
    applied: rows.some(({ applied }) => applied),
    kept: full === undefined ? null : textOf(full),
  };
}

/** What came of a claim: the key is this request's, or it has its answer, or it is another's, or nobody's. */
export type Claim =
  | { known: 'claimed' | 'conflict' | 'unknown_account' }
  | { known: 'answered'; kept: KeptText };

/** Claims the key for a request that is about to have its effect; ends with `keepAnswer` or `freeKey`, or with a crash. */
export async function claimKey(knex: Knex, { hash, ...id }: AccountKey & { hash: string }): Promise<Claim> {
  const { rows } = await knex.raw<{
    rows: { known: Claim['known']; status: number | null; answer: Buffer | null }[];
  }>('SELECT * FROM ledger.claim_key(:account, :key, :hash)', { ...inLedger(id), hash });
  const [row] = rows;
  if (row === undefined) throw new Error('ledger.claim_key answered nothing');
  const kept = textOf(row);
  if (row.known !== 'answered') return { known: row.known };
  if (kept === null) throw new Error('ledger.claim_key found an answer and did not give it');
  return { known: 'answered', kept };
}

/** Keeps the answer of a claimed key. Returns what is kept, which of two at a time is the first one's. */
export async function keepAnswer(
  knex: Knex,
  { status, answer, ...id }: AccountKey & KeptText,
): Promise<KeptText> {
  const { rows } = await knex.raw<{ rows: { status: number | null; answer: Buffer | null }[] }>(
    'SELECT * FROM ledger.keep_answer(:account, :key, :status, :answer)',
    { ...inLedger(id), status, answer },
  );
  const kept = rows[0] === undefined ? null : textOf(rows[0]);
  if (kept === null) throw new Error('the answer of a key was kept that nobody had claimed');
  return kept;
}

/** The claimed key was not used after all. */
export async function freeKey(knex: Knex, id: AccountKey): Promise<void> {
  await knex.raw('SELECT ledger.free_key(:account, :key)', inLedger(id));
}

function textOf({ status, answer }: { status: number | null; answer: Buffer | null }): KeptText | null {
  return status === null || answer === null ? null : { status, answer };
}

function inLedger({ account, key }: AccountKey): { account: string; key: string } {
  return { account, key: `req:${key}` };
}
