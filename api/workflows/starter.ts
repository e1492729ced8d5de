import {
  type Client,
  type Connection,
  WithStartWorkflowOperation,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import {
  ActivityFailure,
  ApplicationFailure,
  defineSearchAttributeKey,
  SearchAttributeType,
} from '@temporalio/common';
import { generationId } from '../../domain/ids';
import type { HoldOwners, OwnerClient } from '../../activities/temporal/holdOwners';
import { ProblemError } from '../problems/problem';
import { isTemporals } from '../problems/temporalError';
import {
  type CancelRequest,
  FAILURES,
  type GenerationInput,
  type GenerationResult,
  type ProviderReport,
  RESERVE_UPDATE_ID,
  type ReserveReply,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  UPDATES,
  WORKFLOWS,
} from '../../domain/contract';

/** The API's side of the generation workflow: start it and wait for its reservation, cancel it, report to it. */

/** The caller has an answer within this time, or a 503 that says when to come back (rule 8). */
const ANSWER_WITHIN_MS = 10_000;
const FAILURE_WITHIN_MS = 2_000;
/** To reach the workflow that owns a hold: whoever cancels or frees something waits no longer. */
const OWNER_WITHIN_MS = 3_000;

export type Started =
  | { kind: 'answered'; reply: ReserveReply }
  | { kind: 'refused'; code: string; detail: string; path?: string }
  | { kind: 'undecided' }
  /** startBreaker.ts */
  | { kind: 'not_started' };

export interface GenerationStarter {
  start(input: GenerationInput): Promise<Started>;
  /**
   * False if the workflow has ended, or its namespace is not there any more. Where Temporal cannot be asked within seconds, it
   * throws `unavailable`: the request may have arrived all the same.
   */
  cancel(generation: string, request: CancelRequest): Promise<boolean>;
  /** Tells the workflow of a report that the ledger has acted upon; one that has ended need not know. */
  tell(generation: string, report: ProviderReport): Promise<void>;
  /**
   * Whether the workflow with this id is running in the namespace with this id, by default our own; asked of the server
   * itself, not of its search index. Throws `unavailable` as `cancel` does.
   */
  isRunning(workflowId: string, namespaceId?: string | null): Promise<boolean>;
}

type WorkflowStory = (input: GenerationInput) => Promise<GenerationResult>;

export interface StarterDeps {
  client: Client;
  connection: Connection;
  taskQueue: string;
  owners: HoldOwners;
}

export function createGenerationStarter(deps: StarterDeps): GenerationStarter {
  const { client, connection, taskQueue, owners } = deps;

  async function start(input: GenerationInput): Promise<Started> {
    const workflowId = generationId(input.account, input.key);
    const { account, request } = input;
    const operation = new WithStartWorkflowOperation<WorkflowStory>(WORKFLOWS.generation, {
      workflowId,
      taskQueue,
      args: [input],
      workflowIdConflictPolicy: 'USE_EXISTING',
      // A key that was answered stays answered; one whose run failed undecided may be tried again.
      workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
      staticSummary: summary(input),
      priority: { fairnessKey: account.slice(0, 64) },
      typedSearchAttributes: [
        { key: keyword(SEARCH_ATTRIBUTES.account), value: account },
        { key: keyword(SEARCH_ATTRIBUTES.action), value: request.action },
        { key: keyword(SEARCH_ATTRIBUTES.status), value: 'running' },
      ],
    });
    try {
      const reply = await connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, () =>
        client.workflow.executeUpdateWithStart<WorkflowStory, ReserveReply, []>(UPDATES.reserve, {
          startWorkflowOperation: operation,
          updateId: RESERVE_UPDATE_ID,
        }),
      );
      return { kind: 'answered', reply };
    } catch (error) {
      if (isLate(error)) return { kind: 'undecided' };
      return whyNot(workflowId, error);
    }
  }

  /** The run ended without answering; its own failure says why. */
  async function whyNot(workflowId: string, cause: unknown): Promise<Started> {
    try {
      const handle = client.workflow.getHandle<WorkflowStory>(workflowId);
      await connection.withDeadline(Date.now() + FAILURE_WITHIN_MS, () => handle.result());
    } catch (error) {
      if (isLate(error)) return { kind: 'undecided' };
      const failed = error instanceof WorkflowFailedError ? error.cause : undefined;
      const failure = failed instanceof ActivityFailure ? failed.cause : failed;
      if (failure instanceof ApplicationFailure) {
        if (failure.type === FAILURES.undecided) return { kind: 'undecided' };
        const [refusal] = failure.details ?? [];
        if (isRefusal(refusal)) return refusal;
      }
    }
    // Whatever the server says instead (it refuses to close over a signal, and forgets the update), the key decides.
    if (isTemporals(cause)) return { kind: 'undecided' };
    throw cause;
  }

  /** What the owner of a hold answers; false where there is none any more. */
  async function asking(
    find: () => Promise<OwnerClient>,
    ask: (owner: Client) => Promise<boolean>,
  ): Promise<boolean> {
    let cause: unknown;
    try {
      const answer = await connection.withDeadline(Date.now() + OWNER_WITHIN_MS, async () => {
        const owner = await find();
        if (owner.kind === 'found') return ask(owner.client);
        return owner.kind === 'not_found' ? false : null;
      });
      if (answer !== null) return answer;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      if (!isTemporals(error)) throw error;
      cause = error;
    }
    const detail = 'Temporal cannot be reached.';
    throw new ProblemError('unavailable', { detail, begun: true, cause });
  }

  return {
    start,
    cancel: (generation, request) =>
      asking(
        () => owners.clientOf(generation),
        async ({ workflow }) => {
          await workflow.getHandle(generation).signal(SIGNALS.cancel, request);
          return true;
        },
      ),
    isRunning: (workflowId, namespaceId = null) =>
      asking(
        async () => (namespaceId === null ? { kind: 'found', client } : owners.clientIn(namespaceId)),
        async ({ workflow }) => (await workflow.getHandle(workflowId).describe()).status.name === 'RUNNING',
      ),
    async tell(generation, report) {
      await asking(
        () => owners.clientOf(generation),
        async ({ workflow }) => {
          await workflow.getHandle(generation).signal(SIGNALS.providerReport, report);
          return true;
        },
      );
    },
  };
}

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);

/** The server takes at most 200 bytes; names that callers choose may be longer. */
function summary({ account, request }: GenerationInput): string {
  return `${[request.action, request.model].filter(Boolean).join('/')} for ${account}`.slice(0, 60);
}

/** gRPC status: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE: asking again at once is of no use. */
const LATE_STATUS = new Set([1, 4, 8, 14]);

function isLate(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  return isTemporals(error, (code) => LATE_STATUS.has(code));
}

function isRefusal(value: unknown): value is Extract<Started, { kind: 'refused' }> {
  return value !== null && typeof value === 'object' && Reflect.get(value, 'kind') === 'refused';
}
