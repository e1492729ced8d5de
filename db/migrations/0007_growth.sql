-- min_compatible: 1
-- What lets the journal grow: months that were archived leave an opening, and the quick audit remembers how far it came.
--
--   openings      what an account's archived rows amount to; the ledger is rebuilt from it and the rows that are left
--   audit_marks   the same, of rows that are still here and were audited already
--   archive_month detaches a month that lies in a file, and drops it

-- An account at one of its journal rows: totals, every lot's parts, and the holds that were open then.
CREATE TABLE ledger.openings (
  account_id text PRIMARY KEY REFERENCES ledger.accounts,
  seq        bigint NOT NULL CHECK (seq > 0),
  at         timestamptz NOT NULL,
  available  bigint NOT NULL,
  held       bigint NOT NULL,
  debt       bigint NOT NULL,
  owed       bigint NOT NULL, -- in all so far, and
  repaid     bigint NOT NULL,
  lots       jsonb NOT NULL,  -- [{lot, granted, available, held, frozen, spent, expired, revoked, ended}]
  holds      jsonb NOT NULL,  -- [{hold, amount, held, captured, released, forfeited, refunded}], those that were open
  counters   jsonb NOT NULL   -- [{counter, period, used}]
);
CREATE TABLE ledger.audit_marks (LIKE ledger.openings INCLUDING ALL);
ALTER TABLE ledger.audit_marks ADD FOREIGN KEY (account_id) REFERENCES ledger.accounts;

