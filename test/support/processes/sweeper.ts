import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createSweepActivities, type SweepAges } from '../../../activities/sweep';
import { createEngine } from '../../../db/engine';
import type { Ledger } from '../../../db/ledger/ledger';
import { namespaceId, ringAccount, ringClock } from '../../../activities/temporal/connect';
import { type SweepInput, WORKFLOWS } from '../../../domain/contract';
import { dataConverter } from '../../../activities/temporal/payloads';
import type { SweepReport } from '../../../workflows/sweep';
import type { Engine } from './engine';

/** A sweep as production runs it, on the engine's database, with ages of the test's own. */
export interface Sweeper {
  /** A ledger whose signals reach no workflow. */
  ledger: Ledger;
  /** One pass, from its start to its result. */
  pass(ages?: Partial<SweepAges>, input?: SweepInput): Promise<SweepReport>;
  /** The pass before, for what its workflow shows. */
  lastPass(): string;
  stop(): Promise<void>;
}

/** Nobody is given time: whatever could be taken notice of is. */
const AT_ONCE: SweepAges = { overdueMs: 0, undrainedMs: 0, unseenMs: 0, closedForMs: 0, unknownFromMs: 0 };
const BUNDLE = path.join(__dirname, '..', '..', '..', 'dist', 'workflow-bundle.js');

export async function startSweeper(engine: Engine): Promise<Sweeper> {
  const { temporal: client, database } = engine;
  const { ledger } = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: await namespaceId(client),
    temporalUrl: () => null,
  });
  const ages = { ...AT_ONCE };
  const taskQueue = `sweep-${randomBytes(4).toString('hex')}`;
  const connection = await NativeConnection.connect({ address: process.env['HOLDFAST_TEST_TEMPORAL'] ?? '' });
  const worker = await Worker.create({
    connection,
    taskQueue,
    dataConverter,
    workflowBundle: { codePath: BUNDLE },
    activities: {
      ...createSweepActivities({
        ledger,
        knex: database.db.knex,
        pool: database.db.pool,
        client,
        ringNow: (account) => ringAccount({ client, account, taskQueue: engine.taskQueue }),
        ringClockNow: (clock) => ringClock({ client, clock, taskQueue: engine.taskQueue }),
        ages,
      }),
    },
  });
  const running = worker.run();
  let workflowId = '';
  return {
    ledger,
    async pass(more = {}, input = {}) {
      Object.assign(ages, AT_ONCE, more);
      workflowId = `sweep-${randomBytes(6).toString('hex')}`;
      const result: unknown = await client.workflow.execute(WORKFLOWS.sweep, {
        workflowId,
        taskQueue,
        args: [input],
      });
      return result as SweepReport; // the bundle's own type
    },
    lastPass: () => workflowId,
    async stop() {
      worker.shutdown();
      await running;
      await connection.close();
    },
  };
}
