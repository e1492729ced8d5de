import type { Client } from '@temporalio/client';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { runQuickAudit } from '../db/audit/quick';
import { databaseNowMs } from '../db/connection/databaseClock';
import { namespaceOfHold } from '../db/generations/holds';
import { createInboxWork, type Drained } from '../db/generations/inboxWork';
import type { Ledger } from '../db/ledger/ledger';
import { type ItemKey, raiseItem, resolveItem } from '../db/support/items';
import { freeHold, lostAmong } from '../db/generations/lostNamespaces';
import { raiseOverdueHolds, resolveEndedHolds } from '../db/support/overdueHolds';
import { notePass } from '../db/connection/passes';
import { forgetPassing } from '../db/idempotency/passing';
import { overdueAccounts, overLeases, ownedHolds, undrainedAccounts } from '../db/support/overdue';
import { advancingClocks } from '../db/accounts/testClocks';
import { raiseUnclear, resolveUnclear } from '../db/support/unclearHolds';
import { raiseWaitingPurchases } from '../db/support/waitingPurchases';
import { toMs } from '../domain/account';
import { createHoldOwners } from './temporal/holdOwners';
import { createOwners, type OwnersDeps } from './owners';
import { createReportDriver } from './reportDriver';
import type { KnownRun, SweepActivities, UnclearHolds } from './types';

/** The parts of a sweep, a page at a time. All of it may be done twice, and by two at once. */

export interface SweepDeps {
  ledger: Ledger;
  knex: Knex;
  pool: Pool;
  client: Client;
  /** Wakes an account's workflow, and waits until the signal is sent. */
  ringNow: (account: string) => Promise<void>;
  /** Starts a test clock's workflow, or has the one that runs look again. */
  ringClockNow: (clock: string) => Promise<void>;
  ages: SweepAges;
}

/** How long others have time before a sweep takes notice. */
export interface SweepAges extends Pick<OwnersDeps, 'closedForMs' | 'unknownFromMs'> {
  /** Beyond an account's boundary. Timers have their jitter first. */
  overdueMs: number;
  /** Since a row of an inbox could have been done. */
  undrainedMs: number;
  /** Since a report was taken. */
  unseenMs: number;
}

const MINUTE_MS = 60_000;

export function sweepAges({ jitterMs }: { jitterMs: number }): SweepAges {
  return {
    overdueMs: jitterMs + MINUTE_MS,
    undrainedMs: MINUTE_MS,
    unseenMs: MINUTE_MS,
    closedForMs: 15 * MINUTE_MS,
    unknownFromMs: 60 * MINUTE_MS,
  };
}

const ACCOUNTS_PAGE = 100;
const LEASES_PAGE = 100;
const HOLDS_PAGE = 250;
const REPORTS_PAGE = 100;
/** Accounts whose inboxes are worked through, and a bounded number of rows of each, for a bounded time: the next pass takes what is left. */
const INBOXES_PAGE = 50;
const INBOX_ROWS = 20;
const INBOX_WITHIN_MS = 3_000;
/** Items raised at once, and accounts of a page that are named because they could not be settled. */
const WAITING_PAGE = 250;
const PROBLEMS_NAMED = 3;
/** Test clocks that are rung in a pass: an advance is a developer's. */
const CLOCKS = 100;
/** Quotes, and kept answers, that are taken away at once. */
const PASSING_PAGE = 5_000;
/** The quick audit's own batches. */
const AUDIT_BATCHES = 2;
/** Accounts settled, and workflows asked for, at one time. Those who pay go first, so it is few. */
const AT_ONCE = 4;
/** Ids named in an item. */
const NAMED = 20;

const STOPPED: ItemKey = { account: null, kind: 'sweep_stopped', subject: 'holds' };
const GO_ON =
  'Make sure that Temporal is the right one and has not been restored from a backup. If these workflows really are gone, ' +
  'start a pass by hand that may free as many: `temporal workflow start --type sweepWorkflow --input \'{"maxOrphans":…}\'`.';

