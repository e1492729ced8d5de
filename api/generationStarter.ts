import {
  type Client,
  type Connection,
  isGrpcServiceError,
  WithStartWorkflowOperation,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import {
  ActivityFailure,
  ApplicationFailure,
  defineSearchAttributeKey,
  SearchAttributeType,
} from '@temporalio/common';
import { generationId } from '../domain/ids';
import {
  type CancelRequest,
  FAILURES,
  type GenerationInput,
  type GenerationResult,
  type ProviderReport,
  type ReportReply,
  RESERVE_UPDATE_ID,
  type ReserveReply,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  UPDATES,
  WORKFLOWS,
} from '../workflows/contract';

/** The API's side of the generation workflow: start it and wait for its reservation, cancel it, report to it. */

/** The caller has an answer within this time, or a 503 that says when to come back (rule 8). */
const ANSWER_WITHIN_MS = 10_000;
const FAILURE_WITHIN_MS = 2_000;

export type Started =
  | { kind: 'answered'; reply: ReserveReply }
  | { kind: 'refused'; code: string; detail: string; path?: string }
  | { kind: 'undecided' };

export type Reported = ReportReply | { ok: false; code: 'not_running' | 'undecided' };

export interface GenerationStarter {
  start(input: GenerationInput): Promise<Started>;
  /** False if the workflow has ended. */
  cancel(generation: string, request: CancelRequest): Promise<boolean>;
  report(generation: string, report: ProviderReport): Promise<Reported>;
  /** Whether the workflow with this id is running; asked of the server itself, not of its search index. */
  isRunning(workflowId: string): Promise<boolean>;
}

type WorkflowStory = (input: GenerationInput) => Promise<GenerationResult>;

export interface StarterDeps {
  client: Client;
  connection: Connection;
  taskQueue: string;
}

export function createGenerationStarter({ client, connection, taskQueue }: StarterDeps): GenerationStarter {
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
    throw cause;
  }

  return {
    start,
    async cancel(generation, request) {
      try {
        await client.workflow.getHandle(generation).signal(SIGNALS.cancel, request);
        return true;
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      }
    },
    async isRunning(workflowId) {
      try {
        return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      }
    },
    async report(generation, report) {
      try {
        return await connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, () =>
          client.workflow.getHandle(generation).executeUpdate<ReportReply, [ProviderReport]>(UPDATES.report, {
            updateId: report.id,
            args: [report],
          }),
        );
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return { ok: false, code: 'not_running' };
        // The workflow closed while the report was on its way in.
        if (error instanceof WorkflowUpdateFailedError) return { ok: false, code: 'not_running' };
        if (isLate(error)) return { ok: false, code: 'undecided' };
        throw error;
      }
    },
  };
}

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);

/** The server takes at most 200 bytes; names that callers choose may be longer. */
function summary({ account, request }: GenerationInput): string {
  return `${[request.action, request.model].filter(Boolean).join('/')} for ${account}`.slice(0, 60);
}

/** gRPC status: DEADLINE_EXCEEDED, UNAVAILABLE and CANCELLED say nothing of what became of the request. */
const LATE_STATUS = new Set([1, 4, 14]);

function isLate(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (isGrpcServiceError(cause) && LATE_STATUS.has(cause.code)) return true;
  }
  return false;
}

function isRefusal(value: unknown): value is Extract<Started, { kind: 'refused' }> {
  return value !== null && typeof value === 'object' && Reflect.get(value, 'kind') === 'refused';
}
