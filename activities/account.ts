import type { Knex } from 'knex';
import { type InboxRow, notablePurchases, untilNextInInbox } from '../db/generations/inbox';
import { createInboxWork } from '../db/generations/inboxWork';
import type { Ledger } from '../db/ledger/ledger';
import { toMs } from '../domain/account';
import { milli, toCredits } from '../domain/credits';
import { jitterMs } from '../domain/jitter';
import type { AccountActivities, SeenPurchase } from './types';

export interface AccountDeps {
  ledger: Ledger;
  knex: Knex;
  /** Timers fire up to this long after their boundary, so that a million midnights do not fall on one second. */
  jitterWindowMs: number;
  /** How long an account with nothing ahead keeps its workflow. */
  quietMs: number;
}

/** Rows taken from an inbox at one look, and how long it may take; what is left is taken at the next. */
const INBOX_PAGE = 100;
const INBOX_WITHIN_MS = 10_000;

/** Purchases that an account's workflow shows. */
const SHOWN_PURCHASES = 10;

/** The shortest timer must not make a busy loop of a boundary that is just ahead. */
const SHORTEST_SLEEP_MS = 1_000;

export function createAccountActivities({
  ledger,
  knex,
  jitterWindowMs,
  quietMs,
}: AccountDeps): AccountActivities {
  const inbox = createInboxWork({ ledger, knex });
  return {
    async drainInbox({ account }) {
      const drained = await inbox.drain({ account, limit: INBOX_PAGE, withinMs: INBOX_WITHIN_MS });
      const purchases = await notablePurchases(knex, { account, limit: SHOWN_PURCHASES });
      return {
        ...drained,
        nextMs: await untilNextInInbox(knex, account),
        purchases: purchases.map(seen),
      };
    },

    async settleAccount({ account }) {
      const settled = await ledger.settle(account, { touch: false });
      if (settled === null) return { sleepMs: null, quietMs };
      const { plan, wakeAt, now, onTestClock } = settled;
      const untilMs = toMs(wakeAt) - toMs(now);
      if (untilMs === Number.POSITIVE_INFINITY) return { sleepMs: null, quietMs, plan, nextAt: null };
      const nextAt = new Date(toMs(wakeAt)).toISOString();
      // A test clock moves by being told to, and whoever moves it settles; timers would run on real time.
      if (onTestClock) return { sleepMs: null, quietMs, plan, nextAt };
      const sleepMs = Math.max(SHORTEST_SLEEP_MS, untilMs + jitterMs({ account, windowMs: jitterWindowMs }));
      return { sleepMs: Math.ceil(sleepMs), quietMs, plan, nextAt };
    },
  };
}

function seen({ key, body, receivedAt, doneAt, attempts, lastError }: InboxRow): SeenPurchase {
  const { pack, quantity, creditsMilli } = body;
  return {
    purchase: key,
    pack,
    quantity,
    attempts,
    error: lastError,
    credits: toCredits(milli(creditsMilli * quantity)),
    receivedAt: receivedAt.toISOString(),
    grantedAt: doneAt?.toISOString() ?? null,
  };
}
