import type { Pool } from 'pg';
import type { BalanceSnapshot, Instant, Snapshot } from '../../domain/account';
import {
  type BatchesOptions,
  createBatches,
  LedgerContended,
  MAX_ATTEMPTS,
  TooManyRefused,
} from './accountQueue';
import { type Advanced, createClockAdvance, type Stop } from './clockAdvance';
import type { CatalogStore } from '../catalogs/catalogs';
import { ask } from '../connection/prepared';
import { type CallResult, createGroupCommit, type GroupCommitOptions } from './groupCommit';
import { type BuildContext, createKnownAccounts, type Known } from './knownAccounts';
import { BUSY, createLockWaits } from './lockWaits';
import type { ApplyRequest, Operation, Reply, TimedSnapshot } from './operations';
import { throughReplacement } from '../migrate/replacedFunctions';
import { type Aspect, createSettling, type Settled } from './settling';

/** How to make an operation from the account as it is, for those that gates and prices decide; null withdraws. */
type Build = (context: BuildContext) => Operation | null;
/** The same, with what was decided on the way. */
type Decide<D> = (context: BuildContext) => { operation: Operation | null; decided: D };

export interface Ledger {
  /** Opens an account; false if the id is taken by another request. Its first use settles it. */
  open(account: NewAccount): Promise<boolean>;
  /** One operation on one account. Null: there is no such account. Refusals are replies, never exceptions. */
  run(account: string, operation: Operation | Build): Promise<Reply | null>;
  /** The same, answered with what the last decision was: the one that the reply is to. */
  decide<D>(account: string, decide: Decide<D>): Promise<{ reply: Reply; decided: D } | null>;
  /** Brings the account up to its clock. Null: there is no such account. */
  settle(account: string, options: { touch: boolean }): Promise<Settled | null>;
  /** Rules and totals as they are written, not settled first. */
  snapshot(account: string): Promise<Snapshot | null>;
  /** The same, with the database's clock. */
  read(account: string): Promise<Known | null>;
  /**
   * As they are now, in what is asked about: `plan`, a change that was due is written down first; `holds`, what has ended;
   * `grants`, all that came on its own. Looking is not being there: it grants nothing free (rules 18, 21).
   */
  current(account: string, aspect: Aspect): Promise<Snapshot | null>;
  /** What a key was answered, before anything else is looked at (rule 1). */
  answerTo(account: string, key: string): Promise<{ hash: string; answer: string } | null>;
  /**
   * Whether a request certainly holds nothing: its time to take credits has passed by the database's clock, and its key has no
   * answer. Throws where the account is locked for longer than a second.
   */
  nothingHeld(request: { account: string; key: string; reserveBefore: Instant }): Promise<boolean>;
  /** The balance with its lots, settled first when something is due (rule 11). */
  balance(account: string): Promise<BalanceSnapshot | null>;
  /** For accounts on a test clock only; the clock never goes back. */
  moveClock(account: string, to: Instant): Promise<void>;
  /** Many accounts on test clocks, each to an instant of its own and settled there without being touched. */
  carry(stops: readonly Stop[]): Promise<Advanced[]>;
  /** False if the hold is no longer open; else the run owns it, and gave a sign of life that keeps the sweeper away. */
  assertHoldOpen(run: HoldRun): Promise<boolean>;
  /** The same where somebody was told that it is held: whoever wants to give it up sees that. Its owner stays. */
  touchHold(hold: { account: string; holdId: string }): Promise<boolean>;
}

/** A run that continues with a hold. */
interface HoldRun {
  account: string;
  holdId: string;
  workflowId: string;
  /** The namespace's id, not its name. */
  namespaceId: string;
}

interface NewAccount {
  account: string;
  catalog: string;
  plan: string;
  planSource: 'free' | 'admin';
  planInterval?: 'month' | 'quarter' | 'year' | undefined;
  timezone?: string | undefined;
  anchor?: Instant | undefined;
  email?: string | undefined;
  /** Where the account's own clock stands, if it has one. */
  clockAt?: Instant | undefined;
  /** The test clock that moves it. */
  testClock?: string | undefined;
  /** The request that opens it: sent again, it finds its own account. */
  openedBy?: string | undefined;
}

export interface LedgerDeps {
  pool: Pool;
  catalogs: CatalogStore;
  /** Wakes the account's workflow; called after commit when the next boundary moved earlier (rule 24). */
  ring: (account: string) => void;
  /** How much goes into one call; left out, the defaults of db/ledger/accountQueue.ts and db/ledger/groupCommit.ts. */
  batching?: Omit<GroupCommitOptions, 'send' | 'locks'> &
    Pick<BatchesOptions, 'maxBatch' | 'maxWaiting' | 'maxWaitingInAll'>;
}

