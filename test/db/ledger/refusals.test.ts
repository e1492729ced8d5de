import { randomBytes } from 'node:crypto';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf } from '../../support/ledger/ledger';

/** Rule 38: a refused request leaves a row for ever, so there is a limit to how many of an account do in a minute. */

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('the refusal beyond the limit leaves nothing, and what can be paid goes through all the same', async () => {
  const ledger = ledgerOf(database.db, database.owner);
  const account = await ledger.open();
  const refused = await ledger.charge(account, { amount: 1_000 });
  expect(refused.status).toBe('insufficient_credits');
  const { rows } = await database.owner.pool.query<{ most: number }>(
    'SELECT ledger.refusals_a_minute() AS most',
  );
  const [{ most } = { most: 0 }] = rows;
  await database.owner.pool.query('UPDATE ledger.accounts SET refused = $2 WHERE account_id = $1', [
    account,
    most - 1,
  ]);
  const rowsOf = async () =>
    (await database.owner.pool.query('SELECT FROM ledger.journal WHERE account_id = $1', [account])).rows
      .length;

  const key = `req:${randomBytes(4).toString('hex')}`;
  expect((await ledger.charge(account, { amount: 1_000 })).status).toBe('insufficient_credits');
  const before = await rowsOf();
  expect(await ledger.charge(account, { amount: 1_000, key })).toMatchObject({
    status: 'overloaded',
    answer: null,
  });
  expect(await ledger.charge(account, { amount: 1_000, key })).toMatchObject({
    status: 'overloaded',
    replayed: false,
  });
  expect(await rowsOf()).toBe(before);

  await ledger.grant(account, { amount: 5_000 });
  expect((await ledger.charge(account, { amount: 5_000 })).status).toBe('applied');
  expect((await ledger.charge(account, { amount: 1_000, key })).status).toBe('overloaded');

  // A minute later the same request is looked at, refused, and keeps its answer.
  await database.owner.pool.query(
    `UPDATE ledger.accounts SET refused_from = refused_from - interval '61 s' WHERE account_id = $1`,
    [account],
  );
  expect((await ledger.charge(account, { amount: 1_000, key })).status).toBe('insufficient_credits');
  expect(await ledger.charge(account, { amount: 1_000, key })).toMatchObject({
    status: 'insufficient_credits',
    replayed: true,
  });
});
