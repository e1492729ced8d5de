import { runAudit } from '../../../db/audit';
import type { GrantOperation, Operation, RevokeOperation } from '../../../db/ledger/operations';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

/** What runs of the model found, each as the smallest example of it. */

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

const T0 = '2026-03-01T00:00:00.000Z';
const after = (seconds: number) => new Date(Date.parse(T0) + seconds * 1_000).toISOString();
const grantOf = (amount: number): GrantOperation => ({
  op: 'grant',
  key: `sys:grant:${amount}`,
  hash: 'g',
  bucket: 'pack',
  rank: 3,
  source: 'gift',
  amount: milli(amount),
});

async function repliesTo(account: string, operations: Operation[]) {
  const result = await ledger.apply(account, operations);
  if (result.result !== 'ok') throw new Error(`the ledger answered ${result.result}`);
  return result.replies;
}

test('a capture that names neither an amount nor what was delivered takes all that is held', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 5_000 });
  const holdId = await ledger.lease(account, { amount: 3_000 });
  const capture = { op: 'capture', key: 'req:c', hash: 'c', holdId, final: true, cause: 'engine' } as const;
  expect(await ledger.one(account, capture)).toMatchObject({ captured: 3_000, returned: 0 });
});

test('what a release returns is spent in its turn by the next operation of the same batch', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { bucket: 'daily', rank: 1, amount: 2_000 });
  await ledger.grant(account, { bucket: 'pack', rank: 3, amount: 5_000 });
  const holdId = await ledger.lease(account, { amount: 2_000 }); // all of the daily lot
  const [, reserved] = await repliesTo(account, [
    { op: 'release', key: 'req:r', hash: 'r', holdId, cause: 'engine' },
    reservation(account, { amount: 1_000 }),
  ]);
  expect(reserved?.draws).toEqual([{ bucket: 'daily', milli: 1_000 }]);
});

test('a lease ends in time although a lot ended before it', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 1_000, rank: 9, expiresAt: after(10) }); // spent last
  await ledger.grant(account, { amount: 5_000 });
  const holdId = await ledger.lease(account, { amount: 2_000, ttlSeconds: 60 });
  await ledger.moveClock(account, after(10)); // the first lot has ended, the lease is not
  await ledger.one(account, grantOf(1));
  await ledger.moveClock(account, after(60));
  const capture = { op: 'capture', key: 'req:c', hash: 'c', holdId, final: true, cause: 'engine' } as const;
  expect((await ledger.one(account, capture)).status).toBe('hold_expired');
});

test('a batch repays debts in the order the same operations one by one would', async () => {
  const account = await ledger.open();
  const revoke = (cause: string, turn: number): RevokeOperation => ({
    op: 'revoke',
    key: `sys:revoke:${turn}`,
    hash: 'r',
    amount: milli(100),
    cause,
    source: 'x',
    buckets: [],
  });
  await ledger.one(account, revoke('older', 1));
  await ledger.one(account, grantOf(100)); // which repays the older
  await ledger.one(account, revoke('newer', 2));
  await repliesTo(account, [grantOf(60), revoke('older', 3), grantOf(10)]);
  const { rows } = await database.owner.pool.query(
    'SELECT cause, owed, repaid FROM ledger.debts WHERE account_id = $1 ORDER BY cause',
    [account],
  );
  expect(rows).toEqual([
    { cause: 'newer', owed: 100, repaid: 60 },
    { cause: 'older', owed: 200, repaid: 110 },
  ]);
});

test('leases that end at one instant end in the order of their ids, whichever of them is named', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 5_000 });
  for (const holdId of ['a', 'b', 'c'])
    await ledger.lease(account, { holdId, amount: 1_000, ttlSeconds: 60 });
  await ledger.moveClock(account, after(60));
  await ledger.one(account, { op: 'release', key: 'req:r', hash: 'r', holdId: 'b', cause: 'engine' });
  const { rows } = await database.owner.pool.query<{ hold_id: string }>(
    "SELECT hold_id FROM ledger.journal WHERE account_id = $1 AND kind = 'release' ORDER BY seq",
    [account],
  );
  expect(rows.map(({ hold_id: holdId }) => holdId)).toEqual(['a', 'b', 'c']);
});

test('the audit does not mind what was spent at the very instant a grant then ended the lot', async () => {
  const account = await ledger.open({ clockAt: T0 });
  const daily = { bucket: 'daily', rank: 1, amount: 2_000, source: 'daily:1', expiresAt: after(86_400) };
  await ledger.grant(account, daily);
  await ledger.charge(account, { amount: 500 });
  const next = { ...daily, source: 'daily:2', replaces: true, at: T0, key: 'sys:daily:2', hash: 'd' };
  const versions = { settleVersion: 1, rulesVersion: 1, calendar: {} };
  const due = { steps: [next], nextDueAt: 'infinity', wakeAt: 'infinity' };
  await ledger.apply(account, [], { ...versions, ...due });
  const { checks } = await runAudit(database.db.pool, { account });
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
