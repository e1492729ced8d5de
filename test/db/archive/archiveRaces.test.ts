import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { archiveMonth } from '../../../db/archive/archive';
import { runAudit } from '../../../db/audit';
import { CHECKS } from '../../../db/audit/checks';
import { patiently, type TestDatabase, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';
import { becomesPast, monthAgo, moveTo } from '../../support/ledger/past';

/** What happens while a month is being archived. */

const MONTH = monthAgo(3);

let database: TestDatabase;
let ledger: TestLedger;
let directory: string;
let account: string;

beforeEach(async () => {
  database = await testDatabase({ patient: true });
  ledger = ledgerOf(database.db, database.owner);
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
  account = await ledger.open();
  await ledger.grant(account, { amount: 90_000 });
  await ledger.charge(account, { amount: 1_000 });
});
afterEach(() => database.close());

const archive = () => archiveMonth({ url: patiently(database.url), month: MONTH, directory });
const broken = async () =>
  (await runAudit(database.owner.pool)).checks.filter(({ violations }) => violations > 0).map(({ id }) => id);

/** Until a session of ours that goes by this name waits for a lock, or between two tries for it. */
async function waiting(application: string): Promise<void> {
  await eventually(
    async () =>
      (
        await database.owner.pool.query(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 AND (wait_event_type = 'Lock' OR wait_event = 'PgSleep')",
          [application],
        )
      ).rowCount ?? 0,
    (count) => count > 0,
  );
}

test('a row that was on its way into the month when the archive began is in the file', async () => {
  await becomesPast(database.owner, MONTH);
  const late = await database.owner.pool.connect();
  let archived: ReturnType<typeof archive>;
  try {
    await late.query('BEGIN');
    await late.query('SELECT ledger.apply($1)', [
      JSON.stringify([{ account, ops: [grantOf('sys:late')], settle: null }]),
    ]);
    await moveTo(late, MONTH);
    archived = archive();
    await waiting('holdfast archive');
    await late.query('COMMIT');
  } finally {
    late.release();
  }
  expect((await archived).rows).toBe(3);
  expect(await broken()).toEqual([]);
});

test('a reader that keeps the archive waiting keeps no writer waiting', async () => {
  await becomesPast(database.owner, MONTH);
  const reader = await database.db.pool.connect();
  try {
    await reader.query('BEGIN');
    await reader.query('SELECT count(*) FROM ledger.journal');
    const archived = archive();
    await waiting('holdfast archive');
    for (let n = 0; n < 20; n += 1)
      expect(await ledger.charge(account, { amount: 10 })).toMatchObject({ status: 'applied' });
    await reader.query('COMMIT');
    expect((await archived).rows).toBe(2);
  } finally {
    reader.release();
  }
  expect(await broken()).toEqual([]);
});

test('an audit that began before a month was archived sees it as it was', async () => {
  await becomesPast(database.owner, MONTH);
  const gate = await database.owner.pool.connect();
  try {
    await gate.query('SELECT pg_advisory_lock(1)');
    // Stands still in the middle of the audit's snapshot.
    const standStill = {
      id: 'stand-still',
      title: 'waits',
      invariant: 0,
      sql: "SELECT 'nobody' AS account_id FROM (SELECT pg_advisory_lock_shared(1)) q WHERE false",
    };
    const pause = { ...standStill, sql: 'SELECT pg_advisory_lock_shared(1)::text AS account_id OFFSET 1' };
    const report = runAudit(database.db.pool, { checks: [pause, ...CHECKS] });
    await waiting('holdfast');
    const archived = archive();
    await Promise.race([archived, waiting('holdfast archive')]);
    await gate.query('SELECT pg_advisory_unlock(1)');
    expect((await report).ok).toBe(true);
    expect((await archived).rows).toBe(2);
  } finally {
    gate.release();
  }
  expect(await broken()).toEqual([]);
});

function grantOf(key: string) {
  return { op: 'grant', key, hash: 'h', bucket: 'pack', rank: 3, amount: 5_000, source: 'test' };
}
