import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Logger } from 'pino';
import { type Database, openDatabase } from '../db/connection/connection';
import { watchSkew } from '../db/connection/clockSkew';
import { createEngine } from '../db/engine';
import { startFence } from '../db/migrate/fence';
import { assertCompatible } from '../db/migrate/version';
import { ensurePartitions, keepPartitionsAhead } from '../db/archive/partitions';
import { parseSettings, type Settings } from '../domain/settings';
import {
  reachTemporal,
  ensureSearchAttributes,
  ensureSweep,
  namespaceId,
  ringAccount,
  ringClock,
  temporalUrlOf,
} from './temporal/connect';
import { accountTaskQueue, providerTaskQueue, SEARCH_ATTRIBUTES } from '../domain/contract';
import { dataConverter } from './temporal/payloads';
import { createActivities } from './index';
import { sweepAges } from './sweep';
import { createWorkerLog, sdkLogger } from './workerLog';

/** `node dist/activities/worker.js`: runs the workflows and the activities until it is told to stop. */

/** Local activities that may run at once; each wants a database connection for a moment. */
const LOCAL_ACTIVITIES_PER_CONNECTION = 2;

/** Accounts that are worked on at once. They have time; what is left of processor and database is the reservations'. */
const ACCOUNTS_AT_ONCE = {
  maxConcurrentActivityTaskExecutions: 2,
  maxConcurrentWorkflowTaskExecutions: 2,
  maxConcurrentActivityTaskPolls: 2,
  maxConcurrentWorkflowTaskPolls: 2,
} as const;

export interface WorkerProcess {
  /** Resolves when the workers have stopped, rejects when one failed, or when a newer release shut this one out. */
  done: Promise<void>;
  shutdown: () => void;
}

export interface WorkerOptions {
  settings: Settings;
  database: Database;
  log: Logger;
  crash: () => void;
}

export async function startWorkers({
  settings,
  database,
  log,
  crash,
}: WorkerOptions): Promise<WorkerProcess> {
  const { temporal } = settings;
  const { taskQueue } = temporal;
  const { options, namespace } = reachTemporal(temporal);
  await assertCompatible(database.points);
  await ensurePartitions(database.pool);

  const clientConnection = await Connection.connect(options);
  const client = new Client({ connection: clientConnection, namespace, dataConverter });
  const names = Object.values(SEARCH_ATTRIBUTES).join(', ');
  await ensureSearchAttributes(client, {
    onRefused: (error) =>
      log.warn(
        { err: error },
        `the search attributes ${names} (Keyword) are not this process’s to register: see that they are`,
      ),
  });

  const ringNow = (account: string) => ringAccount({ client, account, taskQueue });
  const ringClockNow = (clock: string) => ringClock({ client, clock, taskQueue });
  const ring = (account: string) => {
    // The row is committed: a bell that does not ring delays the work until the next one, and loses nothing.
    ringNow(account).catch((error: unknown) =>
      log.error({ err: error, account }, 'an account’s workflow could not be woken'),
    );
  };
  const ownNamespace = await namespaceId(client);
  const { ledger, reservations } = createEngine({
    database,
    ring,
    namespaceId: ownNamespace,
    temporalUrl: temporalUrlOf(temporal),
    batching: settings.batching,
    isLive: settings.mode === 'live',
  });
  const activities = createActivities({
    ledger,
    reservations,
    knex: database.knex,
    pool: database.pool,
    client,
    namespaceId: ownNamespace,
    ringNow,
    ringClockNow,
    ages: sweepAges({ jitterMs: settings.timerJitterMs }),
    crash,
    jitterWindowMs: settings.timerJitterMs,
    quietMs: settings.quietMs,
  });

  const connection = await NativeConnection.connect(options);
  const shared = { connection, namespace, dataConverter, shutdownGraceTime: '10s' } as const;
  const codePath = temporal.workflowBundle ?? path.join(__dirname, '..', 'workflow-bundle.js');
  const workers = await Promise.all([
    Worker.create({
      ...shared,
      taskQueue,
      workflowBundle: { codePath },
      activities: { ...activities.main },
      maxConcurrentLocalActivityExecutions: settings.dbPool * LOCAL_ACTIVITIES_PER_CONNECTION,
    }),
    Worker.create({
      ...shared,
      taskQueue: accountTaskQueue(taskQueue),
      workflowBundle: { codePath },
      activities: { ...activities.accounts },
      ...ACCOUNTS_AT_ONCE,
    }),
    ...Object.entries(activities.providers).map(([provider, work]) =>
      Worker.create({
        ...shared,
        taskQueue: providerTaskQueue(taskQueue, provider),
        activities: { ...work },
      }),
    ),
  ]);
  await ensureSweep({ client, taskQueue, everySeconds: settings.sweepSeconds });
  const endPartitions = keepPartitionsAhead({ pool: database.pool, log });
  const shutdown = () => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  const fence = startFence({
    points: database.points,
    everySeconds: settings.schemaCheckSeconds,
    onFenced(reason) {
      log.error(
        { err: reason },
        'a newer release has shut this worker out: it ends what it has begun, and stops',
      );
      shutdown();
    },
    onError: (error) => log.warn({ err: error }, 'the schema could not be looked at'),
  });
  const skew = await watchSkew({ pool: database.pool, kind: 'worker', log });
  log.info({ namespace, taskQueue }, 'polling');

  const run = async () => {
    try {
      // What was shut out while it started does not begin.
      if (fence.reason() === null) await Promise.all(workers.map((worker) => worker.run()));
    } finally {
      endPartitions();
      fence.end();
      skew.stop();
      await connection.close();
      await clientConnection.close();
    }
    const reason = fence.reason();
    if (reason !== null) throw reason;
  };
  return { done: run(), shutdown };
}

async function main(): Promise<void> {
  const settings = parseSettings(process.env);
  const log = createWorkerLog(settings.logLevel);
  Runtime.install({ logger: sdkLogger(log), shutdownSignals: [] });
  const database = openDatabase({
    url: settings.databaseUrl,
    max: settings.dbPool,
    applicationName: 'holdfast worker',
    onError: (error, what) => log.warn({ err: error }, what),
  });
  const crash = () => process.kill(process.pid, 'SIGKILL');
  const worker = await startWorkers({ settings, database, log, crash });
  process.stdout.write('worker is running\n'); // whoever started it waits for this, whatever LOG_LEVEL is
  process.once('SIGTERM', worker.shutdown);
  process.once('SIGINT', worker.shutdown);
  await worker.done;
  await database.close();
}

if (require.main === module) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1); // connections that are still open would keep a process alive that does nothing
  });
}