export function createSweepActivities({
  ledger,
  knex,
  pool,
  client,
  ringNow,
  ringClockNow,
  ages,
}: SweepDeps): SweepActivities {
  const inbox = createInboxWork({ ledger, knex });
  const holdOwners = createHoldOwners({
    client,
    namespaceOf: (generation) => namespaceOfHold(knex, generation),
  });
  const reports = createReportDriver({
    ledger,
    knex,
    client,
    owners: holdOwners,
    graceMs: ages.unseenMs,
    limit: REPORTS_PAGE,
  });

  async function settle(account: string): Promise<boolean> {
    const item: ItemKey = { account, kind: 'settlement_failing', subject: 'settle' };
    try {
      const settled = await ledger.settle(account, { touch: false });
      // What lies ahead of it has a timer again.
      if (settled !== null && toMs(settled.wakeAt) < Number.POSITIVE_INFINITY) await ringNow(account);
      await resolveItem(knex, item);
      return true;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await raiseItem(knex, { ...item, detail: { error: message } });
      return false;
    }
  }

  /** Its workflow is rung all the same, so that it shows what was done, and tries again what was put off. */
  async function drain(account: string): Promise<Drained & { problem: string | null }> {
    let drained: Drained = { done: 0, failed: 0 };
    try {
      drained = await inbox.drain({ account, limit: INBOX_ROWS, withinMs: INBOX_WITHIN_MS });
      await ringNow(account);
      return { ...drained, problem: null };
    } catch (error) {
      // The next pass does it again; this one continues with the other accounts, and says so.
      return { ...drained, problem: `${account}: ${error instanceof Error ? error.message : String(error)}` };
    }
  }

  async function drainInboxes({ after }: { after: string | null }) {
    const found = await undrainedAccounts(knex, { graceMs: ages.undrainedMs, after, limit: INBOXES_PAGE });
    const seen = await fewAtOnce(found, drain);
    // Not only of this page: what was tried a moment ago waits, too.
    if (after === null) await raiseWaitingPurchases(knex, { ageMs: ages.undrainedMs, limit: WAITING_PAGE });
    return {
      drained: seen.reduce((sum, { done }) => sum + done, 0),
      failed: seen.reduce((sum, { failed }) => sum + failed, 0),
      problems: seen.flatMap(({ problem }) => problem ?? []).slice(0, PROBLEMS_NAMED),
      next: nextAfter(found, INBOXES_PAGE),
    };
  }

  /** Whom to ask about the owners of a page of holds, and which namespaces are on record as lost. */
  async function asking(
    holds: readonly { namespaceId: string }[],
    { known, lostNamespace }: { known: KnownRun; lostNamespace?: string },
  ) {
    const declared = await lostAmong(knex, [...new Set(holds.map(({ namespaceId }) => namespaceId))]);
    const lost = lostNamespace === undefined ? declared : new Set([...declared, lostNamespace]);
    const owners = createOwners({ client, ...ages }, { known, nowMs: await databaseNowMs(pool), lost });
    return { owners, declared };
  }

  return {
    async settleOverdue({ after }) {
      const found = await overdueAccounts(knex, { graceMs: ages.overdueMs, after, limit: ACCOUNTS_PAGE });
      const settled = await fewAtOnce(
        found.map(({ account }) => account),
        settle,
      );
      return { ...tally(settled), next: nextAfter(found, ACCOUNTS_PAGE) };
    },

    async endLeases({ after }) {
      const found = await overLeases(knex, { graceMs: ages.overdueMs, after, limit: LEASES_PAGE });
      const accounts = new Set(found.filter(({ due }) => due).map(({ account }) => account));
      const settled = await fewAtOnce([...accounts], settle);
      const last = nextAfter(found, LEASES_PAGE);
      const next = last && { expiresAt: last.expiresAt, account: last.account, holdId: last.holdId };
      return { ...tally(settled), next };
    },

    ...reports,
    drainInboxes,
    async ringUndrained(request) {
      const { drained, failed, next } = await drainInboxes(request);
      return { rung: drained + failed, next };
    },

    async raiseOverdue({ after }) {
      if (after === null) await resolveEndedHolds(knex);
      return raiseOverdueHolds(knex, { after, limit: HOLDS_PAGE });
    },

    async findOrphans({ after, ...whom }) {
      const found = await ownedHolds(knex, { after, limit: HOLDS_PAGE });
      const { owners, declared } = await asking(found, whom);
      // A workflow cannot have closed that long ago before there was a hold.
      const old = found.filter(({ ageMs }) => ageMs >= Math.min(ages.closedForMs, ages.unknownFromMs));
      const judged = await fewAtOnce(old, async (hold) => ({ hold, verdict: await owners.verdictOn(hold) }));
      const orphans = judged
        .filter(({ verdict }) => verdict === 'gone' || verdict === 'lost')
        .map(({ hold, verdict }) => {
          const { account, holdId, epoch, workflowId, namespaceId, ageMs } = hold;
          const orphan = { account, holdId, epoch, workflowId, namespaceId, ageMs };
          return verdict === 'lost' && declared.has(namespaceId) ? { ...orphan, declared: true } : orphan;
        });
      const unclear = judged.filter(({ verdict }) => verdict === 'unclear').map(({ hold }) => hold);
      const last = nextAfter(found, HOLDS_PAGE);
      return {
        looked: found.length,
        overdue: found.filter(({ overdue }) => overdue).length,
        unclear: unclear.length,
        unclearIn: byNamespace(unclear.filter(({ ageMs }) => ageMs >= ages.unknownFromMs)),
        orphans,
        next: last && { namespaceId: last.namespaceId, account: last.account, holdId: last.holdId },
      };
    },

    async freeHolds({ orphans, ...whom }) {
      const { owners } = await asking(orphans, whom);
      const freed = await fewAtOnce(orphans, async (hold) => {
        // Others were looked at since; somebody may have started the workflow again meanwhile.
        const verdict = await owners.verdictOn(hold);
        return (verdict === 'gone' || verdict === 'lost') && freeHold(ledger, { hold, actor: 'sweep' });
      });
      const count = freed.filter(Boolean).length;
      return { freed: count, alive: freed.length - count };
    },

    async reportStop({ stopped }) {
      if (stopped === null) await resolveItem(knex, STOPPED);
      else await raiseItem(knex, { ...STOPPED, detail: { ...stopped, wayOut: GO_ON } });
    },

    async reportUnclear({ unclear, all }) {
      const nowMs = await databaseNowMs(pool);
      for (const one of unclear)
        if (nowMs - Date.parse(one.since) >= ages.unknownFromMs) await raiseUnclear(knex, one);
      if (all) await resolveUnclear(knex, { except: unclear.map(({ namespaceId }) => namespaceId) });
    },

    async ringClocks() {
      const clocks = await advancingClocks(knex, CLOCKS);
      await fewAtOnce(clocks, ringClockNow);
      return { rung: clocks.length };
    },

    forgetPassing: () => forgetPassing(knex, PASSING_PAGE),

    notePass: ({ pass }) => notePass(knex, pass),

    async auditQuickly({ after }) {
      const report = await runQuickAudit(pool, {
        batches: AUDIT_BATCHES,
        ...(after === null ? {} : { after }),
      });
      const broken = report.checks.filter(({ violations }) => violations > 0);
      for (const { id, title, accounts, sample } of broken) {
        for (const account of accounts.slice(0, NAMED)) {
          const rows = sample.filter((row) => row['account_id'] === account);
          await raiseItem(knex, { account, kind: 'audit_violation', subject: id, detail: { title, rows } });
        }
      }
      const violations = broken.reduce((sum, check) => sum + check.violations, 0);
      return { accounts: report.accounts, violations, next: report.next };
    },
  };
}

function tally(settled: readonly boolean[]): { settled: number; failed: number } {
  const failed = settled.filter((well) => !well).length;
  return { settled: settled.length - failed, failed };
}

function byNamespace(holds: readonly { namespaceId: string }[]): UnclearHolds[] {
  const counts = new Map<string, number>();
  for (const { namespaceId } of holds) counts.set(namespaceId, (counts.get(namespaceId) ?? 0) + 1);
  return [...counts].map(([namespaceId, count]) => ({ namespaceId, holds: count }));
}

/** Where the next page begins, if this one was full. */
function nextAfter<T>(rows: readonly T[], limit: number): T | null {
  return rows.length < limit ? null : (rows.at(-1) ?? null);
}

async function fewAtOnce<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(start, start + AT_ONCE).map(work))));
  }
  return results;
}
