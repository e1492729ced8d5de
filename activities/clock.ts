import { heartbeat } from '@temporalio/activity';
import type { Knex } from 'knex';
import type { Advanced, Stop } from '../db/ledger/clockAdvance';
import type { Ledger } from '../db/ledger/ledger';
import {
  clockProgress,
  type FailingAccount,
  findTestClock,
  pendingHands,
  recordFailing,
  endAdvance,
  type TestClock,
  withInbox,
} from '../db/accounts/testClocks';
import { type ClockHand, firstStop, nextStop } from '../domain/time/testClock';
import type { AccountActivities, ClockActivities } from './types';

export interface ClockDeps {
  ledger: Ledger;
  knex: Knex;
  drainInbox: AccountActivities['drainInbox'];
}

/** Accounts that are carried along together. */
const PAGE = 256;

/** A step ends about then, wherever its accounts stand: what is left of them is taken at the next pass. */
const STEP_MS = 10_000;

export function createClockActivities({ ledger, knex, drainInbox }: ClockDeps): ClockActivities {
  /** Works through the inboxes before anything else moves; what could not be done keeps its account where it is. */
  async function drain(accounts: readonly string[], fail: (account: string, error: unknown) => void) {
    const drained = await withInbox(knex, accounts);
    for (const account of drained) {
      await drainInbox({ account }).catch((error: unknown) => fail(account, error));
      heartbeat();
    }
    return new Set(drained);
  }

  return {
    async advancePage({ clock: id, after }) {
      const clock = await findTestClock(knex, id);
      if (clock === null) throw new Error(`there is no test clock ${id}`);
      const target = clock.target.toISOString();
      const hands = await pendingHands(knex, { clock, after, limit: PAGE });
      const failing = new Map<string, string>();
      const fail = (account: string, error: unknown) =>
        failing.set(account, error instanceof Error ? error.message : String(error));

      const accounts = hands.map(({ account }) => account);
      const drained = await drain(accounts, fail);
      let stops = hands
        .filter(({ account }) => !failing.has(account))
        .map((hand) => firstStopOf(hand, { moved: drained.has(hand.account), clock }));
      const untilMs = Date.now() + STEP_MS;
      while (stops.length > 0 && Date.now() < untilMs) {
        const carried = await ledger.carry(stops);
        heartbeat();
        stops = carried.flatMap((one) => {
          if ('error' in one) fail(one.account, one.error);
          else if (isStuck(one, clock))
            fail(one.account, `a boundary is due though it was settled at ${target}`);
          else return stopAfter(one, clock);
          return [];
        });
      }

      const errors = [...failing].map(([account, error]) => ({ account, error }) satisfies FailingAccount);
      await recordFailing(knex, { id, seen: accounts, failing: errors });
      const last = hands.length < PAGE ? null : (accounts.at(-1) ?? null);
      return { after: last, failing: failing.size, target, ...(await clockProgress(knex, clock)) };
    },

    async endAdvance({ clock }) {
      return { ended: await endAdvance(knex, clock) };
    },
  };
}

type Arrived = Exclude<Advanced, { error: Error }>;

/** What came out of the inbox may have changed everything, so it is settled where it stands. */
function firstStopOf(hand: ClockHand, { moved, clock }: { moved: boolean; clock: TestClock }): Stop {
  const { account, clockAt } = hand;
  return { account, at: moved ? clockAt : firstStop(hand, clock.target.getTime()) };
}

function stopAfter({ account, nowMs, dueMs, settled }: Arrived, { target }: TestClock): Stop[] {
  if (!settled) return [{ account, at: new Date(nowMs).toISOString() }];
  const targetMs = target.getTime();
  return nowMs < targetMs ? [{ account, at: nextStop({ nowMs, dueMs, targetMs }) }] : [];
}

/** Nobody would ever get it past this point, and it must not look as if somebody were about to. */
function isStuck({ nowMs, dueMs, settled }: Arrived, { target }: TestClock): boolean {
  return settled && nowMs >= target.getTime() && dueMs <= target.getTime();
}
