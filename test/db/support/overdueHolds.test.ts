import { heartbeat } from '../../../db/generations/generations';
import { raiseItem } from '../../../db/support/items';
import { countOverdueHolds, raiseOverdueHolds, resolveEndedHolds } from '../../../db/support/overdueHolds';
import { startApp, type TestApp } from '../../api/app';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

/** Rule 12: work that takes longer than its rate allows is not stopped, and is seen. */

const T0 = '2026-03-10T10:00:00.000Z';
let database: TestDatabase;
let ledger: TestLedger;
let app: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
  app = await startApp({ db: database.db, routes: [] });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

const raise = async () => (await raiseOverdueHolds(database.db.knex, { after: null, limit: 10 })).raised;
const count = () => countOverdueHolds(database.db.points);
const items = (account: string) =>
  database.owner.knex('holdfast.operations_items').where({ account_id: account });

test('an open hold is overdue from its instant on by its account’s clock, and an item is raised once', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 10_000 });
  const order = reservation(account, { amount: 4_000, overdueSeconds: 600 });
  await ledger.one(account, order);
  await ledger.lease(account, { amount: 1_000, ttlSeconds: 60 });

  await ledger.moveClock(account, '2026-03-10T10:09:59.999Z');
  expect([await raise(), await count()]).toEqual([0, 0]);
  await ledger.moveClock(account, '2026-03-10T10:10:00Z');
  expect([await raise(), await raise(), await count()]).toEqual([1, 0, 1]);
  expect(await items(account)).toMatchObject([
    {
      kind: 'hold_overdue',
      subject: order.holdId,
      detail: { generation: order.generation.id, workflowId: 'workflow', heldMilli: 4_000 },
    },
  ]);
  expect((await app.call('GET', '/metrics', { key: null })).text).toContain('\nholdfast_overdue_holds 1\n');

  await ledger.release(account, order.holdId);
  expect([await raise(), await count()]).toEqual([0, 0]);
  expect((await app.call('GET', '/metrics', { key: null })).text).toContain('\nholdfast_overdue_holds 0\n');
});

test('without a test clock it is the database’s that counts, and pages go through them all', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  for (const overdueSeconds of [0, 0, 0, 600])
    await ledger.one(account, reservation(account, { amount: 1_000, overdueSeconds }));
  const page = (after: Parameters<typeof raiseOverdueHolds>[1]['after']) =>
    raiseOverdueHolds(database.db.knex, { after, limit: 2 });
  const first = await page(null);
  expect(first.raised).toBe(2);
  expect(await page(first.next)).toEqual({ raised: 1, next: null });
  expect(await items(account)).toHaveLength(3);
});

/** An order that has outlasted its rate, with a deadline `deadlineSeconds` from now. */
async function outlasted(account: string, deadlineSeconds: number) {
  const order = reservation(account, { amount: 1_000, overdueSeconds: 0 });
  const deadlineAt = new Date(Date.now() + deadlineSeconds * 1000).toISOString();
  await ledger.one(account, { ...order, generation: { ...order.generation, deadlineAt } });
  return order;
}

const openItems = async (account: string) =>
  (await items(account).whereNull('resolved_at')).map((item: { subject: string }) => item.subject);

test('a hold whose pipeline agreed a later deadline is overdue only once that has passed too', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  const order = await outlasted(account, 3_600);
  expect(await raise()).toBe(0);
  // A heartbeat moves the deadline.
  const extended = { account, id: order.generation.id };
  await heartbeat(database.db.knex, { ...extended, extendSeconds: 7_200 });
  expect(await raise()).toBe(0);
  await database.owner
    .knex('ledger.generations')
    .where({ account_id: account })
    .update({ deadline_at: new Date() });
  expect(await raise()).toBe(1);
  expect(await openItems(account)).toEqual([order.holdId]);
});

test('on a test clock the rate counts by the account’s clock and the deadline by real time', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 10_000 });
  const order = await outlasted(account, 3_600);
  await ledger.moveClock(account, '2026-03-11T10:00:00Z');
  expect(await raise()).toBe(0);
  await database.owner
    .knex('ledger.generations')
    .where({ account_id: account })
    .update({ deadline_at: new Date() });
  expect(await raise()).toBe(1);
  expect(await openItems(account)).toEqual([order.holdId]);
});

test('the item closes with its hold, whether that is captured, released or freed with others in one call', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  const orders = [];
  for (let n = 0; n < 5; n += 1) orders.push(await outlasted(account, -1));
  const [captured, released, phased, ...together] = orders.map(({ holdId }) => holdId);
  if (captured === undefined || released === undefined || phased === undefined)
    throw new Error('five orders');
  expect(await raise()).toBe(5);

  await ledger.capture(account, captured, { final: true });
  await ledger.release(account, released);
  await ledger.capture(account, phased, { amount: 100, final: false, phase: 'first' });
  expect(new Set(await openItems(account))).toEqual(new Set([phased, ...together]));
  const release = { op: 'release', hash: 'release', cause: 'engine' } as const;
  await ledger.apply(
    account,
    together.map((holdId) => ({ ...release, key: `sys:release:${holdId}`, holdId })),
  );
  expect(await openItems(account)).toEqual([phased]);
});

test('an item that was raised while its hold closed is closed by the next sweep', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  const { holdId } = await outlasted(account, -1);
  await ledger.release(account, holdId);
  const item = { account, kind: 'hold_overdue', subject: holdId, detail: {} } as const;
  await raiseItem(database.db.knex, item);
  expect(await openItems(account)).toEqual([holdId]);
  await resolveEndedHolds(database.db.knex);
  expect(await openItems(account)).toEqual([]);
});
