-- The read side of the ledger: balanced lines for an accountant, the account at any instant, the customer's statement.
--
--   lines          view: two lines for each move of the journal, a debit and a credit
--   due_moves      what time alone does to an account that nobody comes back to
--   lots_before, totals_before, statement    the past, from the journal's moves
--
-- Instants are the account's own (`at`), and ends of ranges are exclusive: "before" a microsecond past an instant is
-- at that instant, with everything that happened there. The functions run with their caller's rights.
--
-- Others build on what is in here (docs/accounting.md), so it is replaced and never dropped: columns are added at the end, and
-- what a function takes and answers stays. A release that cannot keep to that gives the new one a new name.

-- Double entry. Customer credits are what the operator owes, so they grow on the credit side: a move debits the book
-- it leaves and credits the book it enters. Debt is not a book: nothing moves when it arises, see journal.debt_after.
CREATE OR REPLACE VIEW ledger.lines AS
  SELECT j.account_id, j.seq, m.n::int AS move, s.side, b.book,
         CASE s.side WHEN 'debit' THEN m.milli ELSE 0 END AS debit_milli,
         CASE s.side WHEN 'credit' THEN m.milli ELSE 0 END AS credit_milli,
         j.at, j.recorded_at, m.lot, l.bucket, j.kind, j.key, j.hold_id, j.actor, j.reason
    FROM ledger.journal j
   CROSS JOIN LATERAL unnest(j.moves) WITH ORDINALITY m (lot, source, target, milli, n)
   CROSS JOIN LATERAL (VALUES ('debit', m.source), ('credit', m.target)) s (side, part)
   CROSS JOIN LATERAL (SELECT CASE s.part
                                WHEN 'outside' THEN 'credits issued'
                                WHEN 'available' THEN 'customer credits available'
                                WHEN 'held' THEN 'customer credits held'
                                WHEN 'frozen' THEN 'customer credits frozen'
                                WHEN 'spent' THEN 'credits spent'
                                WHEN 'expired' THEN 'credits expired'
                                WHEN 'revoked' THEN 'credits revoked'
                              END) b (book)
    LEFT JOIN ledger.lots l ON l.account_id = j.account_id AND l.lot_no = m.lot;
COMMENT ON VIEW ledger.lines IS 'Double entry: two lines for each move of the journal, a debit and a credit.';
COMMENT ON COLUMN ledger.lines.account_id IS 'The account.';
COMMENT ON COLUMN ledger.lines.seq IS 'Number of the journal row.';
COMMENT ON COLUMN ledger.lines.move IS 'Which of its moves.';
COMMENT ON COLUMN ledger.lines.side IS 'debit or credit.';
COMMENT ON COLUMN ledger.lines.book IS 'Book of accounts that the line is in.';
COMMENT ON COLUMN ledger.lines.debit_milli IS 'Amount on the debit side, in millicredits; 0 on the other.';
COMMENT ON COLUMN ledger.lines.credit_milli IS 'Amount on the credit side, in millicredits; 0 on the other.';
COMMENT ON COLUMN ledger.lines.at IS 'When it happened, on the account''s clock.';
COMMENT ON COLUMN ledger.lines.recorded_at IS 'When it was written, on the database''s clock.';
COMMENT ON COLUMN ledger.lines.lot IS 'Number of the lot.';
COMMENT ON COLUMN ledger.lines.bucket IS 'Bucket of the lot.';
COMMENT ON COLUMN ledger.lines.kind IS 'Kind of the journal row.';
COMMENT ON COLUMN ledger.lines.key IS 'Key of the operation.';
COMMENT ON COLUMN ledger.lines.hold_id IS 'The hold it is about.';
COMMENT ON COLUMN ledger.lines.actor IS 'Who caused it.';
COMMENT ON COLUMN ledger.lines.reason IS 'Why.';

-- What somebody may want to be told of, in the journal's order: what came, what ended, what was taken back, what is about to
-- end, a balance that is low or empty, a change of plan. Returns of a hold are the generation's affair and no event.
--   milli   credits it is about; of a balance, what is left
CREATE OR REPLACE VIEW ledger.events AS
  SELECT j.account_id, j.seq, j.at, j.recorded_at, e.type, e.milli, e.detail
    FROM ledger.journal j
   CROSS JOIN LATERAL (
     SELECT 'credits.granted' AS type, sum(m.milli)::bigint AS milli,
       jsonb_build_object('lots', jsonb_agg(jsonb_build_object('lot', m.lot, 'milli', m.milli))) AS detail
       FROM unnest(j.moves) m WHERE m.source = 'outside' AND j.kind IN ('grant', 'adjust', 'plan') HAVING count(*) > 0
      UNION ALL
     SELECT 'credits.expired', sum(m.milli)::bigint,
       jsonb_build_object('lots', jsonb_agg(jsonb_build_object('lot', m.lot, 'milli', m.milli)))
       FROM unnest(j.moves) m WHERE m.target = 'expired' AND m.source = 'available' HAVING count(*) > 0
      UNION ALL
     SELECT 'credits.revoked', sum(m.milli)::bigint,
       jsonb_build_object('lots', jsonb_agg(jsonb_build_object('lot', m.lot, 'milli', m.milli)))
       FROM unnest(j.moves) m WHERE m.target = 'revoked' HAVING count(*) > 0
      UNION ALL
     SELECT j.detail ->> 'notice', coalesce((j.detail ->> 'milli')::bigint, j.available_after),
       j.detail - 'notice' - 'milli' - 'lots' - 'counts'
      WHERE j.detail ? 'notice'
      UNION ALL
     SELECT 'subscription.updated', NULL, j.detail - 'lots' - 'ended' - 'forGood' WHERE j.kind = 'plan') e
   WHERE j.status = 'applied';

