import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** What the database itself refuses, whatever the code above it does (rule 3). */

let database: TestDatabase;
let ledger: TestLedger;
let account: string;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
  account = await ledger.open();
  await ledger.grant(account, { amount: 5_000 });
});
afterAll(() => database.close());

const asOwner = (sql: string, values: unknown[] = []) => database.owner.pool.query(sql, values);

test.each([
  'UPDATE ledger.journal SET credits = 0',
  'DELETE FROM ledger.journal',
  'TRUNCATE ledger.journal',
  'UPDATE ledger.op_keys SET answer = $$$$',
  'DELETE FROM ledger.op_keys',
  'TRUNCATE ledger.op_keys',
])('the owner itself is refused: %s', async (sql) => {
  await expect(asOwner(sql)).rejects.toThrow(/append-only/);
});

test('a partition of the journal refuses what its parent refuses', async () => {
  const { rows } = await asOwner(
    "SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'ledger.journal'::regclass",
  );
  expect(rows.length).toBeGreaterThan(12);
  for (const { name } of rows as { name: string }[]) {
    await expect(asOwner(`TRUNCATE ${name}`)).rejects.toThrow(/append-only/);
  }
});

test.each([
  [
    'a part below zero',
    'UPDATE ledger.lots SET available = available - 9000, spent = spent + 9000',
    /lot_not_negative/,
  ],
  ['a lot that does not add up', 'UPDATE ledger.lots SET spent = spent + 1', /lot_conservation/],
  ['an account below zero', 'UPDATE ledger.accounts SET available = -1', /account_not_negative/],
  [
    'a hold that does not add up',
    "INSERT INTO ledger.holds (account_id, hold_id, amount, held, lots, lots_held, lots_captured, opened_at, overdue_at) SELECT account_id, 'h', 5, 4, '{}', '{}', '{}', now(), now() FROM ledger.accounts LIMIT 1",
    /hold_conservation/,
  ],
])('%s is refused', async (_what, sql, constraint) => {
  await expect(asOwner(sql)).rejects.toThrow(constraint);
});

test('a second effect for one key is refused', async () => {
  const key = `INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer) VALUES ($1, 'sys:once', 'h', 1, '{}')`;
  await asOwner(key, [account]);
  await expect(asOwner(key, [account])).rejects.toThrow(/op_keys_pkey/);
});

test.each([
  'UPDATE ledger.accounts SET available = 1',
  'INSERT INTO ledger.op_keys VALUES ($$a$$, $$b$$, $$c$$, 1, $$d$$)',
  'DELETE FROM ledger.lots',
  'UPDATE ledger.generations SET status = $$failed$$',
  "SELECT ledger.write_counters('a', '{}')",
  "SELECT ledger.give_back('{}', '{}', now(), 'held', '{}', '{}', 'customer', NULL, 1)",
])('the application may not go around the ledger’s functions: %s', async (sql) => {
  await expect(database.db.pool.query(sql)).rejects.toThrow(/permission denied/);
});
