import { randomBytes } from 'node:crypto';
import type { Operation } from '../../../db/ledger/operations';
import { generationId, holdIdOf } from '../../../domain/ids';
import { FAILURES, SIGNALS, WORKFLOWS } from '../../../domain/contract';
import { type Engine, eventually, type Problem, startEngine } from '../../support/processes/engine';
import { ledgerOf } from '../../support/ledger/ledger';

/** Rules 2, 4, 5 and 8: what a second run finds, and which refusals leave a key free. */

let engine: Engine;
let account: string;

beforeAll(async () => {
  engine = await startEngine();
  account = engine.newId('second');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => engine.stop());

const image = (delayMs: number) => ({ account, action: 'image', provider: { type: 'simulated', delayMs } });
const ended = (id: string) => engine.ended(id);

const jobsOf = async (generation: string) =>
  engine.database.owner.knex('holdfast.provider_jobs').where({ hold_id: holdIdOf(generation) });

async function changeRules(rules: Record<string, unknown>): Promise<void> {
  const key = randomBytes(6).toString('hex');
  const operation: Operation = { op: 'rules', key: `sys:${key}`, hash: key, rules };
  await ledgerOf(engine.database.db, engine.database.owner).one(account, operation);
  await engine.balance(account); // a change of rules asks for a settle before the next use
}

test('a run that was reset continues with its hold and its provider job, and pays for neither twice', async () => {
  const { body } = await engine.generate(image(4_000));
  const jobs = () => jobsOf(body.id);
  const [first] = await eventually(jobs, (rows) => rows.length === 1);

  const { runId } = await engine.temporal.workflow.getHandle(body.id).describe();
  await engine.temporal.workflowService.resetWorkflowExecution({
    namespace: engine.temporal.options.namespace,
    workflowExecution: { workflowId: body.id, runId },
    // The end of the first workflow task, before anything was decided. protobufjs takes plain numbers as well.
    workflowTaskFinishEventId: 4 as never,
    requestId: randomBytes(8).toString('hex'),
    reason: 'a test of resets',
  });
  const end = await ended(body.id);
  expect(end).toMatchObject({ status: 'succeeded', credits: { captured: 24, refunded: 0 } });
  expect(await jobs()).toEqual([first]);
  const rows = (await engine.journal(account)).filter(({ generation }) => generation === body.id);
  expect(rows.map(({ kind }) => kind)).toEqual(['reserve', 'capture']);
});

test('a run that finds its hold closed submits nothing to the provider', async () => {
  const worker = engine.worker();
  const { body } = await engine.generate({
    account,
    action: 'image',
    provider: { type: 'external', deadlineSeconds: 2 },
  });
  // While no worker runs, an administrator frees the hold; the run that continues afterwards must leave it so.
  worker.kill('SIGKILL');
  await ledgerOf(engine.database.db, engine.database.owner).release(account, holdIdOf(body.id), {
    cause: 'operator',
  });
  await engine.startWorker();
  const handle = engine.temporal.workflow.getHandle(body.id);
  expect(await handle.result()).toMatchObject({ status: 'failed' });
  expect((await ended(body.id)).credits).toMatchObject({ captured: 0, refunded: 24 });
});

test('too many open generations: 429, not kept, and the same key succeeds when one has ended', async () => {
  await changeRules({ maxOpen: 1 });
  const { body: running } = await engine.generate(image(600_000));
  const key = randomBytes(6).toString('hex');
  const refused = await engine.generate<Problem>(image(0), key);
  expect([refused.status, refused.body.code, refused.body.retryable]).toEqual([
    429,
    'too_many_open_generations',
    true,
  ]);
  expect((await engine.journal(account)).every(({ status }) => status === 'applied')).toBe(true);
  await engine.call('POST', `/v1/generations/${running.id}/cancel`, { body: {} });
  const again = await engine.generate(image(0), key);
  expect(again.status).toBe(201);
  await ended(again.body.id);
  await changeRules({ maxOpen: null });
});

test('a suspended account is refused before everything else, and its key stays free', async () => {
  await changeRules({ suspended: true });
  const key = randomBytes(6).toString('hex');
  const refused = await engine.generate<Problem>({ account, action: 'no-such-action' }, key);
  expect([refused.status, refused.body.code]).toEqual([403, 'account_suspended']);
  await changeRules({ suspended: false });
  const good = await engine.generate(image(0), key);
  expect(good.status).toBe(201);
  await ended(good.body.id);
});

test('every wrong request says where it is wrong, and leaves its key free', async () => {
  const key = randomBytes(6).toString('hex');
  const wrong: [Record<string, unknown>, number, string, string][] = [
    [{ account, action: 'image', params: { outputs: 0 } }, 422, 'unknown_option', 'params.outputs'],
    [{ account, action: 'image', params: { outputs: 1.5 } }, 422, 'unknown_option', 'params.outputs'],
    [{ account, action: 'image', params: { audio: true } }, 422, 'unknown_option', 'params.audio'],
    [{ account, action: 'image', model: 'nope' }, 422, 'unknown_model', 'model'],
    [{ account, action: 'nope' }, 422, 'unknown_action', 'action'],
    [{ account, action: 'image', quote: `qt_${account}.0123456789abcdef` }, 404, 'unknown_quote', 'quote'],
    [{ account, action: 'image', surprise: 1 }, 422, 'invalid_request', 'surprise'],
  ];
  for (const [body, status, code, path] of wrong) {
    const reply = await engine.generate<Problem>(body, key);
    expect([reply.status, reply.body.code, reply.body.errors?.[0]?.path]).toEqual([status, code, path]);
  }
  const good = await engine.generate(image(0), key);
  expect(good.status).toBe(201);
  await ended(good.body.id);
});

test('a quote is good for what it was made for, by its own catalog version, until it expires', async () => {
  const asked = { account, action: 'image', params: { outputs: 2 } };
  const { body: quote } = await engine.call<{ id: string }>('POST', '/v1/quotes', { body: asked });
  const other = await engine.generate<Problem>({ ...asked, params: { outputs: 3 }, quote: quote.id });
  expect([other.status, other.body.code]).toEqual([422, 'quote_mismatch']);
  const good = await engine.generate({ ...asked, quote: quote.id });
  expect([good.status, good.body.credits.quoted]).toEqual([201, 48]);
  await ended(good.body.id);
  await engine.database.db
    .knex('holdfast.quotes')
    .where({ quote_id: quote.id })
    .update({ expires_at: new Date(0) });
  const late = await engine.generate<Problem>({ ...asked, quote: quote.id });
  expect([late.status, late.body.code]).toEqual([410, 'quote_expired']);
});

test('an operator sees a generation’s history, and holds that nobody owns any more', async () => {
  const { body } = await engine.generate(image(600_000));
  await eventually(
    () => jobsOf(body.id),
    (jobs) => jobs.length === 1,
  );
  await engine.temporal.workflow.getHandle(body.id).terminate('a slip of the hand');
  const holds = await engine.call<{ data: { generation: string }[] }>('GET', '/v1/holds?orphaned=true');
  expect(holds.body.data.map(({ generation }) => generation)).toEqual([body.id]);
  await engine.call('POST', `/v1/generations/${body.id}/release`, { body: { reason: 'terminated' } });
  const { body: timeline } = await engine.call<{ data: { what: string; detail: { kind?: string } }[] }>(
    'GET',
    `/v1/generations/${body.id}/timeline`,
  );
  expect(timeline.data.map(({ what, detail }) => detail.kind ?? what)).toEqual([
    'reserve',
    'provider',
    'release',
  ]);
});

test('of two requests racing under one key one is carried out, and the other is a conflict', async () => {
  const key = randomBytes(6).toString('hex');
  const replies = await Promise.all([
    engine.generate<Problem>({ account, action: 'video' }, key),
    engine.generate<Problem>(image(0), key),
  ]);
  expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409]);
  expect(replies.find(({ status }) => status === 409)?.body.code).toBe('idempotency_conflict');
});

