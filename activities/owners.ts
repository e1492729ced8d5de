import { type Client, isGrpcServiceError } from '@temporalio/client';
import { type FoundNamespace, findNamespace } from './temporal/connect';
import type { KnownRun, Orphan } from './types';

/** Rule 17: whether the workflow that owns a hold is gone for good, asked of the server itself and never of its search. */

export interface OwnersDeps {
  client: Client;
  /** A workflow that closed is gone only after so long: it may be started again, or its last words be under way. */
  closedForMs: number;
  /** A hold whose workflow the server does not know counts only from this age on. */
  unknownFromMs: number;
}

/**
 * `lost`: gone, because a person said that its namespace is. `unclear`: the server gave no answer from which anything may
 * be concluded.
 */
type Verdict = 'gone' | 'lost' | 'alive' | 'unclear';

/** What is learned once for a page. */
export interface OwnersContext {
  known: KnownRun;
  nowMs: number;
  /** Namespaces that a person has declared lost: where the server does not know their ids either, their workflows are gone. */
  lost: ReadonlySet<string>;
}

export interface Owners {
  verdictOn(hold: Asked): Promise<Verdict>;
}

type Asked = Pick<Orphan, 'workflowId' | 'namespaceId' | 'ageMs'>;
type Found = { kind: 'closed'; atMs: number } | { kind: 'alive' | 'not_found' | 'unclear' };

const ANSWER_WITHIN_MS = 5_000;
const NOT_FOUND = new Set<number>([5]); // gRPC status

/** WorkflowExecutionStatus of the API: completed, failed, canceled, terminated, timed out. A continued one continues. */
const CLOSED: ReadonlySet<unknown> = new Set([2, 3, 4, 5, 7]);

/** For one page of holds: what it learned about namespaces is not asked again. */
export function createOwners(
  { client, closedForMs, unknownFromMs }: OwnersDeps,
  { known, nowMs, lost }: OwnersContext,
): Owners {
  const namespaces = new Map<string, Promise<FoundNamespace>>();
  const knownThere = new Map<string, Promise<boolean>>();

  async function verdictOn({ workflowId, namespaceId, ageMs }: Asked): Promise<Verdict> {
    const place = await once(namespaces, namespaceId, () => soon(() => findNamespace(client, namespaceId)));
    if (place.kind === 'not_found' && lost.has(namespaceId)) return ageMs < unknownFromMs ? 'alive' : 'lost';
    if (place.kind !== 'found') return 'unclear';
    const namespace = place.name;
    const found = await find(namespace, { workflowId });
    if (found.kind === 'alive' || found.kind === 'unclear') return found.kind;
    if (found.kind === 'closed') return nowMs - found.atMs >= closedForMs ? 'gone' : 'alive';
    if (ageMs < unknownFromMs) return 'alive';
    // A server that has lost its memory knows nothing, not even the workflow that is asking.
    const sane = await once(knownThere, namespace, async () => isFound(await find(namespace, known)));
    return sane ? 'gone' : 'unclear';
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
