import type { Knex } from 'knex';
import { milli, type MilliCredits } from '../domain/credits';

/** The account's history, newest first. */
export interface JournalEntry {
  seq: number;
  at: Date;
  recordedAt: Date;
  kind: string;
  status: string;
  key: string | null;
  credits: MilliCredits;
  availableAfter: MilliCredits;
  heldAfter: MilliCredits;
  debtAfter: MilliCredits;
  lots: { lot: string; bucket: string; credits: MilliCredits }[];
  generation: string | null;
  actor: string | null;
  reason: string | null;
}

export interface JournalFilter {
  account: string;
  kind?: string | undefined;
  generation?: string | undefined;
  lot?: number | undefined;
  key?: string | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
  beforeSeq?: number | undefined;
  limit: number;
}

interface Row {
  seq: number;
  at: Date;
  recorded_at: Date;
  kind: string;
  status: string;
  key: string | null;
  credits: number;
  available_after: number;
  held_after: number;
  debt_after: number;
  lots: { lot: number; bucket: string; milli: number }[] | null;
  generation_id: string | null;
  actor: string | null;
  reason: string | null;
}

// What each lot's `available` changed by; where credits only went from held to spent, how much that was.
const LOTS = `(SELECT json_agg(json_build_object('lot', m.lot, 'bucket', l.bucket, 'milli', m.milli) ORDER BY m.n)
  FROM (SELECT u.lot, min(u.n) AS n, coalesce(nullif(sum(u.milli * ((u.target = 'available')::int - (u.source = 'available')::int)), 0),
                                              -sum(u.milli)) AS milli
          FROM unnest(j.moves) WITH ORDINALITY u (lot, source, target, milli, n) GROUP BY u.lot) m
  JOIN ledger.lots l ON l.account_id = j.account_id AND l.lot_no = m.lot) AS lots`;

export async function readJournal(knex: Knex, filter: JournalFilter): Promise<JournalEntry[]> {
  const { account, kind, generation, lot, key, from, to, beforeSeq, limit } = filter;
  const query = knex('ledger.journal as j')
    .leftJoin('ledger.holds as h', (join) =>
      join.on('h.account_id', 'j.account_id').andOn('h.hold_id', 'j.hold_id'),
    )
    .where('j.account_id', account)
    .orderBy('j.seq', 'desc')
    .limit(limit);
  if (kind !== undefined) void query.where('j.kind', kind);
  if (generation !== undefined) void query.where('h.generation_id', generation);
  if (lot !== undefined) void query.whereRaw('EXISTS (SELECT FROM unnest(j.moves) m WHERE m.lot = ?)', [lot]);
  if (key !== undefined) void query.whereIn('j.key', [key, `req:${key}`, `sys:${key}`]);
  if (from !== undefined) void query.where('j.at', '>=', from);
  if (to !== undefined) void query.where('j.at', '<', to);
  if (beforeSeq !== undefined) void query.where('j.seq', '<', beforeSeq);
  const rows: Row[] = await query.select(
    'j.seq',
    'j.at',
    'j.recorded_at',
    'j.kind',
    'j.status',
    'j.key',
    'j.credits',
    'j.available_after',
    'j.held_after',
    'j.debt_after',
    'h.generation_id',
    'j.actor',
    'j.reason',
    knex.raw(LOTS),
  );
  return rows.map((row) => ({
    seq: row.seq,
    at: row.at,
    recordedAt: row.recorded_at,
    kind: row.kind,
    status: row.status,
    // Callers see the key they sent; ours keep their prefix, so that the two can be told apart.
    key: row.key?.replace(/^req:/, '') ?? null,
    credits: milli(row.credits),
    availableAfter: milli(row.available_after),
    heldAfter: milli(row.held_after),
    debtAfter: milli(row.debt_after),
    lots: (row.lots ?? []).map((one) => ({
      lot: String(one.lot),
      bucket: one.bucket,
      credits: milli(one.milli),
    })),
    generation: row.generation_id,
    actor: row.actor,
    reason: row.reason,
  }));
}
