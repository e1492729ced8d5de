/**
 * Waiting for an account that somebody else has locked, so that it delays itself and nobody else. Every call first tries without
 * waiting. A few of those that find their account locked wait in the database, where they come in their turn; each keeps a
 * connection. The others hold nothing, and try again from time to time.
 */

/** The account is locked by somebody else; nothing was done. */
export const BUSY = Symbol('the account is locked');

export interface LockWaits {
  /**
   * Makes the attempt until it finds the account free. `wait` says whether it may wait for the lock in the database. Throws
   * AccountLocked after a while, or what the attempt threw.
   */
  through<T>(account: string, attempt: (wait: boolean) => Promise<T | typeof BUSY>): Promise<T>;
}

export interface LockWaitsOptions {
  /** Calls of this process that wait in the database at one time; of one account there is one at most. */
  atOnce?: number;
  patienceMs?: number;
  /** For tests that have no time. */
  pause?: (ms: number) => Promise<void>;
}

const LOCK_NOT_AVAILABLE = '55P03';

/** Somebody has kept the account locked for longer than is worth waiting for. Nothing was done; retryable. */
class AccountLocked extends Error {
  override readonly name = 'AccountLocked';
  /** As the database calls it where it waited itself. */
  readonly code = LOCK_NOT_AVAILABLE;
}

/** Whether a lock was waited for in vain, here or in the database. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === LOCK_NOT_AVAILABLE;
}

const DEFAULT_AT_ONCE = 3;
/** As long as the database lets a statement wait for a lock (db/connection/connection.ts). */
const DEFAULT_PATIENCE_MS = 3_000;
const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 128;
/** For so long an account counts as one that is often locked, and its calls wait in their turn from the start. */
const CONTENDED_MS = 1_000;
const MAX_CONTENDED = 10_000;

export function createLockWaits({
  atOnce = DEFAULT_AT_ONCE,
  patienceMs = DEFAULT_PATIENCE_MS,
  pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}: LockWaitsOptions = {}): LockWaits {
  const waiting = new Set<string>();
  const contendedUntil = new Map<string, number>();

  function isContended(account: string): boolean {
    const until = contendedUntil.get(account);
    return until !== undefined && until > performance.now();
  }

  function remember(account: string): void {
    contendedUntil.delete(account);
    contendedUntil.set(account, performance.now() + CONTENDED_MS);
    const [oldest] = contendedUntil.keys();
    if (contendedUntil.size > MAX_CONTENDED && oldest !== undefined) contendedUntil.delete(oldest);
  }

  async function inTurn<T>(account: string, attempt: (wait: boolean) => Promise<T>): Promise<T> {
    waiting.add(account);
    try {
      return await attempt(true);
    } finally {
      waiting.delete(account);
    }
  }

  return {
    async through(account, attempt) {
      const untilMs = performance.now() + patienceMs;
      let pauseMs = FIRST_PAUSE_MS;
      let wait = isContended(account);
      for (;;) {
        const hasRoom = wait && waiting.size < atOnce && !waiting.has(account);
        const answer = hasRoom ? await inTurn(account, attempt) : await attempt(false);
        if (answer !== BUSY) return answer;
        remember(account);
        if (performance.now() >= untilMs)
          throw new AccountLocked(`account ${account} has been locked for ${patienceMs} ms; try again`);
        if (wait) {
          // Not all at once: several processes may be after the same account.
          await pause(pauseMs * (0.5 + Math.random()));
          pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
        }
        wait = true;
      }
    },
  };
}
