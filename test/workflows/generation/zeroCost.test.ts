import { SEARCH_ATTRIBUTES, SIGNALS } from '../../../domain/contract';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';
import { OPEN_STUDIO, storeOpenStudio } from '../../support/ledger/openStudio';
import { startSweeper, type Sweeper } from '../../support/processes/sweeper';
import { defined } from '../../../domain/defined';

/** Work that comes to 0 credits runs and is counted; phases that cost nothing land; what delivered something did not fail. */

const EXTERNAL = { type: 'external', deadlineSeconds: 600 };

let engine: Engine;
let sweeper: Sweeper;

beforeAll(async () => {
  engine = await startEngine();
  await storeOpenStudio(engine.database);
  // A process may continue for a moment with the catalogs it knows.
  const known = () => engine.call('GET', `/v1/catalogs/${OPEN_STUDIO}`);
  await eventually(known, ({ status }) => status === 200);
  sweeper = await startSweeper(engine);
});
afterAll(async () => {
  await sweeper.stop();
  await engine.stop();
});

async function open(plan = 'free'): Promise<string> {
  const account = engine.newId('zero');
  const body = { id: account, catalog: OPEN_STUDIO, plan };
  expect((await engine.call('POST', '/v1/accounts', { body })).status).toBe(201);
  return account;
}

const post = <T = Generation>(at: string, body: object, idempotencyKey?: string) =>
  engine.call<T>('POST', at, { body, ...defined({ idempotencyKey }) });
const read = (id: string) => engine.call('GET', `/v1/generations/${id}`).then(({ body }) => body);
const quotaOf = async (account: string) => (await engine.balance(account)).quotas[0]?.used;
const attributes = async (id: string) =>
  (await engine.temporal.workflow.getHandle(id).describe()).searchAttributes;

async function begun(account: string, action: string, more: object = {}): Promise<string> {
  const { status, body } = await engine.generate({ account, action, provider: EXTERNAL, ...more });
  expect(status).toBe(201);
  expect(body.status).toBe('running');
  return body.id;
}

const complete = (id: string, body: object) =>
  post<Generation & Problem>(`/v1/generations/${id}/complete`, body);
const fail = (id: string, body = { code: 'broke', message: 'It broke.' }) =>
  post(`/v1/generations/${id}/fail`, body);

