import { randomBytes } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import { generationId } from '../../../domain/ids';
import { WORKFLOWS } from '../../../domain/contract';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';

/** Generations over HTTP, through the real Temporal server, worker and database. */

let engine: Engine;
let account: string;

beforeAll(async () => {
  engine = await startEngine();
  account = engine.newId('gen');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => engine.stop());

const image = (more: Record<string, unknown> = {}) => ({ account, action: 'image', ...more });
const simulated = (more: Record<string, unknown>) => ({ provider: { type: 'simulated', ...more } });
const external = (deadlineSeconds = 60) => ({ provider: { type: 'external', deadlineSeconds } });
const ended = (id: string) => engine.ended(id);

async function begun(body: Record<string, unknown>): Promise<Generation> {
  const { status, body: generation } = await engine.generate(body);
  expect(status).toBe(201);
  expect(generation.status).toBe('running');
  return generation;
}

/** The row ends a moment before the workflow that wrote it. */
async function closed(id: string) {
  const handle = engine.temporal.workflow.getHandle(id);
  await handle.result();
  return handle.describe();
}

/** What every generation must satisfy at its end. */
function adds(generation: Generation) {
  const { quoted, held, captured, refunded, forfeited } = generation.credits;
  expect(held).toBe(0);
  expect(captured + refunded + forfeited).toBe(quoted);
  return generation;
}

describe('a generation', () => {
  test('holds its price at once, captures it when the work is done, and tells the Temporal UI', async () => {
    const begin = await begun(image({ params: { outputs: 2 }, ...simulated({ delayMs: 300 }) }));
    expect(begin.credits).toMatchObject({ quoted: 48, held: 48 });
    expect(begin.temporalUrl).toBe(`http://temporal-ui.test/namespaces/default/workflows/${begin.id}`);
    const end = adds(await ended(begin.id));
    expect(end).toMatchObject({ status: 'succeeded', credits: { captured: 48 } });
    expect(end.outputs.map(({ status }) => status)).toEqual(['succeeded', 'succeeded']);

    const told = await closed(begin.id);
    expect(told.status.name).toBe('COMPLETED');
    expect(told.typedSearchAttributes.getAll().map(({ value }) => value)).toEqual(
      expect.arrayContaining([account, 'image', 'example', 'simulated', 'succeeded']),
    );
    expect(await told.staticSummary()).toContain(account);
  });

  test('gives everything back when the provider fails, and when it never answers', async () => {
    const [failed, silent] = await Promise.all([
      begun(image(simulated({ fail: 'error' }))),
      begun(image(simulated({ fail: 'timeout', delayMs: 700 }))),
    ]);
    expect(adds(await ended(failed.id))).toMatchObject({
      status: 'failed',
      error: { code: 'provider_error' },
      credits: { refunded: 24 },
    });
    expect(adds(await ended(silent.id))).toMatchObject({
      status: 'failed',
      error: { code: 'provider_timeout' },
      credits: { refunded: 24 },
    });
    const { status } = await closed(failed.id);
    expect(status.name).toBe('COMPLETED'); // only undecided runs fail
  });

  test('captures three quarters of the price for three of four images', async () => {
    const { id } = await begun(image({ params: { outputs: 4 }, ...simulated({ deliver: 3 }) }));
    const end = adds(await ended(id));
    expect(end).toMatchObject({ status: 'partial', credits: { quoted: 96, captured: 72, refunded: 24 } });
    expect(end.outputs.map(({ status }) => status)).toEqual([
      'succeeded',
      'succeeded',
      'succeeded',
      'failed',
    ]);
  });

  test('that delivered nothing has failed and costs nothing', async () => {
    const { id } = await begun(image(simulated({ deliver: 0 })));
    expect(adds(await ended(id))).toMatchObject({ status: 'failed', credits: { captured: 0, refunded: 24 } });
  });

  test('is cancelled by its customer, and the credits are back', async () => {
    const { id } = await begun(image(simulated({ delayMs: 600_000 })));
    await engine.call('POST', `/v1/generations/${id}/cancel`, { body: { reason: 'changed my mind' } });
    const end = await ended(id);
    expect(adds(end)).toMatchObject({
      status: 'canceled',
      error: { message: 'changed my mind' },
      credits: { refunded: 24 },
    });
    const again = await engine.call('POST', `/v1/generations/${id}/cancel`, { body: {} });
    expect(again.body).toEqual(end);
  });

  test('is cancelled by an operator in the Temporal UI, and the credits are back', async () => {
    const { id } = await begun(image(simulated({ delayMs: 600_000 })));
    await engine.temporal.workflow.getHandle(id).cancel();
    expect(adds(await ended(id))).toMatchObject({ status: 'canceled', credits: { refunded: 24 } });
  });

  test('whose workflow was terminated is released by an administrator', async () => {
    const { id } = await begun(image(simulated({ delayMs: 600_000 })));
    await engine.temporal.workflow.getHandle(id).terminate('a slip of the hand');
    const { status, body } = await engine.call('POST', `/v1/generations/${id}/release`, {
      body: { reason: 'terminated' },
    });
    expect(status).toBe(200);
    expect(adds(body)).toMatchObject({
      status: 'failed',
      error: { code: 'released' },
      credits: { refunded: 24 },
    });
  });

  test('that is free ends at once, without a workflow', async () => {
    const { status, body } = await engine.generate({ account, action: 'rename' });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      status: 'succeeded',
      workflowId: null,
      credits: { quoted: 0, captured: 0 },
    });
    await expect(engine.temporal.workflow.getHandle(body.id).describe()).rejects.toThrow(/not found/);
  });
});

