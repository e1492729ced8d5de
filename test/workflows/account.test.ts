import { WorkflowNotFoundError } from '@temporalio/client';
import { accountWorkflowId } from '../../domain/ids';
import { anchorBefore } from '../support/ledger/anchor';
import { type Engine, eventually, startEngine } from '../support/processes/engine';

/** The account workflow: when an account is settled, and its inbox. Jitter is off and quiet time is 2 s here. */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

const describeWorkflow = (account: string) =>
  engine.temporal.workflow.getHandle(accountWorkflowId(account)).describe();
/** Null until the bell was heard: nobody waits for it. */
const findWorkflow = (account: string) =>
  describeWorkflow(account).catch((error: unknown) => {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  });
const open = (account: string, more: Record<string, unknown> = {}) =>
  engine.call('POST', '/v1/accounts', { body: { id: account, catalog: 'working-day', ...more } });

test('wakes at the end of the cycle on its own, expires what is left and grants the next month', async () => {
  const account = engine.newId('cycle');
  await open(account, { plan: 'basic', anchor: anchorBefore(new Date(Date.now() + 12_000)) });
  expect((await engine.balance(account)).available).toBe(3_000);
  const sleeping = await eventually(
    () => findWorkflow(account),
    (found) => found?.status.name === 'RUNNING',
  );

  const rows = await eventually(
    () => engine.journal(account),
    (journal) => journal.length >= 3,
  );
  expect(rows.map(({ kind, credits }) => [kind, credits])).toEqual([
    ['grant', 3_000],
    ['expire', -3_000],
    ['grant', 3_000],
  ]);
  expect(rows[1]?.at).toBe(rows[2]?.at); // the boundary itself, however late the rows were written
  expect(rows[2]?.key).toContain(`plan:${account}:${rows[2]?.at}`);

  const renewed = await eventually(
    () => describeWorkflow(account),
    ({ runId }) => runId !== sleeping?.runId,
  );
  expect(renewed.status.name).toBe('RUNNING'); // it continued as new and sleeps until the next cycle
});

test('closes when nothing lies ahead, and is started again by the next signal', async () => {
  const account = engine.newId('quiet');
  await open(account);
  const take = { bucket: 'daily', credits: -100, reason: 'nothing left that could expire' };
  await engine.call('POST', `/v1/accounts/${account}/adjustments`, { body: take, idempotencyKey: 'take' });
  await engine.purchase(account, { pack: 'tokens-1000' });
  const closed = await eventually(
    () => describeWorkflow(account),
    ({ status }) => status.name === 'COMPLETED',
  );
  await engine.purchase(account, { pack: 'tokens-1000' });
  expect((await describeWorkflow(account)).runId).not.toBe(closed.runId);
  const { buckets } = await engine.balance(account);
  expect(buckets.find(({ bucket }) => bucket === 'pack')?.available).toBe(2_000);
});

test('grants a purchase once, however often it is asked for and the bell is rung', async () => {
  const account = engine.newId('buyer');
  await open(account, { plan: 'standard' });
  const bought = { pack: 'tokens-5000', quantity: 2 };
  const replies = await Promise.all(
    Array.from({ length: 5 }, () => engine.purchase(account, bought, 'order-7')),
  );
  expect(new Set(replies.map(({ text }) => text))).toEqual(new Set([replies[0]?.text]));
  expect(replies[0]?.body).toMatchObject({ credits: 10_000 });
  expect((await engine.balance(account)).available).toBe(18_000);
  expect((await engine.journal(account)).filter(({ lots }) => lots[0]?.bucket === 'pack')).toHaveLength(1);
  expect((await engine.purchase(account, { pack: 'tokens-1000' }, 'order-7')).status).toBe(409);
});

test('works through rows that nobody rang for when the bell is next rung', async () => {
  const account = engine.newId('crashed');
  await open(account, { plan: 'standard' });
  // As if the API had died between the row and the bell.
  const purchase = {
    purchase: 'pur_lost',
    pack: 'x',
    quantity: 1,
    creditsMilli: 7_000,
    rank: 3,
    graceSeconds: null,
    actor: 'test',
    reason: null,
  };
  await engine.database.db.knex('holdfast.inbox').insert({
    account_id: account,
    inbox_key: 'pur_lost',
    kind: 'pack_purchase',
    request_hash: 'hash',
    body: JSON.stringify(purchase),
  });
  await engine.purchase(account, { pack: 'tokens-1000' });
  expect((await engine.balance(account)).available).toBe(9_007);
});
