import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runAudit } from '../../../db/audit';
import { CHECKS } from '../../../db/audit/checks';
import { explainAccount } from '../../../db/audit/explain';
import { type TestDatabase, testDatabase } from '../../support/database';
import { livelyLedger, TAMPERINGS, tamper } from '../../support/ledger/livelyLedger';

let database: TestDatabase;
let a: string;

beforeEach(async () => {
  database = await testDatabase();
  a = await livelyLedger(database);
});
afterEach(() => database.close());

async function broken(): Promise<string[]> {
  const report = await runAudit(database.owner.pool);
  expect(report.ok).toBe(report.checks.every(({ violations }) => violations === 0));
  return report.checks.filter(({ violations }) => violations > 0).map(({ id }) => id);
}

test('a ledger that went through every operation is in order', async () => {
  expect(await broken()).toEqual([]);
});

test('every check has a tampering that must make it speak', () => {
  expect(Object.keys(TAMPERINGS).toSorted()).toEqual(CHECKS.map(({ id }) => id).toSorted());
});

test.each(Object.entries(TAMPERINGS))('%s speaks up', async (id, sql) => {
  await tamper(database, sql, { account: a });
  expect(await broken()).toContain(id);
});

test('one account can be audited alone', async () => {
  const other = await livelyLedger(database);
  await tamper(database, "UPDATE ledger.accounts SET available = available + 1 WHERE account_id = '$a'", {
    account: other,
  });
  expect((await runAudit(database.owner.pool, { account: a })).ok).toBe(true);
  const report = await runAudit(database.owner.pool, { account: other, sample: 1 });
  const told = report.checks.find(({ id }) => id === 'totals-equal-lots');
  expect(told).toMatchObject({ violations: 1, sample: [{ account_id: other }] });
});

test('the page on the audit explains each check, and no other', () => {
  const page = readFileSync(path.join(__dirname, '..', '..', '..', 'docs', 'audit.md'), 'utf8');
  const explained = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1]);
  expect(explained).toEqual(CHECKS.map(({ id }) => id));
});

test('one account is explained in words: what it has, what is open, what happened last', async () => {
  const told = await explainAccount(database.db.knex, a);
  expect(told).toContain(`Account ${a}: catalog none, plan free (free), zone UTC`);
  expect(told).toMatch(/Open holds \(2\):/);
  expect(told).toMatch(/refund:1: [\d,.]+ owed, 5 repaid/);
  expect(told).toMatch(/charge -0\.5 → /);
  expect(told).toContain('refused, insufficient_credits');
  expect(await explainAccount(database.db.knex, 'nobody')).toBeNull();
});
