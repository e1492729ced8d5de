import type { Pass } from '../db/connection/passes';
import type { OutlastedPlace } from '../db/support/overdueHolds';
import type { LeasePlace, OverduePlace, OwnedPlace } from '../db/support/overdue';
import type { ReportPlace } from '../db/generations/pipelineReports';
import type {
  CancelRequest,
  GenerationInput,
  GenerationStatus,
  Output,
  ProviderReport,
} from '../domain/contract';

export type { LeasePlace, OutlastedPlace, OverduePlace, OwnedPlace, ReportPlace };

/** What activities take and give: one object each, JSON, no amounts a workflow could act on. */

/** What a workflow must know of the work it pays for. Credits are for people to read. */
export interface Work {
  account: string;
  generation: string;
  holdId: string;
  action: string;
  model: string | null;
  params: Record<string, unknown>;
  input: unknown;
  /** How many outputs are ordered. */
  ordered: number;
  creditsHeld: number;
  /** What it costs if all goes as ordered, where that is less than what is held: a pipeline holds its ceiling. */
  creditsPlanned?: number;
  draws: { bucket: string; credits: number }[];
  provider: { type: string } & Record<string, unknown>;
  maxDurationSeconds: number;
  member: string | null;
}

export interface ReserveRequest {
  input: GenerationInput;
  workflowId: string;
  /** How long the run has been there when it asks, by the server's clock. */
  waitedMs: number;
}

export type Reserved =
  /** Decided for good. `work` is null when there is nothing (more) to do: free, refused, or ended before. */
  | {
      kind: 'answered';
      generation: string;
      answer: string;
      /** Absent from histories of binaries that did not say. */
      hash?: string;
      replayed: boolean;
      status: GenerationStatus | 'refused';
      work: Work | null;
    }
  /** Refused without using the key up. */
  | { kind: 'refused'; code: string; detail: string; path?: string }
  /** Nobody waits for the answer any more; nothing was written. */
  | { kind: 'too_late' };

export interface FailureReason {
  code: string;
  message: string;
}

/** Who is to blame for a release: decides whether expired credits are forfeited or live on (rule 14). */
type ReleaseCause = 'customer' | 'provider' | 'engine' | 'operator';

export interface CaptureRequest {
  work: Work;
  /** `final` closes the hold; a phase's capture leaves it open. */
  final: boolean;
  phase?: string;
  /** Millicredits; absent: the share of the price that delivered ÷ ordered says. */
  creditsMilli?: number;
  /** A phase that would exceed the hold takes what is left of it and is flagged (rule 15). */
  clamp?: boolean;
  outputs: Output[];
  providerCost?: { amount: number; currency: string };
  reportId?: string;
}

export interface ReleaseRequest {
  work: Work;
  cause: ReleaseCause;
  status: 'failed' | 'canceled';
  error: FailureReason;
  reportId?: string;
}

export interface Ended {
  status: GenerationStatus;
  error: FailureReason | null;
  /** Credits, for people to read. */
  captured: number;
  refunded: number;
  forfeited: number;
}

type CaptureReply =
  | { kind: 'applied'; ended: Ended }
  /** Nothing moved: the hold holds less than was asked for. */
  | { kind: 'exceeds_hold' }
  /** Nothing moved: this phase was captured before, with other figures. */
  | { kind: 'phase_captured' }
  /** Nothing moved: somebody closed the hold. An operations item says so. */
  | { kind: 'closed'; ended: Ended };

/** A step of provider work. */
export type WorkState =
  | { state: 'done'; outputs: Output[]; providerCost?: { amount: number; currency: string } }
  | { state: 'failed'; error: FailureReason }
  /** Ask again after `pollAfterMs`; give up when `giveUpAfterMs` have passed since the submission. */
  | { state: 'pending'; pollAfterMs: number; giveUpAfterMs?: number }
  /** The hold was closed meanwhile; nothing was submitted. */
  | { state: 'hold_closed' };

export interface LedgerActivities {
  reserve(request: ReserveRequest): Promise<Reserved>;
  captureGeneration(request: CaptureRequest): Promise<CaptureReply>;
  releaseGeneration(request: ReleaseRequest): Promise<Ended>;
  /**
   * Asks once more for a reservation that was not decided in time: a hold that was cut less than a minute ago is resumed,
   * an older one is given back (rule 8).
   */
  decideLate(request: ReserveRequest): Promise<Reserved>;
  /** What runs that began before `decideLate` do instead: gives back whatever was taken. */
  releaseUndecided(request: { input: GenerationInput; workflowId: string }): Promise<void>;
  /** How a generation stands, for a run that finds its hold closed. */
  endOf(request: { work: Work }): Promise<Ended>;
  /** Milliseconds until the pipeline's deadline, which its heartbeats move; at most 0 when it has passed. */
  untilDeadline(request: { work: Work }): Promise<number>;
  /** Reports that came in before the deadline and that nobody acted upon yet, oldest first. */
  pendingReports(request: { work: Work }): Promise<ProviderReport[]>;
  keepLateReport(request: {
    work: Pick<Work, 'account' | 'generation'>;
    report: ProviderReport;
  }): Promise<void>;
  /** Keeps what was sent as a report and is none; `said` is an excerpt of it. Moves nothing. */
  keepRejectedReport(request: {
    account: string;
    generation: string;
    problem: string;
    said: string;
  }): Promise<void>;
}

export interface ProviderActivities {
  submitWork(request: { work: Work }): Promise<WorkState>;
  pollWork(request: { work: Work }): Promise<WorkState>;
  cancelWork(request: { work: Work; by: CancelRequest['by'] | 'engine' }): Promise<void>;
}

