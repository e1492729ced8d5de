import { listApiKeys } from '../../../db/accounts/apiKeys';
import { searchAccounts } from '../../../db/accounts/accounts';
import { readEvents } from '../../../db/books/events';
import { findGeneration, generationStatuses, listGenerations } from '../../../db/generations/generations';
import { listOpenHolds } from '../../../db/generations/holds';
import { listPurchases, notablePurchases } from '../../../db/generations/inbox';
import { readJournal } from '../../../db/books/journal';
import { listItems } from '../../../db/support/items';
import { type TestDatabase, testDatabase } from '../../support/database';
import { plansOf } from '../../support/explain';

/**
 * Every list with a hundred thousand rows: a page is read from an index in its order, so that it costs what is on it, whatever there is
 * (finding 25). One account has a fiftieth of everything; the rest is spread over others.
 */

const ROWS = 100_000;
const BIG = [
  'accounts',
  'account_rules',
  'generations',
  'holds',
  'journal\\w*',
  'inbox',
  'operations_items',
  'api_keys',
];

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
  const { pool } = database.owner;
  await pool.query('SET synchronous_commit = off');
  await pool.query(
    `INSERT INTO ledger.accounts (account_id) SELECT 'a' || n FROM generate_series(1, ${ROWS}) n`,
  );
  await pool.query(`INSERT INTO ledger.account_rules (account_id, catalog, plan, plan_source, anchor, created_at, email, stripe_customer)
    SELECT 'a' || n, 'c', 'free', 'free', now(), now(), CASE WHEN n % 2 = 0 THEN 'Person' || n || '@example.com' END,
           CASE WHEN n % 3 = 0 THEN 'cus_' || n END
      FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, released, lots, lots_held, lots_captured, open,
      closed_at, workflow_id, namespace_id, opened_at, overdue_at)
    SELECT CASE WHEN n % 50 = 2 THEN 'a2' ELSE 'a' || n END, 'hold_' || n, 'gen_' || n, 1, (n % 500 = 0)::int, (n % 500 > 0)::int, '{1}', '{0}', '{0}',
           n % 500 = 0, CASE WHEN n % 500 > 0 THEN now() END, 'w' || n, 'ns', now() - n * interval '1 second', now()
      FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, params, ordered, provider, quoted, draws,
      catalog_version, created_at, finished_at)
    SELECT account_id, generation_id, hold_id, 'req:' || generation_id, CASE WHEN open THEN 'running' ELSE 'succeeded' END, 'image', '{}', 1, '{}', 1, '[]', 1,
           opened_at, closed_at FROM ledger.holds`);
  await pool.query(`INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, hold_id, credits, available_after, held_after, debt_after, moves, detail)
    SELECT CASE WHEN n % 50 = 2 THEN 'a2' ELSE 'a' || n END, n, now(), now(), CASE WHEN n % 10 = 0 THEN 'grant' ELSE 'reserve' END, 'applied',
           CASE WHEN n % 10 > 0 THEN 'hold_' || n END, 1, 1, 0, 0, ARRAY[ROW(1, 'outside', 'available', 1)::ledger.move], '{}'
      FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO holdfast.inbox (account_id, inbox_key, kind, request_hash, body, received_at, done_at)
    SELECT CASE WHEN n % 50 = 2 THEN 'a2' ELSE 'a' || n END, 'k' || n, 'pack_purchase', 'h', '{}', now() - n * interval '1 second',
           CASE WHEN n % 1000 > 0 THEN now() END FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO holdfast.operations_items (account_id, kind, subject, detail, raised_at, resolved_at)
    SELECT 'a' || n, 'late_report', 's' || n, '{}', now() - n * interval '1 second', CASE WHEN n % 4 > 0 THEN now() END
      FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO holdfast.api_keys (id, secret_sha256, name, scopes, created_at, created_by)
    SELECT lpad(to_hex(n), 16, '0'), sha256(n::text::bytea), 'k', '{read}', date_trunc('milliseconds', now() - n * interval '1 second'), 'admin'
      FROM generate_series(1, ${ROWS}) n`);
  await pool.query(`INSERT INTO holdfast.reports (account_id, generation_id, report_id, body, outcome)
    SELECT account_id, generation_id, 'r', '{}', CASE WHEN n % 1000 = 0 THEN 'late' ELSE 'applied' END
      FROM (SELECT g.*, row_number() OVER () AS n FROM ledger.generations g) g`);
  await pool.query('VACUUM ANALYZE');
});
afterAll(() => database.close());

const knex = () => database.db.reports;
const limit = 21;
const at = () => new Date(Date.now() - 30_000_000).toISOString();