-- Months of the journal that are no longer here. The file's name and digest say where they are.
CREATE TABLE ledger.archives (
  month       date PRIMARY KEY,
  rows        bigint NOT NULL,
  sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  file        text NOT NULL,
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON ledger.openings, ledger.audit_marks, ledger.archives TO holdfast_app;
GRANT INSERT, UPDATE ON ledger.audit_marks TO holdfast_app; -- what the audit has seen; no money is here

-- Moves that lead from nothing to an opening, so that history can be summed as if all its rows were there.
CREATE FUNCTION ledger.opening_moves(o ledger.openings)
RETURNS TABLE (hold_id text, lot int, source ledger.part, target ledger.part, milli bigint) LANGUAGE sql STABLE AS $$
  SELECT NULL, l.lot, m.source, m.target, m.milli
    FROM jsonb_to_recordset(o.lots) l (lot int, granted bigint, held bigint, frozen bigint, spent bigint, expired bigint, revoked bigint)
   CROSS JOIN LATERAL (VALUES ('outside'::ledger.part, 'available'::ledger.part, l.granted), ('available', 'held', l.held), ('available', 'frozen', l.frozen),
                              ('available', 'spent', l.spent), ('available', 'expired', l.expired), ('available', 'revoked', l.revoked)) m (source, target, milli)
   WHERE m.milli <> 0
$$;

-- The account as it is now, which is what an audit that found nothing may remember of it.
CREATE FUNCTION ledger.opening_now(a ledger.accounts) RETURNS ledger.openings LANGUAGE sql STABLE AS $$
  SELECT ROW(a.account_id, a.seq, a.journal_at, a.available, a.held, a.debt,
    coalesce((SELECT sum(owed) FROM ledger.debts d WHERE d.account_id = a.account_id), 0)::bigint,
    coalesce((SELECT sum(repaid) FROM ledger.debts d WHERE d.account_id = a.account_id), 0)::bigint,
    coalesce((SELECT jsonb_agg(jsonb_build_object('lot', lot_no, 'granted', granted, 'available', l.available, 'held', l.held, 'frozen', frozen,
                'spent', spent, 'expired', expired, 'revoked', revoked, 'ended', ended_at) ORDER BY lot_no)
                FROM ledger.lots l WHERE l.account_id = a.account_id), '[]'),
    coalesce((SELECT jsonb_agg(jsonb_build_object('hold', hold_id, 'amount', amount, 'held', h.held, 'captured', captured, 'released', released,
                'forfeited', forfeited, 'refunded', refunded) ORDER BY hold_id)
                FROM ledger.holds h WHERE h.account_id = a.account_id AND h.open), '[]'),
    coalesce((SELECT jsonb_agg(jsonb_build_object('counter', counter, 'period', period, 'used', used) ORDER BY counter, period)
                FROM ledger.counters c WHERE c.account_id = a.account_id), '[]'))::ledger.openings
$$;

-- What the accounts amount to at the end of a month of the journal: the opening before it, and the month's own rows.
CREATE FUNCTION ledger.openings_after(p_partition regclass) RETURNS SETOF ledger.openings LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY EXECUTE format($q$
    WITH j AS (SELECT * FROM %1$s),
    ends AS (SELECT DISTINCT ON (account_id) account_id, seq, at, available_after, held_after, debt_after FROM j ORDER BY account_id, seq DESC),
    moved AS (
      SELECT j.account_id, j.seq, j.hold_id, j.kind, m.lot, m.source, m.target, m.milli FROM j CROSS JOIN LATERAL unnest(j.moves) m
       UNION ALL
      SELECT o.account_id, o.seq, m.hold_id, 'opening', m.lot, m.source, m.target, m.milli
        FROM ledger.openings o JOIN ends USING (account_id) CROSS JOIN LATERAL ledger.opening_moves(o) m),
    lots AS (
      SELECT m.account_id, m.lot, coalesce(sum(milli) FILTER (WHERE source = 'outside'), 0) AS granted,
             sum(milli * ((target = 'available')::int - (source = 'available')::int)) AS available,
             sum(milli * ((target = 'held')::int - (source = 'held')::int)) AS held,
             sum(milli * ((target = 'frozen')::int - (source = 'frozen')::int)) AS frozen,
             sum(milli * ((target = 'spent')::int - (source = 'spent')::int)) AS spent,
             sum(milli * ((target = 'expired')::int - (source = 'expired')::int)) AS expired,
             sum(milli * ((target = 'revoked')::int - (source = 'revoked')::int)) AS revoked
        FROM moved m GROUP BY m.account_id, m.lot),
    ended AS (
      SELECT j.account_id, e.value::int AS lot, j.at FROM j CROSS JOIN LATERAL jsonb_array_elements(j.detail -> 'ended') e WHERE j.detail ? 'ended'
       UNION ALL
      SELECT o.account_id, l.lot, l.ended FROM ledger.openings o CROSS JOIN LATERAL jsonb_to_recordset(o.lots) l (lot int, ended timestamptz)
       WHERE l.ended IS NOT NULL),
    held AS (
      SELECT m.account_id, m.hold_id,
             coalesce(sum(milli) FILTER (WHERE source = 'available' AND target IN ('held', 'spent')), 0) AS amount,
             sum(milli * ((target = 'held')::int - (source = 'held')::int)) AS held,
             coalesce(sum(milli) FILTER (WHERE target = 'spent'), 0) AS captured,
             coalesce(sum(milli) FILTER (WHERE source = 'held' AND target <> 'spent'), 0) AS released,
             coalesce(sum(milli) FILTER (WHERE source = 'spent'), 0) AS refunded,
             coalesce(sum(milli) FILTER (WHERE source = 'held' AND target = 'expired'), 0)
               - coalesce(sum(milli) FILTER (WHERE source = 'outside' AND kind <> 'refund'), 0) AS forfeited
        FROM moved m WHERE m.hold_id IS NOT NULL GROUP BY m.account_id, m.hold_id
       UNION ALL
      SELECT o.account_id, h.hold, h.amount, h.held, h.captured, h.released, h.refunded, h.forfeited
        FROM ledger.openings o JOIN ends USING (account_id)
       CROSS JOIN LATERAL jsonb_to_recordset(o.holds) h (hold text, amount bigint, held bigint, captured bigint, released bigint, refunded bigint, forfeited bigint)),
    holds AS (
      SELECT account_id, hold_id, sum(amount) AS amount, sum(held) AS held, sum(captured) AS captured, sum(released) AS released,
             sum(refunded) AS refunded, sum(forfeited) AS forfeited
        FROM held GROUP BY account_id, hold_id HAVING sum(held) > 0),
    counted AS (
      SELECT account_id, counter, period, sum(units) AS used FROM (
        SELECT j.account_id, c.counter, c.period, c.units FROM j
         CROSS JOIN LATERAL jsonb_to_recordset(j.detail -> 'counts') c (counter text, period text, units bigint) WHERE j.detail ? 'counts'
         UNION ALL
        SELECT o.account_id, c.counter, c.period, c.used FROM ledger.openings o
         CROSS JOIN LATERAL jsonb_to_recordset(o.counters) c (counter text, period text, used bigint)) u GROUP BY account_id, counter, period),
    debts AS (
      SELECT account_id, sum(coalesce((detail ->> 'owed')::bigint, 0)) AS owed, sum(coalesce((detail ->> 'repaid')::bigint, 0)) AS repaid
        FROM j GROUP BY account_id)
    SELECT e.account_id, e.seq, e.at, e.available_after, e.held_after, e.debt_after,
           (coalesce(o.owed, 0) + d.owed)::bigint, (coalesce(o.repaid, 0) + d.repaid)::bigint,
           coalesce((SELECT jsonb_agg(jsonb_build_object('lot', l.lot, 'granted', l.granted, 'available', l.available, 'held', l.held, 'frozen', l.frozen,
                       'spent', l.spent, 'expired', l.expired, 'revoked', l.revoked, 'ended', x.at) ORDER BY l.lot)
                       FROM lots l LEFT JOIN ended x USING (account_id, lot) WHERE l.account_id = e.account_id), '[]'),
           coalesce((SELECT jsonb_agg(jsonb_build_object('hold', h.hold_id, 'amount', h.amount, 'held', h.held, 'captured', h.captured, 'released', h.released,
                       'forfeited', h.forfeited, 'refunded', h.refunded) ORDER BY h.hold_id)
                       FROM holds h WHERE h.account_id = e.account_id), '[]'),
           coalesce((SELECT jsonb_agg(jsonb_build_object('counter', c.counter, 'period', c.period, 'used', c.used) ORDER BY c.counter, c.period)
                       FROM counted c WHERE c.account_id = e.account_id), '[]')
      FROM ends e JOIN debts d USING (account_id) LEFT JOIN ledger.openings o USING (account_id)
  $q$, p_partition);
END $$;

-- Takes a month out of the journal, once it lies in a file that was compared with it row by row. Openings, detaching and
-- dropping are one transaction: afterwards the month is here as before, or archived. It waits for an ACCESS EXCLUSIVE lock
-- on the journal for at most the caller's lock_timeout and holds it for the moment of the detaching; DETACH CONCURRENTLY
-- would not wait, but cannot be in one transaction with the rest. Only the owner may.
CREATE FUNCTION ledger.archive_month(p_month date, p_rows bigint, p_sha256 text, p_file text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  name  text := 'ledger.journal_' || to_char(p_month, 'YYYY_MM');
  found bigint;
BEGIN
  IF p_month >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date THEN
    RAISE EXCEPTION 'month % is not over yet', to_char(p_month, 'YYYY-MM') USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('SELECT count(*) FROM %s', name) INTO found;
  IF found <> p_rows THEN
    RAISE EXCEPTION 'the file has % rows and the month %', p_rows, found USING ERRCODE = 'data_exception';
  END IF;
  INSERT INTO ledger.openings SELECT * FROM ledger.openings_after(name::regclass)
  ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq, at = excluded.at, available = excluded.available, held = excluded.held, debt = excluded.debt,
    owed = excluded.owed, repaid = excluded.repaid, lots = excluded.lots, holds = excluded.holds, counters = excluded.counters;
  -- A mark may never lie behind the opening: what it would go on from is gone.
  DELETE FROM ledger.audit_marks m USING ledger.openings o WHERE m.account_id = o.account_id AND m.seq < o.seq;
  INSERT INTO ledger.archives (month, rows, sha256, file) VALUES (p_month, p_rows, p_sha256, p_file);
  EXECUTE format('ALTER TABLE ledger.journal DETACH PARTITION %s', name);
  EXECUTE format('DROP TABLE %s', name);
END $$;
REVOKE EXECUTE ON FUNCTION ledger.archive_month(date, bigint, text, text), ledger.openings_after(regclass), ledger.opening_moves(ledger.openings),
  ledger.opening_now(ledger.accounts) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.opening_moves(ledger.openings), ledger.opening_now(ledger.accounts) TO holdfast_app;

-- The past of an account begins with its opening; before that there is only the archive.
CREATE OR REPLACE FUNCTION ledger.lots_before(p_account text, p_before timestamptz)
RETURNS TABLE (lot int, bucket text, rank smallint, effective_at timestamptz, expires_at timestamptz, source text, over boolean,
               granted bigint, available bigint, held bigint, frozen bigint, spent bigint, expired bigint, revoked bigint)
LANGUAGE sql STABLE AS $$
  WITH moved AS (
    SELECT m.lot, m.source, m.target, m.milli FROM ledger.openings o CROSS JOIN LATERAL ledger.opening_moves(o) m
     WHERE o.account_id = p_account AND o.at < p_before
     UNION ALL
    SELECT m.lot, m.source, m.target, m.milli FROM ledger.journal j CROSS JOIN LATERAL unnest(j.moves) m
     WHERE j.account_id = p_account AND j.at < p_before
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
CREATE OR REPLACE FUNCTION ledger.totals_before(p_account text, p_before timestamptz, OUT available bigint, OUT held bigint, OUT debt bigint)
LANGUAGE sql STABLE AS $$
  SELECT coalesce(j.available_after, o.available, 0) + d.available, coalesce(j.held_after, o.held, 0) + d.held, coalesce(j.debt_after, o.debt, 0) - d.repaid
    FROM (SELECT coalesce(sum(m.milli * ((m.target = 'available')::int - (m.source = 'available')::int)), 0)::bigint AS available,
                 coalesce(sum(m.milli * ((m.target = 'held')::int - (m.source = 'held')::int)), 0)::bigint AS held,
                 coalesce(sum(m.milli) FILTER (WHERE m.target = 'revoked'), 0)::bigint AS repaid
            FROM ledger.due_moves(p_account) m WHERE m.at < p_before) d
    LEFT JOIN ledger.journal j ON j.account_id = p_account AND j.seq = ledger.seq_before(p_account, p_before)
    LEFT JOIN ledger.openings o ON o.account_id = p_account AND o.at < p_before
$$;
