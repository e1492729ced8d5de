import { BUSY, type LockWaits } from './lockWaits';
import type { ApplyRequest, ApplyResult } from './operations';

/**
 * Calls of the ledger's function, several accounts in one. A call costs much the same for one account as for ten
 * (round trip, commit, flush), so while as many calls as may be are in flight, the requests that queue become the next call. When
 * nothing waits, nothing is held back. Such a call waits for no lock: an account that is locked is left out of it, and
 * goes its own way (db/ledger/lockWaits.ts).
 */

export interface GroupCommit {
  /**
   * The result for one account. `request` is asked for at the moment of the call, so that what came meanwhile is
   * in it. Throws what the database threw, for this request alone: the others of the call are not harmed.
   */
  call(account: string, request: () => ApplyRequest): Promise<ApplyResult>;
}

/** What the function answers for one account. `busy`: somebody else has it locked, and nothing was done. */
export type CallResult = ApplyResult | { result: 'busy' };

export interface GroupCommitOptions {
  /** One call of the function: a result for each request, in their order. `wait`: for accounts that are locked. */
  send: (requests: readonly ApplyRequest[], options: { wait: boolean }) => Promise<CallResult[]>;
  locks: LockWaits;
  /** Calls in flight at one time, beside those that wait for a lock. */
  callsAtOnce?: number;
  /** Accounts in one call. */
  maxAccounts?: number;
  /** Operations in one call: with these it is full, and an account with many has a call of its own. */
  maxOperations?: number;
}

type Outcome = ApplyResult | typeof BUSY;

interface Queued {
  account: string;
  request: () => ApplyRequest;
  resolve: (result: Outcome) => void;
  reject: (error: unknown) => void;
}

const DEFAULT_CALLS = 4;
const DEFAULT_MAX_ACCOUNTS = 64;
const DEFAULT_MAX_OPERATIONS = 256;

/** The transaction was not carried out, or nobody knows, or it waited for a lock in vain: trying its parts at once would not help. */
const NOT_ONE_REQUESTS = /^(08|57P|55P03)/;

export function createGroupCommit({
  send,
  locks,
  callsAtOnce = DEFAULT_CALLS,
  maxAccounts = DEFAULT_MAX_ACCOUNTS,
  maxOperations = DEFAULT_MAX_OPERATIONS,
}: GroupCommitOptions): GroupCommit {
  let waiting: Queued[] = [];
  /** Halves of calls that one request spoiled; they go before anybody else. */
  const halves: Queued[][] = [];
  let busy = 0;

  function start(): void {
    while (busy < callsAtOnce && (halves.length > 0 || waiting.length > 0)) {
      busy += 1;
      void carryOut(halves.shift() ?? nextCall()).finally(() => {
        busy -= 1;
        start();
      });
    }
  }

  /** The next call: first come, each account once, until it is full. */
  function nextCall(): Queued[] {
    const taken: Queued[] = [];
    const left: Queued[] = [];
    const accounts = new Set<string>();
    let operations = 0;
    for (const queued of waiting) {
      if (taken.length === maxAccounts || operations >= maxOperations || accounts.has(queued.account)) {
        left.push(queued);
        continue;
      }
      accounts.add(queued.account);
      taken.push(queued);
      operations += queued.request().operations.length;
    }
    waiting = left;
    return taken;
  }

  async function carryOut(taken: readonly Queued[]): Promise<void> {
    try {
      const requests = taken.map(({ request }) => request());
      const results = await send(requests, { wait: false });
      taken.forEach(({ resolve, reject }, index) => {
        const result = results[index];
        if (result === undefined) reject(new Error('ledger.apply answered fewer accounts than were asked'));
        else resolve(outcome(result));
      });
    } catch (error) {
      if (taken.length === 1 || !mayBeOneRequests(error)) {
        for (const { reject } of taken) reject(error);
        return;
      }
      // One of them spoiled it for all, and none was carried out: in a few halvings it is alone.
      const middle = Math.ceil(taken.length / 2);
      halves.push(taken.slice(0, middle), taken.slice(middle));
    }
  }

  async function alone(request: () => ApplyRequest): Promise<Outcome> {
    const [result] = await send([request()], { wait: true });
    if (result === undefined) throw new Error('ledger.apply answered nothing');
    return outcome(result);
  }

  return {
    call: (account, request) =>
      locks.through(account, (wait) =>
        wait
          ? alone(request)
          : new Promise<Outcome>((resolve, reject) => {
              waiting.push({ account, request, resolve, reject });
              start();
            }),
      ),
  };
}

function outcome(result: CallResult): Outcome {
  return result.result === 'busy' ? BUSY : result;
}

/** Whether the database refused what it was asked, so that a part of it may be fine. */
export function mayBeOneRequests(error: unknown): boolean {
  const code: unknown = error !== null && typeof error === 'object' ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !NOT_ONE_REQUESTS.test(code);
}