/** It stops where the page is full: from an index in its order, and without sorting what there is. */
const LISTS: { list: string; index: RegExp; run: () => Promise<unknown>; sorts?: boolean }[] = [
  {
    list: 'an account’s generations',
    index: /Index Scan using generations_by_time/,
    run: () => listGenerations(knex(), { account: 'a2', limit }),
  },
  {
    list: 'its next page',
    index: /Index Scan using generations_by_time[^]*Index Cond:.*date_trunc/,
    run: () => listGenerations(knex(), { account: 'a2', before: { createdAt: at(), id: 'gen_3' }, limit }),
  },
  {
    list: 'an account’s generations of a time',
    index: /Index Cond:.*date_trunc.*>=.*date_trunc.*</,
    run: () => listGenerations(knex(), { account: 'a2', from: at(), to: new Date().toISOString(), limit }),
  },
  {
    list: 'all generations',
    index: /Index Scan using generations_of_all_by_time/,
    run: () => listGenerations(knex(), { limit }),
  },
  {
    list: 'the next page of all',
    index: /Index Scan using generations_of_all_by_time[^]*Index Cond:.*date_trunc/,
    run: () => listGenerations(knex(), { before: { createdAt: at(), id: 'gen_3' }, limit }),
  },
  {
    list: 'an account’s that run',
    index: /holds_open/,
    run: () => listGenerations(knex(), { account: 'a2', status: 'running', limit }),
    sorts: true,
  },
  {
    list: 'all that run',
    index: /holds_o|generations_of_all_by_time/,
    run: () => listGenerations(knex(), { status: 'running', limit }),
    sorts: true,
  },
  {
    list: 'those with late reports',
    index: /reports_late/,
    run: () => listGenerations(knex(), { late: true, limit }),
    sorts: true,
  },
  {
    list: 'open holds',
    index: /Index Scan using holds_open_by_time/,
    run: () => listOpenHolds(knex(), { limit }),
  },
  {
    list: 'the next page of open holds',
    index: /Index Scan using holds_open_by_time[^]*Index Cond:.*date_trunc/,
    run: () =>
      listOpenHolds(knex(), {
        owned: true,
        olderThanSeconds: 60,
        after: { openedAt: at(), id: 'hold_3' },
        limit,
      }),
  },
  { list: 'accounts', index: /account_rules_pkey/, run: () => searchAccounts(knex(), { limit }) },
  {
    list: 'the next page of accounts',
    index: /account_rules_pkey[^]*Index Cond/,
    run: () => searchAccounts(knex(), { after: 'a5', limit }),
  },
  {
    list: 'accounts by what is known of a customer',
    index: /account_rules_by_email[^]*account_rules_by_stripe_customer/,
    run: () => searchAccounts(knex(), { text: 'person8@example.com', limit }),
  },
  {
    list: 'an account’s journal',
    index: /Index Scan Backward using journal_\w+_pkey/,
    run: () => readJournal(knex(), { account: 'a2', limit }),
  },
  {
    list: 'its next page',
    index: /Index Scan Backward using journal_\w+_pkey/,
    run: () => readJournal(knex(), { account: 'a2', beforeSeq: 5000, limit }),
  },
  {
    list: 'its grants',
    index: /Index Scan Backward using journal_\w+_pkey/,
    run: () => readJournal(knex(), { account: 'a2', kind: 'grant', limit }),
  },
  {
    list: 'what happened to an account',
    index: /Index Scan Backward using journal_\w+_pkey/,
    run: () => readEvents(knex(), { account: 'a2', limit }),
  },
  {
    list: 'an account’s purchases',
    index: /Index Scan using inbox_by_time/,
    run: () => listPurchases(knex(), { account: 'a2', limit }),
  },
  {
    list: 'its next page',
    index: /Index Scan using inbox_by_time[^]*Index Cond:.*date_trunc/,
    run: () => listPurchases(knex(), { account: 'a2', before: { createdAt: at(), id: 'k3' }, limit }),
  },
  {
    list: 'an account’s notable purchases',
    index: /inbox_/,
    run: () => notablePurchases(knex(), { account: 'a2', limit }),
    sorts: true,
  },
  {
    list: 'open items',
    index: /Index Scan using operations_items_open/,
    run: () => listItems(knex(), { open: true, limit }),
  },
  {
    list: 'the next page of resolved items',
    index: /Index Scan using operations_items_resolved[^]*Index Cond:.*date_trunc/,
    run: () =>
      listItems(knex(), {
        open: false,
        before: { raisedAt: at(), account: 'a3', kind: 'late_report', subject: 's' },
        limit,
      }),
  },
  { list: 'API keys', index: /api_keys_newest/, run: () => listApiKeys(knex(), { limit, after: undefined }) },
  {
    list: 'the next page of API keys',
    index: /api_keys_newest[^]*Index Cond/,
    run: () => listApiKeys(knex(), { limit, after: { createdAt: at(), id: 'key_' } }),
  },
  {
    list: 'one generation',
    index: /Index Scan using generations_pkey/,
    run: () => findGeneration(database.db.points, { account: 'a2', id: 'gen_4' }),
  },
  {
    list: 'those that are waited for',
    index: /Index Scan using generations_pkey/,
    run: () => generationStatuses(database.db.points, ['gen_a2.4', 'gen_a2.6']),
  },
];

test.each(LISTS)(
  '$list: read from an index, as far as the page goes',
  async ({ index, run, sorts = false }) => {
    const plans = await plansOf(database, run);
    expect(plans.length).toBeGreaterThan(0);
    expect(plans.join('\n')).toMatch(index);
    // Late reports of one generation, and lots of one row, are put in order too; the list is not.
    const sorted = /->  Sort [^\n]*\n +Sort Key: .*(date_trunc|created_at|seq|account_id)/;
    expect(plans.some((plan) => sorted.test(plan))).toBe(sorts);
    expect(plans.join('\n')).not.toMatch(new RegExp(`Seq Scan on (${BIG.join('|')}) `));
  },
);