COMMENT ON VIEW ledger.events IS
  'What a product may want to tell its customer: credits granted, expired, revoked, about to end, a low balance, a plan change.';
COMMENT ON COLUMN ledger.events.account_id IS 'The account.';
COMMENT ON COLUMN ledger.events.seq IS 'Number of the journal row.';
COMMENT ON COLUMN ledger.events.at IS 'When it happened, on the account''s clock.';
COMMENT ON COLUMN ledger.events.recorded_at IS 'When it was written, on the database''s clock.';
COMMENT ON COLUMN ledger.events.type IS
  'credits.granted, credits.expired, credits.revoked, credits.expiring, balance.low, balance.depleted or subscription.updated.';
COMMENT ON COLUMN ledger.events.milli IS 'Credits it is about, in millicredits; of a balance, what is left.';
COMMENT ON COLUMN ledger.events.detail IS 'Facts of the event.';

-- What the next operation will find over and write, at the instants it will write it (rule 11): leases end, what they
-- held goes back to lots that live and repays debt first, and lots expire with what is in them by then. So a reader is
-- exact at such a boundary though nobody has touched the account since. Callers bound `at`: this continues for ever.
CREATE OR REPLACE FUNCTION ledger.due_moves(p_account text)
RETURNS TABLE (at timestamptz, kind text, hold_id text, lot int, source ledger.part, target ledger.part, milli bigint)
LANGUAGE sql STABLE AS $$
  WITH back AS (
    SELECT h.hold_id, h.expires_at AS at, u.lot, u.milli, l.expires_at AS lot_ends,
           l.ended_at IS NULL AND l.expires_at > h.expires_at AS alive,
           CASE WHEN l.ended_at IS NULL AND l.expires_at > h.expires_at AND l.source NOT LIKE 'daily:%' THEN u.milli
             ELSE 0 END AS repays,
           row_number() OVER (ORDER BY h.expires_at, h.hold_id, u.n) AS n
      FROM ledger.holds h
     CROSS JOIN LATERAL unnest(h.lots, h.lots_held) WITH ORDINALITY u (lot, milli, n)
      JOIN ledger.lots l ON l.account_id = h.account_id AND l.lot_no = u.lot
     WHERE h.account_id = p_account AND h.open AND h.expires_at IS NOT NULL AND u.milli > 0),
  returned AS (
    SELECT b.*, greatest(0, least(b.repays, a.debt - coalesce(sum(b.repays) OVER (ORDER BY b.n ROWS BETWEEN UNBOUNDED PRECEDING
      AND 1 PRECEDING), 0)))::bigint AS repaid
      FROM back b CROSS JOIN ledger.accounts a WHERE a.account_id = p_account),
  stays AS (
    SELECT l.lot_no AS lot, l.expires_at AS at, l.available AS milli FROM ledger.lots l WHERE l.account_id = p_account AND l.open
     UNION ALL
    SELECT r.lot, r.lot_ends, r.milli - r.repaid FROM returned r WHERE r.alive)
  SELECT r.at, 'release', r.hold_id, r.lot, 'held'::ledger.part,
    (CASE WHEN r.alive THEN 'available' ELSE 'expired' END)::ledger.part, r.milli
    FROM returned r
   UNION ALL
  SELECT r.at, 'release', r.hold_id, r.lot, 'available', 'revoked', r.repaid FROM returned r WHERE r.repaid > 0
   UNION ALL
  SELECT s.at, 'expire', NULL, s.lot, 'available', 'expired', sum(s.milli)::bigint
    FROM stays s WHERE s.at < 'infinity' GROUP BY s.lot, s.at HAVING sum(s.milli) > 0
$$;

