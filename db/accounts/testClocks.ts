import type { Knex } from 'knex';
import type { ClockHand } from '../../domain/time/testClock';

/** Test clocks, and the accounts on them. An account has a copy of the clock's instant, moved boundary by boundary. */

export interface TestClock {
  id: string;
  now: Date;
  /** Where it is advancing to; where it stands, if it is ready. */
  target: Date;
  status: 'ready' | 'advancing';
  failing: FailingAccount[];
  createdAt: Date;
}

/** An account that could not be settled; it is tried again until it can. */
export interface FailingAccount {
  account: string;
  error: string;
}

interface StoredClock {
  clock_id: string;
  now_at: Date;
  target_at: Date;
  status: 'ready' | 'advancing';
  progress: { failing?: FailingAccount[] };
  created_at: Date;
}

/** Accounts whose errors are kept; the others are counted. */
const MAX_FAILING_SHOWN = 20;

export async function insertTestClock(
  transaction: Knex.Transaction,
  { id, frozenAt }: { id: string; frozenAt: Date },
): Promise<TestClock> {
  const rows = await transaction('holdfast.test_clocks')
    .insert({ clock_id: id, now_at: frozenAt, target_at: frozenAt, status: 'ready' })
    .returning<StoredClock[]>('*');
  const [row] = rows;
  if (row === undefined) throw new Error('insert into holdfast.test_clocks returned no row');
  return fromStored(row);
}

export async function findTestClock(knex: Knex, id: string): Promise<TestClock | null> {
  const row = await knex('holdfast.test_clocks').where({ clock_id: id }).first<StoredClock | undefined>();
  return row === undefined ? null : fromStored(row);
}

/**
 * The clock, standing still until the transaction ends: `share` for those who open an account at its instant, `update`
 * for those who move it. So an account is on a clock before an advance begins, or finds it advancing.
 */
export async function lockTestClock(
  transaction: Knex.Transaction,
  { id, mode }: { id: string; mode: 'share' | 'update' },
): Promise<TestClock | null> {
  const found = transaction('holdfast.test_clocks').where({ clock_id: id }).first<StoredClock | undefined>();
  const row = await (mode === 'share' ? found.forShare() : found.forUpdate());
  return row === undefined ? null : fromStored(row);
}

/** Under the lock of whoever asked whether it may. */
export async function setAdvancing(
  transaction: Knex.Transaction,
  { id, target }: { id: string; target: Date },
): Promise<void> {
  await transaction('holdfast.test_clocks')
    .where({ clock_id: id })
    .update({ target_at: target, status: 'advancing', progress: JSON.stringify({}) });
}

/** Clocks that are to move, by id. */
export async function advancingClocks(knex: Knex, limit: number): Promise<string[]> {
  const rows: { clock_id: string }[] = await knex('holdfast.test_clocks')
    .where({ status: 'advancing' })
    .orderBy('clock_id')
    .limit(limit)
    .select('clock_id');
  return rows.map((row) => row.clock_id);
}

/** Makes the clock ready if no account on it has a boundary due. False: there is more to do. */
export async function endAdvance(knex: Knex, id: string): Promise<boolean> {
  return knex.transaction(async (transaction) => {
    const clock = await lockTestClock(transaction, { id, mode: 'update' });
    if (clock?.status !== 'advancing') return true; // it never began, or another run has ended it
    const [left] = await pendingHands(transaction, { clock, after: null, limit: 1 });
    if (left !== undefined) return false;
    await transaction('holdfast.test_clocks')
      .where({ clock_id: id })
      .update({ now_at: clock.target, status: 'ready', progress: JSON.stringify({}) });
    return true;
  });
}

/** What became of the accounts that were looked at: the errors of those that failed take the place of older ones. */
export async function recordFailing(
  knex: Knex,
  { id, seen, failing }: { id: string; seen: readonly string[]; failing: readonly FailingAccount[] },
): Promise<void> {
  await knex.transaction(async (transaction) => {
    const clock = await lockTestClock(transaction, { id, mode: 'update' });
    if (clock === null || (clock.failing.length === 0 && failing.length === 0)) return;
    const left = clock.failing.filter(({ account }) => !seen.includes(account));
    const progress = { failing: [...left, ...failing].slice(0, MAX_FAILING_SHOWN) };
    await transaction('holdfast.test_clocks')
      .where({ clock_id: id })
      .update({ progress: JSON.stringify(progress) });
  });
}

/** Accounts that have not come to the clock's target, or have a boundary due there; by id. */
export async function pendingHands(
  knex: Knex,
  { clock, after, limit }: { clock: TestClock; after: string | null; limit: number },
): Promise<ClockHand[]> {
  const rows = await onClock(knex, clock.id)
    .where('r.account_id', '>', after ?? '')
    .whereRaw(IS_PENDING, [clock.target, clock.target])
    .orderBy('r.account_id')
    .limit(limit)
    .select<{ account_id: string; clock_at: Date; due_at: string; unsettled: boolean }[]>(
      'a.account_id',
      'a.clock_at',
      knex.raw(`to_json(${DUE_AT}) #>> '{}' AS due_at`),
      knex.raw(`a.next_due_at = '-infinity' AS unsettled`),
    );
  return rows.map((row) => ({
    account: row.account_id,
    clockAt: row.clock_at.toISOString(),
    dueAt: row.due_at,
    unsettled: row.unsettled,
  }));
}

/** How many accounts are on the clock, and how many of them are settled at its target. */
export async function clockProgress(
  knex: Knex,
  { id, target }: TestClock,
): Promise<{ accounts: number; settled: number }> {
  const row = await onClock(knex, id).first<{ accounts: number; settled: number } | undefined>(
    knex.raw('count(*)::int AS accounts'),
    knex.raw(`count(*) FILTER (WHERE NOT ${IS_PENDING})::int AS settled`, [target, target]),
  );
  return row ?? { accounts: 0, settled: 0 };
}

/** Those of these accounts whose inboxes are not empty. */
export async function withInbox(knex: Knex, accounts: readonly string[]): Promise<string[]> {
  const rows = await knex('holdfast.inbox')
    .whereIn('account_id', [...accounts])
    .where({ done_at: null })
    .distinct<{ account_id: string }[]>('account_id');
  return rows.map(({ account_id }) => account_id);
}

const DUE_AT = 'least(a.wake_at, a.lots_due_at, a.leases_due_at)';
const IS_PENDING = `(a.clock_at < ? OR ${DUE_AT} <= ?)`; // twice the target

function onClock(knex: Knex, id: string): Knex.QueryBuilder {
  return knex('ledger.account_rules as r')
    .join('ledger.accounts as a', 'a.account_id', 'r.account_id')
    .where('r.test_clock', id);
}

function fromStored(row: StoredClock): TestClock {
  return {
    id: row.clock_id,
    now: row.now_at,
    target: row.target_at,
    status: row.status,
    failing: row.progress.failing ?? [],
    createdAt: row.created_at,
  };
}
