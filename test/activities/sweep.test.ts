import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { createSweepActivities, sweepAges } from '../../activities/sweep';
import type { SweepActivities } from '../../activities/types';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { createEngine } from '../../db/engine';
import type { Ledger } from '../../db/ledger/ledger';
import { milli } from '../../domain/credits';
import { listItems } from '../../db/support/items';
import { type TestDatabase, testDatabase } from '../support/database';
import { livelyLedger, TAMPERINGS, tamper } from '../support/ledger/livelyLedger';

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
    ringClockNow: () => Promise.resolve(),
    ringNow: (account) => Promise.resolve(rung.push(account)).then(() => undefined),
    ages: { overdueMs: 600_000, undrainedMs: 60_000, unseenMs: 60_000, closedForMs: 0, unknownFromMs: 0 },
  });
});
afterEach(() => database.close());
afterAll(() => connection.close());

const openItems = () => listItems(database.db.knex, { open: true, limit: 100 });

/** An account on a plan that renews, which should have been settled `minutes` ago. */
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

/** An account with a lease that ended `minutes` ago. */
async function leased(account: string, minutes: number): Promise<void> {
  await ledger.open({ account, catalog: 'working-day', plan: 'basic', planSource: 'admin' });
  const reply = await ledger.run(account, ({ snapshot }) => ({
    op: 'reserve',
    key: 'req:l',
    hash: 'l',
    holdId: `hold_${account}.l`,
    rulesVersion: snapshot.rulesVersion,
    amount: milli(1_000),
    excluded: [],
    maxOpen: 10,
    reserveBefore: '2100-01-01T00:00:00Z',
    ttlSeconds: 60,
    work: {},
  }));
  expect(reply?.status).toBe('applied');
  const { knex } = database.owner;
  const ago = knex.raw('clock_timestamp() - make_interval(mins => ?)', [minutes]);
  await knex('ledger.holds').where({ account_id: account }).update({ expires_at: ago, overdue_at: ago });
  await knex('ledger.accounts').where({ account_id: account }).update({ leases_due_at: ago });
}

test('a lease that had ended long ago is written down though nobody came by', async () => {
  await leased('idle', 1);
  expect(await activities.endLeases({ after: null })).toMatchObject({ settled: 0, next: null });
  await leased('asleep', 60);
  expect(await activities.endLeases({ after: null })).toEqual({ settled: 1, failed: 0, next: null });
  const { knex } = database.owner;
  expect(await knex('ledger.holds').where({ account_id: 'asleep' }).first('open', 'held')).toEqual({
    open: false,
    held: 0,
  });
});

test('a hundred accounts whose leases cannot be ended hide no other', async () => {
  for (let n = 0; n < 100; n += 1) await leased(`broken-${n}`, 120);
  await leased('sound', 60);
  await database.owner
    .knex('ledger.account_rules')
    .whereLike('account_id', 'broken-%')
    .update({ catalog: 'no-such-catalog' });
  // Something else is due as well, so that settling them needs their catalog.
  await database.owner.knex('ledger.accounts').update({ next_due_at: '-infinity' });
  const first = await activities.endLeases({ after: null });
  expect(first).toMatchObject({ settled: 0, failed: 100, next: { holdId: expect.any(String) } });
  expect(await activities.endLeases({ after: first.next })).toEqual({ settled: 1, failed: 0, next: null });
  const hold = database.owner.knex('ledger.holds').where({ account_id: 'sound' });
  expect(await hold.first('open')).toEqual({ open: false });
});

test('a stop says how many and names some, however many they are', async () => {
  const holds = Array.from({ length: 20 }, (_, n) => `hold_a.${n}`);
  await activities.reportStop({ stopped: { orphans: 100_000, looked: 200_000, holds } });
  expect(await openItems()).toMatchObject([
    {
      account: null,
      kind: 'sweep_stopped',
      detail: { orphans: 100_000, looked: 200_000, holds, wayOut: expect.stringContaining('maxOrphans') },
    },
  ]);
  await activities.reportStop({ stopped: null });
  expect(await openItems()).toEqual([]);
});

test('a namespace whose holds stay unclear is an item after an hour, brought up to date, and closed when it is clear', async () => {
  const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
  activities = createSweepActivities({
    ledger,
    knex: database.db.knex,
    pool: database.db.pool,
    client: new Client({ connection }),
    ringClockNow: () => Promise.resolve(),
    ringNow: () => Promise.resolve(),
    ages: sweepAges({ jitterMs: 0 }),
  });
  const unclear = (namespaceId: string, { holds, minutes }: { holds: number; minutes: number }) => ({
    namespaceId,
    holds,
    since: ago(minutes),
  });
  const report = (all: boolean, ...ones: ReturnType<typeof unclear>[]) =>
    activities.reportUnclear({ unclear: ones, all });

  await report(true, unclear('lost', { holds: 3, minutes: 50 }));
  expect(await openItems()).toEqual([]);
  await report(true, unclear('lost', { holds: 3, minutes: 61 }), unclear('other', { holds: 1, minutes: 62 }));
  await report(false, unclear('lost', { holds: 7, minutes: 62 }));
  const open = async () =>
    (await openItems()).map(({ kind, subject, detail }) => [kind, subject, detail['holds']]);
  expect(new Set(await open())).toEqual(
    new Set([
      ['hold_owner_unclear', 'lost', 7],
      ['hold_owner_unclear', 'other', 1],
    ]),
  );
  for (const { detail } of await openItems())
    expect(detail['wayOut']).toContain('POST /v1/operations/lost-namespaces');
  await report(true, unclear('lost', { holds: 7, minutes: 63 }));
  expect(await open()).toEqual([['hold_owner_unclear', 'lost', 7]]);
  await report(true);
  expect(await openItems()).toEqual([]);
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
