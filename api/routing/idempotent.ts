import { isUtf8 } from 'node:buffer';
import type { Knex } from 'knex';
import { MAX_KEY_LENGTH } from '../../domain/ids';
import type { AccountKeys, KeyClaim } from '../../db/idempotency/accountKeys';
import {
  claimRequestKey,
  findKeptAnswer,
  keepRequestAnswer,
  type KeptAnswer,
  type KeptText,
} from '../../db/idempotency/requestKeys';
import type { Authenticated } from './authenticate';
import { keyConflict } from '../problems/common';
import { problemOf } from '../problems/ofError';
import { ProblemError } from '../problems/problem';
import type { KeyNeed, TextAnswer } from './route';
import { seal, unseal } from './seal';

/**
 * Which answer a key has had. Answers that were returned are kept for ever, or, where they move no credits
 * and the route says so (`passing`), for 30 days; a problem that was thrown is not, and does not use the key up (rule 2).
 *
 * Of requests that name no account, and of opening one, the effect and the answer are one transaction here. A duplicate
 * that arrives while the first is at work waits for it: the caller wants the answer, and a 409 would only make it ask
 * again. The wait is bounded by the connection's lock_timeout, and past it the answer is 503.
 *
 * An account's keys are one space (rule 1), in which the ledger keeps the facts of its operations, and this module
 * the text of all other answers: it claims the key before the effect and keeps the answer after it. Between the two
 * the process may crash, so each effect must know its own key, or be one that may come twice (a state to be in, a quote). Who fails there, with a 503 or
 * without a word, may have had its effect: its key stays with it, for the same request to try again.
 */

/** The key of a request, or a problem when it is missing or cannot be one. `headers`: as often as it was sent. */
export function readKey(headers: readonly string[], need: KeyNeed): string | null {
  if (need === 'none') return null;
  const [sent, more] = headers;
  if (sent === undefined) {
    if (need === 'optional') return null;
    throw new ProblemError('idempotency_key_required', { detail: 'Send an Idempotency-Key header.' });
  }
  if (more !== undefined)
    throw new ProblemError('idempotency_key_invalid', {
      detail: 'Send one Idempotency-Key header, not several.',
    });
  const header = decoded(sent);
  if (header.length === 0 || header.length > MAX_KEY_LENGTH) {
    throw new ProblemError('idempotency_key_invalid', {
      detail: `An Idempotency-Key has 1 to ${MAX_KEY_LENGTH} characters; this one has ${header.length}.`,
    });
  }
  return header;
}

/** Node reads headers as Latin-1, and most clients write them as UTF-8: what is that is read so. */
function decoded(header: string): string {
  const bytes = Buffer.from(header, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : header;
}

export interface OnceRequest {
  knex: Knex;
  passing: boolean;
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
}: Omit<OnceRequest, 'passing'>): Promise<TextAnswer | null> {
  const kept = await findKeptAnswer(knex, { apiKey: authenticated.caller.keyId, key });
  return kept === null ? null : replay(kept, { hash, bearer: authenticated.bearer });
}

/** Runs `effect` in a transaction at most once for the key, and keeps its answer in the same transaction. */
export async function answerOnce(
  { knex, authenticated, key, hash, passing }: OnceRequest,
  effect: (transaction: Knex.Transaction) => Promise<TextAnswer>,
): Promise<TextAnswer> {
  const id = { apiKey: authenticated.caller.keyId, key };
  return knex.transaction(async (transaction) => {
    while (!(await claimRequestKey(transaction, { ...id, requestHash: hash, passing }))) {
      const kept = await findKeptAnswer(transaction, id);
      if (kept !== null) return replay(kept, { hash, bearer: authenticated.bearer });
      // It was passing, and has gone at this moment: the key is new again.
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

export interface AccountRequest extends KeyClaim {
  keys: AccountKeys;
}

/** Renders the answer of what the ledger has done under this key; null if it has kept none. */
export type Replay = () => Promise<TextAnswer | null>;

/** The answer an account's key got, or what the ledger can say of it. Throws `idempotency_conflict` for another's key. */
export async function lookUp(
  { keys, account, key, hash }: Omit<AccountRequest, 'passing'>,
  replay: Replay | null,
): Promise<TextAnswer | null> {
  const known = await keys.find({ account, key });
  if (known.hash !== null && known.hash !== hash) throw keyConflict();
  if (known.kept !== null) return textOf(known.kept);
  return known.applied && replay !== null ? replay() : null;
}

/**
 * Runs `effect` under the claimed key of an account and keeps its answer; of two at a time both get the first one's.
 * `replay` answers for a copy of the request that was refused because this very request has been carried out.
 */
export async function answerUnderKey(
  request: AccountRequest,
  { effect, replay }: { effect: () => Promise<TextAnswer>; replay: Replay | null },
): Promise<TextAnswer> {
  const { keys, account, key, hash, passing } = request;
  const id = { account, key };
  const claim = await keys.claim({ ...id, hash, passing });
  if (claim.known === 'conflict') throw keyConflict();
  if (claim.known === 'answered') return textOf(claim.kept);
  const unknown = claim.known === 'unknown_account'; // which the effect says, unless it has just been opened
  let answer: TextAnswer;
  try {
    answer = await effect();
  } catch (error) {
    if (unknown || !didNothing(error)) throw error;
    await keys.free(id);
    const twins = await lookUp(request, replay);
    if (twins === null) throw error;
    return twins;
  }
  if (unknown) {
    const opened = await keys.claim({ ...id, hash, passing });
    if (opened.known === 'conflict') throw keyConflict();
    if (opened.known === 'answered') return textOf(opened.kept);
    if (opened.known === 'unknown_account') return answer;
  }
  const bytes = Buffer.from(answer.text, 'utf8');
  const kept = await keys.keep({ ...id, hash, status: answer.status, answer: bytes });
  return kept.answer.equals(bytes) ? answer : textOf(kept);
}

/** What is rendered after a crash is the first answer from then on. */
export async function keptReplay(request: AccountRequest, replay: Replay): Promise<TextAnswer | null> {
  const answer = await replay();
  return answer === null
    ? null
    : answerUnderKey(request, { effect: () => Promise.resolve(answer), replay: null });
}

/** A refusal is told before anything was done, unless it says otherwise; of a failure nobody knows. */
function didNothing(error: unknown): boolean {
  const problem = problemOf(error);
  return problem === error ? !problem.begun : problem.code === 'overloaded';
}

function textOf({ status, answer }: KeptText): TextAnswer {
  return { status, text: answer.toString('utf8'), replayed: true };
}
