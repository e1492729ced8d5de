import type { CallResult } from '../../db/ledger/groupCommit';
import type { ApplyRequest, ApplyResult, Operation, Reply } from '../../db/ledger/operations';
import type { Settlement } from '../../domain/time/settle';
import { type Account, newAccount } from './reference/account';
import { instantText } from './reference/instants';
import { applyCall, type ModelOperation, type ModelReply } from './reference/model';
import { START } from './world';

/** The model behind the ledger's call, so that what stands before the database can be tested without one. */

/**
 * What befalls a call: it is lost before its commit or after it, another process settled an account meanwhile, or has
 * the first account locked; a call that waits for locks gets them.
 */
export type Fate = 'well' | 'lost before' | 'lost after' | 'settled elsewhere' | 'locked elsewhere';

export class Refused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(`the database said ${code}`);
    this.code = code;
  }
}

export const CONNECTION_FAILURE = '08006';
export const RAISED = 'P0001';

export interface FakeLedger {
  accounts: Map<string, Account>;
  /** As one transaction: all of it, or nothing. */
  send(requests: readonly ApplyRequest[], options: { fate: Fate; wait: boolean }): CallResult[];
  settlement(account: string): Settlement;
}

/** The model has no members. */
function known(operation: Operation): ModelOperation {
  if (operation.op === 'member') throw new Error('the model knows nothing of members');
  return operation;
}

export function createFakeLedger(names: readonly string[]): FakeLedger {
  const accounts = new Map(names.map((name) => [name, newAccount(START)]));

  function apply({ account: name, operations, settlement }: ApplyRequest): ApplyResult {
    const account = accounts.get(name);
    if (account === undefined) return { result: 'unknown_account' };
    const result = applyCall(account, { operations: operations.map(known), settlement });
    if (result.result !== 'ok') return { result: result.result, snapshot: snapshotOf(name) };
    const nothingAhead = { wakeAt: 'infinity', endsAt: 'infinity' };
    return {
      result: 'ok',
      at: instantText(account.now),
      replies: result.replies.map(asReply),
      ...nothingAhead,
    };
  }

  function settlement(name: string): Settlement {
    const { settleVersion = 0, rulesVersion = 1 } = accounts.get(name) ?? {};
    const never = {
      nextDueAt: 'infinity',
      wakeAt: 'infinity',
      lowBelow: null,
      noticeSeconds: null,
      until: null,
    };
    return { settleVersion, rulesVersion, steps: [], calendar: {}, ...never };
  }

  return {
    accounts,
    send(requests, { fate, wait }) {
      if (fate === 'lost before') throw new Refused(CONNECTION_FAILURE);
      const [first, ...others] = requests;
      if (fate === 'locked elsewhere' && !wait && first !== undefined)
        return [{ result: 'busy' }, ...this.send(others, { fate: 'well', wait })];
      if (requests.some(({ operations }) => operations.some(isPoison))) throw new Refused(RAISED);
      for (const { account } of fate === 'settled elsewhere' ? requests : [])
        apply({ account, operations: [], settlement: settlement(account) });
      const results = requests.map(apply);
      if (fate === 'lost after') throw new Refused(CONNECTION_FAILURE);
      return results;
    },
    settlement,
  };
}

/** An operation the database raises an exception for. */
export const isPoison = ({ key }: { key: string }): boolean => key.startsWith('req:poison');

// The batcher reads nothing of a reply or of a snapshot but what is put into them here.
const asReply = (reply: ModelReply): Reply => ({ replayed: false, answer: null, ...reply });
const snapshotOf = (account: string) =>
  ({ account }) as Extract<ApplyResult, { result: 'stale' }>['snapshot'];
