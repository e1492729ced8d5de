import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { archiveMonth } from '../../db/archive';
import { runAudit } from '../../db/audit';
import { runQuickAudit } from '../../db/audit/quick';
import { type TestDatabase, testDatabase } from '../support/database';
import { ledgerOf, reservation, type TestLedger } from '../support/ledger';

let database: TestDatabase;
let ledger: TestLedger;
let directory: string;

beforeEach(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
});
afterEach(() => database.close());

const asOwner = (sql: string) => database.owner.pool.query(sql);
const archive = (month: string) => archiveMonth({ url: database.url, month, directory });
const clean = async () =>
  (await runAudit(database.owner.pool)).checks
    .filter(({ violations }) => violations > 0)
    .map(({ id, sample }) => ({ id, sample }));

/** Rows are written now; a month that is over is made by moving what there is into a partition of the past. */
async function becomesPast(month: string): Promise<void> {
  const name = `ledger.journal_${month.replace('-', '_')}`;
  await asOwner(
    `CREATE TABLE ${name} PARTITION OF ledger.journal FOR VALUES FROM ('${month}-01Z') TO ('${month}-28Z')`,
  );
  await asOwner('ALTER TABLE ledger.journal DISABLE TRIGGER journal_is_append_only');
  await asOwner(
    `UPDATE ledger.journal SET recorded_at = '${month}-10Z'::timestamptz + (recorded_at - date_trunc('month', recorded_at)) / 31 WHERE recorded_at > '${month}-28Z'`,
  );
  await asOwner('ALTER TABLE ledger.journal ENABLE TRIGGER journal_is_append_only');
}

/** An account with something of everything, part of it unfinished. */
async function lives(): Promise<{ account: string; open: string; closed: string; lease: string }> {
  const account = await ledger.open();
  await ledger.grant(account, { bucket: 'plan', rank: 2, amount: 50_000, source: 'plan:x' });
  await ledger.grant(account, { amount: 90_000, source: 'pack:1' });
  const hold = async (amount: number) => {
    const operation = reservation(account, { amount });
    await ledger.one(account, operation);
    return operation.holdId;
  };
  const closed = await hold(60_000);
  await ledger.capture(account, closed, { delivered: 1, ordered: 2 });
  const open = await hold(10_000);
  await ledger.capture(account, open, { amount: 2_000, final: false, phase: 'a' });
  const lease = await ledger.lease(account, { amount: 5_000, ttlSeconds: 3600 });
  const counts = [
    {
      counter: 'member:max',
      period: 'month:1',
      of: 'credits',
      units: 700,
      limit: null,
      refusal: 'member_limit_reached',
      name: 'max',
      resetsAt: null,
    },
  ] as const;
  await ledger.charge(account, { amount: 700, counts: [...counts] });
  await ledger.one(account, { op: 'freeze', key: 'sys:f', hash: 'f', cause: 'd', source: 'pack:1' });
  return { account, open, closed, lease };
}

/** What can happen later to what began before. */
async function goesOn({ account, open, closed, lease }: Awaited<ReturnType<typeof lives>>): Promise<void> {
  await ledger.capture(account, open, { amount: 1_000 });
  await ledger.one(account, { op: 'refund', key: 'req:r', hash: 'r', holdId: closed, spendableSeconds: 60 });
  await ledger.capture(account, lease, { amount: 5_000 });
  await ledger.one(account, { op: 'unfreeze', key: 'sys:u', hash: 'u', cause: 'd' });
  await ledger.grant(account, { amount: 1_000 });
  await ledger.charge(account, { amount: 400 });
}

test('a month goes into a file, and the ledger is rebuilt from its opening and what comes after', async () => {
  const one = await lives();
  await becomesPast('2026-01');
  const { rows: before } = await asOwner(
    'SELECT * FROM ledger.lots_before($$' + one.account + '$$, $$2030-01-01$$)',
  );
  const archived = await archive('2026-01');
  expect(archived.rows).toBeGreaterThan(8);
  const { rows: left } = await asOwner('SELECT count(*)::int AS n FROM ledger.journal');
  expect(left).toEqual([{ n: 0 }]);
  expect(await clean()).toEqual([]);
  expect(
    (await asOwner('SELECT * FROM ledger.lots_before($$' + one.account + '$$, $$2030-01-01$$)')).rows,
  ).toEqual(before);
  await goesOn(one);
  expect(await clean()).toEqual([]);
  await becomesPast('2026-02');
  await archive('2026-02');
  await ledger.charge(one.account, { amount: 100 });
  expect(await clean()).toEqual([]);
  const { rows: months } = await asOwner(
    "SELECT to_char(month, 'YYYY-MM') AS month, file, sha256 FROM ledger.archives ORDER BY month",
  );
  expect(months).toMatchObject([
    { month: '2026-01', file: 'journal-2026-01.ndjson.gz', sha256: archived.sha256 },
    { month: '2026-02' },
  ]);
});

