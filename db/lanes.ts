import type { ApplyRequest, ApplyResult } from './operations';

/**
 * Calls of the ledger's function, several accounts in one. A call costs much the same for one account as for ten
 * (round trip, commit, flush), so while all lanes are busy the requests that queue become the next call. When
 * nothing waits, nothing is held back.
 */

export interface Lanes {
  /**
   * The result for one account. `request` is asked for at the moment of the call, so that what came meanwhile is
   * in it. Throws what the database threw, for this request alone: the others of the call are not harmed.
   */
  call(account: string, request: () => ApplyRequest): Promise<ApplyResult>;
}

export interface LanesOptions {
  /** One call of the function: a result for each request, in their order. */
  send: (requests: readonly ApplyRequest[]) => Promise<ApplyResult[]>;
  /** Calls in flight at one time. */
  lanes?: number;
  /** Accounts in one call. */
  maxAccounts?: number;
  /** Operations in one call: with these on board it leaves, and an account with many goes alone. */
  maxOperations?: number;
}

interface Waiting {
  account: string;
  request: () => ApplyRequest;
  resolve: (result: ApplyResult) => void;
  reject: (error: unknown) => void;
}

const DEFAULT_LANES = 4;
const DEFAULT_MAX_ACCOUNTS = 64;
const DEFAULT_MAX_OPERATIONS = 256;

/** The transaction was not carried out, or nobody knows, and trying its parts at once would not tell. */
const CONNECTION_LOST = /^(08|57P)/;

export function createLanes({
  send,
  lanes = DEFAULT_LANES,
  maxAccounts = DEFAULT_MAX_ACCOUNTS,
  maxOperations = DEFAULT_MAX_OPERATIONS,
}: LanesOptions): Lanes {
  let waiting: Waiting[] = [];
  let busy = 0;

  function start(): void {
    while (busy < lanes && waiting.length > 0) {
      busy += 1;
      const [boarded, requests] = board();
      void carry(boarded, requests).finally(() => {
        busy -= 1;
        start();
      });
    }
  }

  /** The next call's passengers: first come, each account once, until it is full. */
  function board(): [Waiting[], ApplyRequest[]] {
    const boarded: Waiting[] = [];
    const requests: ApplyRequest[] = [];
    const left: Waiting[] = [];
    const accounts = new Set<string>();
    let operations = 0;
    for (const passenger of waiting) {
      if (boarded.length === maxAccounts || operations >= maxOperations || accounts.has(passenger.account)) {
        left.push(passenger);
        continue;
      }
      const request = passenger.request();
      accounts.add(passenger.account);
      boarded.push(passenger);
      requests.push(request);
      operations += request.operations.length;
    }
    waiting = left;
    return [boarded, requests];
  }

  async function carry(boarded: Waiting[], requests: ApplyRequest[]): Promise<void> {
    try {
      const results = await send(requests);
      boarded.forEach(({ resolve, reject }, index) => {
        const result = results[index];
        if (result === undefined) reject(new Error('ledger.apply answered fewer accounts than were asked'));
        else resolve(result);
      });
    } catch (error) {
      const [only] = boarded;
      if (boarded.length === 1 || !mayBeOneRequests(error)) {
        for (const { reject } of boarded) reject(error);
        if (only === undefined) throw error;
        return;
      }
      // One of them spoiled it for all, and none was carried out: each goes on its own, in this lane.
      for (const [index, passenger] of boarded.entries())
        await carry([passenger], requests.slice(index, index + 1));
    }
  }

  return {
    call: (account, request) =>
      new Promise((resolve, reject) => {
        waiting.push({ account, request, resolve, reject });
        start();
      }),
  };
}

/** Whether the database refused what it was asked, so that a part of it may be fine. */
export function mayBeOneRequests(error: unknown): boolean {
  const code: unknown = error !== null && typeof error === 'object' ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !CONNECTION_LOST.test(code);
}
