import { type GroupCommit, mayBeOneRequests } from './groupCommit';
import { isLockTimeout } from './lockWaits';
import type { ApplyResult, Operation, Reply } from './operations';
import type { Snapshot } from '../../domain/account';
import type { Settlement } from '../../domain/time/settle';

/**
 * Natural batching on one account: at most one call in flight per account, and what queues meanwhile is the next
 * call. Nothing waits when the account is idle; the busier it is, the more each commit carries.
 */

export interface Batches {
  /** One operation's reply; null: there is no such account. Throws LedgerOverloaded when too much waits already. */
  submit(account: string, operation: Operation): Promise<Reply | null>;
}

export interface BatchesOptions {
  groupCommit: GroupCommit;
  /** The calendar steps that are due, from the account as it is (rule 11). */
  due: (snapshot: Snapshot) => Promise<Settlement>;
  /** Told of every result, once it is committed. */
  onResult: (account: string, result: ApplyResult) => void;
  maxBatch?: number;
  /** Operations that may wait on one account, and in the process. */
  maxWaiting?: number;
  maxWaitingInAll?: number;
}

/** The account kept changing, or settling it never ends. Retryable. */
export class LedgerContended extends Error {
  override readonly name = 'LedgerContended';
}

/** More waits on this account, or in this process, than is worth waiting for. Nothing was done; try again later. */
export class LedgerOverloaded extends Error {
  override readonly name = 'LedgerOverloaded';
}

/** What a caller is told of it. */
export const REFUSED_TOO_OFTEN =
  'Too many requests of this account were refused within the last minute; nothing was done. ' +
  'Repeating them does not change the refusal.';

/** Too many requests of the account were refused in this minute: no more are looked at. Nothing was done, and no key is used up. */
export class TooManyRefused extends Error {
  override readonly name = 'TooManyRefused';
}

interface Waiting {
  operation: Operation;
  resolve: (reply: Reply | null) => void;
  reject: (error: unknown) => void;
}

/** A settlement grants at most MAX_STEPS slots, so an account that slept for decades needs several. */
export const MAX_ATTEMPTS = 40;
const DEFAULT_MAX_BATCH = 256;
const DEFAULT_MAX_WAITING = 2_048;
const DEFAULT_MAX_WAITING_IN_ALL = 16_384;

export function createBatches({
  groupCommit,
  due,
  onResult,
  maxBatch = DEFAULT_MAX_BATCH,
  maxWaiting = DEFAULT_MAX_WAITING,
  maxWaitingInAll = DEFAULT_MAX_WAITING_IN_ALL,
}: BatchesOptions): Batches {
  const queues = new Map<string, Waiting[]>();
  let waitingInAll = 0;

  async function drain(account: string, queue: Waiting[]): Promise<void> {
    while (queue.length > 0) {
      let batch: Waiting[] = [];
      const take = () => {
        if (batch.length === 0) {
          // After a change of rules the account is settled before anything else is decided.
          const rules = queue.slice(0, maxBatch).findIndex(({ operation }) => operation.op === 'rules');
          batch = queue.splice(0, rules === -1 ? maxBatch : rules + 1);
          waitingInAll -= batch.length;
        }
        return batch.map(({ operation }) => operation);
      };
      try {
        const replies = await settled(account, take); // which fills the batch
        answer(batch, replies);
      } catch (error) {
        if (batch.length > 1 && mayBeOneRequests(error)) {
          // One of them spoiled it for all, and none was carried out: each is sent on its own.
          for (const waiting of batch) await single(account, waiting);
          continue;
        }
        for (const { reject } of batch) reject(error);
        if (!isLockTimeout(error)) continue;
        // Those behind them have waited for the same lock already.
        waitingInAll -= queue.length;
        for (const { reject } of queue.splice(0)) reject(error);
      }
    }
    queues.delete(account);
  }

  async function single(account: string, waiting: Waiting): Promise<void> {
    try {
      answer([waiting], await settled(account, () => [waiting.operation]));
    } catch (error) {
      waiting.reject(error);
    }
  }

  /** Calls with the operations, and again with the calendar steps that are due when the ledger asks for them. */
  async function settled(account: string, take: () => Operation[]): Promise<Reply[] | null> {
    let settlement: Settlement | null = null;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      // What leaves more to settle goes without operations: they are decided when all is settled.
      const alone: boolean = settlement !== null && settlement.until !== null;
      const result = await groupCommit.call(account, () => ({
        account,
        operations: alone ? [] : take(),
        settlement,
      }));
      onResult(account, result);
      if (result.result === 'ok' && !alone) return result.replies;
      if (result.result === 'unknown_account') return null;
      settlement = result.result === 'settle_required' ? await due(result.snapshot) : null;
    }
    throw new LedgerContended(
      `account ${account} did not come to rest after ${MAX_ATTEMPTS} attempts; try again`,
    );
  }

  return {
    submit(account, operation) {
      const queue = queues.get(account) ?? [];
      if (queue.length >= maxWaiting || waitingInAll >= maxWaitingInAll) {
        return Promise.reject(
          new LedgerOverloaded(
            `${queue.length} operations wait on account ${account} already; try again later`,
          ),
        );
      }
      return new Promise((resolve, reject) => {
        queue.push({ operation, resolve, reject });
        waitingInAll += 1;
        if (queues.has(account)) return;
        queues.set(account, queue);
        void drain(account, queue);
      });
    },
  };
}

function answer(batch: readonly Waiting[], replies: Reply[] | null): void {
  batch.forEach(({ resolve, reject }, index) => {
    const reply = replies === null ? null : replies[index];
    if (reply === undefined) reject(new Error('ledger.apply answered fewer operations than were asked'));
    else resolve(reply);
  });
}