-- The number of the last row before an instant; 0: there is none. Journal time follows the numbers, which have no gaps
-- (invariants 2 and 10), so it is found by binary search, however long the history. The past of an account begins behind its
-- opening: before that there is only the archive, and nobody is told a wrong past (SQLSTATE HF001).
CREATE OR REPLACE FUNCTION ledger.seq_before(p_account text, p_before timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  o      record;
  low    bigint; -- lies before the instant, or is 0
  high   bigint; -- does not
  middle bigint;
BEGIN
  SELECT seq, at INTO o FROM ledger.openings WHERE account_id = p_account;
  IF p_before <= o.at THEN
    RAISE EXCEPTION 'what account % had before % is in an archive', p_account, p_before
      USING ERRCODE = 'HF001', DETAIL = to_jsonb(o.at) #>> '{}',
        HINT = 'Ask for an instant after the last archived row, or load the archive.';
  END IF;
  low := coalesce(o.seq, 0);
  high := coalesce((SELECT j.seq FROM ledger.journal j WHERE j.account_id = p_account ORDER BY j.seq DESC LIMIT 1), 0) + 1;
  middle := high - 1; -- most ask for the present
  WHILE high - low > 1 LOOP
    IF (SELECT j.at < p_before FROM ledger.journal j WHERE j.account_id = p_account AND j.seq = middle) THEN
      low := middle;
    ELSE
      high := middle;
    END IF;
    middle := (low + high) / 2;
  END LOOP;
  RETURN low;
END $$;

-- Each lot as it was before an instant, by the moves until then: those there were, and those that were due.
CREATE OR REPLACE FUNCTION ledger.lots_before(p_account text, p_before timestamptz)
RETURNS TABLE (lot int, bucket text, rank smallint, effective_at timestamptz, expires_at timestamptz, source text, over boolean,
               granted bigint, available bigint, held bigint, frozen bigint, spent bigint, expired bigint, revoked bigint)
LANGUAGE sql STABLE AS $$
  WITH moved AS (
    SELECT m.lot, m.source, m.target, m.milli
      FROM ledger.openings o CROSS JOIN LATERAL ledger.opening_moves(ROW(o.*)::ledger.openings) m
     WHERE o.account_id = p_account
     UNION ALL
    SELECT m.lot, m.source, m.target, m.milli FROM ledger.journal j CROSS JOIN LATERAL unnest(j.moves) m
     WHERE j.account_id = p_account AND j.seq <= (SELECT ledger.seq_before(p_account, p_before))
     UNION ALL
    SELECT d.lot, d.source, d.target, d.milli FROM ledger.due_moves(p_account) d WHERE d.at < p_before),
  parts AS (
    SELECT m.lot, sum(m.milli) FILTER (WHERE m.source = 'outside')::bigint AS granted,
           sum(m.milli * ((m.target = 'available')::int - (m.source = 'available')::int))::bigint AS available,
           sum(m.milli * ((m.target = 'held')::int - (m.source = 'held')::int))::bigint AS held,
           sum(m.milli * ((m.target = 'frozen')::int - (m.source = 'frozen')::int))::bigint AS frozen,
           sum(m.milli * ((m.target = 'spent')::int - (m.source = 'spent')::int))::bigint AS spent,
           sum(m.milli * ((m.target = 'expired')::int - (m.source = 'expired')::int))::bigint AS expired,
           sum(m.milli * ((m.target = 'revoked')::int - (m.source = 'revoked')::int))::bigint AS revoked
      FROM moved m GROUP BY m.lot)
  SELECT p.lot, l.bucket, l.rank, l.effective_at, l.expires_at, l.source, least(l.expires_at, l.ended_at) < p_before,
         p.granted, p.available, p.held, p.frozen, p.spent, p.expired, p.revoked
    FROM parts p JOIN ledger.lots l ON l.account_id = p_account AND l.lot_no = p.lot
   ORDER BY l.rank, l.expires_at, l.lot_no
$$;

-- The account's totals before an instant: those of its last row until then, and what was due by then.
CREATE OR REPLACE FUNCTION ledger.totals_before(p_account text, p_before timestamptz, OUT available bigint, OUT held bigint,
  OUT debt bigint)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(j.available_after, o.available, 0) + d.available, coalesce(j.held_after, o.held, 0) + d.held,
    coalesce(j.debt_after, o.debt, 0) - d.repaid
    FROM (SELECT coalesce(sum(m.milli * ((m.target = 'available')::int - (m.source = 'available')::int)), 0)::bigint AS available,
                 coalesce(sum(m.milli * ((m.target = 'held')::int - (m.source = 'held')::int)), 0)::bigint AS held,
                 coalesce(sum(m.milli) FILTER (WHERE m.target = 'revoked'), 0)::bigint AS repaid
            FROM ledger.due_moves(p_account) m WHERE m.at < p_before) d
    LEFT JOIN ledger.journal j ON j.account_id = p_account AND j.seq = ledger.seq_before(p_account, p_before)
    LEFT JOIN ledger.openings o ON o.account_id = p_account
$$;

-- The customer's statement from an instant until before another: one signed line for each generation, lease and charge, net
-- of all that happened to it in between, and for each grant, purchase, expiry, adjustment, freeze and revocation.
--   credits   the change of what is available: totals_before(from) + the sum of the lines = totals_before(to), always
--   held      the change of what is held, likewise: what a running generation holds is not available, and not yet spent
--   lots      what became of `available` lot by lot: [{lot, bucket, milli}]
-- A repayment is what debt took of credits that came in: its own line, so that a grant shows what was granted.
CREATE OR REPLACE FUNCTION ledger.statement(p_account text, p_from timestamptz, p_before timestamptz)
RETURNS TABLE (at timestamptz, kind text, credits bigint, held bigint, generation_id text, hold_id text, action text, model text,
               member text, lots jsonb, key text, reason text)
LANGUAGE sql STABLE AS $$
  WITH moved AS (
    SELECT j.seq, j.at, j.kind, j.key, j.reason, j.hold_id, j.detail ? 'repaid' AS repays, m.lot, m.source, m.target, m.milli
      FROM ledger.journal j CROSS JOIN LATERAL unnest(j.moves) m
     WHERE j.account_id = p_account AND j.seq > ledger.seq_before(p_account, p_from) AND j.at < p_before
     UNION ALL
    SELECT NULL, d.at, d.kind, NULL, CASE d.kind WHEN 'release'
      THEN 'lease_over' END, d.hold_id, true, d.lot, d.source, d.target, d.milli
      FROM ledger.due_moves(p_account) d WHERE d.at >= p_from AND d.at < p_before),
  told AS (
    SELECT m.*, l.bucket, h.generation_id, coalesce(g.action, h.work ->> 'action') AS action,
      coalesce(g.model, h.work ->> 'model') AS model,
           coalesce(g.member, h.work ->> 'member') AS member,
           m.milli * ((m.target = 'available')::int - (m.source = 'available')::int) AS credits,
           m.milli * ((m.target = 'held')::int - (m.source = 'held')::int) AS held,
           CASE WHEN m.source = 'available' AND m.target = 'revoked' AND m.repays THEN 'repayment'
                WHEN h.generation_id IS NOT NULL THEN 'generation'
                WHEN h.expires_at IS NOT NULL THEN 'hold'
                WHEN m.hold_id IS NOT NULL THEN 'charge'
                WHEN m.kind = 'adjust' THEN 'adjustment'
                WHEN m.source = 'available' AND m.target = 'expired' THEN 'expiry'
                WHEN m.kind = 'revoke' THEN 'revocation'
                WHEN m.kind IN ('freeze', 'unfreeze') THEN m.kind
                WHEN l.source LIKE 'pack:%' THEN 'purchase'
                ELSE 'grant' END AS line
      FROM moved m
      JOIN ledger.lots l ON l.account_id = p_account AND l.lot_no = m.lot
      LEFT JOIN ledger.holds h ON h.account_id = p_account AND h.hold_id = m.hold_id
      LEFT JOIN ledger.generations g ON g.account_id = p_account AND g.generation_id = h.generation_id),
  -- What belongs into one line: all of a hold; else of a row; of what is only due, what ends.
  named AS (
    SELECT t.*, CASE WHEN t.line IN ('generation', 'hold', 'charge') THEN t.hold_id
      ELSE coalesce(t.seq::text, 'due ' || coalesce(t.hold_id, t.lot::text)) END AS subject
      FROM told t WHERE t.credits <> 0 OR t.hold_id IS NOT NULL),
  by_lot AS (
    SELECT n.line, n.subject, n.lot, n.bucket, min(n.at) AS at, min(n.seq) AS seq, sum(n.credits)::bigint AS credits,
      sum(n.held)::bigint AS held,
           min(n.generation_id) AS generation_id, min(n.hold_id) AS hold_id, min(n.action) AS action, min(n.model) AS model,
             min(n.member) AS member,
           min(n.key) FILTER (WHERE n.hold_id IS NULL OR n.kind IN ('reserve', 'charge')) AS key, max(n.reason) AS reason
      FROM named n GROUP BY n.line, n.subject, n.lot, n.bucket)
  SELECT min(b.at), b.line, sum(b.credits)::bigint, sum(b.held)::bigint, min(b.generation_id), min(b.hold_id), min(b.action),
    min(b.model), min(b.member),
         jsonb_agg(jsonb_build_object('lot', b.lot, 'bucket', b.bucket, 'milli', b.credits) ORDER BY b.lot), min(b.key),
           max(b.reason)
    FROM by_lot b GROUP BY b.line, b.subject
   ORDER BY min(b.at), min(b.seq) NULLS LAST, b.line, b.subject
$$;
