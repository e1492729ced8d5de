import type { TestClock } from '../../db/accounts/testClocks';
import { MAX_BALANCE_MILLI, toCredits } from '../../domain/credits';
import { REFUSALS, type Refusal } from '../../domain/refusals';
import { problemOf } from './ofError';
import { ProblemError, type ProblemFacts } from './problem';

/** Refusals that several resources give in the same words. */

/** In live mode time is everybody's. */
export const NO_TEST_CLOCKS = 'Test clocks are for development: this Holdfast runs in live mode.';

export function unknownAccount(account: string): ProblemError {
  return new ProblemError('unknown_account', { detail: `There is no account ${account}.` });
}

export function keyConflict(): ProblemError {
  return new ProblemError('idempotency_conflict', {
    detail: 'This Idempotency-Key was used with another request; use a new one.',
  });
}

/** For `catch`: where the database or Temporal was lost on the way, `said` tells what may be true of the credits (rule 35). */
export function lostOnTheWay(said: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof ProblemError || problemOf(error).code !== 'unavailable') throw error;
    const detail = `The database or Temporal cannot be used just now. ${said}`;
    throw new ProblemError('unavailable', { detail, cause: error });
  };
}

/** What the schema of a field cannot know, such as what time it is. */
export function invalidField(path: string, message: string): ProblemError {
  return new ProblemError('invalid_request', { detail: `${path}: ${message}`, errors: [{ path, message }] });
}

export function clockAdvancing({ id, target }: TestClock): ProblemError {
  const to = target.toISOString();
  return new ProblemError('test_clock_advancing', {
    detail: `Test clock ${id} is advancing to ${to}.`,
    extensions: { target: to },
  });
}

/** A refusal as the facts of its problem document. One that used its key up says so (rule 2). */
export function refusalFacts(refusal: Refusal): ProblemFacts {
  return {
    detail: refusal.detail,
    ...(refusal.path === undefined ? {} : { errors: [{ path: refusal.path, message: refusal.detail }] }),
    extensions: { ...refusal.facts, ...(REFUSALS[refusal.code].kept ? { retryWithNewKey: true } : {}) },
  };
}

export function balanceLimitReached(): ProblemError {
  return new ProblemError('balance_limit_reached', {
    detail: `With these credits the account would have more than ${toCredits(MAX_BALANCE_MILLI)}; nothing was added.`,
  });
}
