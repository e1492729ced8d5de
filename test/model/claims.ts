import { deepStrictEqual } from 'node:assert';
import type { Pool } from 'pg';
import type { Account } from './reference/account';

/** Keys that are claimed for a request whose answer is a text (rules 1 and 2): in Postgres and in the model. */

/** How the request ends: answered, refused, or not at all. */
export type ClaimEnd = 'keep' | 'free' | 'crash';

export interface ClaimedKey {
  hash: string;
  /** Requests that are at work, or crashed at it. */
  claims: number;
  answer: string | null;
}

interface Request {
  key: string;
  hash: string;
  end: ClaimEnd;
  /** What it would answer. */
  text: string;
}

/** Claims the key and ends the request; every difference throws. */
export async function claimBoth(
  pool: Pool,
  { id, model }: { id: string; model: Account },
  request: Request,
): Promise<void> {
  const { key, hash, end, text } = request;
  const expected = claim(model, request);
  deepStrictEqual(
    await one(
      pool,
      "SELECT known, convert_from(answer, 'UTF8') AS answer FROM ledger.claim_key($1, $2, $3)",
      [id, key, hash],
    ),
    expected,
  );
  if (expected.known !== 'claimed') return;
  if (end === 'free') await pool.query('SELECT ledger.free_key($1, $2)', [id, key]);
  if (end === 'keep')
    deepStrictEqual(
      await one(
        pool,
        "SELECT convert_from(answer, 'UTF8') AS answer FROM ledger.keep_answer($1, $2, $3, 200, convert_to($4, 'UTF8'))",
        [id, key, hash, text],
      ),
      { answer: model.claimed.get(key)?.answer },
    );
}

function claim({ answers, claimed }: Account, { key, hash, end, text }: Request) {
  const kept = claimed.get(key) ?? { hash, claims: 0, answer: null };
  if (kept.hash !== hash || (answers.get(key)?.hash ?? hash) !== hash)
    return { known: 'conflict', answer: null };
  if (kept.answer !== null) return { known: 'answered', answer: kept.answer };
  if (end === 'keep') claimed.set(key, { ...kept, answer: text });
  if (end === 'crash') claimed.set(key, { ...kept, claims: kept.claims + 1 });
  return { known: 'claimed', answer: null };
}

async function one(pool: Pool, text: string, values: string[]): Promise<Record<string, unknown>> {
  const { rows } = await pool.query<Record<string, unknown>>(text, values);
  return { ...rows[0] };
}