describe('a key', () => {
  test('gets the same bytes again while the work runs and after it ended, and one charge', async () => {
    const key = randomBytes(6).toString('hex');
    const body = image(simulated({ delayMs: 400 }));
    const replies = await Promise.all(Array.from({ length: 8 }, () => engine.generate(body, key)));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    const [first] = replies;
    if (first === undefined) throw new Error('no reply');
    await ended(first.body.id);
    const later = await engine.generate(body, key);
    expect(later.text).toBe(first.text);
    expect(later.headers.get('idempotent-replayed')).toBe('true');
    const rows = (await engine.journal(account)).filter(({ generation }) => generation === first.body.id);
    expect(rows.map(({ kind }) => kind)).toEqual(['reserve', 'capture']);
  });

  test('is refused with another request', async () => {
    const key = randomBytes(6).toString('hex');
    await engine.generate(image(), key);
    const other = await engine.generate<Problem>(image({ params: { outputs: 2 } }), key);
    expect([other.status, other.body.code]).toEqual([409, 'idempotency_conflict']);
  });

  test('keeps a refusal for lack of credits for ever, and says so', async () => {
    const poor = engine.newId('poor');
    await engine.call('POST', '/v1/accounts', { body: { id: poor, catalog: 'working-day' } });
    const key = randomBytes(6).toString('hex');
    const dear = { account: poor, action: 'video' };
    const first = await engine.generate<Problem>(dear, key);
    expect(first.status).toBe(402);
    expect(first.body).toMatchObject({
      code: 'insufficient_credits',
      required: 210,
      available: 100,
      shortfall: 110,
      retryWithNewKey: true,
    });
    const grant = { bucket: 'pack', credits: 500, reason: 'a gift' };
    await engine.call('POST', `/v1/accounts/${poor}/adjustments`, { body: grant, idempotencyKey: 'gift' });
    expect((await engine.generate<Problem>(dear, key)).text).toBe(first.text);
    expect((await engine.generate(dear)).status).toBe(201);
  });

  test('is not used up by a confirmation that is missing, and `confirm` is not part of the request', async () => {
    const key = randomBytes(6).toString('hex');
    const asked = await engine.generate<Problem & { quote: { credits: number } }>(
      { account, action: 'site' },
      key,
    );
    expect([asked.status, asked.body.code, asked.body.quote.credits]).toEqual([
      409,
      'confirmation_required',
      500,
    ]);
    const confirmed = await engine.generate({ account, action: 'site', confirm: true }, key);
    expect(confirmed.status).toBe(201);
    const again = await engine.generate({ account, action: 'site' }, key);
    expect(again.text).toBe(confirmed.text);
  });
});

