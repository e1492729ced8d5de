import { lostAmong } from '../../../db/generations/lostNamespaces';
import { countOverdueHolds, raiseOverdueHolds, resolveEndedHolds } from '../../../db/support/overdueHolds';
import { overdueAccounts, overLeases, ownedHolds, undrainedAccounts } from '../../../db/support/overdue';
import { type TestDatabase, testDatabase } from '../../support/database';
import { plansOf } from '../../support/explain';

/** What runs every minute must not grow with what lies still: each of its pages is a range of an index. */

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
  const { pool } = database.owner;
  // Many that are not due, of each sort, and few that are.
  await pool.query(`INSERT INTO ledger.accounts (account_id, wake_at, clock_at)
    SELECT 'a' || n, CASE WHEN n % 100 = 0 THEN now() - interval '1 day' WHEN n % 3 = 0 THEN 'infinity' ELSE now() + n * interval '1 minute' END,
           CASE WHEN n % 1000 = 7 THEN now() END
      FROM generate_series(1, 20000) n`);
  await pool.query(`INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, released, lots, lots_held, lots_captured, open, closed_at,
      workflow_id, namespace_id, opened_at, overdue_at, expires_at)
    SELECT 'a' || n, 'h' || n, CASE WHEN n % 4 > 0 THEN 'g' || n END, 1, (n % 5 = 0)::int, (n % 5 > 0)::int, '{1}', '{0}', '{0}', n % 5 = 0,
           CASE WHEN n % 5 > 0 THEN now() END,
           CASE WHEN n % 4 > 0 THEN 'w' || n END, CASE WHEN n % 4 > 0 THEN 'ns' || n % 3 END, now() - interval '2 days',
           now() + CASE WHEN n % 250 < 10 THEN -1 ELSE 1 END * interval '1 hour',
           CASE WHEN n % 4 = 0 THEN now() + CASE WHEN n % 250 < 10 THEN -1 ELSE 1 END * interval '1 hour' END
      FROM generate_series(1, 20000) n`);
  await pool.query(`INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, params, ordered, provider, quoted, draws,
      catalog_version, created_at, finished_at)
    SELECT account_id, generation_id, hold_id, 'req:' || generation_id, CASE WHEN open THEN 'running' ELSE 'succeeded' END, 'image', '{}', 1, '{}', 1, '[]', 1,
           opened_at, closed_at FROM ledger.holds WHERE generation_id IS NOT NULL`);
  await pool.query(`INSERT INTO holdfast.inbox (account_id, inbox_key, kind, request_hash, body, done_at)
    SELECT 'a' || n, 'k', 'pack_purchase', 'h', '{}', CASE WHEN n % 500 > 0 THEN now() END FROM generate_series(1, 20000) n`);
  await pool.query(`INSERT INTO holdfast.operations_items (account_id, kind, subject, detail, resolved_at)
    SELECT 'a' || n, CASE WHEN n % 200 = 0 THEN 'hold_overdue' ELSE 'report_rejected' END, 'h' || n, '{}',
           CASE WHEN n % 4 > 0 THEN now() END FROM generate_series(1, 20000) n`);
  await pool.query('VACUUM ANALYZE');
});
afterAll(() => database.close());

const knex = () => database.db.knex;
const limit = 100;

/** The index each reads, by what it is bounded, and that nothing is read as a whole. */
async function expectIndex(index: string, run: () => Promise<unknown>, bound = /./): Promise<void> {
  const plans = await plansOf(database, run);
  expect(plans.length).toBeGreaterThan(0);
  for (const plan of plans) {
    expect(plan).toContain(index);
    expect(plan).toMatch(bound);
    expect(plan).not.toMatch(/Seq Scan on (accounts|holds|inbox|operations_items)/);
  }
}

test('pages of overdue accounts', async () => {
  const first = await overdueAccounts(knex(), { graceMs: 0, after: null, limit });
  expect(first).toHaveLength(limit);
  const [after = null] = first.slice(-1);
  await expectIndex(
    'accounts_wake',
    () => overdueAccounts(knex(), { graceMs: 0, after: null, limit }),
    /Index Cond:.*wake_at </,
  );
  await expectIndex(
    'accounts_wake',
    () => overdueAccounts(knex(), { graceMs: 0, after, limit }),
    /Index Cond:.*wake_at </,
  );
  expect(await overdueAccounts(knex(), { graceMs: 0, after, limit })).toHaveLength(100);
});

test('pages of leases that have ended', async () => {
  const first = await overLeases(knex(), { graceMs: 0, after: null, limit: 10 });
  expect(first).toHaveLength(10);
  const [after = null] = first.slice(-1);
  await expectIndex(
    'holds_leased',
    () => overLeases(knex(), { graceMs: 0, after: null, limit: 10 }),
    /Index Cond:.*expires_at </,
  );
  await expectIndex(
    'holds_leased',
    () => overLeases(knex(), { graceMs: 0, after, limit: 10 }),
    /Index Cond:.*expires_at </,
  );
});

test('pages of holds that workflows own, all of them and those of a namespace', async () => {
  const first = await ownedHolds(knex(), { after: null, limit });
  expect(first).toHaveLength(limit);
  const [after = null] = first.slice(-1);
  await expectIndex('holds_owned', () => ownedHolds(knex(), { after: null, limit }));
  await expectIndex('holds_owned', () => ownedHolds(knex(), { after, limit }));
  await expectIndex('holds_owned', () => ownedHolds(knex(), { of: 'ns1', after: null, limit }));
});

test('pages go through every hold once, one namespace after the other', async () => {
  const seen: string[] = [];
  let after: Awaited<ReturnType<typeof ownedHolds>>[number] | null = null;
  for (;;) {
    const page: Awaited<ReturnType<typeof ownedHolds>> = await ownedHolds(knex(), { after, limit: 700 });
    seen.push(...page.map(({ namespaceId, holdId }) => `${namespaceId} ${holdId}`));
    after = page.at(-1) ?? null;
    if (page.length < 700) break;
  }
  const { rows } = await database.owner.pool.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM ledger.holds WHERE open AND workflow_id IS NOT NULL',
  );
  expect(new Set(seen).size).toBe(seen.length);
  expect(seen).toHaveLength(rows[0]?.n ?? 0);
});

test('pages of holds that outlast their rate, and what is known of them', async () => {
  const first = await raiseOverdueHolds(knex(), { after: null, limit: 10 });
  expect(first.next).not.toBeNull();
  await expectIndex(
    'holds_overdue',
    () => raiseOverdueHolds(knex(), { after: first.next, limit: 10 }),
    /Index Cond:.*overdue_at <=/,
  );
  await expectIndex('operations_items_by_kind', () => countOverdueHolds(database.db.points));
  await expectIndex('operations_items_by_kind', () => resolveEndedHolds(knex()));
});

test('inboxes that nobody drained', async () => {
  expect(await undrainedAccounts(knex(), { graceMs: 0, after: 'a1', limit })).toHaveLength(40);
  await expectIndex('inbox_pending', () => undrainedAccounts(knex(), { graceMs: 0, after: 'a1', limit }));
});

test('which namespaces are declared lost', async () => {
  expect(await lostAmong(knex(), ['ns1', 'ns2'])).toEqual(new Set());
});
