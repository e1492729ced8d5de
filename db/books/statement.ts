import type { Knex } from 'knex';
import { type MilliCredits, milli } from '../../domain/credits';
import { shownKey } from './journal';
import { totalsBefore } from './pastBalance';
import { reading } from './snapshotRead';

/** The customer's statement: `opening` and the lines add up to `closing`, in what is available and in what is held. */

export const STATEMENT_KINDS = [
  'generation',
  'hold',
  'charge',
  'grant',
  'purchase',
  'expiry',
  'adjustment',
  'revocation',
  'repayment',
  'freeze',
  'unfreeze',
] as const;

export interface StatementLine {
  /** When it first happened within the range. */
  at: Date;
  kind: (typeof STATEMENT_KINDS)[number];
  /** The change of what is available. */
  creditsMilli: MilliCredits;
  /** The change of what is held. */
  held: MilliCredits;
  generation: string | null;
  hold: string | null;
  action: string | null;
  model: string | null;
  member: string | null;
  lots: { lot: string; bucket: string; creditsMilli: MilliCredits }[];
  key: string | null;
  reason: string | null;
}

interface Totals {
  available: MilliCredits;
  held: MilliCredits;
}

export interface Statement {
  opening: Totals;
  /** At most as many as asked for. */
  lines: StatementLine[];
  closing: Totals;
}

interface Row {
  at: Date;
  kind: StatementLine['kind'];
  credits: number;
  held: number;
  generation_id: string | null;
  hold_id: string | null;
  action: string | null;
  model: string | null;
  member: string | null;
  lots: { lot: number; bucket: string; milli: number }[];
  key: string | null;
  reason: string | null;
}

/** From `from` until before `to`. One line more than a caller can use tells it that there are too many. */
export async function readStatement(
  knex: Knex,
  { account, from, to, limit }: { account: string; from: Date; to: Date; limit: number },
): Promise<Statement> {
  return reading(knex, async (snapshot) => {
    const opening = await totalsBefore(snapshot, { account, before: from });
    const closing = await totalsBefore(snapshot, { account, before: to });
    const { rows } = await snapshot.raw<{ rows: Row[] }>('SELECT * FROM ledger.statement(?, ?, ?) LIMIT ?', [
      account,
      from,
      to,
      limit,
    ]);
    return {
      opening: { available: milli(opening.available), held: milli(opening.held) },
      lines: rows.map(line),
      closing: { available: milli(closing.available), held: milli(closing.held) },
    };
  });
}

function line({ generation_id, hold_id, credits, ...row }: Row): StatementLine {
  return {
    ...row,
    creditsMilli: milli(credits),
    held: milli(row.held),
    generation: generation_id,
    hold: hold_id,
    lots: row.lots.map((one) => ({
      lot: String(one.lot),
      bucket: one.bucket,
      creditsMilli: milli(one.milli),
    })),
    key: shownKey(row.key),
  };
}