/** A purchase, for people to read. */
export interface SeenPurchase {
  purchase: string;
  pack: string;
  quantity: number;
  credits: number;
  receivedAt: string;
  /** Null: it waits; `error` says why it could not be granted when it was last tried. */
  grantedAt: string | null;
  attempts: number;
  error: string | null;
}

export interface DrainedInbox {
  done: number;
  failed: number;
  /** Milliseconds until the next row is to be done, 0 when there are more now; null: the inbox is empty. */
  nextMs: number | null;
  /** Those that wait, then the newest, whoever granted them. Older workers do not say. */
  purchases?: SeenPurchase[];
}

export interface SettledAccount {
  /** Milliseconds until its next boundary, jitter included; null: nothing lies ahead. */
  sleepMs: number | null;
  quietMs: number;
  /** For people to read; older workers do not say. `nextAt`: the boundary itself. */
  plan?: string;
  nextAt?: string | null;
}

export interface AccountActivities {
  /** Works through a page of the account's inbox, oldest first. A row that fails does not hold up the others: it is put off. */
  drainInbox(request: { account: string }): Promise<DrainedInbox>;
  settleAccount(request: { account: string }): Promise<SettledAccount>;
}

/** How an advance of a test clock stands. */
export interface ClockStep {
  /** The page ended with this account; null: it was the last of this pass. */
  after: string | null;
  /** For this page. */
  failing: number;
  target: string;
  accounts: number;
  settled: number;
}

export interface ClockActivities {
  /** Carries a page of the clock's accounts towards its target, boundary by boundary, each as far as it comes. */
  advancePage(request: { clock: string; after: string | null }): Promise<ClockStep>;
  /** Makes the clock ready if no account on it has a boundary due. `ended`: nothing is left to do. */
  endAdvance(request: { clock: string }): Promise<{ ended: boolean }>;
}

/** A hold whose workflow is gone, as it was when that was found out. */
export interface Orphan {
  account: string;
  holdId: string;
  /** If it has moved since, somebody lives. */
  epoch: number;
  workflowId: string;
  namespaceId: string;
  ageMs: number;
  /** A person has declared its namespace lost, on record, and so has decided (rule 17). */
  declared?: boolean;
}

/** Holds whose owners stay unclear though they are old enough to be decided on, by namespace. */
export interface UnclearHolds {
  namespaceId: string;
  holds: number;
}

/** The sweep's own workflow: known to exist, wherever else we look (rule 17). */
export interface KnownRun {
  workflowId: string;
  runId: string;
}

/** Each looks at one page and says where the next begins; null: that was the last. */
export interface SweepActivities {
  settleOverdue(request: {
    after: OverduePlace | null;
  }): Promise<{ settled: number; failed: number; next: OverduePlace | null }>;
  /** Writes down leases that had ended long ago, by settling their accounts. */
  endLeases(request: {
    after: LeasePlace | null;
  }): Promise<{ settled: number; failed: number; next: LeasePlace | null }>;
  /** Does rows of inboxes, and rings their accounts. `failed` rows were put off; `problems`: accounts whose rows failed. */
  drainInboxes(request: {
    after: string | null;
  }): Promise<{ drained: number; failed: number; problems: string[]; next: string | null }>;
  /** The same by its older name, for passes that began under it. */
  ringUndrained(request: { after: string | null }): Promise<{ rung: number; next: string | null }>;
  /**
   * Acts on reports that whoever took them did not act upon, and tells workflows of those they were not told of. `failed`:
   * tried again by the next pass, and items until then.
   */
  driveReports(request: {
    after: ReportPlace | null;
  }): Promise<{ acted: number; told: number; failed: number; next: ReportPlace | null }>;
  /** Raises an item for every hold that takes too long (rule 12). The first page closes those whose holds are closed. */
  raiseOverdue(request: {
    after: OutlastedPlace | null;
  }): Promise<{ raised: number; next: OutlastedPlace | null }>;
  /**
   * Moves nothing. `unclear`: the server did not say what became of the workflow, so nothing may be concluded. `lostNamespace`
   * counts as declared lost for this pass.
   */
  findOrphans(request: { after: OwnedPlace | null; known: KnownRun; lostNamespace?: string }): Promise<{
    looked: number;
    overdue: number;
    unclear: number;
    /** Absent from pages that an older worker answered. */
    unclearIn?: UnclearHolds[];
    orphans: Orphan[];
    next: OwnedPlace | null;
  }>;
  /** Looks at each once more, and frees it if nothing has moved since. */
  freeHolds(request: {
    orphans: Orphan[];
    known: KnownRun;
    lostNamespace?: string;
  }): Promise<{ freed: number; alive: number }>;
  /** Raises or closes the item that says that a sweep stopped before it freed too many holds. `holds` are some of them. */
  reportStop(request: {
    stopped: { orphans: number; looked: number; holds: string[] } | null;
  }): Promise<void>;
  /**
   * Raises an item for each namespace whose holds have been unclear for an hour, `since` when; with `all`, those are all that
   * there are, and the items of others are closed.
   */
  reportUnclear(request: { unclear: (UnclearHolds & { since: string })[]; all: boolean }): Promise<void>;
  auditQuickly(request: {
    after: string | null;
  }): Promise<{ accounts: number; violations: number; next: string | null }>;
  /** Notes that a pass of this kind came to its end with nothing left out. */
  /** Rings test clocks that are to advance, whoever should have done so before. */
  ringClocks(): Promise<{ rung: number }>;
  /** Takes away what moved no credits and is a month old, a bounded number at once (rule 38). */
  forgetPassing(): Promise<{ quotes: number; answers: number; more: boolean }>;
  notePass(request: { pass: Pass }): Promise<void>;
}
