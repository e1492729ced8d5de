import type { Knex } from 'knex';

/** What a sweep reads: accounts and rows that somebody else should have seen to by now, and all open holds. */

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
    .whereRaw('wake_at < clock_timestamp() - make_interval(secs => ?)', [graceMs / 1000])
    .whereNull('clock_at')
    .orderBy(['wake_at', 'account_id'])
    .limit(limit);
  if (after !== null)
    void query.whereRaw('(wake_at, account_id) > (?::timestamptz, ?)', [after.wakeAt, after.account]);
  return query.select({ account: 'account_id', wakeAt: knex.raw('wake_at::text') });
}

/** Accounts where a lease has been over for so long that nobody will come by to write it down. */
export async function overLeases(
  knex: Knex,
  { graceMs, limit }: { graceMs: number; limit: number },
): Promise<string[]> {
  const rows: { account_id: string }[] = await knex('ledger.holds as h')
    .join('ledger.accounts as a', 'a.account_id', 'h.account_id')
    .distinct('h.account_id')
    .where('h.open', true)
    .whereNull('a.clock_at')
    .whereRaw('h.expires_at < clock_timestamp() - make_interval(secs => ?)', [graceMs / 1000])
    .limit(limit);
  return rows.map((row) => row.account_id);
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

/** An open hold that a workflow owns, as it was read. */
export interface OwnedHold extends HoldPlace {
  epoch: number;
  workflowId: string;
  namespaceId: string;
  /** In real time, also where the account is on a test clock. */
  ageMs: number;
  /** It has taken longer than its rate allows. */
  overdue: boolean;
}

/** Open holds of generations, account by account. Leases have no workflow: they end by themselves. */
export async function ownedHolds(
  knex: Knex,
  { after, limit }: { after: HoldPlace | null; limit: number },
): Promise<OwnedHold[]> {
  const query = knex('ledger.holds as h')
    .join('ledger.accounts as a', 'a.account_id', 'h.account_id')
    .where('h.open', true)
    .whereNotNull('h.workflow_id')
    .whereNotNull('h.namespace_id')
    .orderBy(['h.account_id', 'h.hold_id'])
    .limit(limit);
  if (after !== null)
    void query.whereRaw('(h.account_id, h.hold_id) > (?, ?)', [after.account, after.holdId]);
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
    overdue: knex.raw('h.overdue_at < coalesce(a.clock_at, clock_timestamp())'),
  });
}
