import type { Knex } from 'knex';
import type { LotView } from '../../domain/account';
import { type MilliCredits, milli } from '../../domain/credits';
import { reading } from './snapshotRead';

/** An account as it was just before an instant, by its own journal and what was due by then. */
export interface PastBalance {
  available: MilliCredits;
  held: MilliCredits;
  debt: MilliCredits;
  /** In spend order: what had credits left or held, and what had not ended yet. */
  lots: LotView[];
}

export interface Totals {
  available: number;
  held: number;
  debt: number;
}

interface Row {
  lot: number;
  bucket: string;
  rank: number;
  effective_at: string;
  expires_at: string;
  source: string;
  over: boolean;
  granted: number;
  available: number;
  held: number;
}

// Instants as RFC 3339 text, as ledger.balance gives them: a Date would lose 'infinity' and microseconds.
const LOTS = `SELECT lot, bucket, rank, to_jsonb(effective_at) #>> '{}' AS effective_at, to_jsonb(expires_at) #>> '{}' AS expires_at, source, over,
       granted, available, held FROM ledger.lots_before(:account, :before)
 WHERE available > 0 OR held > 0 OR (NOT over AND expires_at < 'infinity')`;

/** `before` is exclusive. An account that did not exist yet had nothing. */
export async function readBalanceBefore(
  knex: Knex,
  { account, before }: { account: string; before: Date },
): Promise<PastBalance> {
  return reading(knex, async (snapshot) => {
    const totals = await totalsBefore(snapshot, { account, before });
    const { rows } = await snapshot.raw<{ rows: Row[] }>(LOTS, { account, before });
    return {
      available: milli(totals.available),
      held: milli(totals.held),
      debt: milli(totals.debt),
      lots: rows.map((row) => ({
        lot: row.lot,
        bucket: row.bucket,
        rank: row.rank,
        effectiveAt: row.effective_at,
        expiresAt: row.expires_at,
        source: row.source,
        over: row.over,
        granted: milli(row.granted),
        available: milli(row.available),
        held: milli(row.held),
      })),
    };
  });
}

export async function totalsBefore(
  knex: Knex,
  { account, before }: { account: string; before: Date },
): Promise<Totals> {
  const { rows } = await knex.raw<{ rows: Totals[] }>('SELECT * FROM ledger.totals_before(?, ?)', [
    account,
    before,
  ]);
  return rows[0] ?? { available: 0, held: 0, debt: 0 };
}