test('a generation whose key another request took meanwhile is a conflict', async () => {
  const preview = (idempotencyKey: string) =>
    eventually(
      () =>
        engine.call<Problem>('POST', `/v1/accounts/${account}/plan/preview`, {
          body: { plan: 'free' },
          idempotencyKey,
        }),
      ({ status }) => status !== 503,
    );
  for (let round = 0; round < 8; round += 1) {
    const key = randomBytes(6).toString('hex');
    const replies = await Promise.all([engine.generate<Problem>(image(0), key), preview(key)]);
    const told = replies.map(({ status, body }) => (status < 300 ? 'done' : body.code));
    expect(told.toSorted()).toEqual(['done', 'idempotency_conflict']);
  }
});

test('wrong input fails at once as such, and leaves the hold of a running generation alone', async () => {
  const key = randomBytes(6).toString('hex');
  const { body } = await engine.generate(
    { account, action: 'image', provider: { type: 'external', deadlineSeconds: 60 } },
    key,
  );
  const inputs: unknown[] = [
    { account, key, request: { action: 'image' } }, // under an id that is not made of them
    { account, request: { action: 'image' } },
    { account, key },
    { account, key, request: { action: 'image' }, receivedAt: 'yesterday' },
  ];
  for (const input of inputs) {
    const workflowId = `gen_${account}.${randomBytes(6).toString('hex')}`;
    const run = engine.temporal.workflow.execute(WORKFLOWS.generation, {
      workflowId,
      taskQueue: engine.taskQueue,
      args: [input],
    });
    await expect(run).rejects.toMatchObject({ cause: { type: FAILURES.invalid } });
  }
  await engine.temporal.workflow.getHandle(body.id).signal(SIGNALS.providerReport, {
    kind: 'complete',
    id: 'r',
    outputs: [],
    creditsMilli: -5,
    final: true,
  });
  expect((await engine.call('GET', `/v1/generations/${body.id}`)).body.credits.held).toBe(24);
  await engine.call('POST', `/v1/generations/${body.id}/cancel`, { body: {} });
});

