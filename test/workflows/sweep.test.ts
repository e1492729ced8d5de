import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { createOwners } from '../../activities/owners';
import { putIntoInbox } from '../../db/generations/inbox';
import { raiseItem } from '../../db/support/items';
import { overdueAccounts } from '../../db/support/overdue';
import { accountWorkflowId, holdIdOf } from '../../domain/ids';
import { namespaceId } from '../../activities/temporal/connect';
import { sweepScheduleId } from '../../domain/contract';
import { anchorBefore } from '../support/ledger/anchor';
import { type Engine, eventually, startEngine } from '../support/processes/engine';
import { startSweeper, type Sweeper } from '../support/processes/sweeper';

/** The backstop: what it repairs, what it leaves alone, and where it stops. */

const HOUR_MS = 3_600_000;

let engine: Engine;
let sweeper: Sweeper;

beforeAll(async () => {
  engine = await startEngine();
  sweeper = await startSweeper(engine);
  // Its own passes, once a day, would take part in what is counted here.
  await engine.temporal.schedule.getHandle(sweepScheduleId(engine.taskQueue)).pause('a test is at work');
});
afterAll(async () => {
  await sweeper.stop();
  await engine.stop();
});

const sql = (text: string, values: string[] = []) => engine.database.owner.knex.raw(text, values);

async function openAccount(): Promise<string> {
  const account = engine.newId('swept');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
  return account;
}

/** A generation that runs until somebody ends it; its id is its workflow's. */
async function generation(account: string): Promise<string> {
  const provider = { type: 'external', deadlineSeconds: 3_600 };
  const { status, body } = await engine.generate({ account, action: 'image', provider });
  expect(status).toBe(201);
  return body.id;
}

const workflow = (id: string) => engine.temporal.workflow.getHandle(id);
const heldOf = async (account: string) => (await engine.balance(account)).held;
const itemsOf = async (kind: string) => {
  const { body } = await engine.call<{ data: { kind: string; account: string | null; detail: unknown }[] }>(
    'GET',
    '/v1/operations/items?limit=100',
  );
  return body.data.filter((item) => item.kind === kind);
};

