import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createGenerationActivities } from '../../../activities/generation';
import type { ProviderActivities, Work } from '../../../activities/types';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../db/engine';
import { findGeneration } from '../../../db/generations/generations';
import { generationId } from '../../../domain/ids';
import { providerTaskQueue, UPDATES, WORKFLOWS } from '../../../domain/contract';
import { dataConverter } from '../../../activities/temporal/payloads';
import { type TestDatabase, testDatabase } from '../../support/database';

/** A worker of somebody's own is the provider (rule 34): what it answers, and how it fails, is not ours to choose. */

const QUEUE = `provider-${process.pid}`;
const INPUT = { prompt: 'a lighthouse' };
const ACCOUNT = 'provided';

let database: TestDatabase;
let engine: Engine;
let client: Client;
let end: () => Promise<void>;
let answers: { submit: () => unknown; poll: () => unknown };
let called: { name: keyof ProviderActivities; work: Work }[];

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  database = await testDatabase();
  const { db } = database;
  await publishCatalog(db.knex, {
    catalog: readCatalog(path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json')),
  });
  engine = createEngine({
    database: db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  await engine.ledger.open({
    account: ACCOUNT,
    catalog: 'working-day',
    plan: 'standard',
    planSource: 'admin',
  });
  const address = process.env['HOLDFAST_TEST_TEMPORAL'] ?? '';
  const [connection, native] = await Promise.all([
    Connection.connect({ address }),
    NativeConnection.connect({ address }),
  ]);
  client = new Client({ connection, dataConverter });
  const note = (name: keyof ProviderActivities, answer: () => unknown) => (request: { work: Work }) => {
    called.push({ name, work: request.work });
    return Promise.resolve(answer());
  };
  const shared = { connection: native, dataConverter };
  const workers = await Promise.all([
    Worker.create({
      ...shared,
      taskQueue: QUEUE,
      workflowBundle: { codePath: path.join(__dirname, '..', '..', '..', 'dist', 'workflow-bundle.js') },
      activities: { ...createGenerationActivities({ ...engine, knex: db.knex, pool: db.pool }) },
    }),
    Worker.create({
      ...shared,
      taskQueue: providerTaskQueue(QUEUE, 'simulated'),
      activities: {
        submitWork: note('submitWork', () => answers.submit()),
        pollWork: note('pollWork', () => answers.poll()),
        cancelWork: note('cancelWork', () => undefined),
      },
    }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  end = async () => {
    for (const worker of workers) worker.shutdown();
    await running;
    await Promise.all([native.close(), connection.close()]);
  };
});
afterAll(async () => {
  await end();
  await database.close();
});
beforeEach(() => {
  called = [];
});

let counter = 0;

/** One image at that provider, and how it ended. */
async function generated(submit: () => unknown, poll: () => unknown = submit) {
  answers = { submit, poll };
  counter += 1;
  const key = `order-${counter}`;
  const id = generationId(ACCOUNT, key);
  const request = { action: 'image', provider: { type: 'simulated' }, input: INPUT };
  await client.workflow.execute(WORKFLOWS.generation, {
    workflowId: id,
    taskQueue: QUEUE,
    args: [{ account: ACCOUNT, key, request, mayChooseProvider: true }],
  });
  const found = await findGeneration(database.db.pool, { account: ACCOUNT, id });
  return { status: found?.status, error: found?.error, captured: found?.captured, held: found?.held };
}
const names = () => called.map(({ name }) => name);
const PENDING = { state: 'pending', pollAfterMs: 10 };
const DONE = { state: 'done', outputs: [{ index: 0, status: 'succeeded', url: 'a' }] };

test('an answer that cannot be worked with ends the work, gives the credits back, and stops the job', async () => {
  for (const poll of [{ state: 'pending' }, { state: 'finished' }, null, { state: 'done' }]) {
    called = [];
    const { status, error, captured, held } = await generated(
      () => PENDING,
      () => poll,
    );
    expect([status, error?.code, captured, held]).toEqual(['failed', 'provider_answer_invalid', 0, 0]);
    expect(names()).toEqual(['submitWork', 'pollWork', 'cancelWork']);
  }
});

test('fields that are null count as left out, and an output without a place has its own', async () => {
  const done = {
    state: 'done',
    outputs: [{ status: 'succeeded', url: null, error: null }],
    providerCost: null,
  };
  const polls = [{ state: 'pending', pollAfterMs: -5, giveUpAfterMs: null }, done];
  const { status, captured } = await generated(
    () => ({ ...PENDING, giveUpAfterMs: null }),
    () => polls.shift(),
  );
  expect([status, captured]).toEqual(['succeeded', 24_000]);
});

test('when our own machinery gives up on the provider, the provider is told to stop', async () => {
  const { status, error, held } = await generated(
    () => PENDING,
    () => {
      throw ApplicationFailure.nonRetryable('no such job');
    },
  );
  expect([status, error, held]).toEqual([
    'failed',
    { code: 'provider_unreachable', message: 'no such job' },
    0,
  ]);
  expect(names()).toEqual(['submitWork', 'pollWork', 'cancelWork']);
});

test('the input goes to who submits the work, and into the history once', async () => {
  let left = 2;
  const poll = () => {
    left -= 1;
    return left > 0 ? PENDING : DONE;
  };
  expect(await generated(() => PENDING, poll)).toMatchObject({ status: 'succeeded', held: 0 });
  expect(called.map(({ name, work }) => [name, work.input])).toEqual([
    ['submitWork', INPUT],
    ['pollWork', null],
    ['pollWork', null],
  ]);
});

test('a report that is sent to such work by mistake holds up nothing, also where its history grows long', async () => {
  let left = 35;
  const poll = async () => {
    left -= 1;
    if (left === 30) {
      const handle = client.workflow.getHandle(generationId(ACCOUNT, `order-${counter}`));
      void handle
        .executeUpdate(UPDATES.report, { args: [{ kind: 'complete', id: 'r', outputs: [], final: true }] })
        .then((reply) => answered.push(reply));
      await Promise.resolve();
    }
    return left > 0 ? { ...PENDING, pollAfterMs: 1 } : DONE;
  };
  const answered: unknown[] = [];
  expect(await generated(() => ({ ...PENDING, pollAfterMs: 1 }), poll)).toMatchObject({
    status: 'succeeded',
    held: 0,
  });
  expect(names().filter((name) => name === 'submitWork').length).toBeGreaterThan(1);
  expect(answered).toEqual([{ ok: false, code: 'generation_ended' }]);
});

test('a provider that is asked for so long that the history grows long is asked on by another run, for no longer in all', async () => {
  let left = 35;
  const poll = () => {
    left -= 1;
    return left > 0 ? { ...PENDING, pollAfterMs: 1 } : DONE;
  };
  const submitted = () => names().filter((name) => name === 'submitWork').length;
  expect(await generated(() => ({ ...PENDING, pollAfterMs: 1 }), poll)).toMatchObject({
    status: 'succeeded',
    held: 0,
  });
  // The new run asks for the job again, which the provider knows by its hold; it pays for nothing twice.
  expect(submitted()).toBeGreaterThan(1);
  expect(new Set(called.map(({ work }) => work.holdId)).size).toBe(1);
});
