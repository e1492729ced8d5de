import type { Knex } from 'knex';
import { type MilliCredits, milli } from '../../domain/credits';

/** Every kind of row there is (db/migrations/functions). */
export const JOURNAL_KINDS = [
  'grant',
  'reserve',
  'charge',
  'capture',
  'release',
  'extend',
  'refund',
  'expire',
  'revoke',
  'freeze',
  'unfreeze',
  'adjust',
  'plan',
  'suspend',
  'unsuspend',
  'notice',
] as const;

type JournalKind = (typeof JOURNAL_KINDS)[number];

/** Where credits of a lot can be; `outside` is where a grant brings them from. */
export const PARTS = ['outside', 'available', 'held', 'frozen', 'spent', 'expired', 'revoked'] as const;

type Part = (typeof PARTS)[number];

/** The account's history, newest first. */
export interface JournalEntry {
  seq: number;
  at: Date;
  recordedAt: Date;
  kind: JournalKind;
  status: string;
  key: string | null;
  creditsMilli: MilliCredits;
  availableAfter: MilliCredits;
  heldAfter: MilliCredits;
  debtAfter: MilliCredits;
  /** The lots that were touched, with the change of what each has available; they add up to `creditsMilli`. */
  lots: { lot: string; bucket: string; creditsMilli: MilliCredits }[];
  moves: { lot: string; from: Part; to: Part; creditsMilli: MilliCredits }[];
  generation: string | null;
  hold: string | null;
  actor: string | null;
  reason: string | null;
  /** The phase that a capture was for, if it names one. */
  phase?: string;
}

export interface JournalFilter {
  account: string;
  kind?: JournalKind | undefined;
  generation?: string | undefined;
  lot?: number | undefined;
  /** As it is shown: see `shownKey`. */
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
  kind: JournalKind;
  status: string;
  key: string | null;
  credits: number;
  available_after: number;
  held_after: number;
  debt_after: number;
  lots: { lot: number; bucket: string; milli: number }[] | null;
  moves: { lot: number; from: Part; to: Part; milli: number }[] | null;
  generation_id: string | null;
  hold_id: string | null;
  actor: string | null;
  reason: string | null;
  phase: string | null;
}

const LOTS = `(SELECT json_agg(json_build_object('lot', m.lot, 'bucket', l.bucket, 'milli', m.milli) ORDER BY m.n)
  FROM (SELECT u.lot, min(u.n) AS n, sum(u.milli * ((u.target = 'available')::int - (u.source = 'available')::int)) AS milli
          FROM unnest(j.moves) WITH ORDINALITY u (lot, source, target, milli, n) GROUP BY u.lot) m
  JOIN ledger.lots l ON l.account_id = j.account_id AND l.lot_no = m.lot) AS lots`;

const MOVES = `(SELECT json_agg(json_build_object('lot', u.lot, 'from', u.source, 'to', u.target, 'milli', u.milli) ORDER BY u.n)
  FROM unnest(j.moves) WITH ORDINALITY u (lot, source, target, milli, n)) AS moves`;

// The reservation by its key, since one that is free holds nothing; the rest by the hold.
const OF_GENERATION = `j.seq IN (
  SELECT k.seq FROM ledger.generations g JOIN ledger.op_keys k ON k.account_id = g.account_id AND k.key = g.key
   WHERE g.account_id = :account AND g.generation_id = :generation
   UNION ALL
  SELECT b.seq FROM ledger.generations g JOIN ledger.journal b ON b.account_id = g.account_id AND b.hold_id = g.hold_id
   WHERE g.account_id = :account AND g.generation_id = :generation)`;

// Keys have an index of their own; the journal has none for them.
const OF_KEY = 'j.seq IN (SELECT seq FROM ledger.op_keys WHERE account_id = :account AND key = ANY (:keys))';

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
  if (generation !== undefined) void query.whereRaw(OF_GENERATION, { account, generation });
  if (lot !== undefined) void query.whereRaw('EXISTS (SELECT FROM unnest(j.moves) m WHERE m.lot = ?)', [lot]);
  if (key !== undefined) void query.whereRaw(OF_KEY, { account, keys: storedKeys(key) });
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
    'j.hold_id',
    'j.actor',
    'j.reason',
    knex.raw("j.detail ->> 'phase' AS phase"),
    knex.raw("coalesce(h.generation_id, j.detail ->> 'generation') AS generation_id"),
    knex.raw(LOTS),
    knex.raw(MOVES),
  );
  return rows.map(entry);
}

/** Rows of one page of an export. */
const PAGE_ROWS = 2_000;

/** The journal changed under its reader: its oldest rows went to an archive. */
class ArchivedMeanwhile extends Error {
  override readonly name = 'ArchivedMeanwhile';
}

/**
 * All rows that the filter lets through, newest first, page by page, each a query of its own: no transaction stays open as long
 * as a client reads. Rows are only ever added, above where it began; what is archived meanwhile makes it fail.
 */
export async function* journalPages(
  knex: Knex,
  filter: Omit<JournalFilter, 'limit' | 'beforeSeq'>,
): AsyncGenerator<{ rows: JournalEntry[]; last: boolean }, void> {
  const began = await archivedUntil(knex, filter.account);
  let beforeSeq: number | undefined;
  for (;;) {
    const rows = await readJournal(knex, { ...filter, beforeSeq, limit: PAGE_ROWS });
    const last = rows.length < PAGE_ROWS;
    if (last && (await archivedUntil(knex, filter.account)) !== began)
      throw new ArchivedMeanwhile(`a month of account ${filter.account} was archived while it was read`);
    yield { rows, last };
    if (last) return;
    beforeSeq = rows.at(-1)?.seq;
  }
}

/** The account's last row that is archived; 0: none is. */
async function archivedUntil(knex: Knex, account: string): Promise<number> {
  const row = await knex('ledger.openings')
    .where({ account_id: account })
    .first<{ seq: number } | undefined>('seq');
  return row?.seq ?? 0;
}

/** Callers see the key they sent; ours keep their `sys:`, so that the two can be told apart. */
export function shownKey(stored: string | null): string | null {
  return stored?.replace(/^req:/, '') ?? null;
}

/** The keys that are shown as this one. */
function storedKeys(shown: string): string[] {
  return shown.startsWith('sys:') ? [shown, `req:${shown}`] : [`req:${shown}`];
}

function entry(row: Row): JournalEntry {
  return {
    seq: row.seq,
    at: row.at,
    recordedAt: row.recorded_at,
    kind: row.kind,
    status: row.status,
    key: shownKey(row.key),
    creditsMilli: milli(row.credits),
    availableAfter: milli(row.available_after),
    heldAfter: milli(row.held_after),
    debtAfter: milli(row.debt_after),
    lots: (row.lots ?? []).map(({ lot, bucket, milli: moved }) => ({
      lot: String(lot),
      bucket,
      creditsMilli: milli(moved),
    })),
    moves: (row.moves ?? []).map(({ lot, from, to, milli: moved }) => ({
      lot: String(lot),
      from,
      to,
      creditsMilli: milli(moved),
    })),
    generation: row.generation_id,
    hold: row.hold_id,
    actor: row.actor,
    reason: row.reason,
    ...(row.phase === null ? {} : { phase: row.phase }),
  };
}
