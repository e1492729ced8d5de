import { createAccountActivities } from '../../../../activities/account';
import { createSweepActivities } from '../../../../activities/sweep';
import { runAudit } from '../../../../db/audit';
import { purchaseId } from '../../../../domain/ids';
import { eventually } from '../../../support/processes/engine';
import { type TestDatabase } from '../../../support/database';
import { whileReadOnly } from '../../../support/ledger/readOnly';
import type { Reply } from '../../app';
import { startWhole, type Whole } from '../../whole';

/** A purchase is granted by whoever comes first: its own request, the account's workflow, or the sweep (rule 31). */

let whole: Whole;
let database: TestDatabase;
let account: string;
let counter = 0;

beforeAll(async () => {
  whole = await startWhole({ patient: true });
  database = whole.database;
});
afterAll(async () => {
  await whole.close();
});
beforeEach(async () => {
  account = await open();
  whole.listen(false); // neither does a workflow hear the bell
});

async function open(more: { clockAt?: string; timezone?: string } = {}): Promise<string> {
  counter += 1;
  const id = `buyer-${counter}`;
  const rules = { catalog: 'working-day', plan: 'standard', planSource: 'admin' } as const;
  await whole.engine.ledger.open({ account: id, ...rules, ...more });
  await whole.engine.ledger.settle(id, { touch: true });
  return id;
}

const buy = (key: string, body: object = { pack: 'tokens-1000' }) =>
  whole.app.call('POST', `/v1/accounts/${account}/purchases`, { body, idempotencyKey: key });
const get = (at: string, key?: string) => whole.app.call('GET', at, key === undefined ? {} : { key });
const shown = async (key: string) =>
  (await get(`/v1/accounts/${account}/purchases/${purchaseId(account, key)}`)).body;
const listed = async (query = '') => {
  const { body } = await get(`/v1/accounts/${account}/purchases${query}`);
  return body as { data: Record<string, unknown>[]; nextCursor: string | null };
};
const available = async () => (await whole.engine.ledger.balance(account))?.available;
const grants = async () => {
  const { rows } = await database.owner.pool.query<{ key: string; at: Date }>(
    "SELECT key, at FROM ledger.journal WHERE account_id = $1 AND key LIKE 'sys:pack:%' ORDER BY seq",
    [account],
  );
  return rows;
};
const items = async () => {
  const { body } = await get('/v1/operations/items?limit=100');
  return (body['data'] as { account: string; kind: string; detail: Record<string, unknown> }[]).filter(
    (item) => item.account === account,
  );
};
const code = (reply: Reply) => [reply.status, reply.body['code']];

const workflow = () =>
  createAccountActivities({
    ledger: whole.engine.ledger,
    knex: database.db.knex,
    jitterWindowMs: 0,
    quietMs: 0,
  });

/** A sweep that takes notice of everything at once. `rung`: whom it rang. */
function sweep(rung: string[] = []) {
  const { ledger } = whole.engine;
  const { knex, pool } = database.db;
  const ages = { overdueMs: 0, undrainedMs: 0, unseenMs: 0, closedForMs: 0, unknownFromMs: 0 };
  const ringNow = (id: string) => Promise.resolve(rung.push(id)).then(() => undefined);
  // For Temporal it needs none: the part that is called here asks the database only.
  const client = undefined as never;
  const ringClockNow = () => Promise.resolve();
  return createSweepActivities({ ledger, knex, pool, client, ringNow, ringClockNow, ages });
}

test('a purchase is granted when it is answered, though nobody hears the bell', async () => {
  const reply = await buy('order', { pack: 'tokens-1000', quantity: 2 });
  expect(reply.status).toBe(201);
  expect(reply.body).toMatchObject({ status: 'granted', pack: 'tokens-1000', quantity: 2, credits: 2000 });
  expect(await available()).toBe(10_000_000);
  const charge = { account, credits: 9_500 };
  expect((await whole.app.call('POST', '/v1/charges', { body: charge, idempotencyKey: 'c' })).status).toBe(
    201,
  );
});

test('a purchase repays debt before it can be spent', async () => {
  await whole.engine.ledger.run(account, {
    op: 'revoke',
    key: 'sys:test:revoke',
    hash: 'revoke',
    cause: 'refund:1',
    source: 'pack:none',
    buckets: ['plan', 'pack'],
    amount: 8_300_000 as never,
  });
  expect((await whole.engine.ledger.balance(account))?.debt).toBe(300_000);
  expect((await buy('order')).body['status']).toBe('granted');
  expect(await whole.engine.ledger.balance(account)).toMatchObject({ available: 700_000, debt: 0 });
});

test('a purchase for an account on a test clock is granted at the clock’s instant', async () => {
  const clockAt = '2026-03-10T10:00:00.000Z';
  account = await open({ clockAt });
  expect((await buy('order')).body['status']).toBe('granted');
  expect((await grants()).map(({ at }) => at.toISOString())).toEqual([clockAt]);
});

