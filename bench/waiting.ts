import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { openDatabase } from '../db/connection/connection';
import { createEngine } from '../db/engine';
import { generationId } from '../domain/ids';
import { dataConverter } from '../activities/temporal/payloads';
import type { AtEnd } from './bare/bare';
import type { Engine } from './engine';
import { openAccounts } from './generations';
import { percentile } from './kit/latency';
import { columns } from './kit/report';

/**
 * How long after its end somebody who waits for a generation hears of it: from the instant its journal row has, which is right
 * before the commit, to the answer of `?wait=`. Everything runs on one machine, and so by one clock.
 */

const ACCOUNTS = 50;
const SAMPLES = 50;
const WAIT_SECONDS = 30;
/** Between two ends: what one costs is not to delay the next. */
const BETWEEN_MS = 40;

export interface WaitingOptions {
  engine: Engine;
  atEnd: AtEnd;
  /** Starts a bare workflow's worker and answers its queues, for the same figure without Holdfast. */
  bareQueues: { queue: string; providerQueue: string };
}

export async function waiting({ engine, atEnd, bareQueues }: WaitingOptions): Promise<string> {
  const database = openDatabase({ url: engine.databaseUrl, applicationName: 'holdfast bench' });
  atEnd(() => database.close());
  const { reservations } = createEngine({
    database,
    ring: () => undefined,
    namespaceId: 'bench',
    temporalUrl: () => null,
  });
  const accounts = await openAccounts(engine, ACCOUNTS);

  /** A generation whose work a pipeline reports, of the ledger alone: nothing else runs beside. */
  async function begin(number: number): Promise<string> {
    const account = accounts[number % accounts.length] ?? '';
    const key = randomUUID();
    const provider = { type: 'external', deadlineSeconds: 3_600 } as const;
    const request = { action: 'image', model: 'nano-banana-2', provider };
    const workflowId = generationId(account, key);
    const input = { account, key, request, mayChooseProvider: true };
    const outcome = await reservations.reserve({ input, arrivedMs: performance.now(), workflowId });
    if (outcome.kind !== 'answered' || !outcome.holdOpen)
      throw new Error(`the reservation ended as ${outcome.kind}`);
    return workflowId;
  }

  async function ask(path: string, init: RequestInit = {}): Promise<string> {
    const headers = { authorization: `Bearer ${engine.adminKey}`, 'content-type': 'application/json' };
    const response = await fetch(`${engine.baseUrl}${path}`, { ...init, headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
    return text;
  }

  /** When the end of a generation was written, by the database's clock. */
  async function endedAtMs(id: string): Promise<number> {
    const { rows } = await database.pool.query<{ ms: number }>(
      `SELECT (extract(epoch FROM j.recorded_at) * 1000)::float8 AS ms
         FROM ledger.generations g JOIN ledger.journal j ON j.account_id = g.account_id AND j.hold_id = g.hold_id AND j.kind = 'capture'
        WHERE g.generation_id = $1`,
      [id],
    );
    if (rows[0] === undefined) throw new Error(`${id} has not ended`);
    return rows[0].ms;
  }

  /** `others` wait for generations that do not end meanwhile. */
  async function measured(others: number): Promise<number[]> {
    const stopped = new AbortController();
    const open = await Promise.all(Array.from({ length: Math.min(others, 500) }, (_, n) => begin(n)));
    const crowd = Array.from({ length: others }, (_, n) =>
      ask(`/v1/generations/${open[n % open.length]}?wait=${WAIT_SECONDS}`, { signal: stopped.signal }).catch(
        (error: unknown) => {
          if (!stopped.signal.aborted) throw error;
        },
      ),
    );
    const samples: number[] = [];
    try {
      await sleep(others === 0 ? 0 : 2_000); // until all of them wait
      for (let n = 0; n < SAMPLES; n += 1) {
        const id = await begin(n);
        const heard = ask(`/v1/generations/${id}?wait=${WAIT_SECONDS}`).then(
          () => performance.timeOrigin + performance.now(),
        );
        await sleep(BETWEEN_MS);
        await ask(`/v1/generations/${id}/complete`, {
          method: 'POST',
          body: JSON.stringify({ outputs: [{ url: 'https://example.com/1' }] }),
        });
        samples.push((await heard) - (await endedAtMs(id)));
      }
    } finally {
      stopped.abort();
      await Promise.all(crowd);
    }
    return samples;
  }

  const rows = [
    ['?wait=, 1 waiter', await measured(0)],
    ['?wait=, 1,000 waiters', await measured(999)],
    ['a bare workflow’s result', await bareResults(engine, { atEnd, ...bareQueues })],
  ] as const;
  return columns([
    ['from commit to answer', 'p50 ms', 'p99 ms'],
    ...rows.map(([name, ms]) => [name, percentile(ms, 50).toFixed(1), percentile(ms, 99).toFixed(1)]),
  ]);
}

/** From the instant at which the server closed the run to the answer of whoever waits for its result. */
async function bareResults(
  { temporalAddress }: Engine,
  { atEnd, queue, providerQueue }: WaitingOptions['bareQueues'] & { atEnd: AtEnd },
): Promise<number[]> {
  const connection = await Connection.connect({ address: temporalAddress });
  atEnd(() => connection.close());
  const client = new Client({ connection, dataConverter });
  const samples: number[] = [];
  for (let n = 0; n < SAMPLES; n += 1) {
    const operation = new WithStartWorkflowOperation('bareWorkflow', {
      workflowId: `bare_${randomUUID()}`,
      taskQueue: queue,
      args: [{ providerQueue }],
      workflowIdConflictPolicy: 'FAIL',
    });
    await client.workflow.executeUpdateWithStart('reserve', { startWorkflowOperation: operation });
    const handle = await operation.workflowHandle();
    await handle.result();
    const heardMs = performance.timeOrigin + performance.now();
    const { closeTime } = await handle.describe();
    if (closeTime === undefined) throw new Error('a workflow with a result has not closed');
    samples.push(heardMs - closeTime.getTime());
  }
  return samples;
}
