import { bundleWorkflowCode, NativeConnection, Worker } from '@temporalio/worker';
import { dataConverter } from '../../activities/temporal/payloads';

/** The bare workflow's worker: a process of its own, as ours is. SIGTERM lets it end what it began. */

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
  // As in activities/worker.ts, whose limit of local activities at one time no bench reaches.
  const shared = { connection, activities: { ...activities }, dataConverter } as const;
  const workers = await Promise.all([
    Worker.create({ ...shared, taskQueue: queue, workflowBundle }),
    Worker.create({ ...shared, taskQueue: providerQueue }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  console.log('bare worker is running');
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