describe('a hold', () => {
  // What one test leaves open would be counted by the next.
  afterEach(async () => {
    const { rows } = await sql('SELECT generation_id AS id FROM ledger.holds WHERE open');
    for (const { id } of rows) {
      await engine.call('POST', `/v1/generations/${id}/release`, { body: { reason: 'the test has ended' } });
    }
  });

  test('is never freed while its workflow runs, however old it is', async () => {
    const account = await openAccount();
    await generation(account);
    const { holds } = await sweeper.pass();
    expect(holds).toMatchObject({ looked: 1, orphans: 0, freed: 0, unclear: 0, stopped: false });
    expect(await heldOf(account)).toBeGreaterThan(0);
  });

  test('is freed once its workflow was terminated, but not in the quarter of an hour after', async () => {
    const account = await openAccount();
    const id = await generation(account);
    await workflow(id).terminate('somebody pressed the button');
    expect((await sweeper.pass({ closedForMs: HOUR_MS / 4 })).holds).toMatchObject({ looked: 1, orphans: 0 });
    expect(await heldOf(account)).toBeGreaterThan(0);

    expect((await sweeper.pass()).holds).toMatchObject({ looked: 1, orphans: 1, freed: 1 });
    expect(await engine.balance(account)).toMatchObject({ available: 8_000, held: 0 });
    const { body } = await engine.call('GET', `/v1/generations/${id}`);
    expect(body).toMatchObject({ status: 'failed', error: { code: 'workflow_gone' }, credits: { held: 0 } });
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 0, freed: 0 });
    expect((await engine.journal(account)).map(({ kind }) => kind)).toEqual(['grant', 'reserve', 'release']);
  });

  test('is left alone when its workflow was started again by its key', async () => {
    const account = await openAccount();
    const key = randomBytes(6).toString('hex');
    const request = { account, action: 'image', provider: { type: 'external', deadlineSeconds: 3_600 } };
    const { body } = await engine.generate(request, key);
    await workflow(body.id).terminate();
    await engine.temporal.workflow.start('generationWorkflow', {
      workflowId: body.id,
      taskQueue: engine.taskQueue,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
      args: [
        { account, key, request: { action: 'image', provider: request.provider }, mayChooseProvider: true },
      ],
    });
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 1, orphans: 0, freed: 0 });
    expect(await heldOf(account)).toBeGreaterThan(0);
  });

  test('is not freed when it moved after it was looked at', async () => {
    const account = await openAccount();
    const id = await generation(account);
    await workflow(id).terminate();
    const hold = { account, holdId: holdIdOf(id), cause: 'engine' as const };
    const { rows } = await sql('SELECT epoch FROM ledger.holds WHERE hold_id = ?', [hold.holdId]);
    const run = { workflowId: id, namespaceId: await namespaceId(engine.temporal) };
    await sweeper.ledger.assertHoldOpen({ account, holdId: hold.holdId, ...run });
    const reply = await sweeper.ledger.run(account, {
      op: 'release',
      key: `sys:release:${hold.holdId}`,
      hash: 'release',
      holdId: hold.holdId,
      cause: 'engine',
      epoch: rows[0].epoch,
    });
    expect(reply?.status).toBe('hold_alive');
    expect(await heldOf(account)).toBeGreaterThan(0);
    // The key was not used up: read again, it is freed.
    expect((await sweeper.pass()).holds).toMatchObject({ freed: 1 });
  });

  test('whose workflow the server does not know is freed only when it is an hour old', async () => {
    const account = await openAccount();
    const id = await generation(account);
    await workflow(id).terminate();
    await sql('UPDATE ledger.holds SET workflow_id = ? WHERE hold_id = ?', [
      'gen_never.started',
      holdIdOf(id),
    ]);
    expect((await sweeper.pass({ unknownFromMs: HOUR_MS })).holds).toMatchObject({ looked: 1, orphans: 0 });
    expect((await sweeper.pass()).holds).toMatchObject({ orphans: 1, freed: 1 });
  });

  test('in a namespace that is not there, or not the same under its name, is not freed', async () => {
    const account = await openAccount();
    const id = await generation(account);
    await workflow(id).terminate();
    const other = '00000000-0000-4000-8000-000000000000';
    await sql('UPDATE ledger.holds SET namespace_id = ? WHERE hold_id = ?', [other, holdIdOf(id)]);
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 1, unclear: 1, orphans: 0, freed: 0 });
    expect(await heldOf(account)).toBeGreaterThan(0);
  });

  test('many at once stop the pass, which says so, until an operator lets them go', async () => {
    const account = await openAccount();
    for (let n = 0; n < 21; n += 1) await workflow(await generation(account)).terminate();
    const stopped = await sweeper.pass();
    expect(stopped.holds).toMatchObject({ looked: 21, orphans: 21, freed: 0, stopped: true });
    const shown = await workflow(sweeper.lastPass()).describe();
    expect(shown.searchAttributes['HoldfastStatus']).toEqual(['alert']);
    expect(await itemsOf('sweep_stopped')).toMatchObject([
      { account: null, detail: { orphans: 21, looked: 21 } },
    ]);
    expect(await heldOf(account)).toBeGreaterThan(0);

    const { holds } = await sweeper.pass({}, { maxOrphans: 21 });
    expect(holds).toMatchObject({ orphans: 21, freed: 21, stopped: false });
    expect(await itemsOf('sweep_stopped')).toEqual([]);
    expect(await engine.balance(account)).toMatchObject({ available: 8_000, held: 0 });
  });

  test('a stop of some pass before has ended with the next that need not', async () => {
    await raiseItem(engine.database.owner.knex, {
      account: null,
      kind: 'sweep_stopped',
      subject: 'holds',
      detail: {},
    });
    expect(await itemsOf('sweep_stopped')).toHaveLength(1);
    expect((await sweeper.pass()).holds.stopped).toBe(false);
    expect(await itemsOf('sweep_stopped')).toEqual([]);
  });
});

describe('whose hold it is', () => {
  const asked = { workflowId: 'gen_never.started', ageMs: 2 * HOUR_MS };
  const ages = { closedForMs: 0, unknownFromMs: HOUR_MS };

  test('stays unclear while a workflow that must be there is not found either', async () => {
    const client = engine.temporal;
    const hold = { ...asked, namespaceId: await namespaceId(client) };
    const nobody = { workflowId: 'sweep-of-another-life', runId: '00000000-0000-4000-8000-000000000000' };
    const forgetful = createOwners(
      { client, ...ages },
      { known: nobody, nowMs: Date.now(), lost: new Set() },
    );
    expect(await forgetful.verdictOn(hold)).toBe('unclear');
    await sweeper.pass();
    const { runId } = await workflow(sweeper.lastPass()).describe();
    const known = { workflowId: sweeper.lastPass(), runId };
    const sane = createOwners({ client, ...ages }, { known, nowMs: Date.now(), lost: new Set() });
    expect(await sane.verdictOn(hold)).toBe('gone');
    expect(await sane.verdictOn({ ...hold, ageMs: HOUR_MS - 1 })).toBe('alive');
  });

  test('stays unclear while the server cannot be reached, also where its namespace was declared lost', async () => {
    const hold = { ...asked, namespaceId: await namespaceId(engine.temporal) };
    const connection = Connection.lazy({ address: '127.0.0.1:1' });
    const owners = createOwners(
      { client: new Client({ connection }), ...ages },
      { known: { workflowId: 'x', runId: 'x' }, nowMs: Date.now(), lost: new Set([hold.namespaceId]) },
    );
    expect(await owners.verdictOn(hold)).toBe('unclear');
    await connection.close();
  });
});

