import { Client } from '@temporalio/client';
import { holdIdOf } from '../../../domain/ids';
import { dataConverter } from '../../../activities/temporal/payloads';
import { type Engine, eventually, type Problem, startEngine } from '../../support/processes/engine';
import { defined } from '../../../domain/defined';

/** Whose decision a cancellation is, and which workflow it reaches. */

const T0 = '2027-01-10T09:00:00.000Z';
const NEXT = '2027-02-10T09:30:00.000Z';

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

/** Images of 24 credits each that nobody delivers, paid from a month that is then over. */
async function heldOverTheEnd(count: number): Promise<{ account: string; ids: string[] }> {
  const clock = await engine.call('POST', '/v1/test-clocks', { body: { frozenAt: T0 } });
  const testClock = clock.body.id;
  const account = engine.newId('canceller');
  const opened = { id: account, catalog: 'imagineart', plan: 'standard', testClock };
  expect((await engine.call('POST', '/v1/accounts', { body: opened })).status).toBe(201);
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const provider = { type: 'external', deadlineSeconds: 3_600 };
    const { status, body } = await engine.generate({
      account,
      action: 'image',
      model: 'nano-banana',
      provider,
    });
    expect([status, body.credits.held]).toEqual([201, 24]);
    ids.push(body.id);
  }
  await engine.call('POST', `/v1/test-clocks/${testClock}/advance`, { body: { to: NEXT } });
  await eventually(
    () => engine.call(`GET`, `/v1/test-clocks/${testClock}`),
    ({ body }) => (body.status as string) === 'ready',
  );
  return { account, ids };
}

async function generateKey(account: string): Promise<string> {
  const body = { name: 'web', scopes: ['generate'], account };
  const made = await engine.call<{ secret: string }>('POST', '/v1/api-keys', { body });
  expect(made.status).toBe(201);
  return made.body.secret;
}

const cancel = <T>(id: string, body: Record<string, unknown>, apiKey?: string) =>
  engine.call<T>('POST', `/v1/generations/${id}/cancel`, {
    body,
    ...defined({ apiKey }),
  });

test('a customer’s own cancel after the month’s end forfeits, whatever key it comes with; an operator’s is graced', async () => {
  const { account, ids } = await heldOverTheEnd(5);
  const [first = '', second = '', third = '', fourth = '', fifth = ''] = ids;
  const customers = await generateKey(account);
  const before = (await engine.balance(account)).available;

  const forfeited = { status: 'canceled', credits: { refunded: 0, forfeited: 24, held: 0 } };
  expect((await cancel(first, {})).body).toMatchObject(forfeited);
  expect((await cancel(second, { reason: 'changed my mind' })).body).toMatchObject(forfeited);
  expect((await cancel(third, { by: 'customer' })).body).toMatchObject(forfeited);
  expect((await cancel(fourth, {}, customers)).body).toMatchObject(forfeited);
  expect((await engine.balance(account)).available).toBe(before);

  const refused = await cancel<Problem>(fifth, { by: 'operator' }, customers);
  expect([refused.status, refused.body.code]).toEqual([403, 'scope_missing']);
  expect((await engine.call('GET', `/v1/generations/${fifth}`)).body.status).toBe('running');
  const graced = { status: 'canceled', credits: { refunded: 24, forfeited: 0, held: 0 } };
  expect((await cancel(fifth, { by: 'operator', reason: 'our mistake' })).body).toMatchObject(graced);
  expect((await engine.balance(account)).available).toBe(before + 24);
  const wrong = await cancel<Problem>(fifth, { by: 'somebody' });
  expect([wrong.status, wrong.body.errors?.[0]?.path]).toEqual([422, 'by']);
});

describe('a hold that stands on another namespace of the server', () => {
  const name = `holdfast-other-${Date.now()}`;
  let other: Client;
  let account: string;
  let id: string;

  beforeAll(async () => {
    const { temporal } = engine;
    await temporal.workflowService.registerNamespace({
      namespace: name,
      // protobufjs takes plain numbers as well.
      workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
    });
    const id_ = async () =>
      (await temporal.workflowService.describeNamespace({ namespace: name })).namespaceInfo?.id ?? '';
    const namespaceId = await eventually(id_, (found) => found !== '');
    other = new Client({ connection: temporal.connection, namespace: name, dataConverter });
    account = engine.newId('elsewhere');
    const body = { id: account, catalog: 'working-day', plan: 'standard' };
    await engine.call('POST', '/v1/accounts', { body });
    const provider = { type: 'external', deadlineSeconds: 3_600 };
    ({ id } = (await engine.generate({ account, action: 'image', provider })).body);
    // As if its workflow had been started there: here it is gone, there it runs, and its worker is busy.
    await temporal.workflow.getHandle(id).terminate('it runs elsewhere');
    await eventually(
      async () =>
        other.workflow
          .start('generationWorkflow', { workflowId: id, taskQueue: 'busy', args: [] })
          .then(() => true)
          .catch(() => false),
      Boolean,
    );
    await engine.database.owner
      .knex('ledger.holds')
      .where({ hold_id: holdIdOf(id) })
      .update({ namespace_id: namespaceId });
  });

  const signals = async () =>
    ((await other.workflow.getHandle(id).fetchHistory()).events ?? [])
      .map((event) => event.workflowExecutionSignaledEventAttributes?.signalName)
      .filter((signal) => signal);

  test('is not shown as orphaned, and its cancellation goes to the workflow there', async () => {
    const { body } = await engine.call<{ data: { generation: string; orphaned: boolean }[] }>(
      'GET',
      '/v1/holds?limit=100',
    );
    expect(body.data.filter((hold) => hold.generation === id)).toMatchObject([{ orphaned: false }]);
    expect(await signals()).toEqual([]);
    const reply = await cancel<{ status: string }>(id, {});
    expect([reply.status, reply.body.status]).toEqual([200, 'running']);
    expect(await signals()).toEqual(['cancel']);
  });

  test('is told there before a release by hand closes it', async () => {
    const reply = await engine.call('POST', `/v1/generations/${id}/release`, { body: { reason: 'stuck' } });
    expect(reply.body).toMatchObject({ status: 'failed', error: { code: 'released' } });
    expect(await signals()).toEqual(['cancel', 'cancel']);
    expect(await engine.balance(account)).toMatchObject({ held: 0 });
  });
});
