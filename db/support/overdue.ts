import type { Knex } from 'knex';

/**
 * What a sweep reads: accounts and rows that somebody else should have handled by now, and all open holds. Each page is a
 * range of an index, in the order of its cursor. That takes `statement_timestamp()`: `clock_timestamp()` is volatile, and
 * no condition on an index.
 */

/** Where a page of overdue accounts ended. The instant is the database's own text, to the microsecond. */
export interface OverduePlace {
  wakeAt: string;
  account: string;
}

/** Accounts that should have been settled so long ago; test clocks move by being told to, and are left out. */
export async function overdueAccounts(
  knex: Knex,
  { graceMs, after, limit }: { graceMs: number; after: OverduePlace | null; limit: number },
): Promise<OverduePlace[]> {
  const query = knex('ledger.accounts')
    .whereRaw("wake_at < 'infinity' AND wake_at < statement_timestamp() - make_interval(secs => ?)", [
      graceMs / 1000,
    ])
    .whereNull('clock_at')
    .orderBy(['wake_at', 'account_id'])
    .limit(limit);
  if (after !== null)
    void query.whereRaw('(wake_at, account_id) > (?::timestamptz, ?)', [after.wakeAt, after.account]);
  return query.select({ account: 'account_id', wakeAt: knex.raw('wake_at::text') });
}

/** Where a page of expired leases ended. */
export interface LeasePlace extends HoldPlace {
  expiresAt: string;
}

/**
 * Leases that have been over for so long that nobody will come by to write it down. `due` is false on a test clock, where
 * the account's own clock says so.
 */
export async function overLeases(
  knex: Knex,
  { graceMs, after, limit }: { graceMs: number; after: LeasePlace | null; limit: number },
): Promise<(LeasePlace & { due: boolean })[]> {
  const query = knex('ledger.holds as h')
    .join('ledger.accounts as a', 'a.account_id', 'h.account_id')
    .whereRaw('h.open AND h.expires_at < statement_timestamp() - make_interval(secs => ?)', [graceMs / 1000])
    .orderBy(['h.expires_at', 'h.account_id', 'h.hold_id'])
    .limit(limit);
  if (after !== null) {
    const { expiresAt, account, holdId } = after;
    void query.whereRaw('(h.expires_at, h.account_id, h.hold_id) > (?::timestamptz, ?, ?)', [
      expiresAt,
      account,
      holdId,
    ]);
  }
  return query.select({
    account: 'h.account_id',
    holdId: 'h.hold_id',
    expiresAt: knex.raw('h.expires_at::text'),
    due: knex.raw('a.clock_at IS NULL'),
  });
}

/** Accounts with rows in their inbox that nobody has tried for so long. */
export async function undrainedAccounts(
  knex: Knex,
  { graceMs, after, limit }: { graceMs: number; after: string | null; limit: number },
): Promise<string[]> {
  const query = knex('holdfast.inbox')
    .distinct('account_id')
    .whereNull('done_at')
    .whereRaw('greatest(received_at, retry_at) < clock_timestamp() - make_interval(secs => ?)', [
      graceMs / 1000,
    ])
    .orderBy('account_id')
    .limit(limit);
  if (after !== null) void query.where('account_id', '>', after);
  const rows: { account_id: string }[] = await query;
  return rows.map((row) => row.account_id);
}

export interface HoldPlace {
  account: string;
  holdId: string;
}

/** Where a page of open holds ended. A pass of an older version names no namespace: then it is begun again. */
export interface OwnedPlace extends HoldPlace {
  namespaceId?: string;
}

/** An open hold that a workflow owns, as it was read. */
export interface OwnedHold extends HoldPlace {
  epoch: number;
  workflowId: string;
  namespaceId: string;
  /** In real time, also where the account is on a test clock. */
  ageMs: number;
  /** It has taken longer than its rate and its deadline allow. */
  overdue: boolean;
}

/** Open holds of generations, one Temporal namespace after the other. Leases have no workflow: they end on their own. */
export async function ownedHolds(
  knex: Knex,
  { of, after, limit }: { of?: string; after: OwnedPlace | null; limit: number },
): Promise<OwnedHold[]> {
  const query = knex('ledger.holds as h')
    .join('ledger.accounts as a', 'a.account_id', 'h.account_id')
    .leftJoin('ledger.generations as g', (join) =>
      join.on('g.account_id', 'h.account_id').andOn('g.generation_id', 'h.generation_id'),
    )
    .whereRaw('h.open AND h.namespace_id IS NOT NULL AND h.workflow_id IS NOT NULL')
    .orderBy(['h.namespace_id', 'h.account_id', 'h.hold_id'])
    .limit(limit);
  if (of !== undefined) void query.where('h.namespace_id', of);
  if (after?.namespaceId !== undefined)
    void query.whereRaw('(h.namespace_id, h.account_id, h.hold_id) > (?, ?, ?)', [
      after.namespaceId,
      after.account,
      after.holdId,
    ]);
  return query.select({
    account: 'h.account_id',
    holdId: 'h.hold_id',
    epoch: 'h.epoch',
    workflowId: 'h.workflow_id',
    namespaceId: 'h.namespace_id',
    // On a test clock the hold's own instant says nothing of its age; when its row was written does. An archived row is old.
    ageMs:
      knex.raw(`(extract(epoch FROM clock_timestamp() - CASE WHEN a.clock_at IS NULL THEN h.opened_at ELSE coalesce(
      (SELECT min(j.recorded_at) FROM ledger.journal j WHERE j.account_id = h.account_id AND j.hold_id = h.hold_id),
      'epoch') END) * 1000)::float8`),
    overdue: knex.raw(`h.overdue_at <= coalesce(a.clock_at, statement_timestamp())
      AND coalesce(g.deadline_at <= statement_timestamp(), true)`),
  });
}