describe('work the pipeline does itself', () => {
  const report = <T = Generation>(id: string, verb: string, body: unknown) =>
    engine.call<T>('POST', `/v1/generations/${id}/${verb}`, { body });

  test('is paid phase by phase, and the rest goes back at the end', async () => {
    const { id } = await begun(image({ params: { outputs: 4 }, ...external() }));
    const hero = { outputs: [], credits: 20, final: false, phase: 'hero' };
    expect((await report(id, 'complete', hero)).body.credits).toMatchObject({ held: 76, captured: 20 });
    expect((await report(id, 'complete', hero)).body.credits).toMatchObject({ held: 76, captured: 20 });
    const other = await report<Problem>(id, 'complete', { ...hero, credits: 21 });
    expect([other.status, other.body.code]).toEqual([409, 'phase_captured']);
    const above = await report<Problem>(id, 'complete', { outputs: [], credits: 77 });
    expect([above.status, above.body.code]).toEqual([422, 'exceeds_hold']);
    const done = await report(id, 'complete', { outputs: [{ url: 'https://cdn.test/site' }], credits: 30 });
    expect(adds(done.body)).toMatchObject({ credits: { quoted: 96, captured: 50, refunded: 46 } });
  });

  test('answers all copies of a report that are sent at once the same', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { id } = await begun(image(external()));
      const done = { outputs: [{ url: 'https://cdn.test/a' }] };
      const copies = await Promise.all([1, 2, 3, 4].map(() => report(id, 'complete', done)));
      expect(copies.map(({ status, body }) => [status, body.status])).toEqual(
        copies.map(() => [200, 'succeeded']),
      );
    }
  });

  test('answers the same report the same, and keeps another one as late', async () => {
    const { id } = await begun(image(external()));
    const done = { outputs: [{ url: 'https://cdn.test/a' }] };
    const first = await report(id, 'complete', done);
    expect(first.body).toMatchObject({ status: 'succeeded', credits: { captured: 24 } });
    expect((await report(id, 'complete', done)).text).toBe(first.text);
    const late = await report<Problem>(id, 'complete', { outputs: [{}], credits: 2.5 });
    expect([late.status, late.body.code]).toEqual([409, 'generation_ended']);
    const after = await ended(id);
    expect(after.credits).toEqual(first.body.credits);
    expect(after.lateReports).toMatchObject([{ body: { kind: 'complete', credits: 2.5 } }]);
    const listed = await engine.call<{ data: Generation[] }>(
      'GET',
      `/v1/accounts/${account}/generations?late=true`,
    );
    expect(listed.body.data.map((one) => one.id)).toContain(id);
  });

  test('that failed gives the credits back', async () => {
    const { id } = await begun(image(external()));
    const { body } = await report(id, 'fail', { code: 'out_of_memory', message: 'the render did not fit' });
    expect(adds(body)).toMatchObject({
      status: 'failed',
      error: { code: 'out_of_memory' },
      credits: { refunded: 24 },
    });
  });

  test('ends at its deadline, which heartbeats move', async () => {
    const { id } = await begun(image(external(15)));
    const beaten = await report(id, 'heartbeat', { progress: 0.5, extendSeconds: 18 });
    expect(beaten.body).toMatchObject({ progress: 0.5 });
    const moved = Date.parse(beaten.body.deadlineAt ?? '');
    const end = adds(await ended(id));
    expect(end).toMatchObject({ status: 'failed', error: { code: 'deadline_passed' } });
    expect(Date.parse(end.finishedAt ?? '')).toBeGreaterThanOrEqual(moved);
    const tooLate = await report<Problem>(id, 'heartbeat', { progress: 0.9 });
    expect([tooLate.status, tooLate.body.code]).toEqual([409, 'generation_ended']);
  });

  test('takes no reports when a provider does it', async () => {
    const { id } = await begun(image(simulated({ delayMs: 60_000 })));
    const { status, body } = await report<Problem>(id, 'complete', { outputs: [{}] });
    expect([status, body.code]).toEqual([409, 'not_external']);
    await engine.call('POST', `/v1/generations/${id}/cancel`, { body: {} });
  });
});

describe('a plain Temporal client', () => {
  const start = (workflowId: string, key: string, request: Record<string, unknown> = { action: 'image' }) =>
    engine.temporal.workflow.execute(WORKFLOWS.generation, {
      workflowId,
      taskQueue: engine.taskQueue,
      args: [{ account, key, request }],
    });

  test('starts a generation like any other', async () => {
    const key = randomBytes(6).toString('hex');
    const id = generationId(account, key);
    expect(await start(id, key)).toEqual({ generation: id, status: 'succeeded' });
    expect(adds(await ended(id)).credits.captured).toBe(24);
    const sameOverHttp = await engine.generate({ account, action: 'image' }, key);
    expect([sameOverHttp.status, sameOverHttp.body.id]).toEqual([201, id]);
  });

  test('fails at once with a workflow id that is not made from account and key', async () => {
    await expect(start('gen_made.up', 'key')).rejects.toThrow(WorkflowFailedError);
  });

  test('that runs the same workflow a second time gets the finished generation, and no second charge', async () => {
    const key = randomBytes(6).toString('hex');
    const id = generationId(account, key);
    await start(id, key);
    const before = await engine.journal(account);
    expect(await start(id, key)).toEqual({ generation: id, status: 'succeeded' });
    expect(await engine.journal(account)).toEqual(before);
  });
});

test('a worker that crashes in the middle of the work loses nothing', async () => {
  const { id } = await begun(image(simulated({ fail: 'crash-once', delayMs: 300 })));
  await eventually(
    () => Promise.resolve(engine.worker().signalCode),
    (signal) => signal === 'SIGKILL',
  );
  await engine.startWorker();
  expect(adds(await ended(id))).toMatchObject({ status: 'succeeded', credits: { captured: 24 } });
  expect((await engine.journal(account)).filter(({ generation }) => generation === id)).toHaveLength(2);
});
