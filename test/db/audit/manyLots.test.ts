import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runQuickAudit } from '../../../db/audit/quick';
import type { GrantOperation } from '../../../db/ledger/operations';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

/** An account that is years old costs what happens to it, and not what it ever had (finding 14). */

const LOTS = 2_000;
let database: TestDatabase;
let ledger: TestLedger;
let account: string;
/** Its first lot, which was spent and has ended like all others but the last. */
let holdId: string;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
  account = await ledger.open();
  await ledger.grant(account, { amount: 1_000 });
  const operation = reservation(account, { amount: 1_000 });
  ({ holdId } = operation);
  await ledger.one(account, operation);
  await ledger.capture(account, holdId);
  for (let done = 1; done < LOTS; done += 100) {
    await ledger.apply(
      account,
      Array.from(
        { length: 100 },
        (_, n): GrantOperation => ({
          op: 'grant',
          key: `sys:g:${done + n}`,
          hash: 'g',
          bucket: 'pack',
          rank: 3,
          source: 'test',
          amount: milli(1_000),
        }),
      ),
    );
    await ledger.charge(account, { amount: 100_000 });
  }
  await ledger.grant(account, { amount: 9_000 });
  await quick();
  await database.owner.pool.query('VACUUM ANALYZE');
});
afterAll(() => database.close());

const quick = () => runQuickAudit(database.db.pool);
const versions = async () => {
  const { rows } = await database.owner.pool.query<{ lot: number; version: string }>(
    'SELECT lot_no AS lot, xmin::text AS version FROM ledger.audit_lots WHERE account_id = $1',
    [account],
  );
  return new Map(rows.map(({ lot, version }) => [lot, version]));
};

/** Rows of lots that a statement looks at, by Postgres's own count. */
async function lotsRead(text: string): Promise<number> {
  const client = await database.owner.pool.connect();
  try {
    const count = async () => {
      const { rows } = await client.query<{ n: number }>(
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS n FROM pg_stat_xact_user_tables WHERE relid = 'ledger.lots'::regclass",
      );
      return rows[0]?.n ?? 0;
    };
    await client.query('BEGIN');
    const before = await count();
    await client.query(text, [account]);
    const after = await count();
    await client.query('ROLLBACK');
    return after - before;
  } finally {
    client.release();
  }
}

/** What was read of lots by sessions that have ended: then their numbers are there. */
async function lotsReadInAll(): Promise<number> {
  const { rows } = await database.owner.pool.query<{ n: number }>(
    "SELECT seq_tup_read + idx_tup_fetch AS n FROM pg_stat_user_tables WHERE relid = 'ledger.lots'::regclass",
  );
  return rows[0]?.n ?? 0;
}

test('the quick audit reads and writes down the lots that moved', async () => {
  const before = await versions();
  expect(before.size).toBeGreaterThan(LOTS);
  await ledger.charge(account, { amount: 500 });
  const readBefore = await lotsReadInAll();
  expect(await quick()).toMatchObject({ ok: true, accounts: 1, rows: 1 });
  await eventually(lotsReadInAll, (read) => read > readBefore);
  expect((await lotsReadInAll()) - readBefore).toBeLessThan(100);
  const after = await versions();
  const written = [...after].filter(([lot, version]) => before.get(lot) !== version).map(([lot]) => lot);
  expect(written).toEqual([Math.max(...after.keys())]);

  // What had ended for long, and is refunded now, is put together from its row.
  const refund = { key: 'req:sorry', hash: 'r', holdId, amount: milli(400), spendableSeconds: 60 };
  expect((await ledger.one(account, { op: 'refund', ...refund })).status).toBe('applied');
  expect(await quick()).toMatchObject({ ok: true, accounts: 1, rows: 1 });
  expect((await versions()).get(1)).not.toBe(after.get(1));
});

test('what the audit had remembered as JSON before is what it remembers', async () => {
  const { pool } = database.owner;
  const remembered = async () => [
    (await pool.query('SELECT * FROM ledger.audit_lots ORDER BY account_id, lot_no')).rows,
    (await pool.query('SELECT * FROM ledger.audit_counters ORDER BY account_id, counter, period')).rows,
  ];
  const counted = { counter: 'account', period: '2026-11-26' };
  await ledger.charge(account, {
    amount: 500,
    counts: [
      {
        ...counted,
        name: account,
        of: 'credits',
        units: 500,
        limit: null,
        refusal: 'account_limit_reached',
        resetsAt: null,
      },
    ],
  });
  expect(await quick()).toMatchObject({ ok: true });
  const before = await remembered();
  expect(before.map(({ length }) => length)).toEqual([LOTS + 2, 1]);

  // As a database is that comes to 0019: all of it is in the marks, and the tables are not there.
  await pool.query(`UPDATE ledger.audit_marks m SET
    lots = (SELECT jsonb_agg(ledger.lot_marked(l)) FROM ledger.audit_lots l WHERE l.account_id = m.account_id),
    counters = (SELECT coalesce(jsonb_agg(jsonb_build_object('counter', counter, 'period', period, 'used', used)), '[]')
                  FROM ledger.audit_counters c WHERE c.account_id = m.account_id)`);
  await pool.query('TRUNCATE ledger.audit_lots, ledger.audit_counters');
  const migration = readFileSync(path.join(__dirname, '../../../db/migrations/0019_age.sql'), 'utf8');
  const moves =
    /INSERT INTO ledger\.audit_lots[^]*UPDATE ledger\.audit_marks[^;]*;/.exec(migration)?.[0] ?? '';
  await pool.query(moves);
  expect(await remembered()).toEqual(before);
  await ledger.charge(account, { amount: 500 });
  expect(await quick()).toMatchObject({ ok: true, accounts: 1, rows: 1 });
});

test('a balance, and a snapshot, read the lots that something is in', async () => {
  expect(await lotsRead('SELECT count(*) FROM ledger.lots WHERE account_id = $1')).toBeGreaterThanOrEqual(
    LOTS,
  );
  expect(await lotsRead('SELECT ledger.balance($1)')).toBeLessThan(20);
  expect(await lotsRead('SELECT ledger.snapshot($1)')).toBeLessThan(20);
});
