import {
  isCancellation,
  patched,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type {
  LeasePlace,
  Orphan,
  OutlastedPlace,
  OverduePlace,
  OwnedPlace,
  ReportPlace,
} from '../activities/types';
import { mayFree } from '../domain/generations/sweep';
import { SEARCH_ATTRIBUTES, type SweepInput } from '../domain/contract';
import { sweeping } from './common/proxies';
import { defined } from '../domain/defined';

/** What one pass did. Where it had to stop (`next`), the next one continues. */
export interface SweepReport {
  overdue: { settled: number; failed: number; next: OverduePlace | null };
  leases: { settled: number; failed: number; next: LeasePlace | null };
  /** Rows done, and rows that were put off. */
  inbox: { drained: number; failed: number; next: string | null };
  /** Reports acted upon, or told to their workflows, because nobody else had. */
  reports: { acted: number; told: number; failed: number; next: ReportPlace | null };
  /** Items raised for holds that take too long. */
  outlasted: { raised: number; next: OutlastedPlace | null };
  holds: {
    looked: number;
    /** They take longer than their rates and deadlines allow; their workflows run. */
    overdue: number;
    unclear: number;
    /** Namespaces of which holds are unclear, since when, and how many in this round through all holds so far. */
    unclearIn: Record<string, { holds: number; since: string }>;
    orphans: number;
    freed: number;
    /** Too many at once for a machine to decide (rule 17): an operations item says so. */
    stopped: boolean;
    next: OwnedPlace | null;
  };
  audit: { at: string | null; accounts: number; violations: number; next: string | null };
  /** What moved no credits and was taken away for its age (rule 38). */
  passing: { quotes: number; answers: number };
  /** Parts that failed. */
  failures: string[];
}

/** Bounds of one pass, in pages of their activities. */
const PAGES = {
  overdue: 20,
  leases: 20,
  inbox: 20,
  reports: 20,
  outlasted: 20,
  holds: 400,
  audit: 20,
  passing: 20,
} as const;
/** After this long a pass leaves the rest to the next one. The Schedule ends it after twice that. */
const PASS_MS = 15 * 60_000;
/** More than these are too many whatever the number of holds, so there is no need to know how many more. */
const MOST_ORPHANS = 2_000;
/** However many somebody lets it free: a history ends at 50 MB. */
const MOST_FREED = 20_000;
const FREED_AT_ONCE = 50;
/** Ids named in an item, and namespaces remembered. */
const NAMED = 20;
/** Earlier behaviour of passes: a pass that began under it continues with it. */
const PATCHES = {
  stopsAreTakenBack: 'stops-are-taken-back',
  inboxesAreDrained: 'inboxes-are-drained',
  passesAreNoted: 'passes-are-noted',
  reportsAreDriven: 'reports-are-driven',
  passingIsForgotten: 'passing-is-forgotten',
  clocksAreRung: 'clocks-are-rung',
} as const;
const AUDIT_EVERY_MS = 15 * 60_000;

/**
 * The backstop for everything that should have happened on its own: settles what is overdue, does what lies in
 * inboxes, frees what nobody owns, and audits what moved. A part that fails keeps none of the others from happening.
 */
export async function sweepWorkflow({ maxOrphans, lostNamespace }: SweepInput): Promise<SweepReport> {
  const { lastResult, workflowId, runId } = workflowInfo();
  const notes = patched(PATCHES.passesAreNoted);
  const startedMs = Date.now();
  // The Schedule hands over what the last pass returned, which may have been of an older version.
  const last = lastResult as { [P in keyof SweepReport]?: Partial<SweepReport[P]> } | undefined;
  const whom = { known: { workflowId, runId }, ...defined({ lostNamespace }) };
  const report: SweepReport = {
    overdue: { settled: 0, failed: 0, next: null },
    leases: { settled: 0, failed: 0, next: null },
    inbox: { drained: 0, failed: 0, next: null },
    reports: { acted: 0, told: 0, failed: 0, next: null },
    outlasted: { raised: 0, next: null },
    holds: {
      looked: 0,
      overdue: 0,
      unclear: 0,
      unclearIn: {},
      orphans: 0,
      freed: 0,
      stopped: last?.holds?.stopped ?? false,
      next: null,
    },
    audit: { at: last?.audit?.at ?? null, accounts: 0, violations: 0, next: last?.audit?.next ?? null },
    passing: { quotes: 0, answers: 0 },
    failures: [],
  };
  const { overdue, leases, inbox, reports, outlasted, holds, audit, passing, failures } = report;

  await part('overdue accounts', async () => {
    overdue.next = await inPages(last?.overdue?.next ?? null, PAGES.overdue, async (after) => {
      const page = await sweeping.settleOverdue({ after });
      overdue.settled += page.settled;
      overdue.failed += page.failed;
      return page.next;
    });
  });
  await newPart('leases', async () => {
    leases.next = await inPages(last?.leases?.next ?? null, PAGES.leases, async (after) => {
      const page = await sweeping.endLeases({ after });
      leases.settled += page.settled;
      leases.failed += page.failed;
      return page.next;
    });
  });
  await part('inboxes', async () => {
    inbox.next = await inPages(last?.inbox?.next ?? null, PAGES.inbox, async (after) => {
      if (!patched(PATCHES.inboxesAreDrained)) return (await sweeping.ringUndrained({ after })).next;
      const page = await sweeping.drainInboxes({ after });
      inbox.drained += page.drained;
      inbox.failed += page.failed;
      failures.push(...page.problems.map((problem) => `inbox of ${problem}`));
      return page.next;
    });
  });
  // Before a hold may be freed because its workflow is gone: what was delivered for it is paid.
  if (patched(PATCHES.reportsAreDriven)) {
    await part('reports', async () => {
      reports.next = await inPages(last?.reports?.next ?? null, PAGES.reports, async (after) => {
        const page = await sweeping.driveReports({ after });
        reports.acted += page.acted;
        reports.told += page.told;
        reports.failed += page.failed;
        return page.next;
      });
    });
  }
  await newPart('overdue holds', async () => {
    outlasted.next = await inPages(last?.outlasted?.next ?? null, PAGES.outlasted, async (after) => {
      const page = await sweeping.raiseOverdue({ after });
      outlasted.raised += page.raised;
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
    if (notes && audit.next === null) await sweeping.notePass({ pass: 'audit' });
  });
  if (patched(PATCHES.clocksAreRung)) {
    await part('test clocks', async () => {
      await sweeping.ringClocks();
    });
  }
  if (patched(PATCHES.passingIsForgotten)) {
    await part('what is passing', async () => {
      await inPages<true>(null, PAGES.passing, async () => {
        const page = await sweeping.forgetPassing();
        passing.quotes += page.quotes;
        passing.answers += page.answers;
        return page.more ? true : null;
      });
    });
  }
  if (failures.length === 0) await newPart('note of the pass', () => sweeping.notePass({ pass: 'sweep' }));
  tell(report);
  return report;

  /** All are looked at before the first is freed: only then is it known whether they are too many. */
  async function freeOrphans(): Promise<void> {
    const orphans: Orphan[] = [];
    const most = Math.max(MOST_ORPHANS, maxOrphans ?? 0);
    const enough = notes ? Math.min(most, MOST_FREED) : most;
    const from = last?.holds?.next ?? null;
    const unclear = new Map(
      Object.entries(last?.holds?.unclearIn ?? {}).map(([namespaceId, known]) => {
        return [namespaceId, from === null ? { ...known, holds: 0 } : known];
      }),
    );
    const now = new Date().toISOString();
    holds.next = await inPages(from, PAGES.holds, async (after) => {
      const page = await sweeping.findOrphans({ after, ...whom });
      holds.looked += page.looked;
      holds.overdue += page.overdue;
      holds.unclear += page.unclear;
      for (const { namespaceId, holds: more } of page.unclearIn ?? []) {
        const { since, holds: before } = unclear.get(namespaceId) ?? { since: now, holds: 0 };
        unclear.set(namespaceId, { since, holds: before + more });
      }
      orphans.push(...page.orphans);
      return orphans.length > enough ? null : page.next;
    });
    if (notes) await reportUnclear(unclear, { ended: holds.next === null && orphans.length <= enough });

    // What a person has declared lost is decided; how many the others are is what tells of a wrong namespace.
    const undecided = orphans.filter(({ declared }) => declared !== true);
    const decided = orphans.length - undecided.length;
    holds.orphans = orphans.length;
    holds.stopped = !mayFree({
      orphans: undecided.length,
      looked: holds.looked - decided,
      allowed: maxOrphans,
    });
    if (holds.stopped) {
      const named = undecided.slice(0, NAMED).map(({ holdId }) => holdId);
      const stopped = { orphans: undecided.length, looked: holds.looked, holds: named };
      await sweeping.reportStop({ stopped });
    }
    const free = holds.stopped ? orphans.filter(({ declared }) => declared === true) : orphans;
    for (let start = 0; start < free.length && !isLate(); start += FREED_AT_ONCE) {
      const { freed } = await sweeping.freeHolds({
        orphans: free.slice(start, start + FREED_AT_ONCE),
        ...whom,
      });
      holds.freed += freed;
    }
    if (holds.stopped) return;
    // The item may be from a much earlier pass: if this part failed in the last one, its report does not say.
    if (patched(PATCHES.stopsAreTakenBack) || last?.holds?.stopped === true || maxOrphans !== undefined)
      await sweeping.reportStop({ stopped: null });
  }

  /** `ended`: the round is through all holds, so namespaces without an unclear one are unclear no more. */
  async function reportUnclear(
    seen: ReadonlyMap<string, { holds: number; since: string }>,
    { ended }: { ended: boolean },
  ): Promise<void> {
    const still = [...seen].filter(([, known]) => known.holds > 0);
    holds.unclearIn = Object.fromEntries(ended ? still : seen);
    const unclear = still.slice(0, NAMED).map(([namespaceId, known]) => ({ namespaceId, ...known }));
    await sweeping.reportUnclear({ unclear, all: ended && still.length <= NAMED });
  }

  /** A part that is skipped by passes that began under older code. */
  async function newPart(name: string, work: () => Promise<void>): Promise<void> {
    if (notes) await part(name, work);
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

  /** Page after page from where the last pass stopped; where this one had to stop, or null: it came to the end. */
  async function inPages<P>(
    from: P | null,
    pages: number,
    work: (after: P | null) => Promise<P | null>,
  ): Promise<P | null> {
    let after = await work(from); // also in a pass that is late: no part waits for ever
    for (let done = 1; after !== null && done < pages && !isLate(); done += 1) after = await work(after);
    return after;
  }

  function isLate(): boolean {
    return notes && Date.now() - startedMs > PASS_MS;
  }
}

/** `HoldfastStatus = 'alert'` finds the passes that a person should look at. */
function tell({
  overdue,
  leases,
  inbox,
  reports,
  outlasted,
  holds,
  audit,
  passing,
  failures,
}: SweepReport): void {
  const rows = [
    ['overdue accounts settled', `${overdue.settled}, failed ${overdue.failed}`],
    ['accounts with leases over settled', `${leases.settled}, failed ${leases.failed}`],
    ['rows of inboxes done', `${inbox.drained}, failed ${inbox.failed}`],
    ['reports acted upon', `${reports.acted}, told ${reports.told}, failed ${reports.failed}`],
    ['open holds looked at', `${holds.looked}, overdue ${holds.overdue}, new items ${outlasted.raised}`],
    ['holds without a workflow', `${holds.orphans}, freed ${holds.freed}, unclear ${holds.unclear}`],
    ['accounts audited', `${audit.accounts}, violations ${audit.violations}`],
    ['quotes forgotten', `${passing.quotes}, kept answers ${passing.answers}`],
  ];
  const table = ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)];
  const why = [
    ...(holds.stopped
      ? ['**Nothing was freed: these are too many at once.** Is this the right namespace?']
      : []),
    ...failures.map((failure) => `Failed: ${failure}`),
  ];
  setCurrentDetails([...table, '', ...why].join('\n'));
  const failed = overdue.failed + leases.failed + inbox.failed + reports.failed;
  if (why.length === 0 && failed === 0 && audit.violations === 0) return;
  const status = defineSearchAttributeKey(SEARCH_ATTRIBUTES.status, SearchAttributeType.KEYWORD);
  upsertSearchAttributes([{ key: status, value: 'alert' }]);
}
