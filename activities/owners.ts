import { type Client, isGrpcServiceError } from '@temporalio/client';
import type { KnownRun, Orphan } from './types';

/** Rule 17: whether the workflow that owns a hold is gone for good, asked of the server itself and never of its search. */

export interface OwnersDeps {
  client: Client;
  /** A workflow that closed is gone only after so long: it may be started again, or its last words be under way. */
  closedForMs: number;
  /** A hold whose workflow the server does not know counts only from this age on. */
  unknownFromMs: number;
}

/** `unclear`: the server gave no answer from which anything may be concluded. */
export type Verdict = 'gone' | 'alive' | 'unclear';

export interface Owners {
  verdictOn(hold: Asked): Promise<Verdict>;
}

type Asked = Pick<Orphan, 'workflowId' | 'namespaceId' | 'ageMs'>;
type Found = { kind: 'closed'; atMs: number } | { kind: 'alive' | 'not_found' | 'unclear' };

const ANSWER_WITHIN_MS = 5_000;
const NOT_FOUND = new Set<number>([5]); // gRPC status

/** WorkflowExecutionStatus of the API: completed, failed, canceled, terminated, timed out. A continued one goes on. */
const CLOSED: ReadonlySet<unknown> = new Set([2, 3, 4, 5, 7]);

/** For one page of holds: what it learned about namespaces is not asked again. */
export function createOwners(
  { client, closedForMs, unknownFromMs }: OwnersDeps,
  { known, nowMs }: { known: KnownRun; nowMs: number },
): Owners {
  const names = new Map<string, Promise<string | null>>();
  const knownThere = new Map<string, Promise<boolean>>();

  async function verdictOn({ workflowId, namespaceId, ageMs }: Asked): Promise<Verdict> {
    const namespace = await once(names, namespaceId, () => nameOf(namespaceId));
    if (namespace === null) return 'unclear';
    const found = await find(namespace, { workflowId });
    if (found.kind === 'alive' || found.kind === 'unclear') return found.kind;
    if (found.kind === 'closed') return nowMs - found.atMs >= closedForMs ? 'gone' : 'alive';
    if (ageMs < unknownFromMs) return 'alive';
    // A server that has lost its memory knows nothing, not even the workflow that is asking.
    const sane = await once(knownThere, namespace, async () => isFound(await find(namespace, known)));
    return sane ? 'gone' : 'unclear';
  }

  /** A namespace made anew under the same name has another id, and knows nothing of our workflows. Null: not known. */
  async function nameOf(namespaceId: string): Promise<string | null> {
    const ours = await describeNamespace({ namespace: client.options.namespace });
    if (ours?.id === namespaceId) return ours.name;
    const theirs = await describeNamespace({ id: namespaceId });
    return theirs?.id === namespaceId ? theirs.name : null;
  }

  async function describeNamespace(request: { namespace: string } | { id: string }) {
    try {
      const { namespaceInfo } = await soon(() => client.workflowService.describeNamespace(request));
      const { id, name } = namespaceInfo ?? {};
      return id && name ? { id, name } : null;
    } catch (error) {
      if (isGrpcServiceError(error)) return null; // whatever it is, nothing is known of it now
      throw error;
    }
  }

  /** Without a run id, the latest run. */
  async function find(namespace: string, execution: { workflowId: string; runId?: string }): Promise<Found> {
    try {
      const { workflowExecutionInfo: info } = await soon(() =>
        client.workflowService.describeWorkflowExecution({ namespace, execution }),
      );
      if (!CLOSED.has(info?.status)) return { kind: 'alive' };
      const { seconds } = info?.closeTime ?? {};
      return seconds ? { kind: 'closed', atMs: Number(seconds) * 1000 } : { kind: 'unclear' };
    } catch (error) {
      if (!isGrpcServiceError(error)) throw error;
      return { kind: NOT_FOUND.has(error.code) ? 'not_found' : 'unclear' };
    }
  }

  const soon = <T>(call: () => Promise<T>) =>
    client.connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, call);

  return { verdictOn };
}

const isFound = ({ kind }: Found): boolean => kind === 'alive' || kind === 'closed';

function once<T>(answers: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const answer = answers.get(key) ?? ask();
  answers.set(key, answer);
  return answer;
}
