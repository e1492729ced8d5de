import type { Knex } from 'knex';
import { type MilliCredits, milli } from '../../domain/credits';

/** What an account may be told of on its own; made by the view ledger.events from the journal. */
export const EVENT_TYPES = [
  'credits.granted',
  'credits.expiring',
  'credits.expired',
  'credits.revoked',
  'balance.low',
  'balance.depleted',
  'subscription.updated',
] as const;

type EventType = (typeof EVENT_TYPES)[number];

export interface AccountEvent {
  /** The journal row it came with. */
  seq: number;
  type: EventType;
  at: Date;
  recordedAt: Date;
  /** What it is about; of a balance, what is left; null of a subscription. */
  creditsMilli: MilliCredits | null;
  /** By type: the lots, when credits end, the plan before and after. */
  detail: Record<string, unknown>;
}

export interface EventFilter {
  account: string;
  type?: EventType | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
  before?: { seq: number; type: string } | undefined;
  limit: number;
}

interface Row {
  seq: number;
  type: EventType;
  at: Date;
  recorded_at: Date;
  milli: number | null;
  detail: Record<string, unknown>;
}

/** Newest first. */
export async function readEvents(knex: Knex, filter: EventFilter): Promise<AccountEvent[]> {
  const { account, type, from, to, before, limit } = filter;
  const query = knex('ledger.events').where({ account_id: account }).limit(limit);
  if (type !== undefined) void query.where({ type });
  if (from !== undefined) void query.where('at', '>=', from);
  if (to !== undefined) void query.where('at', '<', to);
  if (before !== undefined) void query.whereRaw('(seq, type) < (?, ?)', [before.seq, before.type]);
  const rows: Row[] = await query
    .orderBy([
      { column: 'seq', order: 'desc' },
      { column: 'type', order: 'desc' },
    ])
    .select('seq', 'type', 'at', 'recorded_at', 'milli', 'detail');
  return rows.map(({ recorded_at: recordedAt, milli: amount, ...row }) => ({
    ...row,
    recordedAt,
    creditsMilli: amount === null ? null : milli(amount),
  }));
}
