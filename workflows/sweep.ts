import {
  isCancellation,
  patched,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { HoldPlace, Orphan, OverduePlace } from '../activities/types';
import { mayFree } from '../domain/sweep';
import { SEARCH_ATTRIBUTES, type SweepInput } from './contract';
import { sweeping } from './proxies';

/** What one pass did. Where it had to stop (`next`), the next one goes on. */
export interface SweepReport {
  overdue: { settled: number; failed: number; next: OverduePlace | null };
  /** Rows done, and rows that were put off. */
  inbox: { drained: number; failed: number; next: string | null };
  holds: {
    looked: number;
    /** They take longer than their rates allow; their workflows run. */
    overdue: number;
    unclear: number;
    orphans: number;
    freed: number;
    /** Too many at once for a machine to decide (rule 17): an operations item says so. */
    stopped: boolean;
    next: HoldPlace | null;
  };
  audit: { at: string | null; accounts: number; violations: number; next: string | null };
  /** Parts that did not come about. */
  failures: string[];
}

/** Bounds of one pass, in pages of their activities. */
const PAGES = { overdue: 20, inbox: 20, holds: 400, audit: 20 } as const;
/** More than these are too many whatever the number of holds, so there is no need to know how many more. */
const MOST_ORPHANS = 2_000;
const FREED_AT_ONCE = 50;
/** What passes did otherwise before; those that began then go on as they did. */
const PATCHES = {
  stopsAreTakenBack: 'stops-are-taken-back',
  inboxesAreDrained: 'inboxes-are-drained',
} as const;
const AUDIT_EVERY_MS = 15 * 60_000;

/**
 * The backstop for everything that should have happened by itself: settles what is overdue, does what lies in
 * inboxes, frees what nobody owns, and audits what moved. A part that fails keeps none of the others from happening.
 */
export async function sweepWorkflow({ maxOrphans }: SweepInput): Promise<SweepReport> {
  const { lastResult, workflowId, runId } = workflowInfo();
  const last = lastResult as SweepReport | undefined; // the Schedule hands over what the last pass returned
  const known = { workflowId, runId };
  const report: SweepReport = {
    overdue: { settled: 0, failed: 0, next: null },
    inbox: { drained: 0, failed: 0, next: null },
    holds: {
      looked: 0,
      overdue: 0,
      unclear: 0,
      orphans: 0,
      freed: 0,
      stopped: last?.holds.stopped ?? false,
      next: null,
    },
    audit: { at: last?.audit.at ?? null, accounts: 0, violations: 0, next: last?.audit.next ?? null },
    failures: [],
  };
  const { overdue, inbox, holds, audit, failures } = report;

  await part('overdue accounts', async () => {
    overdue.next = await inPages(last?.overdue.next ?? null, PAGES.overdue, async (after) => {
      const page = await sweeping.settleOverdue({ after });
      overdue.settled += page.settled;
      overdue.failed += page.failed;
      return page.next;
    });
  });
  await part('inboxes', async () => {
    inbox.next = await inPages(last?.inbox.next ?? null, PAGES.inbox, async (after) => {
      if (!patched(PATCHES.inboxesAreDrained)) return (await sweeping.ringUndrained({ after })).next;
      const page = await sweeping.drainInboxes({ after });
      inbox.drained += page.drained;
      inbox.failed += page.failed;
      failures.push(...page.problems.map((problem) => `inbox of ${problem}`));
      return page.next;
    });
  });
  await part('holds', freeOrphans);
  await part('audit', async () => {
    const due = audit.at === null || Date.now() - Date.parse(audit.at) >= AUDIT_EVERY_MS;
    if (!due && audit.next === null) return;
    audit.at = new Date().toISOString();
    audit.next = await inPages(audit.next, PAGES.audit, async (after) => {
      const page = await sweeping.auditQuickly({ after });
      audit.accounts += page.accounts;
      audit.violations += page.violations;
      return page.next;
    });
  });
  tell(report);
  return report;

  /** All are looked at before the first is freed: only then is it known whether they are too many. */
  async function freeOrphans(): Promise<void> {
    const orphans: Orphan[] = [];
    const enough = Math.max(MOST_ORPHANS, maxOrphans ?? 0);
    holds.next = await inPages(last?.holds.next ?? null, PAGES.holds, async (after) => {
      const page = await sweeping.findOrphans({ after, known });
      holds.looked += page.looked;
      holds.overdue += page.overdue;
      holds.unclear += page.unclear;
      orphans.push(...page.orphans);
      return orphans.length > enough ? null : page.next;
    });
    holds.orphans = orphans.length;
    holds.stopped = !mayFree({ orphans: orphans.length, looked: holds.looked, allowed: maxOrphans });
    if (holds.stopped) {
      await sweeping.reportStop({ stopped: { orphans, looked: holds.looked } });
      return;
    }
    for (let start = 0; start < orphans.length; start += FREED_AT_ONCE) {
      const { freed } = await sweeping.freeHolds({
        orphans: orphans.slice(start, start + FREED_AT_ONCE),
        known,
      });
      holds.freed += freed;
    }
    // The item may be of a pass long ago: the last one's report does not say, where its part failed.
    if (patched(PATCHES.stopsAreTakenBack) || last?.holds.stopped === true || maxOrphans !== undefined)
      await sweeping.reportStop({ stopped: null });
  }

  async function part(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isCancellation(error)) throw error;
      const cause = error instanceof Error ? (error.cause ?? error) : error;
      failures.push(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
}

/** Page after page from where the last pass stopped; where this one had to stop, or null: it came to the end. */
async function inPages<P>(
  from: P | null,
  pages: number,
  work: (after: P | null) => Promise<P | null>,
): Promise<P | null> {
  let after = from;
  for (let done = 0; done < pages; done += 1) {
    after = await work(after);
    if (after === null) return null;
  }
  return after;
}

/** `HoldfastStatus = 'alert'` finds the passes that a person should look at. */
function tell({ overdue, inbox, holds, audit, failures }: SweepReport): void {
  const rows = [
    ['overdue accounts settled', `${overdue.settled}, failed ${overdue.failed}`],
    ['rows of inboxes done', `${inbox.drained}, failed ${inbox.failed}`],
    ['open holds looked at', `${holds.looked}, longer than their rate allows ${holds.overdue}`],
    ['holds without a workflow', `${holds.orphans}, freed ${holds.freed}, unclear ${holds.unclear}`],
    ['accounts audited', `${audit.accounts}, violations ${audit.violations}`],
  ];
  const table = ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)];
  const why = [
    ...(holds.stopped
      ? ['**Nothing was freed: these are too many at once.** Is this the right namespace?']
      : []),
    ...failures.map((failure) => `Did not come about: ${failure}`),
  ];
  setCurrentDetails([...table, '', ...why].join('\n'));
  if (why.length === 0 && overdue.failed === 0 && inbox.failed === 0 && audit.violations === 0) return;
  const status = defineSearchAttributeKey(SEARCH_ATTRIBUTES.status, SearchAttributeType.KEYWORD);
  upsertSearchAttributes([{ key: status, value: 'alert' }]);
}
