import { randomBytes } from 'node:crypto';
import { namespaceId } from '../../activities/temporal/connect';
import { sweepScheduleId } from '../../domain/contract';
import { type Engine, eventually, type Problem, startEngine } from '../support/processes/engine';
import { startSweeper, type Sweeper } from '../support/processes/sweeper';
import type { SweepReport } from '../../workflows/sweep';

/** The backstop when Temporal has lost its memory, and what tells that there is a backstop. */

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

describe('a hold whose namespace is lost', () => {
  const LOST = '11111111-2222-4333-8444-555555555555';
  const at = '/v1/operations/lost-namespaces';

  afterEach(async () => {
    await sql('DELETE FROM holdfast.lost_namespaces');
    const { rows } = await sql('SELECT generation_id AS id FROM ledger.holds WHERE open');
    for (const { id } of rows) {
      const body = { reason: 'the test has ended', force: true };
      await engine.call('POST', `/v1/generations/${id}/release`, { body });
    }
    await sweeper.pass();
  });

  /** Generations whose workflows are gone with their namespace. */
  async function lose(account: string, count: number): Promise<string[]> {
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) {
      const id = await generation(account);
      await workflow(id).terminate('its server is gone');
      ids.push(id);
    }
    await sql('UPDATE ledger.holds SET namespace_id = ? WHERE account_id = ?', [LOST, account]);
    return ids;
  }

  test('is unclear and an item, until a person declares the namespace lost; then it is freed, once it is an hour old', async () => {
    const account = await openAccount();
    const [id = ''] = await lose(account, 22);
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 22, unclear: 22, orphans: 0, freed: 0 });
    expect(await itemsOf('hold_owner_unclear')).toMatchObject([
      { account: null, detail: { namespaceId: LOST, holds: 22, wayOut: expect.stringContaining(at) } },
    ]);

    const body = { namespaceId: LOST, reason: 'its database is gone' };
    const declared = await engine.call('POST', at, { body });
    expect([declared.status, declared.body]).toEqual([
      201,
      expect.objectContaining({ ...body, declaredBy: 'admin', openHolds: 22 }),
    ]);
    expect((await sweeper.pass({ unknownFromMs: HOUR_MS })).holds).toMatchObject({ freed: 0, unclear: 0 });
    // However many they are: a person has decided about exactly these.
    const { holds } = await sweeper.pass();
    expect(holds).toMatchObject({ looked: 22, unclear: 0, orphans: 22, freed: 22, stopped: false });
    expect(await itemsOf('hold_owner_unclear')).toEqual([]);
    expect(await engine.balance(account)).toMatchObject({ available: 8_000, held: 0 });
    const ended = await engine.call('GET', `/v1/generations/${id}`);
    expect(ended.body).toMatchObject({ status: 'failed', error: { code: 'workflow_gone' } });
    const { body: listed } = await engine.call<{ data: unknown[] }>('GET', at);
    expect(listed.data).toMatchObject([{ namespaceId: LOST, openHolds: 0 }]);
  });

  test('is remembered from pass to pass, since when it has been unclear', async () => {
    const account = await openAccount();
    await lose(account, 1);
    await sql("UPDATE ledger.holds SET opened_at = opened_at - interval '2 hours' WHERE open");
    const schedule = engine.temporal.schedule.getHandle(sweepScheduleId(engine.taskQueue));
    const scheduled = async (passes: number): Promise<SweepReport> => {
      await schedule.trigger('BUFFER_ONE'); // one that may overlap is told nothing of the last
      const seen = async () => (await schedule.describe()).info.recentActions;
      const actions = await eventually(seen, (found) => found.length === passes);
      const id = actions.at(-1)?.action.workflow.workflowId ?? '';
      return (await workflow(id).result()) as SweepReport; // the bundle's own type
    };
    const first = await scheduled(1);
    const { since = '' } = first.holds.unclearIn[LOST] ?? {};
    expect(first.holds.unclearIn).toEqual({ [LOST]: { holds: 1, since } });
    expect(Date.now() - Date.parse(since)).toBeLessThan(HOUR_MS);
    await lose(account, 1);
    await sql("UPDATE ledger.holds SET opened_at = opened_at - interval '2 hours' WHERE open");
    const second = await scheduled(2);
    expect(second.holds.unclearIn).toEqual({ [LOST]: { holds: 2, since } });
    // Not an hour yet: a server that does not answer for a while does not matter for a person.
    expect(await itemsOf('hold_owner_unclear')).toEqual([]);

    await sql('UPDATE ledger.holds SET namespace_id = ? WHERE open', [await namespaceId(engine.temporal)]);
    expect((await scheduled(3)).holds).toMatchObject({ unclear: 0, unclearIn: {} });
  });

  test('is freed by a pass that is started by hand with its id, within what that lets it free', async () => {
    const account = await openAccount();
    await lose(account, 21);
    const other = '99999999-2222-4333-8444-555555555555';
    expect((await sweeper.pass({}, { lostNamespace: other, maxOrphans: 50 })).holds).toMatchObject({
      unclear: 21,
      orphans: 0,
    });
    expect((await sweeper.pass({}, { lostNamespace: LOST })).holds).toMatchObject({
      orphans: 21,
      freed: 0,
      stopped: true,
    });
    expect((await sweeper.pass({}, { lostNamespace: LOST, maxOrphans: 21 })).holds).toMatchObject({
      orphans: 21,
      freed: 21,
      stopped: false,
    });
    expect(await heldOf(account)).toBe(0);
  });

  test('does not stand in the way of others that are too many', async () => {
    const account = await openAccount();
    await lose(account, 2);
    const { body } = await engine.call('POST', at, { body: { namespaceId: LOST, reason: 'gone' } });
    expect(body).toMatchObject({ openHolds: 2 });
    const another = await openAccount();
    for (let n = 0; n < 21; n += 1) await workflow(await generation(another)).terminate();
    expect((await sweeper.pass()).holds).toMatchObject({ orphans: 23, freed: 2, stopped: true });
    expect([await heldOf(account), (await heldOf(another)) > 0]).toEqual([0, true]);
    expect(await itemsOf('sweep_stopped')).toMatchObject([{ detail: { orphans: 21, looked: 23 } }]);
  });

  test('is left alone where the server knows the namespace after all, which cannot be declared lost either', async () => {
    const own = await namespaceId(engine.temporal);
    const account = await openAccount();
    await generation(account);
    const refused = await engine.call<Problem>('POST', at, {
      body: { namespaceId: own, reason: 'a mistake' },
    });
    expect([refused.status, refused.body.code]).toEqual([409, 'namespace_not_lost']);
    await sql("INSERT INTO holdfast.lost_namespaces VALUES (?, 'a mistake', 'test')", [own]);
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 1, orphans: 0, freed: 0 });
    const freed = await engine.call<Problem>('POST', `${at}/${own}/release`, { body: {} });
    expect([freed.status, freed.body.code]).toEqual([409, 'namespace_not_lost']);
    expect(await heldOf(account)).toBeGreaterThan(0);
  });

  test('is taken over by the run that its order sent again starts, and lives as long as that', async () => {
    const account = await openAccount();
    const key = randomBytes(6).toString('hex');
    const request = { action: 'image', provider: { type: 'external', deadlineSeconds: 3_600 } };
    const { body } = await engine.generate({ account, ...request }, key);
    await workflow(body.id).terminate('its server is gone');
    await sql('UPDATE ledger.holds SET namespace_id = ? WHERE account_id = ?', [LOST, account]);
    const handle = await engine.temporal.workflow.start('generationWorkflow', {
      workflowId: body.id,
      taskQueue: engine.taskQueue,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
      args: [{ account, key, request, mayChooseProvider: true }],
    });
    const owner = async () =>
      (await sql('SELECT namespace_id AS id FROM ledger.holds WHERE open')).rows[0]?.id;
    const own = await namespaceId(engine.temporal);
    await eventually(owner, (id) => id === own);
    await engine.call('POST', at, { body: { namespaceId: LOST, reason: 'gone' } });
    expect((await sweeper.pass()).holds).toMatchObject({ looked: 1, unclear: 0, orphans: 0, freed: 0 });

    // What is delivered to it is paid.
    const done = await engine.call('POST', `/v1/generations/${body.id}/complete`, {
      body: { outputs: [{ url: 'https://cdn.test/1' }] },
    });
    expect(done.body).toMatchObject({ status: 'succeeded', credits: { held: 0 } });
    await handle.result();
  });
});

