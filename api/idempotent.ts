import type { Knex } from 'knex';
import { MAX_KEY_LENGTH } from '../domain/ids';
import { type AccountKey, claimKey, findAccountKey, freeKey, keepAnswer } from '../db/accountKeys';
import {
  claimRequestKey,
  findKeptAnswer,
  keepRequestAnswer,
  type KeptAnswer,
  type KeptText,
} from '../db/requestKeys';
import type { Authenticated } from './authenticate';
import { keyConflict } from './commonProblems';
import { ProblemError } from './problems';
import type { KeyNeed, TextAnswer } from './route';
import { seal, unseal } from './seal';

/**
 * Which answer a key has had. Answers that were returned are kept for ever; a problem that was thrown is not, and
 * does not use the key up (rule 2).
 *
 * Of requests that name no account the effect and the answer are one transaction here. A duplicate that arrives
 * while the first is at work waits for it: the caller wants the answer, and a 409 would only make it ask again.
 * The wait is bounded by the connection's lock_timeout, and past it the answer is 503.
 *
 * An account's keys are one space (rule 1), in which the ledger keeps the facts of its operations, and this module
 * the text of all other answers: it claims the key before the effect and keeps the answer after it. Between the two
 * the process may crash, so each effect must know its own key or be a state to be in.
 */

/** The key of a request, or a problem when it is missing or cannot be one. */
export function readKey(header: string | undefined, need: KeyNeed): string | null {
  if (need === 'none') return null;
  if (header === undefined) {
    if (need === 'optional') return null;
    throw new ProblemError('idempotency_key_required', { detail: 'Send an Idempotency-Key header.' });
  }
  if (header.length === 0 || header.length > MAX_KEY_LENGTH) {
    throw new ProblemError('idempotency_key_invalid', {
      detail: `An Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters; this one has ${header.length}.`,
    });
  }
  return header;
}

export interface OnceRequest {
  knex: Knex;
  authenticated: Authenticated;
  key: string;
  hash: string;
}

/** The answer that this key got before, if any. Throws `idempotency_conflict` for another request's key. */
export async function findReplay({
  knex,
  authenticated,
  key,
  hash,
}: OnceRequest): Promise<TextAnswer | null> {
  const kept = await findKeptAnswer(knex, { apiKey: authenticated.caller.keyId, key });
  return kept === null ? null : replay(kept, { hash, bearer: authenticated.bearer });
}

/** Runs `effect` in a transaction at most once for the key, and keeps its answer in the same transaction. */
export async function answerOnce(
  { knex, authenticated, key, hash }: OnceRequest,
  effect: (transaction: Knex.Transaction) => Promise<TextAnswer>,
): Promise<TextAnswer> {
  const id = { apiKey: authenticated.caller.keyId, key };
  return knex.transaction(async (transaction) => {
    if (!(await claimRequestKey(transaction, { ...id, requestHash: hash }))) {
      const kept = await findKeptAnswer(transaction, id);
      if (kept === null) throw new Error('a claimed request key has no row: rows are never deleted');
      return replay(kept, { hash, bearer: authenticated.bearer });
    }
    const answer = await effect(transaction);
    await keepRequestAnswer(transaction, {
      ...id,
      status: answer.status,
      answer: seal(answer.text, authenticated.bearer),
    });
    return answer;
  });
}

function replay(kept: KeptAnswer, { hash, bearer }: { hash: string; bearer: string }): TextAnswer {
  const text = kept.requestHash === hash ? unseal(kept.answer, bearer) : null;
  if (text === null) {
    throw new ProblemError('idempotency_conflict', {
      detail:
        'This Idempotency-Key was used for another request, or before the administrator key was changed.',
    });
  }
  return { status: kept.status, text, replayed: true };
}

export interface AccountRequest extends AccountKey {
  knex: Knex;
  hash: string;
}

/**
 * What is known of an account's key: the answer it got, or whether the ledger has carried its request out. Throws
 * `idempotency_conflict` if it was another request.
 */
export async function lookUp({
  knex,
  account,
  key,
  hash,
}: AccountRequest): Promise<{ applied: boolean; answer: TextAnswer | null }> {
  const known = await findAccountKey(knex, { account, key });
  if (known.hash !== null && known.hash !== hash) throw keyConflict();
  return { applied: known.applied, answer: known.kept === null ? null : textOf(known.kept) };
}

/**
 * Runs `effect` under the claimed key of an account and keeps its answer; of two at a time both get the first one's.
 * A refusal frees the key. A failure does not: it may have come after the effect, and the same request may try again.
 */
export async function answerUnderKey(
  { knex, account, key, hash }: AccountRequest,
  effect: () => Promise<TextAnswer>,
): Promise<TextAnswer> {
  const id = { account, key };
  const claim = await claimKey(knex, { ...id, hash });
  if (claim.known === 'conflict') throw keyConflict();
  if (claim.known === 'answered') return textOf(claim.kept);
  if (claim.known === 'unknown_account') return effect(); // which says so
  let answer: TextAnswer;
  try {
    answer = await effect();
  } catch (error) {
    if (error instanceof ProblemError) await freeKey(knex, id);
    throw error;
  }
  const bytes = Buffer.from(answer.text, 'utf8');
  const kept = await keepAnswer(knex, { ...id, status: answer.status, answer: bytes });
  return kept.answer.equals(bytes) ? answer : textOf(kept);
}

function textOf({ status, answer }: KeptText): TextAnswer {
  return { status, text: answer.toString('utf8'), replayed: true };
}
