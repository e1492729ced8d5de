import { randomBytes } from 'node:crypto';
import { type AccountKeys, createAccountKeys } from '../../../db/idempotency/accountKeys';
import { createCatalogStore, publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createLedger, type Ledger } from '../../../db/ledger/ledger';
import { createLockWaits, BUSY } from '../../../db/ledger/lockWaits';
import type { GrantOperation } from '../../../db/ledger/operations';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** One account that somebody keeps locked (a forgotten `psql`, a giant settlement) delays itself and nobody else. */

let database: TestDatabase;
let raw: TestLedger;
let ledger: Ledger;
let otherProcess: Ledger;
let keys: AccountKeys;

beforeAll(async () => {
  database = await testDatabase();
  raw = ledgerOf(database.db, database.owner);
  const catalogs = createCatalogStore(database.db);
  await publishCatalog(database.db.knex, { catalog: readCatalog('catalogs/imagineart.json') });
  const create = () => createLedger({ pool: database.db.pool, catalogs, ring: () => undefined });
  ledger = create();
  otherProcess = create();
  keys = createAccountKeys(database.db.knex);
});
afterAll(() => database.close());

/** More than there are calls at once, and places to wait in. */
const LOCKED = 9;

const grant = (): GrantOperation => ({
  op: 'grant',
  hash: 'g',
  bucket: 'pack',
  rank: 3,
  source: 'gift',
  amount: milli(1_000),
  key: `sys:grant:${randomBytes(6).toString('hex')}`,
});

const open = (count: number) => Promise.all(Array.from({ length: count }, () => raw.open()));

/** Keeps the accounts locked until it is told to let go. */
async function lock(accounts: readonly string[]): Promise<() => Promise<void>> {
  const client = await database.owner.pool.connect();
  await client.query('BEGIN');
  await client.query('SET LOCAL idle_in_transaction_session_timeout = 0');
  await client.query('SELECT FROM ledger.accounts WHERE account_id = ANY ($1) FOR UPDATE', [accounts]);
  return async () => {
    await client.query('ROLLBACK');
    client.release();
  };
}

/** Statements that wait for a row's lock in the database. */
async function waitingForLocks(): Promise<number> {
  const { rows } = await database.owner.pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%ledger.%'`,
  );
  return rows[0]?.n ?? 0;
}

test('accounts that are locked hold up no call: strangers in the same calls are served while they wait', async () => {
  const [locked, strangers] = await Promise.all([open(LOCKED), open(40)]);
  const unlock = await lock(locked);
  const ended: string[] = [];
  // Settled by then: all that is left of them is told.
  const theirs = Promise.all(
    locked.map((account) => ledger.run(account, grant()).then(() => ended.push(account))),
  );
  const replies = await Promise.all(
    [...strangers, ...strangers].map((account) => ledger.run(account, grant())),
  );
  expect(replies.map((reply) => reply?.status)).toEqual(replies.map(() => 'applied'));
  expect(ended).toEqual([]);
  expect(await waitingForLocks()).toBeLessThanOrEqual(3);
  await unlock();
  await theirs;
  expect(ended.toSorted()).toEqual(locked.toSorted());
});

test('a call that meets a locked account keeps no stranger’s lock meanwhile, so another process is not delayed', async () => {
  const [first, ...strangers] = (await open(20)).toSorted();
  if (first === undefined) throw new Error('no account');
  const last = await raw.open();
  const unlock = await lock([last]);
  const here = Promise.all([...strangers, last, first].map((account) => ledger.run(account, grant())));
  const there = await Promise.all([...strangers, first].map((account) => otherProcess.run(account, grant())));
  expect(there.map((reply) => reply?.status)).toEqual(there.map(() => 'applied'));
  await unlock();
  await here;
});

test('a request of an account that stays locked fails on its own, and those that waited behind it with it', async () => {
  const [account = ''] = await open(1);
  const unlock = await lock([account]);
  const all = await Promise.allSettled(Array.from({ length: 300 }, () => ledger.run(account, grant())));
  const codes = all.map((one) =>
    one.status === 'rejected' && one.reason instanceof Error ? Reflect.get(one.reason, 'code') : one.status,
  );
  expect(new Set(codes)).toEqual(new Set(['55P03']));
  await unlock();
  expect(await ledger.run(account, grant())).toMatchObject({ status: 'applied' });
  expect(await raw.totals(account)).toMatchObject({ seq: 1 }); // what failed did nothing
});

test('keys are claimed for other accounts while more are locked than there are connections', async () => {
  const [locked, others] = await Promise.all([open(14), open(14)]);
  const unlock = await lock(locked);
  const theirs = Promise.all(
    locked.map((account) => keys.claim({ account, key: 'k', hash: 'h', passing: false })),
  );
  const claims = await Promise.all(
    others.map((account) => keys.claim({ account, key: 'k', hash: 'h', passing: false })),
  );
  expect(claims).toEqual(claims.map(() => ({ known: 'claimed' })));
  expect(await waitingForLocks()).toBeLessThanOrEqual(3);
  await unlock();
  expect(await theirs).toEqual(locked.map(() => ({ known: 'claimed' })));
});

test('accounts of a test clock are carried along past one that is locked', async () => {
  const at = '2027-01-01T00:00:00.000Z';
  const clockAt = '2026-01-01T00:00:00.000Z';
  const accounts = Array.from({ length: 5 }, (_, n) => `clocked-${n}`);
  for (const account of accounts)
    await ledger.open({ account, catalog: 'imagineart', plan: 'free', planSource: 'free', clockAt });
  const [locked = '', ...others] = accounts;
  const unlock = await lock([locked]);
  const carried = await ledger.carry(accounts.map((account) => ({ account, at })));
  await unlock();
  const failed = carried.filter((one) => 'error' in one);
  expect(failed).toMatchObject([{ account: locked, error: { code: '55P03' } }]);
  const nowMs = Date.parse(at);
  expect(carried).toEqual(
    expect.arrayContaining(others.map((account) => expect.objectContaining({ account, nowMs }) as unknown)),
  );
});

test('one call of an account waits in the database; what finds no room tries again without waiting', async () => {
  const pauses: number[] = [];
  const locks = createLockWaits({
    atOnce: 1,
    pause: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
  });
  let free: () => void = () => undefined;
  const freed = new Promise<void>((resolve) => {
    free = resolve;
  });
  const first = locks.through('a', async (wait) => {
    if (!wait) return BUSY;
    await freed;
    return 'a';
  });
  await Promise.resolve();
  let tries = 0;
  const second = await locks.through('b', (wait) => {
    expect(wait).toBe(false); // the one place is taken
    tries += 1;
    return Promise.resolve(tries < 4 ? BUSY : 'b');
  });
  expect([second, tries, pauses.length]).toEqual(['b', 4, 2]);
  free();
  expect(await first).toBe('a');
});