export function createLedger({ pool, catalogs, ring, batching = {} }: LedgerDeps): Ledger {
  const accounts = createKnownAccounts({
    catalogs,
    find: (account) =>
      one<TimedSnapshot>('ledger_snapshot', 'SELECT ledger.snapshot($1) AS value', [account]),
  });

  async function send(requests: readonly ApplyRequest[], { wait }: { wait: boolean }): Promise<CallResult[]> {
    const calls = requests.map(({ account, operations, settlement }) => ({
      account,
      ops: operations,
      settle: settlement,
    }));
    const text = 'SELECT ledger.apply($1, $2) AS value';
    const results = await one<CallResult[]>('ledger_apply', text, [JSON.stringify(calls), wait]);
    if (results === null) throw new Error('ledger.apply answered nothing');
    return results;
  }

  const locks = createLockWaits();
  const groupCommit = createGroupCommit({
    send: (requests, options) => throughReplacement(() => send(requests, options)),
    locks,
    ...batching,
  });
  const settling = createSettling({
    catalogs,
    accounts,
    groupCommit,
    ring,
    findBalance: (account) =>
      one<BalanceSnapshot>('ledger_balance', 'SELECT ledger.balance($1) AS value', [account]),
  });
  const batches = createBatches({
    ...batching,
    groupCommit,
    due: (known) => settling.due(known, true),
    onResult(account, result) {
      if (result.result === 'settle_required' || result.result === 'stale')
        accounts.remember(result.snapshot);
      if (result.result === 'ok' && result.ring === true) ring(account);
    },
  });

  async function one<T>(name: string, text: string, values: unknown[]): Promise<T | null> {
    const { rows } = await throughReplacement(() => ask<{ value: T | null }>(pool, { name, text, values }));
    return rows[0]?.value ?? null; // the shape is what 0005 builds; its tests hold both ends together
  }

  async function run(account: string, operation: Operation | Build): Promise<Reply | null> {
    if (typeof operation !== 'function') return submit(account, operation);
    const made = await decide(account, (context) => ({ operation: operation(context), decided: null }));
    return made === null ? null : made.reply;
  }

  async function decide<D>(
    account: string,
    decision: Decide<D>,
  ): Promise<{ reply: Reply; decided: D } | null> {
    let known = await accounts.recent(account);
    let fresh = false;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && known !== null; attempt += 1) {
      const { operation, decided } = decision(await accounts.contextOf(known));
      if (operation !== null) {
        const reply = await submit(account, operation);
        if (reply === null) return null;
        if (reply.status !== 'stale') return { reply, decided };
      } else if (fresh) {
        return { reply: { status: 'withdrawn', replayed: false, answer: null }, decided };
      }
      // Rules moved meanwhile; or it was withdrawn, and no check of the database's stands behind that decision,
      // so it is made again on what is true now.
      known = await accounts.read(account);
      fresh = true;
    }
    if (known === null) return null;
    throw new LedgerContended(
      `account ${account} did not come to rest after ${MAX_ATTEMPTS} attempts; try again`,
    );
  }

  async function submit(account: string, operation: Operation): Promise<Reply | null> {
    const reply = await batches.submit(account, operation);
    // A machine that was suspended does not know for how long, and so not what time it is: it reads the clock again.
    if (operation.op === 'rules' || reply?.status === 'too_late') accounts.forget(account);
    if (reply?.status === 'overloaded')
      throw new TooManyRefused(`too many requests of account ${account} were refused within a minute`);
    return reply;
  }

  function assertHoldOpen(run: {
    account: string;
    holdId: string;
    workflowId: string | null;
    namespaceId: string | null;
  }): Promise<boolean> {
    const { account, holdId, workflowId, namespaceId } = run;
    const sql = 'SELECT ledger.assert_hold_open($1, $2, $3, $4, $5) AS value';
    return locks.through(account, async (wait) => {
      const values = [account, holdId, workflowId, namespaceId, wait];
      return (await one<boolean>('ledger_assert_hold_open', sql, values)) ?? BUSY;
    });
  }

  return {
    snapshot: async (account) => (await accounts.read(account))?.snapshot ?? null,
    read: (account) => accounts.read(account),
    current: (account, aspect) => settling.current(account, aspect),
    run,
    decide,
    balance: (account) => settling.balance(account),
    settle: (account, options) => settling.settle(account, options),
    carry: createClockAdvance({ pool, groupCommit, locks, due: (known) => settling.due(known, false) }),
    async open({ account, clockAt, ...rules }) {
      const opened = await one<boolean>('ledger_open', 'SELECT ledger.open_account($1, $2, $3) AS value', [
        account,
        JSON.stringify(rules),
        clockAt ?? null,
      ]);
      return opened === true;
    },
    async answerTo(account, key) {
      const text =
        'SELECT request_hash AS hash, answer FROM ledger.op_keys WHERE account_id = $1 AND key = $2';
      const statement = { name: 'ledger_key', text, values: [account, key] };
      const { rows } = await ask<{ hash: string; answer: string }>(pool, statement);
      return rows[0] ?? null;
    },
    async nothingHeld({ account, key, reserveBefore }) {
      const sql = 'SELECT ledger.nothing_held($1, $2, $3) AS value';
      return (await one<boolean>('ledger_nothing_held', sql, [account, key, reserveBefore])) === true;
    },
    async moveClock(account, to) {
      await throughReplacement(() => pool.query('SELECT ledger.move_clock($1, $2)', [account, to]));
    },
    touchHold: ({ account, holdId }) =>
      assertHoldOpen({ account, holdId, workflowId: null, namespaceId: null }),
    assertHoldOpen,
  };
}
