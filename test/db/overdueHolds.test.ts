import { countOverdueHolds, raiseOverdueHolds } from '../../db/overdueHolds';
import { startApp, type TestApp } from '../api/app';
import { type TestDatabase, testDatabase } from '../support/database';
import { ledgerOf, reservation, type TestLedger } from '../support/ledger';

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

const raise = () => raiseOverdueHolds(database.db.knex, { limit: 10 });
const items = (account: string) =>
  database.owner.knex('holdfast.operations_items').where({ account_id: account });

test('an open hold is overdue from its instant on by its account’s clock, and an item is raised once', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 10_000 });
  const order = reservation(account, { amount: 4_000, overdueSeconds: 600 });
  await ledger.one(account, order);
  await ledger.lease(account, { amount: 1_000, ttlSeconds: 60 });

  await ledger.moveClock(account, '2026-03-10T10:09:59.999Z');
  expect([await countOverdueHolds(database.db.knex), await raise()]).toEqual([0, 0]);
  await ledger.moveClock(account, '2026-03-10T10:10:00Z');
  expect([await countOverdueHolds(database.db.knex), await raise(), await raise()]).toEqual([1, 1, 0]);
  expect(await items(account)).toMatchObject([
    {
      kind: 'hold_overdue',
      subject: order.holdId,
      detail: { generation: order.generation.id, workflowId: 'workflow', heldMilli: 4_000 },
    },
  ]);
  expect((await app.call('GET', '/metrics', { key: null })).text).toContain('\nholdfast_overdue_holds 1\n');

  await ledger.release(account, order.holdId);
  expect([await countOverdueHolds(database.db.knex), await raise()]).toEqual([0, 0]);
  expect((await app.call('GET', '/metrics', { key: null })).text).toContain('\nholdfast_overdue_holds 0\n');
});

test('without a test clock it is the database’s that counts, and no more are raised at once than asked for', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  for (const overdueSeconds of [0, 0, 0, 600])
    await ledger.one(account, reservation(account, { amount: 1_000, overdueSeconds }));
  expect(await raiseOverdueHolds(database.db.knex, { limit: 2 })).toBe(2);
  expect(await raise()).toBe(1);
  expect(await items(account)).toHaveLength(3);
});