test('a purchase whose grant cannot be made is kept, waits with its error, and is granted by the workflow', async () => {
  const reply = await whileReadOnly(database, () => buy('order'));
  expect(reply.body).toMatchObject({ status: 'paid', credits: 1000 });
  expect(await shown('order')).toMatchObject({
    status: 'paid',
    grantedAt: null,
    error: expect.stringContaining('permission denied'),
  });
  expect(await available()).toBe(8_000_000);

  await eventually(
    () => workflow().drainInbox({ account }),
    ({ nextMs }) => nextMs === null,
  );
  expect(await shown('order')).toMatchObject({
    status: 'granted',
    grantedAt: expect.any(String),
    error: null,
  });
  expect(await available()).toBe(9_000_000);
  expect((await buy('order')).text).toBe(reply.text); // what a key was answered stays
  expect(await available()).toBe(9_000_000);
});

test('a purchase that nobody granted is an item while it waits, and the sweep grants it and closes the item', async () => {
  await whileReadOnly(database, async () => {
    await buy('order', { pack: 'tokens-5000', quantity: 3 });
    await due();
    expect(await sweep().drainInboxes({ after: null })).toEqual({
      drained: 0,
      failed: 1,
      problems: [],
      next: null,
    });
  });
  expect(await items()).toMatchObject([
    {
      kind: 'purchase_waiting',
      detail: {
        pack: 'tokens-5000',
        quantity: 3,
        credits: 15_000,
        attempts: 2,
        error: expect.stringContaining('permission denied'),
        wayOut: expect.stringContaining(
          `POST /v1/accounts/${account}/purchases/${purchaseId(account, 'order')}/retry`,
        ),
      },
    },
  ]);
  await due();
  const rung: string[] = [];
  expect(await sweep(rung).drainInboxes({ after: null })).toEqual({
    drained: 1,
    failed: 0,
    problems: [],
    next: null,
  });
  expect(rung).toEqual([account]);
  expect(await available()).toBe(23_000_000);
  expect(await items()).toEqual([]);
});

test('a purchase that waits is granted when somebody has it tried again, before its time', async () => {
  await whileReadOnly(database, () => buy('order'));
  const { knex } = database.owner;
  await knex('holdfast.inbox').where({ account_id: account }).update({ retry_at: 'infinity' });
  const retry = () =>
    whole.app.call('POST', `/v1/accounts/${account}/purchases/${purchaseId(account, 'order')}/retry`);
  expect((await whileReadOnly(database, retry)).body).toMatchObject({
    status: 'paid',
    error: expect.stringContaining('permission denied'),
  });
  expect((await retry()).body).toMatchObject({ status: 'granted', error: null });
  expect((await retry()).body).toMatchObject({ status: 'granted' });
  expect(await available()).toBe(9_000_000);
  const unknown = await whole.app.call('POST', `/v1/accounts/${account}/purchases/pur_none/retry`);
  expect(code(unknown)).toEqual([404, 'unknown_purchase']);
});

/** What waits has waited for over a minute, and may be tried again. */
async function due(): Promise<void> {
  const { knex } = database.owner;
  await knex('holdfast.inbox')
    .where({ account_id: account, done_at: null })
    .update({ received_at: knex.raw("received_at - interval '2 minutes'"), retry_at: '-infinity' });
}

test('an account whose workflow cannot be woken holds up no other in a sweep', async () => {
  const first = account;
  await whileReadOnly(database, () => buy('order'));
  await due();
  account = await open();
  await whileReadOnly(database, () => buy('order'));
  await due();
  const { ledger } = whole.engine;
  const { knex, pool } = database.db;
  const ages = { overdueMs: 0, undrainedMs: 0, unseenMs: 0, closedForMs: 0, unknownFromMs: 0 };
  const ringNow = (id: string) =>
    id === first ? Promise.reject(new Error('the bell is broken')) : Promise.resolve();
  const client = undefined as never;
  const ringClockNow = () => Promise.resolve();
  const done = await createSweepActivities({
    ledger,
    knex,
    pool,
    client,
    ringNow,
    ringClockNow,
    ages,
  }).drainInboxes({
    after: null,
  });
  expect(done).toEqual({
    drained: 2,
    failed: 0,
    problems: [`${first}: the bell is broken`],
    next: null,
  });
  expect(await available()).toBe(9_000_000);
});

