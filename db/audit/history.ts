/** What the journal says, as parts of the checks’ queries (db/audit/checks.ts). */

/** Every move of the journal, with the row it belongs to. */
export const MOVES = `moves AS (
  SELECT j.account_id, j.seq, j.at, j.kind, j.status, j.hold_id, m.lot, m.source, m.target, m.milli, m.n
    FROM {journal} j CROSS JOIN LATERAL unnest(j.moves) WITH ORDINALITY m (lot, source, target, milli, n)
   WHERE {j.account_id}
   UNION ALL
  SELECT o.account_id, o.seq, o.at, 'opening', 'applied', m.hold_id, m.lot, m.source, m.target, m.milli, 0
    FROM {openings} o CROSS JOIN LATERAL ledger.opening_moves(ROW(o.*)::ledger.openings) m WHERE {o.account_id})`;

/** Where the history that is still here begins. */
export const OPENINGS = `openings AS (SELECT * FROM {openings} o WHERE {o.account_id})`;

/** What each lot must hold by the journal alone. */
export const REBUILT_LOTS = `rebuilt AS (
  SELECT account_id, lot AS lot_no,
         sum(milli) FILTER (WHERE source = 'outside') AS granted,
         ${['available', 'held', 'frozen', 'spent', 'expired', 'revoked']
           .map((part) => `sum(milli * ((target = '${part}')::int - (source = '${part}')::int)) AS ${part}`)
           .join(',\n         ')}
    FROM moves GROUP BY account_id, lot)`;

/** A lot's terms, as rows of the journal and openings have them in JSON. */
export const TERMS = `(lot int, bucket text, rank smallint, "effectiveAt" timestamptz, "expiresAt" timestamptz, "graceSeconds" double precision,
                   parent int, source text, ended timestamptz)`;

/** What a lot consists of. */
export const PARTS = 'granted, available, held, frozen, spent, expired, revoked';
export const parts = (alias: string) =>
  PARTS.split(', ')
    .map((part) => `${alias}.${part}`)
    .join(', ');
