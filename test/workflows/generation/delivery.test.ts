import { WorkflowNotFoundError } from '@temporalio/client';
import { startProxy, targetOf, type Proxy } from '../../support/processes/proxy';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';
import { type Sweeper, startSweeper } from '../../support/processes/sweeper';
import { SIGNALS, UPDATES } from '../../../domain/contract';
import { runAudit } from '../../../db/audit';
import { defined } from '../../../domain/defined';

/** What a pipeline delivered is paid as long as its hold is open, whatever became of the workflow, of Temporal, of a process. */

let engine: Engine;
let temporal: Proxy;
let account: string;

beforeAll(async () => {
  temporal = await startProxy(targetOf(process.env['HOLDFAST_TEST_TEMPORAL'] ?? ''));
  engine = await startEngine({ apiEnv: { TEMPORAL_ADDRESS: temporal.address } });
  account = engine.newId('delivery');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(async () => {
  await engine.stop();
  await temporal.close();
});

const FOUR = [{ url: 'a' }, { url: 'b' }, { url: 'c' }, { url: 'd' }];
const complete = (id: string, body: object = { outputs: FOUR }) => send(id, 'complete', body);
const send = (id: string, what: string, body: object = {}, idempotencyKey?: string) =>
  engine.call<Generation & Problem>('POST', `/v1/generations/${id}/${what}`, {
    body,
    ...defined({ idempotencyKey }),
  });
const read = (id: string) => engine.call('GET', `/v1/generations/${id}`).then(({ body }) => body);
const workflow = (id: string) => engine.temporal.workflow.getHandle(id);
const knex = () => engine.database.owner.knex;

/** Four images for 96 credits, which the pipeline makes itself. */
async function begun(deadlineSeconds = 600): Promise<string> {
  const provider = { type: 'external', deadlineSeconds };
  const { status, body } = await engine.generate({
    account,
    action: 'image',
    params: { outputs: 4 },
    provider,
  });
  expect(status).toBe(201);
  return body.id;
}

async function items(id: string): Promise<{ kind: string; detail: unknown; resolved_at: Date | null }[]> {
  return knex()('holdfast.operations_items').whereLike('subject', `${id}%`).orderBy('raised_at');
}

test('a delivery is paid while Temporal cannot be reached, and the workflow ends with it', async () => {
  const id = await begun();
  temporal.cut();
  const delivered = await complete(id);
  const again = await complete(id);
  temporal.mend();
  expect([delivered.status, delivered.body.status, delivered.body.credits]).toEqual([
    200,
    'succeeded',
    { quoted: 96, held: 0, captured: 96, refunded: 0, forfeited: 0 },
  ]);
  expect([again.status, again.body.credits.captured]).toEqual([200, 96]);
  // The workflow knows nothing of it yet; the next sign of any kind ends it as the ledger says.
  await workflow(id).signal(SIGNALS.cancel, { by: 'operator' });
  expect(await workflow(id).result()).toMatchObject({ status: 'succeeded' });
});

test('what was reported in time and nobody acted upon, because who took it died, counts at the deadline', async () => {
  const id = await begun(6);
  const body = { kind: 'complete', id: 'left', outputs: FOUR, final: true };
  await knex()('holdfast.reports').insert({
    account_id: account,
    generation_id: id,
    report_id: 'left',
    body: JSON.stringify(body),
    outcome: 'pending',
  });
  expect(await engine.ended(id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
  const [row] = (await knex()('holdfast.reports').where({ generation_id: id })) as { outcome: string }[];
  expect(row?.outcome).toBe('applied');
});

test('one that came after the deadline does not', async () => {
  const id = await begun(2);
  await eventually(
    () => read(id),
    ({ status }) => status === 'failed',
  );
  const late = await complete(id);
  expect([late.status, late.body.code]).toEqual([409, 'generation_ended']);
});

test('a delivery for a workflow that was terminated is paid: its hold is open', async () => {
  const id = await begun();
  await workflow(id).terminate('somebody in the UI');
  const { status, body } = await complete(id);
  expect([status, body.status, body.credits.captured]).toEqual([200, 'succeeded', 96]);
  expect(await items(id)).toEqual([]);
});

test('a cancel of one that was terminated gives the credits back at once', async () => {
  const id = await begun();
  await workflow(id).terminate('somebody in the UI');
  const { status, body } = await send(id, 'cancel', { reason: 'changed my mind' });
  expect([status, body.status, body.credits]).toMatchObject([200, 'canceled', { held: 0, refunded: 96 }]);
  expect(body.error).toEqual({ code: 'canceled', message: 'changed my mind' });
});

test('deliveries that race with cancels, with each other and with failures never answer 500, and all agree', async () => {
  const runs = Array.from({ length: 8 }, async () => {
    const id = await begun();
    const replies = await Promise.all([
      complete(id),
      send(id, 'cancel'),
      complete(id, { outputs: FOUR, credits: 90 }),
      send(id, 'fail', { code: 'oom', message: '' }),
      complete(id),
    ]);
    const end = await engine.ended(id);
    await workflow(id).result();
    return { end, statuses: replies.map(({ status }) => status), items: await items(id) };
  });
  for (const { end, statuses, items: raised } of await Promise.all(runs)) {
    expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([]);
    const { captured, refunded } = end.credits;
    expect(captured + refunded).toBe(96);
    const [complete1, , complete2, fail, complete3] = statuses;
    expect([complete1, complete3]).toEqual(captured === 96 ? [200, 200] : [409, 409]);
    expect(complete2).toBe(captured === 90 ? 200 : 409);
    expect(fail).toBe(end.error?.code === 'oom' ? 200 : 409);
    expect(raised.map(({ kind }) => kind)).not.toContain('capture_of_closed_hold');
  }
});

test('an update by a Temporal client is answered, and stays in the history, whatever comes in beside it', async () => {
  const runs = Array.from({ length: 6 }, async (_, n) => {
    const id = await begun();
    const report = { kind: 'complete', id: 'r1', outputs: FOUR, final: true };
    const [reply] = await Promise.all([
      workflow(id)
        .executeUpdate(UPDATES.report, { args: [report], updateId: 'r1' })
        .catch(tooLate),
      n % 2 === 0
        ? workflow(id).signal(SIGNALS.cancel, { by: 'customer' })
        : workflow(id).signal(SIGNALS.providerReport, { ...report, id: 'r2', creditsMilli: 90_000 }),
    ]);
    const { events } = await workflow(id)
      .result()
      .then(() => workflow(id).fetchHistory());
    const completed = (events ?? []).filter((event) => event.workflowExecutionUpdateCompletedEventAttributes);
    return { reply, completed: completed.length, items: await items(id), end: await read(id) };
  });
  for (const { reply, completed, items: raised, end } of await Promise.all(runs)) {
    const good =
      end.credits.captured === 96 ? [{ ok: true }] : [{ ok: false, code: 'generation_ended' }, null];
    expect(good).toContainEqual(reply);
    expect(completed).toBe(reply === null ? 1 : 2); // the reservation's and the report's
    expect(raised.map(({ kind }) => kind)).not.toContain('capture_of_closed_hold');
  }
});

/** The run had closed: the update is not in it, and nobody acted upon it. */
function tooLate(error: unknown): null {
  if (error instanceof WorkflowNotFoundError) return null;
  throw error;
}

test('late work is an item until it is charged for, once, in the bounds of what was held, and can be refunded', async () => {
  const id = await begun();
  expect((await complete(id, { outputs: FOUR.slice(0, 1) })).body.credits.captured).toBe(24);
  expect((await complete(id)).status).toBe(409);
  const [item] = await items(id);
  expect(item).toMatchObject({ kind: 'late_report', detail: { credits: 72 }, resolved_at: null });
  const [report] = (await read(id)).lateReports;
  expect(report).toMatchObject({ applied: null, body: { outputs: FOUR } });
  const at = `late-reports/${report?.reportId}/apply`;

  const wrong = await send(id, 'late-reports/nothing/apply', { reason: 'x' }, `${id}-0`);
  expect([wrong.status, wrong.body.code]).toEqual([404, 'unknown_report']);
  const tooMuch = await send(id, at, { credits: 72.001, reason: 'x' }, `${id}-1`);
  expect([tooMuch.status, tooMuch.body.code]).toEqual([422, 'exceeds_hold']);

  const { available } = await engine.balance(account);
  const replies = await Promise.all([
    send(id, at, { reason: 'delivered after all' }, `${id}-2`),
    send(id, at, { reason: 'delivered after all' }, `${id}-2`),
    send(id, at, { credits: 10, reason: 'another hand' }, `${id}-3`),
  ]);
  expect(replies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual(
    replies[2]?.status === 200 ? [200, 409, 409] : [200, 200, 409],
  );
  const taken = replies[2]?.status === 200 ? 10 : 72;
  expect((await engine.balance(account)).available).toBe(available - taken);
  const after = await read(id);
  expect(after.credits).toMatchObject({ captured: 24, refunded: 72 }); // it stays as it ended
  expect(after.lateReports).toMatchObject([{ applied: { credits: taken } }]);
  expect((await items(id))[0]?.resolved_at).not.toBeNull();
  const charge = after.lateReports[0]?.applied?.charge ?? '';
  const hold = await engine.call<{ credits: { captured: number } }>('GET', `/v1/holds/${charge}`);
  expect(hold.body.credits.captured).toBe(taken);
  const again = await send(id, at, { reason: 'once more' }, `${id}-4`);
  expect([again.status, again.body.code]).toEqual([409, 'late_report_applied']);
});

test('what comes in while a run closes is answered, and kept as late', async () => {
  const runs = Array.from({ length: 6 }, async (_, n) => {
    const id = await begun();
    const final = { kind: 'complete', outputs: FOUR.slice(0, 1), final: true };
    await workflow(id).executeUpdate(UPDATES.report, { args: [{ ...final, id: 'r1' }], updateId: 'r1' });
    const late = { ...final, id: 'r2', outputs: FOUR };
    const taken =
      n % 2 === 0
        ? await workflow(id).signal(SIGNALS.providerReport, late).then(taking, tooLate)
        : await workflow(id)
            .executeUpdate(UPDATES.report, { args: [late], updateId: 'r2' })
            .then(taking, tooLate);
    await workflow(id).result();
    return { taken, kept: (await read(id)).lateReports.map(({ reportId }) => reportId) };
  });
  for (const { taken, kept } of await Promise.all(runs)) expect(kept).toEqual(taken === null ? [] : ['r2']);
});
const taking = () => true;

test('late work of a generation that was paid in full is kept and is not an item', async () => {
  const id = await begun();
  expect((await complete(id)).status).toBe(200);
  expect((await complete(id, { outputs: FOUR, credits: 90 })).status).toBe(409);
  expect((await read(id)).lateReports).toHaveLength(1);
  expect(await items(id)).toEqual([]);
});

test('work that is priced by four and delivered as one file, for the credits it names, has succeeded', async () => {
  const whole = await begun();
  const one = await complete(whole, { outputs: [{ url: 'speech.mp3' }], credits: 96 });
  expect(one.body).toMatchObject({
    status: 'succeeded',
    credits: { captured: 96 },
    outputs: [{ index: 0, status: 'succeeded', url: 'speech.mp3' }],
  });
  expect(one.body.outputs).toHaveLength(1);
  const share = await complete(await begun(), { outputs: [{ url: 'speech.mp3' }] });
  expect(share.body).toMatchObject({ status: 'partial', credits: { captured: 24 } });
  const nothing = await complete(await begun(), { outputs: [], credits: 0.001 });
  expect(nothing.body.status).not.toBe('succeeded');
});

test('a deadline that heartbeats keep moving is looked at ever more rarely, and the work is still delivered', async () => {
  const id = await begun(2);
  const until = Date.now() + 12_000;
  while (Date.now() < until) {
    const beat = await send(id, 'heartbeat', { extendSeconds: 5 });
    expect(beat.status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const { events } = await workflow(id).fetchHistory();
  const timers = (events ?? []).filter((event) => event.timerStartedEventAttributes);
  // At 0, 2, 4 and 8 s, and a machine that stalls makes them fewer; one for each beat were forty.
  expect(timers.length).toBeLessThanOrEqual(6);
  expect((await complete(id)).body).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
});

test('a run whose history grew long continues in another with the same hold', async () => {
  const id = await begun();
  const run = async () => (await workflow(id).describe()).runId;
  const first = await run();
  let phases = 0;
  const oneMore = () => {
    phases += 1;
    const report = { kind: 'complete', id: `r${phases}`, outputs: [], final: false, creditsMilli: 0 };
    return workflow(id).signal(SIGNALS.providerReport, { ...report, phase: `p${phases}` });
  };
  for (let turn = 0; turn < 20; turn += 1) await Promise.all(Array.from({ length: 10 }, oneMore));
  // A run finds out with what comes next: many at once may have been taken in one task, at whose start it was still short.
  const ran = async () => {
    await oneMore();
    return run();
  };
  await eventually(ran, (now) => now !== first);
  expect(await read(id)).toMatchObject({ status: 'running', credits: { held: 96, captured: 0 } });
  const update = await workflow(id).executeUpdate(UPDATES.report, {
    args: [{ kind: 'complete', id: 'last', outputs: FOUR, final: true }],
    updateId: 'last',
  });
  expect(update).toEqual({ ok: true });
  expect(await read(id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
});

describe('the sweep', () => {
  let sweeper: Sweeper;
  beforeAll(async () => {
    sweeper = await startSweeper(engine);
  });
  afterAll(() => sweeper.stop());

  const left = (id: string, body: Record<string, unknown>) =>
    knex()('holdfast.reports').insert({
      account_id: account,
      generation_id: id,
      report_id: body['id'],
      body: JSON.stringify(body),
      outcome: 'pending',
    });
  const outcomes = async (id: string) =>
    (await knex()('holdfast.reports').where({ generation_id: id }).orderBy('report_id')).map(
      ({ outcome, untold }: { outcome: string; untold: boolean }) => [outcome, untold],
    );

  test('acts on what was left, also where the workflow is gone, before the hold is freed for that', async () => {
    const [alive, gone, ended, never] = [await begun(), await begun(), await begun(), await begun()];
    const report = { kind: 'complete', id: 'left', outputs: FOUR, final: true };
    await workflow(gone).terminate('somebody in the UI');
    await send(ended, 'fail', { code: 'oom', message: '' });
    for (const id of [alive, gone, ended]) await left(id, report);
    await left(never, { kind: 'nothing', id: 'left' });
    const { reports, holds } = await sweeper.pass();
    expect(reports).toMatchObject({ acted: 4, failed: 0, next: null });
    expect(holds.freed).toBe(0);
    expect(await workflow(alive).result()).toMatchObject({ status: 'succeeded' });
    for (const id of [alive, gone])
      expect(await read(id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
    expect(await outcomes(alive)).toEqual([['applied', false]]);
    expect((await read(ended)).lateReports).toMatchObject([{ reportId: 'left' }]);
    expect((await items(ended)).map(({ kind }) => kind)).toEqual(['late_report']);
    expect(await outcomes(never)).toEqual([['rejected', false]]);
    await send(never, 'cancel');
  });

  test('tells a workflow what it was not told, when Temporal is there again', async () => {
    const id = await begun();
    temporal.cut();
    expect((await complete(id)).status).toBe(200);
    await eventually(
      () => outcomes(id),
      ([row]) => row?.[0] === 'applied',
    );
    temporal.mend();
    await knex()('holdfast.reports').where({ generation_id: id }).update({ untold: true });
    expect((await sweeper.pass()).reports).toMatchObject({ told: 1, failed: 0 });
    expect(await workflow(id).result()).toMatchObject({ status: 'succeeded' });
    expect(await outcomes(id)).toEqual([['applied', false]]);
  });
});

test('after all of it the books are in order', async () => {
  const { checks } = await runAudit(engine.database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
