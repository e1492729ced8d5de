import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase({ patient: true });
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

test('of 100 callers racing for the last credits exactly as many win as the credits allow', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 73_000 });
  const replies = await Promise.all(
    Array.from({ length: 100 }, () => ledger.reserve(account, { amount: 2_000 })),
  );
  expect(replies.filter(({ status }) => status === 'applied')).toHaveLength(36);
  expect(replies.filter(({ status }) => status === 'insufficient_credits')).toHaveLength(64);
  expect(await ledger.totals(account)).toMatchObject({
    seq: 101,
    available: 1_000,
    held: 72_000,
    open_holds: 36,
  });
});

test('of 50 callers with one key one has an effect, and all have its answer', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  const operation = reservation(account, { amount: 1_000 });
  const replies = await Promise.all(Array.from({ length: 50 }, () => ledger.one(account, operation)));
  expect(new Set(replies.map(({ answer }) => answer)).size).toBe(1);
  expect(replies.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(await ledger.totals(account)).toMatchObject({ seq: 2, available: 9_000 });
});

test('a storm of captures and releases on one hold resolves it once', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
  const { holdId } = await (async () => {
    const operation = reservation(account, { amount: 4_000 });
    await ledger.one(account, operation);
    return operation;
  })();
  const storm = Array.from({ length: 60 }, (_, n) =>
    n % 2 === 0
      ? ledger.capture(account, holdId, { key: `sys:c${n}` })
      : ledger.release(account, holdId, { key: `sys:r${n}` }),
  );
  const replies = await Promise.all(storm);
  expect(replies.filter(({ status }) => status === 'applied')).toHaveLength(1);
  expect(replies.filter(({ status }) => status === 'hold_closed')).toHaveLength(59);
  const { available, held } = await ledger.totals(account);
  expect([
    [6_000, 0],
    [10_000, 0],
  ]).toContainEqual([available, held]);
});

test('a grant that arrives while a reserve waits for the lock is seen by it', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 1_000 });
  const granting = await database.db.pool.connect();
  try {
    await granting.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0');
    const grant = {
      op: 'grant',
      key: 'sys:late',
      hash: 'g',
      bucket: 'pack',
      rank: 3,
      amount: 100_000,
      source: 'test',
    };
    await granting.query('SELECT ledger.apply($1)', [
      JSON.stringify([{ account, ops: [grant], settle: null }]),
    ]);
    const reserving = ledger.reserve(account, { amount: 50_000 });
    await untilWaiting(); // the reserve stands at the row lock
    await granting.query('COMMIT');
    expect((await reserving).status).toBe('applied');
  } finally {
    granting.release();
  }
});

async function untilWaiting(): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const { rows } = await database.owner.pool.query(
      "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    if (rows.length > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('nobody waits for a lock');
}