describe('an overdue account', () => {
  test('is also one that is paid for and was opened, and nobody came back', async () => {
    const account = engine.newId('opened');
    await sweeper.ledger.open({ account, catalog: 'working-day', plan: 'standard', planSource: 'admin' });
    await sweeper.pass();
    expect((await engine.journal(account)).map(({ kind }) => kind)).toEqual(['grant']);
    expect((await workflow(accountWorkflowId(account)).describe()).status.name).toBe('RUNNING');
  });

  test('whose bell was lost is settled at its boundary, and has its workflow again', async () => {
    const boundary = new Date(Date.now() + 10_000);
    const account = engine.newId('overdue');
    const plan = { catalog: 'working-day', plan: 'basic', planSource: 'admin' } as const;
    await sweeper.ledger.open({ account, ...plan, anchor: anchorBefore(boundary) });
    await sweeper.ledger.settle(account, { touch: true });
    expect(await engine.journal(account)).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, boundary.getTime() + 500 - Date.now()));

    expect((await sweeper.pass({ overdueMs: HOUR_MS })).overdue.settled).toBe(0);
    expect((await sweeper.pass()).overdue).toMatchObject({ settled: 1, failed: 0 });
    const rows = await engine.journal(account);
    expect(rows.map(({ kind, at }) => [kind, at])).toEqual([
      ['grant', rows[0]?.at],
      ['expire', boundary.toISOString()],
      ['grant', boundary.toISOString()],
    ]);
    expect((await workflow(accountWorkflowId(account)).describe()).status.name).toBe('RUNNING');
    expect((await sweeper.pass()).overdue.settled).toBe(0);
  });

  test('on a test clock is left to whoever moves the clock', async () => {
    const account = engine.newId('clocked');
    const plan = { catalog: 'working-day', plan: 'basic', planSource: 'admin' } as const;
    await sweeper.ledger.open({ account, ...plan, clockAt: '2026-01-10T00:00:00.000Z' });
    await sweeper.ledger.settle(account, { touch: true });
    const { rows } = await sql('SELECT wake_at < now() AS due FROM ledger.accounts WHERE account_id = ?', [
      account,
    ]);
    expect(rows).toEqual([{ due: true }]);
    const due = await overdueAccounts(engine.database.db.knex, { graceMs: 0, after: null, limit: 100 });
    expect(due.map((one) => one.account)).not.toContain(account);
  });
});

describe('an account that costs nothing', () => {
  test('has no workflow after it was used, and its midnights write nothing and are right at the next touch', async () => {
    const account = engine.newId('sleeper');
    const plan = { catalog: 'working-day', plan: 'free', planSource: 'free' } as const;
    await sweeper.ledger.open({ account, ...plan, clockAt: '2026-03-01T12:00:00.000Z' });
    const first = await sweeper.ledger.balance(account);
    await sweeper.ledger.moveClock(account, '2026-03-09T12:00:00.000Z');
    expect(await sweeper.ledger.snapshot(account)).toMatchObject({ wakeAt: 'infinity', seq: first?.seq });
    await sweeper.ledger.balance(account);
    const rows = await engine.journal(account);
    expect(rows.map(({ kind, at, availableAfter }) => [kind, at.slice(0, 10), availableAfter])).toEqual([
      ['grant', '2026-03-01', 100],
      ['expire', '2026-03-02', 0],
      ['grant', '2026-03-09', 100],
    ]);

    const real = engine.newId('sleeper');
    await engine.call('POST', '/v1/accounts', { body: { id: real, catalog: 'working-day' } });
    expect((await engine.balance(real)).available).toBeGreaterThan(0);
    await expect(workflow(accountWorkflowId(real)).describe()).rejects.toThrow(/not found/);
  });
});

