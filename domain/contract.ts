/**
 * The public contract with Temporal: names, inputs, results. No runtime beyond constants, so anyone may
 * import it (pipelines in other languages read docs/temporal.md, which says the same).
 */

/** Workflows and ledger activities, unless HOLDFAST_TASK_QUEUE says otherwise. */
export const MAIN_TASK_QUEUE = 'holdfast';

/** Every provider has a queue of its own beside the main one, so that its rate limit is its own. */
export function providerTaskQueue(mainQueue: string, provider: string): string {
  return `${mainQueue}-${provider}`;
}

/**
 * Accounts have one too, for their workflows as well as their activities, and the sweep with them: a flood of midnights
 * queues there and holds up no reservation. For this queue itself it is the same queue.
 */
export function accountTaskQueue(mainQueue: string): string {
  const suffix = '-accounts';
  return mainQueue.endsWith(suffix) ? mainQueue : `${mainQueue}${suffix}`;
}

/** For account workflows and so of their activities: behind everything else that waits in a queue. */
export const ACCOUNT_PRIORITY = { priorityKey: 5 } as const;

/** The Schedule that sweeps. */
export function sweepScheduleId(mainQueue: string): string {
  return `${mainQueue}-sweep`;
}

export const WORKFLOWS = {
  generation: 'generationWorkflow',
  account: 'accountWorkflow',
  clock: 'clockWorkflow',
  sweep: 'sweepWorkflow',
} as const;

export const UPDATES = { reserve: 'reserve', report: 'report' } as const;
export const SIGNALS = { cancel: 'cancel', providerReport: 'providerReport', ring: 'ring' } as const;

/** The constant update id: one reservation per workflow, however often it is asked for. */
export const RESERVE_UPDATE_ID = 'reserve';

export const FAILURES = {
  /** The database could not decide within 8 seconds; what may have been held is given back; the same key may be tried again. */
  undecided: 'HoldfastUndecided',
  /** Refused in a way that does not use the key up; `details[0]` is the refusal. */
  refused: 'HoldfastRefused',
  /** The workflow's input is wrong (its id does not match account and key, its shape is bad). */
  invalid: 'HoldfastInvalidInput',
} as const;

export const SEARCH_ATTRIBUTES = {
  account: 'HoldfastAccount',
  action: 'HoldfastAction',
  model: 'HoldfastModel',
  provider: 'HoldfastProvider',
  status: 'HoldfastStatus',
} as const;

export type ProviderChoice =
  | { type: 'simulated'; delayMs?: number; fail?: 'error' | 'timeout' | 'crash-once'; deliver?: number }
  | { type: 'external'; deadlineSeconds: number };

/** What the caller asked for: exactly the body of `POST /v1/generations`, without `account`. */
export interface GenerationRequest {
  action: string;
  model?: string;
  params?: Record<string, unknown>;
  input?: unknown;
  member?: string;
  project?: string;
  feature?: string;
  parent?: string;
  quote?: string;
  confirm?: boolean;
  metadata?: Record<string, unknown>;
  provider?: ProviderChoice;
}

export interface GenerationInput {
  account: string;
  /** The caller's idempotency key; the workflow's id must be `gen_<account>.<sha256(key)[0..32]>`. */
  key: string;
  request: GenerationRequest;
  /** When the API received the request (RFC 3339, on the database's clock). It counts where it is before the workflow's own start. */
  receivedAt?: string;
  /** Whether the caller may choose a provider though the catalog does not allow it (an admin key). */
  mayChooseProvider?: boolean;
  /** The ledger was asked just before, and had no answer to this key: what comes too late for a hold may then end at once. */
  keyIsNew?: boolean;
  /** Set by the workflow itself when it continues in a new run, because its history grew long. Leave it out. */
  continued?: Continued;
}

export interface Continued {
  /** When the work began (RFC 3339): what it may take in all counts from there. */
  workBeganAt: string;
}

export interface Output {
  index: number;
  status: 'succeeded' | 'failed';
  url?: string;
  error?: { code: string; message: string };
}

export type GenerationStatus = 'running' | 'succeeded' | 'partial' | 'failed' | 'canceled';

export interface GenerationResult {
  generation: string;
  status: GenerationStatus | 'refused';
  error?: { code: string; message: string };
}

/** What the `reserve` update answers: the stored answer as text, which api/resources/generations/keptAnswer.ts renders. */
export interface ReserveReply {
  answer: string;
  replayed: boolean;
  /** The hash of the request that was answered. Absent from runs of binaries that did not say. */
  hash?: string;
  /** That request's own `receivedAt`: who finds another one here has joined a run that was there before. */
  receivedAt?: string;
}

export interface CancelRequest {
  by: 'customer' | 'operator';
  reason?: string;
}

/** What a pipeline or a provider says of its work. `id` makes the same report the same report. */
export type ProviderReport =
  | {
      kind: 'complete';
      id: string;
      outputs: { url?: string }[];
      /** Millicredits to capture for this report; absent: the delivered share of the price. */
      creditsMilli?: number;
      final: boolean;
      phase?: string;
      providerCost?: { amount: number; currency: string };
    }
  | { kind: 'fail'; id: string; code: string; message: string };

export type ReportReply =
  | { ok: true }
  | { ok: false; code: 'generation_ended' | 'exceeds_hold' | 'phase_captured' };

export interface AccountInput {
  account: string;
}

export interface ClockInput {
  clock: string;
  /** Where a run before this one left off: after this account, and how many passes in a row some failed. */
  after?: string | null;
  failedPasses?: number;
}

export interface SweepInput {
  /** What an operator who has looked at them lets it free in one pass, beyond what it frees on its own (rule 17). */
  maxOrphans?: number;
  /** The id of a namespace that counts as declared lost in this pass, where the server does not know it. */
  lostNamespace?: string;
}
