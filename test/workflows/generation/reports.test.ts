import { SIGNALS, UPDATES } from '../../../domain/contract';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';

/** Rule 15, and what a Temporal client may report, and what becomes of what is not a report. */

let engine: Engine;
let account: string;

beforeAll(async () => {
  engine = await startEngine();
  account = engine.newId('reports');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => engine.stop());

/** Four images for 96 credits, which the pipeline makes itself. */
async function begun(): Promise<string> {
  const provider = { type: 'external', deadlineSeconds: 600 };
  const { status, body } = await engine.generate({
    account,
    action: 'image',
    params: { outputs: 4 },
    provider,
  });
  expect(status).toBe(201);
  return body.id;
}
const handle = (id: string) => engine.temporal.workflow.getHandle(id);
const signal = (id: string, report: unknown) => handle(id).signal(SIGNALS.providerReport, report);
const read = (id: string) => engine.call('GET', `/v1/generations/${id}`).then(({ body }) => body);
const until = (id: string, good: (generation: Generation) => boolean) => eventually(() => read(id), good);
const ended = (id: string) => until(id, ({ status }) => status !== 'running');
const FOUR = [{ url: 'a' }, { url: 'b' }, { url: 'c' }, { url: 'd' }];

async function items(id: string): Promise<Record<string, unknown>[]> {
  return engine.database.owner
    .knex('holdfast.operations_items')
    .whereLike('subject', `${id}%`)
    .orderBy('raised_at');
}
const raised = (id: string, count: number) =>
  eventually(
    () => items(id),
    (rows) => rows.length === count,
  );

test('a part that names no phase changes nothing, is kept for operations, and the final report is paid', async () => {
  const id = await begun();
  await signal(id, { kind: 'complete', id: 'r1', outputs: [], final: false, creditsMilli: 5000 });
  const [item] = await raised(id, 1);
  expect(item).toMatchObject({ kind: 'report_rejected', account_id: account });
  expect(JSON.stringify(item)).toContain('names its phase');
  expect((await read(id)).credits).toMatchObject({ held: 96, captured: 0 });
  await signal(id, { kind: 'complete', id: 'r2', outputs: FOUR, final: true, creditsMilli: 60_000 });
  expect(await ended(id)).toMatchObject({ status: 'succeeded', credits: { captured: 60, refunded: 36 } });
  const { body } = await engine.call<{ data: { what: string; detail: object }[] }>(
    'GET',
    `/v1/generations/${id}/timeline`,
  );
  expect(body.data.filter(({ what }) => what === 'report')).toMatchObject([
    { detail: { outcome: 'rejected' } },
  ]);
});

test('credits beyond what is held take what remains, phase by phase, and operations are told', async () => {
  const id = await begun();
  const phase = { kind: 'complete', outputs: [], final: false };
  await signal(id, { ...phase, id: 'r1', phase: 'draft', creditsMilli: 90_000 });
  await until(id, ({ credits }) => credits.captured === 90);
  await signal(id, { ...phase, id: 'r2', phase: 'paint', creditsMilli: 7_000 });
  const [item] = await raised(id, 1);
  expect(item).toMatchObject({
    kind: 'capture_clamped',
    subject: `${id} phase:paint`,
    detail: { askedMilli: 7_000, takenMilli: 6_000, reportId: 'r2' },
  });
  await signal(id, { kind: 'complete', id: 'r3', outputs: FOUR, final: true });
  expect(await ended(id)).toMatchObject({ status: 'succeeded', credits: { captured: 96, refunded: 0 } });
});

test('who waits for the answer of a report is told that it is too much', async () => {
  const id = await begun();
  const report = { kind: 'complete', id: 'r1', outputs: FOUR, final: true, creditsMilli: 96_001 };
  const update = handle(id).executeUpdate(UPDATES.report, { args: [report], updateId: 'r1' });
  expect(await update).toEqual({ ok: false, code: 'exceeds_hold' });
  await signal(id, { kind: 'fail', id: 'r2', code: 'oom', message: '' });
  await ended(id);
  expect(await items(id)).toEqual([]);
});

test('a phase that was paid with other figures is kept as rejected', async () => {
  const id = await begun();
  const phase = { kind: 'complete', outputs: [], final: false, phase: 'draft' };
  await signal(id, { ...phase, id: 'r1', creditsMilli: 10_000 });
  await signal(id, { ...phase, id: 'r2', creditsMilli: 11_000 });
  const rejected = await eventually(
    async () =>
      engine.database.owner.knex('holdfast.reports').where({ generation_id: id, outcome: 'rejected' }),
    (rows) => rows.length === 1,
  );
  expect(rejected).toMatchObject([{ report_id: 'r2', body: { creditsMilli: 11_000 } }]);
  await signal(id, { kind: 'complete', id: 'r3', outputs: FOUR, final: true });
  expect((await ended(id)).credits).toMatchObject({ captured: 96 });
});

test('text that no database keeps, whatever it is part of, is kept as an excerpt and holds nothing up', async () => {
  const id = await begun();
  const poison: unknown[] = [
    { kind: 'fail', id: 'r1', code: 'a\0b', message: '' },
    { kind: 'fail', id: 'r2', code: 'oom', message: '\uD800' },
    { kind: 'complete', id: 'r3', outputs: [{ url: 'https://a/\0' }], final: true },
    { kind: 'complete', id: 'r4', outputs: [], final: false, creditsMilli: 1, phase: 'p'.repeat(300) },
    { kind: 'complete', id: 'r\0', outputs: [], final: true },
    null,
  ];
  for (const report of poison) await signal(id, report);
  const kept = await raised(id, poison.length);
  expect(new Set(kept.map(({ kind }) => kind))).toEqual(new Set(['report_rejected']));
  expect((await read(id)).credits).toMatchObject({ held: 96, captured: 0 });
  // Fields of no report reach nothing, least of all the work that is paid for.
  const work = { account: 'another', holdId: 'another' };
  await signal(id, { kind: 'complete', id: 'r5', outputs: FOUR, final: true, work });
  expect(await ended(id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
});

test('a report that is none is refused to who waits for its answer', async () => {
  const id = await begun();
  const report = { kind: 'fail', id: 'r1', code: 'a\0b', message: '' };
  const update = handle(id).executeUpdate(UPDATES.report, { args: [report], updateId: 'r1' });
  await expect(update).rejects.toMatchObject({ cause: { message: expect.stringContaining('NUL') } });
  await signal(id, { kind: 'fail', id: 'r2', code: 'oom', message: '' });
  await ended(id);
});

test('a cancel that says nothing that can be kept still cancels', async () => {
  const [one, other] = [await begun(), await begun()];
  await handle(one).signal(SIGNALS.cancel, { by: 'nobody', reason: 'a\0b' });
  await handle(other).signal(SIGNALS.cancel, null);
  const end = { status: 'canceled', credits: { refunded: 96 } };
  expect(await ended(one)).toMatchObject({ ...end, error: { message: 'a\uFFFDb' } });
  expect(await ended(other)).toMatchObject({ ...end, error: { message: 'Canceled by the operator.' } });
});

test('a report under a key is answered with its first answer, and the key is not another report’s', async () => {
  const id = await begun();
  const send = (what: string, body: object, idempotencyKey: string) =>
    engine.call<Generation & Problem>('POST', `/v1/generations/${id}/${what}`, { body, idempotencyKey });
  const [k1, k2, k3] = [`${id}-1`, `${id}-2`, `${id}-3`];
  const draft = { outputs: [], credits: 10, final: false, phase: 'draft' };
  const first = await send('complete', draft, k1);
  const done = await send('complete', { outputs: FOUR, credits: 50 }, k2);
  expect([first.body.credits.captured, done.body.credits.captured]).toEqual([10, 60]);
  await send('refund', { credits: 5, reason: 'a gift' }, k3);
  for (const [key, body, was] of [
    [k1, draft, first],
    [k2, { outputs: FOUR, credits: 50 }, done],
  ] as const) {
    const again = await send('complete', body, key);
    expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([was.text, 'true']);
  }
  const other = await send('fail', { code: 'oom', message: '' }, k1);
  expect([other.status, other.body.code]).toEqual([409, 'idempotency_conflict']);
});
