import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';

/** The bare workflow's worker: a process of its own, as ours is. Says `ready` to its parent, and ends with it. */

export interface BareActivities {
  nothing(): Promise<void>;
}

export interface BareWorkerSettings {
  address: string;
  queue: string;
  providerQueue: string;
}

async function runBareWorker({ address, queue, providerQueue }: BareWorkerSettings): Promise<void> {
  const connection = await NativeConnection.connect({ address });
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: require.resolve('./bareWorkflow') });
  const activities: BareActivities = { nothing: () => Promise.resolve() };
  const workers = await Promise.all([
    Worker.create({ connection, taskQueue: queue, workflowBundle, activities }),
    Worker.create({ connection, taskQueue: providerQueue, activities }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  process.once('disconnect', () => {
    for (const worker of workers) worker.shutdown();
  });
  process.send?.('ready');
  await running;
  await connection.close();
}

function settingsOf(args: readonly string[]): BareWorkerSettings {
  const [address, queue, providerQueue] = args;
  if (address === undefined || queue === undefined || providerQueue === undefined) {
    throw new Error('usage: bareWorker <temporal address> <task queue> <provider task queue>');
  }
  return { address, queue, providerQueue };
}

runBareWorker(settingsOf(process.argv.slice(2))).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
