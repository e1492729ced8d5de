import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { createSweepActivities } from '../../activities/sweep';
import type { SweepActivities } from '../../activities/types';
import { publishCatalog, readCatalog } from '../../db/catalogs';
import { createEngine } from '../../db/engine';
import type { Ledger } from '../../db/ledger';
import { milli } from '../../domain/credits';
import { listItems } from '../../db/operationsItems';
import { type TestDatabase, testDatabase } from '../support/database';
import { livelyLedger, TAMPERINGS, tamper } from '../support/livelyLedger';

/** The parts of a sweep that need no Temporal, page by page. */

let database: TestDatabase;
let ledger: Ledger;
let activities: SweepActivities;
let rung: string[];
const connection = Connection.lazy({ address: '127.0.0.1:1' });

beforeEach(async () => {
  database = await testDatabase();
  const catalog = readCatalog(path.join(__dirname, '../support/catalogs/working-day.json'));
  await publishCatalog(database.db.knex, { catalog });
  const quiet = { ring: () => undefined, namespaceId: 'none', temporalUrl: () => null };
  ({ ledger } = createEngine({ database: database.db, ...quiet }));
  rung = [];
  activities = createSweepActivities({
    ledger,
    knex: database.db.knex,
    pool: database.db.pool,
    client: new Client({ connection }),
    ringNow: (account) => Promise.resolve(rung.push(account)).then(() => undefined),
    ages: { overdueMs: 600_000, undrainedMs: 60_000, closedForMs: 0, unknownFromMs: 0 },
  });
});
afterEach(() => database.close());
afterAll(() => connection.close());

const openItems = () => listItems(database.db.knex, { open: true, limit: 100 });

/** An account on a plan that renews, which should have been settled so many minutes ago. */
async function overdue(account: string, minutes: number, catalog = 'working-day'): Promise<void> {
  await ledger.open({ account, catalog, plan: 'basic', planSource: 'admin' });
  await database.owner
    .knex('ledger.accounts')
    .where({ account_id: account })
    .update({
      wake_at: database.owner.knex.raw('clock_timestamp() - make_interval(mins => ?)', [minutes]),
    });
}

test('overdue accounts are settled page by page, the longest overdue first, and each is rung for', async () => {
  for (let n = 0; n < 101; n += 1) await overdue(`late-${n}`, 200 - n);
  await overdue('just-now', 0);
  const first = await activities.settleOverdue({ after: null });
  expect(first).toMatchObject({ settled: 100, failed: 0, next: { account: 'late-99' } });
  expect(await activities.settleOverdue({ after: first.next })).toEqual({
    settled: 1,
    failed: 0,
    next: null,
  });
  expect(await activities.settleOverdue({ after: null })).toEqual({ settled: 0, failed: 0, next: null });
  expect(new Set(rung)).toEqual(new Set(Array.from({ length: 101 }, (_, n) => `late-${n}`)));
});

test('a lease that was over long ago is written down though nobody came by', async () => {
  await ledger.open({ account: 'idle', catalog: 'working-day', plan: 'basic', planSource: 'admin' });
  const reply = await ledger.run('idle', ({ snapshot }) => ({
    ...{ op: 'reserve', key: 'req:l', hash: 'l', holdId: 'hold_idle.l', rulesVersion: snapshot.rulesVersion },
    ...{ amount: milli(1_000), excluded: [], reserveBefore: '2100-01-01T00:00:00Z' },
    ...{ maxOpen: 10, ttlSeconds: 60, work: {} },
  }));
  expect(reply?.status).toBe('applied');
  expect(await activities.settleOverdue({ after: null })).toMatchObject({ settled: 0 });
  const { knex } = database.owner;
  const ago = knex.raw("clock_timestamp() - interval '1 hour'");
  await knex('ledger.holds').update({ expires_at: ago, overdue_at: ago });
  await knex('ledger.accounts').update({ leases_due_at: ago });
  expect(await activities.settleOverdue({ after: null })).toMatchObject({ settled: 1, failed: 0 });
  expect(await knex('ledger.holds').first('open', 'held')).toEqual({ open: false, held: 0 });
});

test('an account that cannot be settled is shown, holds up no other, and is closed when it can be', async () => {
  await overdue('broken', 20, 'no-such-catalog');
  await overdue('sound', 10);
  expect(await activities.settleOverdue({ after: null })).toEqual({ settled: 1, failed: 1, next: null });
  expect(await openItems()).toMatchObject([
    {
      account: 'broken',
      kind: 'settlement_failing',
      detail: { error: expect.stringContaining('no-such-catalog') },
    },
  ]);
  await database.owner
    .knex('ledger.account_rules')
    .where({ account_id: 'broken' })
    .update({ catalog: 'working-day' });
  expect(await activities.settleOverdue({ after: null })).toMatchObject({ settled: 1, failed: 0 });
  expect(await openItems()).toEqual([]);
});

test('what the quick audit finds is an item of its account, raised once', async () => {
  const account = await livelyLedger(database);
  expect(await activities.auditQuickly({ after: null })).toEqual({ accounts: 1, violations: 0, next: null });
  await tamper(database, TAMPERINGS['totals-equal-lots'] ?? '', { account });
  for (let pass = 0; pass < 2; pass += 1) {
    const found = await activities.auditQuickly({ after: null });
    expect([found.accounts, found.violations > 0]).toEqual([1, true]);
  }
  const items = await openItems();
  expect(items.filter(({ subject }) => subject === 'totals-equal-lots')).toMatchObject([
    { account, kind: 'audit_violation' },
  ]);
});