describe('work whose rate comes to 0', () => {
  test('runs at the provider under a hold of nothing, and is counted', async () => {
    const account = await open();
    const { status, body } = await engine.generate({ account, action: 'explore', params: { outputs: 2 } });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      status: 'running',
      credits: { quoted: 0, held: 0, captured: 0 },
      draws: [],
      outputs: [],
      workflowId: body.id,
      finishedAt: null,
    });
    const end = await engine.ended(body.id);
    expect(end).toMatchObject({
      status: 'succeeded',
      credits: { quoted: 0, held: 0, captured: 0, refunded: 0, forfeited: 0 },
      outputs: [{ status: 'succeeded' }, { status: 'succeeded' }],
      workflowId: body.id,
    });
    expect((await engine.temporal.workflow.getHandle(body.id).result()) as unknown).toMatchObject({
      status: 'succeeded',
    });
    const rows = await engine.journal(account);
    expect(rows.filter(({ generation }) => generation === body.id)).toMatchObject([
      { kind: 'reserve', status: 'applied', credits: 0 },
      { kind: 'capture', status: 'applied', credits: 0 },
    ]);
    expect(await quotaOf(account)).toBe(2);
    const usage = await engine.call<{ data: object[]; total: object }>(
      'GET',
      `/v1/usage?account=${account}&groupBy=model`,
    );
    expect(usage.body).toMatchObject({
      data: [{ key: 'relaxed', credits: 0, generations: 1, outputs: 2 }],
      total: { credits: 0, generations: 1, outputs: 2 },
    });
  });

  test('is limited by quota and open generations like any other, and gives its use back when nothing came of it', async () => {
    const account = await open();
    await engine.call('PUT', `/v1/accounts/${account}/limits`, { body: { openGenerations: 1 } });
    const id = await begun(account, 'explore', { params: { outputs: 2 } });
    expect(await quotaOf(account)).toBe(2);
    const many = await engine.generate<Problem>({ account, action: 'film', provider: EXTERNAL });
    expect([many.status, many.body.code]).toEqual([429, 'too_many_open_generations']);
    const full = await engine.generate<Problem>({ account, action: 'explore' });
    expect([full.status, full.body.code]).toEqual([429, 'quota_reached']);
    await post(`/v1/generations/${id}/cancel`, {});
    expect(await read(id)).toMatchObject({
      status: 'canceled',
      credits: { quoted: 0, held: 0, captured: 0 },
    });
    expect(await quotaOf(account)).toBe(0);
    const failed = await begun(account, 'explore');
    expect((await fail(failed)).body).toMatchObject({ status: 'failed', error: { code: 'broke' } });
    expect(await quotaOf(account)).toBe(0);
    const none = await begun(account, 'explore');
    expect((await complete(none, { outputs: [] })).body).toMatchObject({ status: 'failed' });
    expect(await quotaOf(account)).toBe(0);
  });

  test('is refused to a plan that does not have it and to a suspended account, and given to one that has nothing', async () => {
    const account = await open();
    const gated = await engine.generate<Problem>({ account, action: 'explore', model: 'relaxed-pro' });
    expect([gated.status, gated.body.code]).toEqual([403, 'plan_required']);
    const { available } = await engine.balance(account);
    await post(`/v1/charges`, { account, credits: available }, engine.newId('all'));
    expect((await engine.balance(account)).available).toBe(0);
    const { body } = await engine.generate({ account, action: 'explore' });
    expect((await engine.ended(body.id)).status).toBe('succeeded');
    await post(
      `/v1/accounts/${account}/suspend`,
      { reason: 'trial', cancelRunning: false },
      engine.newId('s'),
    );
    const suspended = await engine.generate<Problem>({ account, action: 'explore' });
    expect([suspended.status, suspended.body.code]).toEqual([403, 'account_suspended']);
  });

  test('answers its key as it was answered first, also after its end', async () => {
    const account = await open();
    const key = engine.newId('key');
    const first = await engine.generate({ account, action: 'explore' }, key);
    await engine.ended(first.body.id);
    const again = await engine.generate({ account, action: 'explore' }, key);
    expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
  });

  test('is freed by the sweep and by a person like any other hold', async () => {
    const account = await open();
    const gone = await begun(account, 'explore');
    await engine.temporal.workflow.getHandle(gone).terminate('a test');
    const stuck = await begun(account, 'explore');
    await engine.temporal.workflow.getHandle(stuck).terminate('a test');
    const { body } = await post(`/v1/generations/${stuck}/release`, { reason: 'stuck' });
    expect(body).toMatchObject({ status: 'failed', error: { code: 'released' } });
    expect(await sweeper.pass()).toMatchObject({ holds: { freed: 1 } });
    expect(await read(gone)).toMatchObject({ status: 'failed', error: { code: 'workflow_gone' } });
    expect(await quotaOf(account)).toBe(0);
  });

  test('ends by a report that says 0, and more than 0 exceeds what is held', async () => {
    const account = await open();
    const id = await begun(account, 'explore');
    expect((await complete(id, { outputs: [{}], credits: 1 })).body.code).toBe('exceeds_hold');
    const done = await complete(id, { outputs: [{ url: 'a' }], credits: 0 });
    expect(done.body).toMatchObject({ status: 'succeeded', credits: { quoted: 0, captured: 0 } });
    const refund = await post<Problem>(
      `/v1/generations/${id}/refund`,
      { reason: 'sorry' },
      engine.newId('r'),
    );
    expect([refund.status, refund.body.code]).toEqual([409, 'refund_exceeds_captured']);
    expect(await quotaOf(account)).toBe(1);
    const late = await complete(id, { outputs: [{ url: 'b' }], credits: 0 });
    expect([late.status, late.body.code]).toEqual([409, 'generation_ended']);
  });

  test('may be a pipeline of which every phase costs nothing', async () => {
    const account = await open();
    const id = await begun(account, 'slides');
    expect((await complete(id, { outputs: [], final: false, phase: 'frames', credits: 0 })).status).toBe(200);
    expect((await fail(id)).body).toMatchObject({
      status: 'partial',
      phases: [{ phase: 'frames', credits: 0 }],
      error: { code: 'broke' },
    });
    expect(await quotaOf(account)).toBe(1); // it delivered something
  });
});

test('a free action still ends at once, without a workflow', async () => {
  const account = await open();
  const { status, body } = await engine.generate({ account, action: 'rename' });
  expect(status).toBe(201);
  expect(body).toMatchObject({
    status: 'succeeded',
    credits: { quoted: 0 },
    workflowId: null,
    temporalUrl: null,
  });
  expect(body.finishedAt).toBe(body.createdAt);
});

