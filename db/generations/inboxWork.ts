import type { Knex } from 'knex';
import { milli } from '../../domain/credits';
import { type InboxRow, markDone, markFailed, pendingInInbox } from './inbox';
import type { Ledger } from '../ledger/ledger';
import { raiseItem, resolveItems } from '../support/items';

/**
 * Does what lies in an account's inbox. A row has several drivers (rule 31): the request that brought it, the account's
 * workflow, and the sweep; each does the work itself, by this one function. They may be at the same row at once: the
 * ledger's key makes it one effect, and the row's lock makes what is written of it one story.
 */
export interface InboxWork {
  /** Oldest first. A row that fails is put off and holds up no other. */
  drain(which: {
    account: string;
    /** Only this row, also before it would be tried again. */
    key?: string;
    /** Rows taken at most. */
    limit: number;
    /** After so long no second or further row is begun; they stay as they are. */
    withinMs: number;
  }): Promise<Drained>;
}

/** Rows that this driver did, and that it put off. */
export interface Drained {
  done: number;
  failed: number;
}

/** A row that failed this often, over about half a minute, is shown to a person. */
const ATTEMPTS_BEFORE_ALERT = 5;

type Outcome = 'done' | 'failed' | 'done_by_another';

export function createInboxWork({ ledger, knex }: { ledger: Ledger; knex: Knex }): InboxWork {
  async function workOn(row: InboxRow): Promise<Outcome> {
    try {
      await grant(ledger, row);
    } catch (error) {
      return putOff(row, error instanceof Error ? error.message : String(error));
    }
    return close(row);
  }

  /** Its items close with it. The row stays locked until they have: who raises one waits, and then finds it done. */
  async function close({ account, key }: InboxRow): Promise<Outcome> {
    return knex.transaction(async (transaction) => {
      if (!(await markDone(transaction, { account, key }))) return 'done_by_another';
      await resolveItems(transaction, {
        account,
        kinds: ['inbox_row_failing', 'purchase_waiting'],
        subject: key,
      });
      return 'done';
    });
  }

  async function putOff({ account, key, kind }: InboxRow, error: string): Promise<Outcome> {
    return knex.transaction(async (transaction) => {
      const failed = await markFailed(transaction, { account, key, error });
      if (failed === null) return 'done_by_another';
      const { attempts } = failed;
      if (attempts >= ATTEMPTS_BEFORE_ALERT) {
        const detail = { kind, attempts, error };
        await raiseItem(transaction, { account, kind: 'inbox_row_failing', subject: key, detail });
      }
      return 'failed';
    });
  }

  return {
    async drain({ withinMs, ...which }) {
      const untilMs = Date.now() + withinMs;
      const drained: Drained = { done: 0, failed: 0 };
      for (const row of await pendingInInbox(knex, which)) {
        const outcome = await workOn(row);
        if (outcome !== 'done_by_another') drained[outcome] += 1;
        if (Date.now() > untilMs) break;
      }
      return drained;
    },
  };
}

async function grant(ledger: Ledger, row: InboxRow): Promise<void> {
  const { purchase, creditsMilli, quantity, rank, graceSeconds, actor, reason } = row.body;
  const reply = await ledger.run(row.account, {
    op: 'grant',
    key: `sys:pack:${purchase}`,
    hash: `${creditsMilli}x${quantity}`,
    bucket: 'pack',
    rank,
    amount: milli(creditsMilli * quantity),
    expiresAt: null,
    graceSeconds,
    source: `pack:${purchase}`,
    actor,
    ...(reason === null ? {} : { reason }),
  });
  if (reply?.status !== 'applied')
    throw new Error(`purchase ${purchase} was not granted: ${reply?.status ?? 'unknown account'}`);
}
