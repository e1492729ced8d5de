import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { dataConverter } from '../workflows/payloads';
import { startChild } from './children';

/** A contestant: one unit of work at a time for each client, and an end. */
export interface Contestant {
  work(client: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the bare workflow's worker; a unit is one workflow, answered after its first step and waited for to its end. */
export async function startBare({ address }: { address: string }): Promise<Contestant> {
  const queue = `bare-${randomUUID()}`;
  const providerQueue = `${queue}-provider`;
  const entry = path.join(__dirname, 'bareWorker.js');
  const worker = await startChild({
    entry,
    args: [address, queue, providerQueue],
    readyLine: 'bare worker is running',
  });
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, dataConverter });

  return {
    async work() {
      const operation = new WithStartWorkflowOperation('bareWorkflow', {
        workflowId: `bare_${randomUUID()}`,
        taskQueue: queue,
        args: [{ providerQueue }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
      });
      await client.workflow.executeUpdateWithStart('reserve', {
        startWorkflowOperation: operation,
        updateId: 'reserve',
      });
      const handle = await operation.workflowHandle();
      await handle.result();
    },
    async stop() {
      await connection.close();
      await worker.stop();
    },
  };
}