describe('a pass', () => {
  const ages = async () => {
    const response = await fetch(`${engine.url}/metrics`);
    const found = /^holdfast_pass_age_seconds\{pass="sweep"\} (\S+)$/m.exec(await response.text());
    return Number(found?.[1]);
  };
  // The gauge is sampled every quarter of a minute.
  const isLong = (seconds: number) => seconds > 3_599;

  test('that did all its parts is noted, and the gauge tells its age', async () => {
    await sql("UPDATE holdfast.passes SET whole_at = now() - interval '1 hour'");
    await eventually(ages, isLong);
    expect((await sweeper.pass()).failures).toEqual([]);
    await eventually(ages, (seconds) => seconds < 3_000);
    const { rows } = await sql(
      "SELECT kind FROM holdfast.passes WHERE whole_at > now() - interval '30 minutes' ORDER BY kind",
    );
    expect(rows).toEqual([{ kind: 'audit' }, { kind: 'sweep' }]);
  });

  test('of which a part failed is not, though its other parts are done', async () => {
    await sql("UPDATE holdfast.passes SET whole_at = now() - interval '1 hour'");
    await sql('ALTER TABLE holdfast.inbox RENAME TO inbox_away');
    const report = await sweeper.pass();
    await sql('ALTER TABLE holdfast.inbox_away RENAME TO inbox');
    expect(report.failures).toEqual([expect.stringContaining('inboxes: ')]);
    expect(report.audit.at).not.toBeNull();
    const { rows } = await sql(
      "SELECT kind FROM holdfast.passes WHERE whole_at > now() - interval '30 minutes'",
    );
    expect(rows).toEqual([{ kind: 'audit' }]);
  });
});
