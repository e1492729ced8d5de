import path from 'node:path';
import { runAudit } from '../../../db/audit';
import { createCatalogStore, publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createLedger, type Ledger } from '../../../db/ledger/ledger';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation } from '../../support/ledger/ledger';

/** Settling through the ledger (rule 11): what is due is done before any use, in boundary order, on the account's clock. */

let database: TestDatabase;
let ledger: Ledger;
const rung: string[] = [];

beforeAll(async () => {
  database = await testDatabase();
  const file = path.join(__dirname, '..', '..', '..', 'catalogs', 'imagineart.json');
  await publishCatalog(database.db.knex, { catalog: readCatalog(file) });
  const catalogs = createCatalogStore(database.db);
  ledger = createLedger({ pool: database.db.pool, catalogs, ring: (account) => rung.push(account) });
});
afterAll(() => database.close());

let counter = 0;
async function open(rules: {
  plan: string;
  clockAt: string;
  timezone?: string;
  anchor?: string;
}): Promise<string> {
  counter += 1;
  const account = `settle-${counter}`;
  await ledger.open({
    account,
    catalog: 'imagineart',
    planSource: rules.plan === 'free' ? 'free' : 'admin',
    ...rules,
  });
  return account;
}

const available = async (account: string) => {
  const balance = await ledger.balance(account);
  return (balance?.lots ?? []).reduce((sum, lot) => sum + lot.available, 0) / 1000;
};
const journal = (account: string) => ledgerOf(database.db, database.owner).journal(account);
const spend = (account: string, amount: number) =>
  ledger.run(account, () => reservation(account, { amount: milli(amount * 1000) }));

test('whoever settles an account first rings for it, where something lies ahead: nobody did at its opening', async () => {
  const paid = await open({ plan: 'basic', clockAt: '2026-03-10T10:00:00Z' });
  const free = await open({ plan: 'free', clockAt: '2026-03-10T10:00:00Z' });
  rung.length = 0;
  for (const account of [paid, free, paid]) await ledger.balance(account);
  expect(rung).toEqual([paid]);
});

test('daily credits are set at midnight and not added, and days nobody was there are never granted', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-01T10:00:00Z' });
  expect(await available(account)).toBe(100);
  await spend(account, 30);
  await ledger.moveClock(account, '2026-03-02T00:00:00Z');
  expect(await available(account)).toBe(100);
  await ledger.moveClock(account, '2026-03-09T15:00:00Z');
  expect(await available(account)).toBe(100);
  const rows = await journal(account);
  expect(rows.filter(({ kind }) => kind === 'grant').map(({ at }) => at.toISOString())).toEqual([
    '2026-03-01T10:00:00.000Z',
    '2026-03-02T00:00:00.000Z',
    '2026-03-09T00:00:00.000Z',
  ]);
});

test('a day is the account’s own, daylight saving included', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-28T12:00:00Z', timezone: 'Europe/London' });
  await spend(account, 100);
  await ledger.moveClock(account, '2026-03-29T22:59:59Z'); // 23:59:59 in London, where the clocks went forward
  expect(await available(account)).toBe(100);
  await spend(account, 100);
  await ledger.moveClock(account, '2026-03-29T23:00:00Z');
  expect(await available(account)).toBe(100);
});

test('a timer that fires at midnight expires what is left, and leaves the new day to whoever comes', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-01T10:00:00Z' });
  await ledger.balance(account);
  await ledger.moveClock(account, '2026-03-02T00:00:01Z');
  const settled = await ledger.settle(account, { touch: false });
  expect(settled?.wakeAt).toBe('infinity');
  expect((await journal(account)).map(({ kind }) => kind)).toEqual(['grant', 'expire']);
});

test('an administrator’s plan is granted for every slot, also for those that passed meanwhile, clamped to month ends', async () => {
  const account = await open({
    plan: 'basic',
    clockAt: '2026-01-31T08:00:00Z',
    anchor: '2026-01-31T08:00:00Z',
  });
  expect(await available(account)).toBe(3_000);
  await ledger.moveClock(account, '2026-05-01T00:00:00Z');
  expect(await available(account)).toBe(3_000);
  const grants = (await journal(account)).filter(({ kind }) => kind === 'grant');
  expect(grants.map(({ at }) => at.toISOString().slice(0, 16))).toEqual([
    '2026-01-31T08:00',
    '2026-02-28T08:00',
    '2026-03-31T08:00',
    '2026-04-30T08:00',
  ]);
  const kinds = (await journal(account)).map(({ kind }) => kind);
  expect(kinds).toEqual(['grant', 'expire', 'grant', 'expire', 'grant', 'expire', 'grant']);
});

test('a subscriber has no daily credits', async () => {
  const account = await open({ plan: 'standard', clockAt: '2026-03-01T10:00:00Z' });
  await ledger.moveClock(account, '2026-03-03T10:00:00Z');
  const balance = await ledger.balance(account);
  expect(balance?.lots.map(({ bucket }) => bucket)).toEqual(['plan']);
});

test('racing for the first use of a day, everybody sees it settled once', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-01T10:00:00Z' });
  await ledger.balance(account);
  await ledger.moveClock(account, '2026-03-02T10:00:00Z');
  const replies = await Promise.all(Array.from({ length: 20 }, () => spend(account, 10)));
  expect(replies.filter((reply) => reply?.status === 'applied')).toHaveLength(10);
  expect((await journal(account)).filter(({ kind }) => kind === 'grant')).toHaveLength(2);
});

test('rings when the next boundary moved earlier', async () => {
  const account = await open({ plan: 'basic', clockAt: '2026-03-01T10:00:00Z' });
  rung.length = 0;
  await ledger.balance(account);
  expect(rung).toEqual([account]);
  await spend(account, 5);
  expect(rung).toEqual([account]);
});

test('daily credits wake nobody when they end, and have ended all the same', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-01T10:00:00Z' });
  rung.length = 0;
  await spend(account, 5);
  expect(rung).toEqual([]);
  expect((await ledger.snapshot(account))?.wakeAt).toBe('infinity');
  await ledger.moveClock(account, '2026-03-05T10:00:00Z');
  expect(await available(account)).toBe(100);
  const rows = await journal(account);
  const expired = rows.find(({ kind }) => kind === 'expire');
  expect(expired?.at.toISOString()).toBe('2026-03-02T00:00:00.000Z');
});

test('a change of zone never lets two days’ credits be spent at once', async () => {
  const account = await open({ plan: 'free', clockAt: '2026-03-01T00:00:00Z' });
  expect(await available(account)).toBe(100);
  const calendar = {
    daily: { date: '2026-03-01', from: '2026-03-01T00:00:00Z', nextAt: '2026-03-01T21:00:00Z' },
  };
  const rules = { timezone: 'Europe/Moscow', calendar };
  await ledger.run(account, { op: 'rules', key: 'sys:zone', hash: 'zone', rules });
  await ledger.moveClock(account, '2026-03-01T21:30:00Z'); // 2 March in Moscow; the lot of 1 March would live till midnight UTC
  expect(await available(account)).toBe(100);
  const lots = await ledgerOf(database.db, database.owner).lots(account);
  expect(lots.map(({ available, expired }) => [available, expired])).toEqual([
    [0, 100_000],
    [100_000, 0],
  ]);
  expect((await runAudit(database.owner.pool, { account })).ok).toBe(true);
});
