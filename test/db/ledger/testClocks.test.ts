import path from 'node:path';
import { createCatalogStore, publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createLedger, type Ledger } from '../../../db/ledger/ledger';
import {
  clockProgress,
  endAdvance,
  findTestClock,
  insertTestClock,
  pendingHands,
  setAdvancing,
} from '../../../db/accounts/testClocks';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf } from '../../support/ledger/ledger';

/** When a clock is ready, and how its accounts are carried; a whole advance is in test/workflows/clock.test.ts. */

const T0 = '2027-01-31T09:30:00.000Z';
const FEBRUARY_END = '2027-02-28T09:30:00.000Z';

let database: TestDatabase;
let ledger: Ledger;
let counter = 0;

beforeAll(async () => {
  database = await testDatabase();
  const file = path.join(__dirname, '..', '..', '..', 'catalogs', 'imagineart.json');
  await publishCatalog(database.db.knex, { catalog: readCatalog(file) });
  const catalogs = createCatalogStore(database.db);
  ledger = createLedger({ pool: database.db.pool, catalogs, ring: () => undefined });
});
afterAll(() => database.close());

async function newClock(): Promise<string> {
  counter += 1;
  const id = `tc_${counter}`;
  const frozenAt = new Date(T0);
  await database.db.knex.transaction((transaction) => insertTestClock(transaction, { id, frozenAt }));
  return id;
}

async function open(testClock: string, name: string): Promise<string> {
  const account = `${testClock}-${name}`;
  const terms = { catalog: 'imagineart', plan: 'standard', planSource: 'admin' } as const;
  await ledger.open({ account, ...terms, clockAt: T0, testClock });
  await ledger.settle(account, { touch: true });
  return account;
}

const advanceTo = (id: string, to: string) =>
  database.db.knex.transaction((transaction) => setAdvancing(transaction, { id, target: new Date(to) }));

async function clockOf(id: string) {
  const clock = await findTestClock(database.db.knex, id);
  if (clock === null) throw new Error(`no clock ${id}`);
  return clock;
}

test('a clock is not ready while one account is behind, or has something due where it stands', async () => {
  const id = await newClock();
  const [ada, eve] = [await open(id, 'ada'), await open(id, 'eve')];
  await advanceTo(id, FEBRUARY_END);
  await ledger.carry([{ account: ada, at: FEBRUARY_END }]);
  expect(await endAdvance(database.db.knex, id)).toBe(false);

  await ledger.moveClock(eve, FEBRUARY_END); // there, and its renewal is due
  expect(await clockProgress(database.db.knex, await clockOf(id))).toEqual({ accounts: 2, settled: 1 });
  expect(await endAdvance(database.db.knex, id)).toBe(false);
  expect((await clockOf(id)).status).toBe('advancing');

  await ledger.carry([{ account: eve, at: FEBRUARY_END }]);
  expect(await endAdvance(database.db.knex, id)).toBe(true);
  expect(await clockOf(id)).toMatchObject({ status: 'ready', now: new Date(FEBRUARY_END) });
});

test('those that are left are found page by page, with what they have before them', async () => {
  const id = await newClock();
  for (const name of ['a', 'b', 'c']) await open(id, name);
  await open(await newClock(), 'elsewhere');
  await advanceTo(id, FEBRUARY_END);
  const clock = await clockOf(id);
  const first = await pendingHands(database.db.knex, { clock, after: null, limit: 2 });
  expect(first).toEqual(
    ['a', 'b'].map((name) => ({
      account: `${id}-${name}`,
      clockAt: T0,
      dueAt: expect.stringMatching(/^2027-02-21T09:30:00/), // seven days before the month's credits end
      unsettled: false,
    })),
  );
  const rest = await pendingHands(database.db.knex, { clock, after: `${id}-b`, limit: 2 });
  expect(rest.map(({ account }) => account)).toEqual([`${id}-c`]);
});

test('an account that another process has carried further stays there', async () => {
  const account = await open(await newClock(), 'ada');
  await ledger.carry([{ account, at: FEBRUARY_END }]);
  const [late] = await ledger.carry([{ account, at: '2027-02-10T00:00:00.000Z' }]);
  expect(late).toMatchObject({ account, nowMs: Date.parse(FEBRUARY_END), settled: true });
  expect(late).toMatchObject({ dueMs: Date.parse('2027-03-24T09:30:00.000Z') });
});

test('one account that is locked spoils nothing for those it is carried with', async () => {
  const id = await newClock();
  const [ada, eve] = [await open(id, 'ada'), await open(id, 'eve')];
  const locker = await database.owner.pool.connect();
  await locker.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0');
  await locker.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [ada]);
  const carried = await ledger.carry([ada, eve].map((account) => ({ account, at: FEBRUARY_END })));
  await locker.query('ROLLBACK');
  locker.release();
  expect(carried).toEqual([
    { account: ada, error: expect.objectContaining({ code: '55P03' }) },
    expect.objectContaining({ account: eve, settled: true }),
  ]);
  const kinds = async (account: string) =>
    (await ledgerOf(database.db, database.owner).journal(account)).map(({ kind }) => kind);
  expect([await kinds(ada), await kinds(eve)]).toEqual([['grant'], ['grant', 'expire', 'grant']]);
});