describe('a phase that costs nothing', () => {
  test('lands once, is in the timeline and among the phases, and moves no credits', async () => {
    const account = await open();
    const id = await begun(account, 'film');
    const frames = { outputs: [], final: false, phase: 'frames', credits: 0 };
    await complete(id, { outputs: [], final: false, phase: 'shots', credits: 20 });
    const landed = await complete(id, frames);
    expect(landed.status).toBe(200);
    expect(landed.body).toMatchObject({
      status: 'running',
      credits: { quoted: 30, held: 10, captured: 20 },
      phases: [
        { phase: 'shots', credits: 20 },
        { phase: 'frames', credits: 0 },
      ],
    });
    expect((await complete(id, frames)).text).toBe(landed.text);
    const other = await complete(id, { ...frames, credits: 1 });
    expect([other.status, other.body.code]).toEqual([409, 'phase_captured']);
    const { body: timeline } = await engine.call<{ data: { what: string; detail: object }[] }>(
      'GET',
      `/v1/generations/${id}/timeline`,
    );
    const ledger = timeline.data.filter(({ what }) => what === 'ledger').map(({ detail }) => detail);
    expect(ledger).toMatchObject([
      { kind: 'reserve' },
      { kind: 'capture', phase: 'shots' },
      { kind: 'capture', credits: 0, phase: 'frames' },
    ]);
    const end = await complete(id, { outputs: [{ url: 'film' }], credits: 10, phase: 'cut' });
    expect(end.body).toMatchObject({ status: 'succeeded', credits: { captured: 30, refunded: 0 } });
  });

  test('may be the last: what was held goes back, and the outputs decide how it ended', async () => {
    const account = await open();
    const id = await begun(account, 'film');
    const { body } = await complete(id, { outputs: [{ url: 'a' }], credits: 0 });
    expect(body).toMatchObject({ status: 'succeeded', credits: { quoted: 30, captured: 0, refunded: 30 } });
    const usage = await engine.call<{ total: object }>('GET', `/v1/usage?account=${account}&groupBy=action`);
    expect(usage.body.total).toMatchObject({ credits: 0, generations: 1, outputs: 1 });
  });
});

describe('a pipeline that fails after phases were captured ends partial', () => {
  async function halfway(more: object = {}): Promise<string> {
    const account = await open();
    const id = await begun(account, 'film', more);
    await complete(id, { outputs: [], final: false, phase: 'shots', credits: 20 });
    return id;
  }
  const half = { status: 'partial', credits: { quoted: 30, held: 0, captured: 20, refunded: 10 } };

  test('by its own report, everywhere it is told of', async () => {
    const id = await halfway();
    expect((await fail(id)).body).toMatchObject({ ...half, error: { code: 'broke', message: 'It broke.' } });
    expect((await engine.temporal.workflow.getHandle(id).result()) as unknown).toMatchObject({
      status: 'partial',
      error: { code: 'broke' },
    });
    expect((await attributes(id))[SEARCH_ATTRIBUTES.status]).toEqual(['partial']);
  });

  test('by its deadline', async () => {
    const id = await halfway({ provider: { type: 'external', deadlineSeconds: 3 } });
    expect(await engine.ended(id)).toMatchObject({ ...half, error: { code: 'deadline_passed' } });
  });

  test('by a release, where its workflow is gone', async () => {
    const id = await halfway();
    await engine.temporal.workflow.getHandle(id).terminate('a test');
    const { body } = await post(`/v1/generations/${id}/release`, { reason: 'stuck' });
    expect(body).toMatchObject({ ...half, error: { code: 'released' } });
  });

  test('by the sweep', async () => {
    const id = await halfway();
    await engine.temporal.workflow.getHandle(id).terminate('a test');
    expect(await sweeper.pass()).toMatchObject({ holds: { freed: 1 } });
    expect(await read(id)).toMatchObject({ ...half, error: { code: 'workflow_gone' } });
  });

  test('by a last report that delivers nothing', async () => {
    const id = await halfway();
    expect((await complete(id, { outputs: [], credits: 0 })).body).toMatchObject({
      ...half,
      error: { code: 'nothing_delivered' },
    });
  });

  test('but not where it was canceled', async () => {
    const id = await halfway();
    await engine.temporal.workflow.getHandle(id).signal(SIGNALS.cancel, { by: 'customer' });
    expect(
      await eventually(
        () => read(id),
        ({ status }) => status !== 'running',
      ),
    ).toMatchObject({
      ...half,
      status: 'canceled',
    });
  });
});

test('and the ledger is in order', async () => {
  const { body } = await engine.call<{ ok: boolean; checks: { id: string; violations: number }[] }>(
    'GET',
    '/v1/audit',
  );
  expect(body.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
