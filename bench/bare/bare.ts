import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { dataConverter } from '../../activities/temporal/payloads';
import { startChild } from '../kit/children';

/** One unit of what is measured, by the client with this number. */
export type Work = (client: number) => Promise<void>;

/** Where whatever is started leaves how it is stopped; the bench does so at its end, the last one first. */
export type AtEnd = (stop: () => Promise<void>) => void;

export interface Bare {
  /** A unit is one workflow, answered after its first step and waited for to its end. */
  work: Work;
  /** The same, saying how long its first step took to be answered, in milliseconds. */
  timed: (onAnswer: (ms: number) => void) => Work;
  queue: string;
  providerQueue: string;
  /** The id of its worker. */
  worker: number;
}

/** Starts the bare workflow's worker. */
export async function startBare({ address, atEnd }: { address: string; atEnd: AtEnd }): Promise<Bare> {
  const queue = `bare-${randomUUID()}`;
  const providerQueue = `${queue}-provider`;
  const entry = path.join(__dirname, 'bareWorker.js');
  const worker = await startChild({
    entry,
    args: [address, queue, providerQueue],
    readyLine: 'bare worker is running',
  });
  atEnd(worker.stop);
  const connection = await Connection.connect({ address });
  atEnd(() => connection.close());
  const client = new Client({ connection, dataConverter });

  const timed = (onAnswer: (ms: number) => void) => async () => {
    const operation = new WithStartWorkflowOperation('bareWorkflow', {
      workflowId: `bare_${randomUUID()}`,
      taskQueue: queue,
      args: [{ providerQueue }],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
    });
    const askedMs = performance.now();
    await client.workflow.executeUpdateWithStart('reserve', {
      startWorkflowOperation: operation,
      updateId: 'reserve',
    });
    onAnswer(performance.now() - askedMs);
    const handle = await operation.workflowHandle();
    await handle.result();
  };
  return { work: timed(() => undefined), timed, queue, providerQueue, worker: worker.pid };
}
