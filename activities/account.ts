import type { Knex } from 'knex';
import { type InboxRow, markDone, markFailed, pendingInInbox } from '../db/inbox';
import type { Ledger } from '../db/ledger';
import { toMs } from '../domain/account';
import { milli } from '../domain/credits';
import { jitterMs } from '../domain/jitter';
import type { AccountActivities } from './types';

export interface AccountDeps {
  ledger: Ledger;
  knex: Knex;
  /** Timers fire up to this long after their boundary, so that a million midnights do not fall on one second. */
  jitterWindowMs: number;
  /** How long an account with nothing ahead keeps its workflow. */
  quietMs: number;
}

/** Rows taken from an inbox at one look; what is left is taken at the next. */
const INBOX_PAGE = 100;

/** Neither the shortest timer nor clock differences may make a busy loop of a boundary that is just ahead. */
const SHORTEST_SLEEP_MS = 1_000;

export function createAccountActivities({
  ledger,
  knex,
  jitterWindowMs,
  quietMs,
}: AccountDeps): AccountActivities {
  return {
    async drainInbox({ account }) {
      const failures: Error[] = [];
      let done = 0;
      let rows = await pendingInInbox(knex, { account, limit: INBOX_PAGE });
      while (rows.length > 0) {
        for (const row of rows) {
          try {
            await work(ledger, row);
            await markDone(knex, row);
            done += 1;
          } catch (error) {
            // One row that cannot be done must not keep the others waiting; it is thrown below, and so retried.
            const failure = error instanceof Error ? error : new Error(String(error));
            failures.push(failure);
            await markFailed(knex, { account, key: row.key, error: failure.message });
          }
        }
        if (failures.length > 0) break;
        rows = await pendingInInbox(knex, { account, limit: INBOX_PAGE });
      }
      if (failures.length > 0)
        throw new AggregateError(failures, `${failures.length} row(s) of the inbox: ${failures[0]?.message}`);
      return { done };
    },

    async settleAccount({ account }) {
      const settled = await ledger.settle(account, { touch: false });
      // A test clock moves by being told to, and whoever moves it settles; timers would run on real time.
      if (settled === null || settled.onTestClock) return { sleepMs: null, quietMs };
      const untilMs = toMs(settled.wakeAt) - Date.now();
      if (untilMs === Number.POSITIVE_INFINITY) return { sleepMs: null, quietMs };
      const sleepMs = Math.max(SHORTEST_SLEEP_MS, untilMs + jitterMs({ account, windowMs: jitterWindowMs }));
      return { sleepMs: Math.ceil(sleepMs), quietMs };
    },
  };
}

async function work(ledger: Ledger, row: InboxRow): Promise<void> {
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
