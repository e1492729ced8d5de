import type { Knex } from 'knex';
import { type InboxRow, markDone, markFailed, pendingInInbox, untilNextInInbox } from '../db/inbox';
import type { Ledger } from '../db/ledger';
import { type ItemKey, raiseItem, resolveItem } from '../db/operationsItems';
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

/** A row that failed this often, over about half a minute, is shown to a person. */
const ATTEMPTS_BEFORE_ALERT = 5;

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
      let done = 0;
      let failed = 0;
      for (const row of await pendingInInbox(knex, { account, limit: INBOX_PAGE })) {
        try {
          await work(ledger, row);
          await markDone(knex, row);
          await resolveItem(knex, failingItem(row));
          done += 1;
        } catch (error) {
          await putOff(row, error instanceof Error ? error.message : String(error));
          failed += 1;
        }
      }
      return { done, failed, nextMs: await untilNextInInbox(knex, account) };
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

  async function putOff(row: InboxRow, error: string): Promise<void> {
    const { attempts } = await markFailed(knex, { account: row.account, key: row.key, error });
    if (attempts < ATTEMPTS_BEFORE_ALERT) return;
    await raiseItem(knex, { ...failingItem(row), detail: { kind: row.kind, attempts, error } });
  }
}

function failingItem({ account, key }: InboxRow): ItemKey {
  return { account, kind: 'inbox_row_failing', subject: key };
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