test('after archiving, what is changed behind the ledger’s back is still found', async () => {
  const { account } = await lives();
  await becomesPast('2026-01');
  await archive('2026-01');
  await asOwner(
    `UPDATE ledger.lots SET available = available + 1, granted = granted + 1 WHERE account_id = '${account}' AND lot_no = 1`,
  );
  expect((await clean()).map(({ id }) => id)).toEqual(
    expect.arrayContaining(['rebuild-lots', 'totals-equal-lots', 'issued-equals-parts']),
  );
});

test('a known key is answered for ever, also when its month is gone', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 9_000 });
  const operation = reservation(account, { amount: 4_000 });
  const first = await ledger.one(account, operation);
  await becomesPast('2026-01');
  await archive('2026-01');
  expect(await ledger.one(account, operation)).toMatchObject({ replayed: true, answer: first.answer });
});

test('stopped before the drop it leaves the month, and the same command completes it', async () => {
  await lives();
  await becomesPast('2026-01');
  const stop = () => {
    throw new Error('stopped');
  };
  await expect(archive('2026-01', stop)).rejects.toThrow('stopped');
  expect((await asOwner('SELECT FROM ledger.archives')).rows).toEqual([]);
  const file = path.join(directory, 'journal-2026-01.ndjson.gz');
  const bytes = readFileSync(file);
  await archive('2026-01');
  expect(readFileSync(file).equals(bytes)).toBe(true);
  expect(await clean()).toEqual([]);
});

test('a file that is not the month is never trusted, and never overwritten', async () => {
  await lives();
  await becomesPast('2026-01');
  const stop = () => {
    throw new Error('stopped');
  };
  await expect(archive('2026-01', stop)).rejects.toThrow('stopped');
  const file = path.join(directory, 'journal-2026-01.ndjson.gz');
  const altered = gunzipSync(readFileSync(file)).toString('utf8').replace('50000', '50001');
  writeFileSync(file, gzipSync(altered));
  await expect(archive('2026-01')).rejects.toThrow(/no whole archive/);
  expect(gunzipSync(readFileSync(file)).toString('utf8')).toBe(altered);
  expect((await asOwner('SELECT count(*)::int AS n FROM ledger.journal_2026_01')).rows[0]).not.toEqual({
    n: 0,
  });
});

test('only months that are over are archived, and in their order', async () => {
  await lives();
  await becomesPast('2026-02');
  await asOwner(
    "CREATE TABLE ledger.journal_2026_01 PARTITION OF ledger.journal FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')",
  );
  await expect(archive('2026-02')).rejects.toThrow(/2026-01 is older/);
  await expect(archive(new Date().toISOString().slice(0, 7))).rejects.toThrow(/not over yet/);
  await expect(archive('2020-01')).rejects.toThrow(/has no month/);
  await expect(archive('January')).rejects.toThrow(/is no month/);
});

test('the application itself can neither archive nor write openings', async () => {
  for (const sql of [
    "SELECT ledger.archive_month('2026-01-01', 0, '', '')",
    'DELETE FROM ledger.openings',
    'DROP TABLE ledger.journal_2027_01',
  ])
    await expect(database.db.pool.query(sql)).rejects.toThrow(/permission denied|must be owner/);
});

test('the quick audit looks at what moved since it looked last, and finds what was changed there', async () => {
  const one = await lives();
  const other = await lives();
  expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true, accounts: 2 });
  expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true, accounts: 0, rows: 0 });
  await goesOn(one);
  expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true, accounts: 1, rows: 6 });
  await ledger.charge(other.account, { amount: 10 });
  await asOwner(
    `UPDATE ledger.lots SET available = available + 1, spent = spent - 1 WHERE account_id = '${other.account}' AND spent > 0`,
  );
  for (let again = 0; again < 2; again += 1) {
    const report = await runQuickAudit(database.db.pool);
    expect(report).toMatchObject({ ok: false, accounts: 1 });
    expect(report.checks.filter(({ violations }) => violations > 0).map(({ id }) => id)).toEqual(
      expect.arrayContaining(['rebuild-lots', 'totals-equal-lots']),
    );
  }
});

test('the quick audit goes on after a month was archived under its marks', async () => {
  const one = await lives();
  await runQuickAudit(database.db.pool);
  await goesOn(one);
  await becomesPast('2026-01');
  await archive('2026-01');
  await ledger.charge(one.account, { amount: 10 });
  expect(await runQuickAudit(database.db.pool)).toMatchObject({ ok: true, accounts: 1 });
});