test('however many work on the same rows at once, each is granted once, done once, and nothing looks failed', async () => {
  const keys = Array.from({ length: 12 }, (_, n) => `order-${n}`);
  const drivers = () => [
    ...Array.from({ length: 4 }, () => workflow().drainInbox({ account })),
    ...Array.from({ length: 2 }, () => sweep().drainInboxes({ after: null })),
  ];
  const replies = await Promise.all([
    ...keys.flatMap((key) => [buy(key), buy(key), ...drivers()]),
    ...drivers(),
  ]);
  const statuses = replies.flatMap((reply) => ('status' in reply ? [reply.status] : []));
  expect(new Set(statuses)).toEqual(new Set([201]));
  expect((await grants()).map(({ key }) => key).toSorted()).toEqual(
    keys.map((key) => `sys:pack:${purchaseId(account, key)}`).toSorted(),
  );
  const rows = await database.owner.knex('holdfast.inbox').where({ account_id: account });
  expect(rows.map(({ done_at, attempts, last_error }) => [done_at !== null, attempts, last_error])).toEqual(
    keys.map(() => [true, 0, null]),
  );
  expect(await items()).toEqual([]);
  expect(await available()).toBe(20_000_000);
}, 120_000);

test('a driver that fails after another has granted changes nothing', async () => {
  await buy('order');
  const before = await shown('order');
  const row = { account_id: account, inbox_key: purchaseId(account, 'order') };
  const { knex } = database.owner;
  // Taken up again as if it had never been done, by one whose grant fails while another marks the row.
  await knex('holdfast.inbox').where(row).update({ done_at: null, attempts: 4 });
  const lock = await database.owner.pool.connect();
  await lock.query('BEGIN');
  await lock.query('SELECT FROM holdfast.inbox WHERE account_id = $1 FOR UPDATE', [account]);
  const failing = whileReadOnly(database, () => workflow().drainInbox({ account }));
  const waits = () =>
    knex
      .raw<{ rows: { n: number }[] }>(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      )
      .then(({ rows }) => rows[0]?.n ?? 0);
  await eventually(waits, (n) => n > 0);
  await lock.query('UPDATE holdfast.inbox SET done_at = $2 WHERE account_id = $1', [
    account,
    before['grantedAt'],
  ]);
  await lock.query('COMMIT');
  lock.release();
  expect(await failing).toMatchObject({ done: 0, failed: 0, nextMs: null });
  expect(await items()).toEqual([]);
  expect(await shown('order')).toEqual(before);
});

describe('the purchases of an account', () => {
  test('are listed newest first, page by page, as they are now', async () => {
    await buy('one');
    await buy('two', { pack: 'tokens-5000', quantity: 2 });
    await whileReadOnly(database, () => buy('three'));
    const first = await listed('?limit=2');
    expect(first.data).toMatchObject([
      { id: purchaseId(account, 'three'), status: 'paid' },
      { id: purchaseId(account, 'two'), status: 'granted' },
    ]);
    const second = await listed(`?limit=2&cursor=${first.nextCursor}`);
    expect(second).toEqual({ data: [await shown('one')], nextCursor: null });
    expect(first.data[1]).toEqual({
      id: purchaseId(account, 'two'),
      status: 'granted',
      amount: null,
      currency: null,
      credits: 10_000,
      pack: 'tokens-5000',
      quantity: 2,
      reason: null,
      createdAt: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      grantedAt: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      error: null,
    });
  });

  test('are shown one by one, and found by their id', async () => {
    await buy('order', { pack: 'tokens-1000', reason: 'sorry' });
    const id = purchaseId(account, 'order');
    expect(await shown('order')).toMatchObject({ id, reason: 'sorry', status: 'granted' });
    const found = await get(`/v1/accounts?q=${id}`);
    expect((found.body['data'] as { id: string }[]).map((one) => one.id)).toEqual([account]);
    expect((await get('/v1/accounts?q=pur_nobody.0')).body['data']).toEqual([]);
  });

  test('are of that account only', async () => {
    await buy('order');
    const mine = account;
    account = await open();
    const id = purchaseId(mine, 'order');
    expect(code(await get(`/v1/accounts/${account}/purchases/${id}`))).toEqual([404, 'unknown_purchase']);
    expect(code(await get(`/v1/accounts/${mine}/purchases/pur_none`))).toEqual([404, 'unknown_purchase']);
    expect(code(await get('/v1/accounts/nobody/purchases'))).toEqual([404, 'unknown_account']);
    expect(code(await get(`/v1/accounts/nobody/purchases/${purchaseId('nobody', 'x')}`))).toEqual([
      404,
      'unknown_account',
    ]);
    expect((await listed()).data).toEqual([]);
  });

  test('say why they wait to administrators only', async () => {
    await whileReadOnly(database, () => buy('order'));
    const made = await whole.app.call('POST', '/v1/api-keys', {
      body: { name: 'reader', scopes: ['read'], account },
    });
    const key = String(made.body['secret']);
    const { body } = await get(`/v1/accounts/${account}/purchases/${purchaseId(account, 'order')}`, key);
    expect(body).toMatchObject({ status: 'paid', error: null });
    expect((await shown('order'))['error']).not.toBeNull();
  });
});

test('the books are right after all this', async () => {
  const { checks } = await runAudit(database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