describe('an inbox', () => {
  const purchase = (account: string, { name, credits }: { name: string; credits: number }) => ({
    account,
    key: name,
    kind: 'pack_purchase' as const,
    requestHash: name,
    body: {
      purchase: name,
      pack: 'tokens-1000',
      quantity: 1,
      creditsMilli: credits,
      rank: 3,
      graceSeconds: null,
      actor: 'test',
      reason: null,
    },
  });
  const done = (account: string, key: string) =>
    engine.database.db
      .knex('holdfast.inbox')
      .where({ account_id: account, inbox_key: key })
      .first<{ done_at: Date | null; attempts: number; last_error: string | null }>();

  test('with a row that nobody rang for is worked through by the sweep itself, and its account is rung', async () => {
    const account = engine.newId('unrung');
    await sweeper.ledger.open({ account, catalog: 'working-day', plan: 'free', planSource: 'free' });
    await putIntoInbox(engine.database.db.knex, purchase(account, { name: 'lost', credits: 7_000 }));
    expect((await sweeper.pass({ undrainedMs: HOUR_MS })).inbox).toMatchObject({ drained: 0, failed: 0 });
    expect((await sweeper.pass()).inbox).toEqual({ drained: 1, failed: 0, next: null });
    expect(await done(account, 'lost')).toMatchObject({ done_at: expect.any(Date), attempts: 0 });
    expect((await engine.balance(account)).available).toBe(107);
    expect((await workflow(accountWorkflowId(account)).describe()).status.name).toBe('RUNNING');
  });

  test('does the other rows though one fails, which is tried again, shown, and done when it can be', async () => {
    const account = await openAccount();
    const { knex } = engine.database.db;
    await putIntoInbox(knex, purchase(account, { name: 'good', credits: 1_000 }));
    const poison = purchase(account, { name: 'good', credits: 2_000 }); // one purchase with two prices
    await putIntoInbox(knex, { ...poison, key: 'bad' });
    await putIntoInbox(knex, purchase(account, { name: 'later', credits: 4_000 }));
    await knex('holdfast.inbox').where({ account_id: account, inbox_key: 'bad' }).update({ attempts: 3 });
    await sweeper.pass();
    await eventually(
      () => itemsOf('inbox_row_failing'),
      (items) => items.length === 1,
      30_000,
    );
    expect((await engine.balance(account)).available).toBe(8_005);
    expect(await done(account, 'bad')).toMatchObject({
      done_at: null,
      last_error: expect.stringContaining('idempotency_conflict'),
    });
    expect((await workflow(accountWorkflowId(account)).describe()).status.name).toBe('RUNNING');

    const body = JSON.stringify(purchase(account, { name: 'bad', credits: 2_000 }).body);
    await knex('holdfast.inbox')
      .where({ account_id: account, inbox_key: 'bad' })
      .update({ body, retry_at: '-infinity' });
    await sweeper.pass();
    await eventually(
      () => itemsOf('inbox_row_failing'),
      (items) => items.length === 0,
    );
    expect((await engine.balance(account)).available).toBe(8_007);
  });
});

test('an item that somebody has dealt with is closed over HTTP, once', async () => {
  const item = { account: 'somebody', kind: 'capture_of_closed_hold', subject: 'gen_somebody.x' } as const;
  await raiseItem(engine.database.db.knex, { ...item, detail: {} });
  const resolve = () =>
    engine.call<{ resolved: boolean }>('POST', '/v1/operations/items/resolve', { body: item });
  expect((await resolve()).body).toEqual({ resolved: true });
  expect(await itemsOf(item.kind)).toEqual([]);
  expect((await resolve()).body).toEqual({ resolved: false });
});

describe('the schedule', () => {
  const schedule = () => engine.temporal.schedule.getHandle(sweepScheduleId(engine.taskQueue));

  test('is one, however many workers start, and stays paused when somebody paused it', async () => {
    await schedule().pause('somebody looks into it');
    await engine.startAnotherWorker();
    const { spec, policies, state } = await schedule().describe();
    expect(spec.intervals?.map(({ every }) => every)).toEqual([86_400_000]);
    expect([policies.overlap, state.paused]).toEqual(['SKIP', true]);
    await schedule().unpause();
  });

  test('ends a pass that hangs, so that it is not the last', async () => {
    const { action } = await schedule().describe();
    expect(action.workflowRunTimeout).toBe(1_800_000);
  });

  test('has the worker sweep with nobody asking', async () => {
    const account = await openAccount();
    await sql("UPDATE ledger.accounts SET wake_at = now() - interval '1 hour' WHERE account_id = ?", [
      account,
    ]);
    await schedule().trigger();
    const wakeAt = await eventually(
      async () => Date.parse((await sweeper.ledger.snapshot(account))?.wakeAt ?? ''),
      (atMs) => atMs > Date.now(),
    );
    expect(wakeAt).toBeLessThan(Date.now() + 32 * 24 * HOUR_MS);
  });
});

test('what moved no credits and has ended thirty days old is taken away', async () => {
  await engine.call('POST', '/v1/quotes', { body: { account: await openAccount(), action: 'image' } });
  await sql("UPDATE holdfast.quotes SET created_at = now() - interval '31 days'");
  expect((await sweeper.pass()).passing).toEqual({ quotes: 1, answers: 0 });
});