test('a reservation whose first attempt committed continues though its quote has expired meanwhile', async () => {
  const asked = { account, action: 'image' };
  const { body: quote } = await engine.call<{ id: string }>('POST', '/v1/quotes', { body: asked });
  const { body } = await engine.generate({
    ...asked,
    provider: { type: 'simulated', delayMs: 3_000 },
    quote: quote.id,
  });
  await engine.database.db
    .knex('holdfast.quotes')
    .where({ quote_id: quote.id })
    .update({ expires_at: new Date(0) });
  const { runId } = await engine.temporal.workflow.getHandle(body.id).describe();
  await engine.temporal.workflowService.resetWorkflowExecution({
    namespace: engine.temporal.options.namespace,
    workflowExecution: { workflowId: body.id, runId },
    workflowTaskFinishEventId: 4 as never, // as above
    requestId: randomBytes(8).toString('hex'),
    reason: 'as if the worker had died before it recorded the reservation',
  });
  expect(await ended(body.id)).toMatchObject({ status: 'succeeded', credits: { captured: 24 } });
});

test('an account that was refused too often in this minute is told so, and its order is not tried for seconds', async () => {
  const refused = engine.newId('refused');
  await engine.call('POST', '/v1/accounts', {
    body: { id: refused, catalog: 'working-day', plan: 'standard' },
  });
  const charge = (credits: number, key: string) =>
    engine.call<Problem>('POST', '/v1/charges', {
      body: { account: refused, credits },
      idempotencyKey: key,
    });
  expect((await charge(8_000, 'all')).status).toBe(201);
  expect((await charge(1, 'more')).body.code).toBe('insufficient_credits');
  await engine.database.owner.pool.query(
    'UPDATE ledger.accounts SET refused = ledger.refusals_a_minute() WHERE account_id = $1',
    [refused],
  );
  const started = await engine.temporal.workflow.start(WORKFLOWS.generation, {
    workflowId: generationId(refused, 'order'),
    taskQueue: engine.taskQueue,
    args: [{ account: refused, key: 'order', request: { action: 'image' } }],
  });
  await expect(started.result()).rejects.toMatchObject({
    cause: { type: FAILURES.refused, details: [{ code: 'overloaded' }] },
  });
  const { events } = await started.fetchHistory();
  const activities = (events ?? []).filter(
    ({ markerRecordedEventAttributes: marker }) => marker?.markerName === 'core_local_activity',
  );
  expect(activities).toHaveLength(1);
});
