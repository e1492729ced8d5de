import { runAudit } from '../../../db/audit';
import { CHECKS } from '../../../db/audit/checks';
import { runQuickAudit } from '../../../db/audit/quick';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';
import { livelyLedger, TAMPERINGS, tamper } from '../../support/ledger/livelyLedger';

let database: TestDatabase;
let ledger: TestLedger;

beforeEach(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterEach(() => database.close());

const quick = () => runQuickAudit(database.db.pool);
const spoke = ({ checks }: { checks: { id: string; violations: number }[] }) =>
  checks.filter(({ violations }) => violations > 0).map(({ id }) => id);
const markOf = async (account: string) =>
  (
    await database.owner
      .knex('ledger.audit_marks')
      .where({ account_id: account })
      .first<{ seq: number }>('seq')
  )?.seq;

/** A lot that is spent last, and a hold of which something was captured: what a mark must carry on from. */
async function prelude(one: TestLedger, account: string): Promise<void> {
  await one.grant(account, { bucket: 'last', rank: 9, amount: 8_000 });
  const operation = reservation(account, { amount: 5_000, facts: { excluded: [] } });
  await one.one(account, operation);
  await one.capture(account, operation.holdId, { amount: 2_000 });
  expect(await quick()).toMatchObject({ ok: true, accounts: 1, rows: 3 });
}
const BEFORE = { lots: 1, rows: 3 };

describe('what happened since the last look', () => {
  const found = Object.entries(TAMPERINGS).filter(
    ([id]) => CHECKS.find((check) => check.id === id)?.wholeHistory !== true,
  );

  test('is in order when nobody meddled with it', async () => {
    const account = await livelyLedger(database, prelude);
    expect(await quick()).toMatchObject({ ok: true, accounts: 1 });
    expect(await quick()).toMatchObject({ ok: true, accounts: 0, rows: 0 });
    expect(await markOf(account)).toBe((await ledger.totals(account)).seq);
  });

  test.each(found)('is found by %s as by the full audit, and the mark stays', async (id, sql) => {
    const account = await livelyLedger(database, prelude);
    await tamper(database, sql, { account, before: BEFORE });
    expect(spoke(await quick())).toContain(id);
    expect(spoke(await quick())).toContain(id);
    expect(await markOf(account)).toBe(BEFORE.rows);
  });

  test('is found also where it begins behind the mark: a hold, a lot’s terms, a phase', async () => {
    const account = await ledger.open();
    await ledger.grant(account, { amount: 90_000 });
    const { holdId } = await (async () => {
      const operation = reservation(account, { amount: 9_000 });
      await ledger.one(account, operation);
      await ledger.capture(account, operation.holdId, { amount: 1_000, final: false, phase: 'a' });
      return operation;
    })();
    expect(await quick()).toMatchObject({ ok: true });
    await ledger.capture(account, holdId, { amount: 3_000 });
    await tamper(
      database,
      `UPDATE ledger.holds SET captured = captured + 1, released = released - 1 WHERE account_id = '$a';
       UPDATE ledger.lots SET rank = 1 WHERE account_id = '$a';
       UPDATE ledger.journal SET detail = detail || '{"phase": "a"}' WHERE account_id = '$a' AND seq = 4`,
      { account },
    );
    expect(spoke(await quick())).toEqual(
      expect.arrayContaining(['rebuild-holds', 'rebuild-lot-terms', 'one-capture-per-phase']),
    );
  });

  test('includes an account whose totals changed though nothing happened to it', async () => {
    const account = await livelyLedger(database);
    expect(await quick()).toMatchObject({ ok: true });
    await tamper(database, "UPDATE ledger.accounts SET available = available + 1 WHERE account_id = '$a'", {
      account,
    });
    expect(spoke(await quick())).toEqual(expect.arrayContaining(['totals-equal-journal']));
  });
});

describe('what lies behind a mark is left to the full audit:', () => {
  test.each([
    [
      'a journal row',
      "UPDATE ledger.journal SET reason = '', at = '2020-01-01' WHERE account_id = '$a' AND seq = 4",
    ],
    ['a key', "UPDATE ledger.op_keys SET seq = 1 WHERE account_id = '$a' AND key = 'req:r'"],
    ['a key without a row', "INSERT INTO ledger.op_keys VALUES ('$a', 'req:forged', 'h', 7, '{}')"],
    [
      'a hold that was closed',
      "UPDATE ledger.holds SET captured = captured - 1, released = released + 1 WHERE account_id = '$a' AND NOT open AND refunded = 0",
    ],
    [
      'a lot of an account that nothing happened to',
      "UPDATE ledger.lots SET spent = spent - 1, revoked = revoked + 1 WHERE account_id = '$a' AND lot_no = 1",
    ],
    [
      'a generation that runs without a hold',
      "UPDATE ledger.generations SET status = 'running', finished_at = NULL, hold_id = NULL WHERE account_id = '$a' AND status <> 'running'",
    ],
  ])('%s', async (_what, sql) => {
    const account = await livelyLedger(database);
    expect(await quick()).toMatchObject({ ok: true });
    await tamper(database, sql, { account });
    expect(await quick()).toMatchObject({ ok: true });
    expect(await runAudit(database.db.pool)).toMatchObject({ ok: false });
  });
});

test('an account that is not in order keeps nobody else’s mark from moving', async () => {
  const [good, bad] = [await ledger.open(), await ledger.open()];
  for (const account of [good, bad]) await ledger.grant(account, { amount: 1_000 });
  await tamper(database, "UPDATE ledger.lots SET rank = 9 WHERE account_id = '$a'", { account: bad });
  expect(await quick()).toMatchObject({ ok: false, accounts: 2 });
  expect([await markOf(good), await markOf(bad)]).toEqual([1, undefined]);
  expect(await quick()).toMatchObject({ ok: false, accounts: 1 });
});

test('audits side by side and beside load raise no false alarm, and leave marks that hold', async () => {
  const accounts = await Promise.all(Array.from({ length: 6 }, () => ledger.open()));
  for (const account of accounts) await ledger.grant(account, { amount: 900_000 });
  const load = { over: false };
  const work = accounts.map(async (account) => {
    while (!load.over) {
      const operation = reservation(account, { amount: 300, facts: { excluded: [] } });
      await ledger.one(account, operation);
      await ledger.capture(account, operation.holdId, { amount: 100 });
    }
  });
  const audits = [quick, quick, () => runAudit(database.db.pool)].map(async (audit) => {
    for (let n = 0; n < 3; n += 1) expect(spoke(await audit())).toEqual([]);
  });
  try {
    await Promise.all(audits);
  } finally {
    load.over = true;
  }
  await Promise.all(work);
  expect(await quick()).toMatchObject({ ok: true });
  expect(await quick()).toMatchObject({ ok: true, accounts: 0 });
  expect(await runAudit(database.db.pool)).toMatchObject({ ok: true });
});
