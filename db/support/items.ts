import type { Knex } from 'knex';
import { inMs, MS } from '../books/listOrder';

/** What a person should look at: it moved no credits, and should not have happened. */

export const ITEM_KINDS = [
  /** Work was delivered for a hold that somebody had closed. */
  'capture_of_closed_hold',
  /** Work that was not paid for was delivered after its generation had ended: charge for it, or not (rule 16). */
  'late_report',
  /** A report that was taken cannot be acted upon, or its workflow cannot be told of it (activities/reportDriver.ts). */
  'report_failing',
  /** A report cost more than was held: what remained was taken (rule 15). */
  'capture_clamped',
  /** What a pipeline sent as a report was none, and nobody heard so. */
  'report_rejected',
  /** A hold is open for longer than its rate's `maxDuration` and its deadline allow (db/support/overdueHolds.ts). */
  'hold_overdue',
  /** What became of the workflows of a namespace's holds has not been known for an hour (db/support/unclearHolds.ts). */
  'hold_owner_unclear',
  /** A row of an account's inbox fails again and again. */
  'inbox_row_failing',
  /** A purchase was accepted over a minute ago and is not granted (db/support/waitingPurchases.ts). */
  'purchase_waiting',
  /** An account that was due could not be settled. */
  'settlement_failing',
  /** More holds without a workflow than a sweep frees on its own: is this the right namespace? (rule 17) */
  'sweep_stopped',
  /** The quick audit found something. */
  'audit_violation',
] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

/** What an item is about; the same thing is one item. */
export interface ItemKey {
  /** Null: no account in particular. */
  account: string | null;
  kind: ItemKind;
  subject: string;
}

export interface OperationsItem extends ItemKey {
  detail: Record<string, unknown>;
  raisedAt: Date;
  resolvedAt: Date | null;
}

interface Row {
  account_id: string;
  kind: ItemKind;
  subject: string;
  detail: Record<string, unknown>;
  raised_at: Date;
  resolved_at: Date | null;
}

const TABLE = 'holdfast.operations_items';

/** Raises an item, or brings an open one up to date. One that was resolved is raised again. */
export async function raiseItem(
  knex: Knex,
  item: ItemKey & { detail: Record<string, unknown> },
): Promise<void> {
  await knex(TABLE)
    .insert({ ...stored(item), detail: JSON.stringify(item.detail) })
    .onConflict(['account_id', 'kind', 'subject'])
    .merge({
      detail: JSON.stringify(item.detail),
      raised_at: knex.raw(
        'CASE WHEN operations_items.resolved_at IS NULL THEN operations_items.raised_at ELSE statement_timestamp() END',
      ),
      resolved_at: null,
    });
}

/** Closes an item: what it says is no longer so, or somebody has dealt with it. False: there is no open one. */
export async function resolveItem(knex: Knex, { kind, ...key }: ItemKey): Promise<boolean> {
  return (await resolveItems(knex, { ...key, kinds: [kind] })) > 0;
}

/** Closes the items of these kinds that are about one thing; how many were open. */
export async function resolveItems(
  knex: Knex,
  { account, kinds, subject }: Omit<ItemKey, 'kind'> & { kinds: readonly ItemKind[] },
): Promise<number> {
  return knex(TABLE)
    .where({ account_id: account ?? '', subject })
    .whereIn('kind', kinds)
    .whereNull('resolved_at')
    .update({ resolved_at: knex.raw('statement_timestamp()') });
}

/** Newest first. */
export async function listItems(
  knex: Knex,
  filter: {
    open: boolean;
    /** By when they were raised. */
    from?: Date | undefined;
    to?: Date | undefined;
    before?: { raisedAt: string; account: string; kind: string; subject: string } | undefined;
    limit: number;
  },
): Promise<OperationsItem[]> {
  const { open, from, to, before, limit } = filter;
  const raised = inMs('raised_at');
  const query = knex(TABLE)
    .orderByRaw(`${raised} DESC, account_id DESC, kind DESC, subject DESC`)
    .limit(limit);
  void (open ? query.whereNull('resolved_at') : query.whereNotNull('resolved_at'));
  if (from !== undefined) void query.whereRaw(`${raised} >= ${MS}`, [from]);
  if (to !== undefined) void query.whereRaw(`${raised} < ${MS}`, [to]);
  if (before !== undefined) {
    const { raisedAt, account, kind, subject } = before;
    void query.whereRaw(`(${raised}, account_id, kind, subject) < (${MS}, ?, ?, ?)`, [
      ...[raisedAt, account, kind, subject],
    ]);
  }
  const rows: Row[] = await query;
  return rows.map((row) => ({
    account: row.account_id === '' ? null : row.account_id,
    kind: row.kind,
    subject: row.subject,
    detail: row.detail,
    raisedAt: row.raised_at,
    resolvedAt: row.resolved_at,
  }));
}

function stored({ account, kind, subject }: ItemKey) {
  return { account_id: account ?? '', kind, subject };
}
