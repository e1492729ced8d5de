-- What lets the journal grow for years: months made ahead, and months archived.
--
--   ensure_partitions, months_ahead      the months to come
--   opening_moves, mark_now, lot_marked, openings_after, opening_holds_of    what rows that are archived, or audited, amount to
--   archive_month                        takes a month that lies in a file out of the journal

-- Makes the months that are missing, from this month (UTC) on; returns how many were. A month is made beside the journal
-- and attached, which lets reads and writes continue (SHARE UPDATE EXCLUSIVE); made in place, as PARTITION OF, it would wait for
-- every reader of the journal, and every writer behind it (ACCESS EXCLUSIVE).
CREATE FUNCTION ledger.ensure_partitions(p_months_ahead int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  first_month timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
  from_month  timestamp;
  name        text;
  made        int := 0;
BEGIN
  IF p_months_ahead NOT BETWEEN 0 AND 120 THEN
    RAISE EXCEPTION 'months ahead must be 0 to 120, not %', p_months_ahead USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Several processes start at once; the lock makes the second find what the first made.
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast journal partitions', 0));
  FOR i IN 0..p_months_ahead LOOP
    from_month := first_month + make_interval(months => i);
    name := 'journal_' || to_char(from_month, 'YYYY_MM');
    CONTINUE WHEN to_regclass('ledger.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.journal INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('CREATE TRIGGER journal_is_not_truncated BEFORE TRUNCATE ON ledger.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', name);
    EXECUTE format('ALTER TABLE ledger.journal ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)', name,
                   from_month AT TIME ZONE 'UTC', (from_month + interval '1 month') AT TIME ZONE 'UTC');
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;

-- How many months after this one can be written to without a gap; -1: not even this one.
CREATE FUNCTION ledger.months_ahead() RETURNS int LANGUAGE sql STABLE AS $$
  SELECT min(n)::int - 1
    FROM generate_series(0, 121) n
   WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                      WHERE i.inhparent = 'ledger.journal'::regclass
                        AND c.relname = 'journal_'
                          || to_char(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + make_interval(months => n),
                          'YYYY_MM'))
$$;

-- 60 bits of a key and all it stands for. Sums of them tell whether any of many was changed, added or lost.
CREATE FUNCTION ledger.key_digest(k ledger.op_keys) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT ('x' || left(md5(concat_ws(' ', k.key, k.seq, k.request_hash, k.answer)), 15))::bit(60)::bigint
$$;

-- Moves that lead from nothing to an opening, so that history can be summed as if all its rows were there.
CREATE FUNCTION ledger.opening_moves(o ledger.openings)
RETURNS TABLE (hold_id text, lot int, source ledger.part, target ledger.part, milli bigint) LANGUAGE sql STABLE AS $$
  SELECT NULL, l.lot, m.source, m.target, m.milli
    FROM jsonb_to_recordset(o.lots) l (lot int, granted bigint, held bigint, frozen bigint, spent bigint, expired bigint,
      revoked bigint)
   CROSS JOIN LATERAL (VALUES ('outside'::ledger.part, 'available'::ledger.part, l.granted), ('available', 'held', l.held),
     ('available', 'frozen', l.frozen),
                              ('available', 'spent', l.spent), ('available', 'expired', l.expired),
                                ('available', 'revoked', l.revoked)) m (source, target, milli)
   WHERE m.milli <> 0
$$;

-- The account as it is now, which is what an audit that found nothing may remember of it. Keys are not remembered; lots and
-- counters have
-- rows of their own, in audit_lots and audit_counters.
CREATE FUNCTION ledger.mark_now(a ledger.accounts) RETURNS ledger.openings LANGUAGE sql STABLE AS $$
  SELECT ROW(a.account_id, a.seq, a.journal_at, clock_timestamp(), a.available, a.held, a.debt,
    coalesce((SELECT sum(owed) FROM ledger.debts d WHERE d.account_id = a.account_id), 0)::bigint,
    coalesce((SELECT sum(repaid) FROM ledger.debts d WHERE d.account_id = a.account_id), 0)::bigint,
    0, 0, '[]', '[]')::ledger.openings
$$;

-- A lot as openings have it: its terms and parts.
CREATE FUNCTION ledger.lot_marked(l ledger.audit_lots) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('lot', l.lot_no, 'bucket', l.bucket, 'rank', l.rank, 'effectiveAt', l.effective_at, 'expiresAt',
    l.expires_at,
    'graceSeconds', extract(epoch FROM l.return_grace), 'parent', l.parent_lot, 'source', l.source, 'ended', l.ended_at,
      'granted', l.granted,
    'available', l.available, 'held', l.held, 'frozen', l.frozen, 'spent', l.spent, 'expired', l.expired, 'revoked', l.revoked)
$$;

-- What the accounts amount to at the end of a month of the journal: the opening before it, and the month's own rows.
CREATE FUNCTION ledger.openings_after(p_partition regclass) RETURNS SETOF ledger.openings LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY EXECUTE format($q$
    WITH j AS NOT MATERIALIZED (SELECT * FROM %1$s),
    ends AS MATERIALIZED (
      SELECT DISTINCT ON (account_id) account_id, seq, at, recorded_at, available_after, held_after, debt_after FROM j
        ORDER BY account_id, seq DESC),
    before AS MATERIALIZED (SELECT o.* FROM ledger.openings o JOIN ends USING (account_id)),
    moved AS (
      SELECT j.account_id, m.lot, m.source, m.target, m.milli FROM j CROSS JOIN LATERAL unnest(j.moves) m
       UNION ALL
      SELECT o.account_id, m.lot, m.source, m.target, m.milli FROM before o CROSS
        JOIN LATERAL ledger.opening_moves(ROW(o.*)::ledger.openings) m),
    parts AS (
      SELECT m.account_id, m.lot, coalesce(sum(milli) FILTER (WHERE source = 'outside'), 0) AS granted,
             sum(milli * ((target = 'available')::int - (source = 'available')::int)) AS available,
             sum(milli * ((target = 'held')::int - (source = 'held')::int)) AS held,
             sum(milli * ((target = 'frozen')::int - (source = 'frozen')::int)) AS frozen,
             sum(milli * ((target = 'spent')::int - (source = 'spent')::int)) AS spent,
             sum(milli * ((target = 'expired')::int - (source = 'expired')::int)) AS expired,
             sum(milli * ((target = 'revoked')::int - (source = 'revoked')::int)) AS revoked
        FROM moved m GROUP BY m.account_id, m.lot),
    terms AS (
      SELECT j.account_id, (n.value ->> 'lot')::int AS lot, n.value AS terms FROM j CROSS
        JOIN LATERAL jsonb_array_elements(j.detail -> 'lots') n WHERE j.detail ? 'lots'
       UNION ALL
      SELECT o.account_id, (n.value ->> 'lot')::int, n.value FROM before o CROSS JOIN LATERAL jsonb_array_elements(o.lots) n),
    ended AS (
      SELECT j.account_id, e.value::int AS lot, j.at, j.detail ? 'forGood' AS for_good FROM j CROSS
        JOIN LATERAL jsonb_array_elements(j.detail -> 'ended') e WHERE j.detail ? 'ended'),
    lots AS (
      SELECT account_id, jsonb_agg(t.terms || jsonb_build_object('granted', p.granted, 'available', p.available, 'held', p.held,
        'frozen', p.frozen,
               'spent', p.spent, 'expired', p.expired, 'revoked', p.revoked) || CASE WHEN e.at IS NULL THEN '{}'
                 ELSE jsonb_build_object('ended', e.at) END
               || CASE WHEN e.for_good THEN '{"graceSeconds": null}'::jsonb ELSE '{}' END
               ORDER BY lot) AS lots
        FROM terms t LEFT JOIN parts p USING (account_id, lot) LEFT JOIN ended e USING (account_id, lot) GROUP BY account_id),
    counters AS (
      SELECT account_id, jsonb_agg(jsonb_build_object('counter', counter, 'period', period, 'used', used)
        ORDER BY counter, period) AS counters
        FROM (SELECT account_id, counter, period, sum(units) AS used FROM (
                SELECT j.account_id, c.counter, c.period, c.units FROM j
                 CROSS JOIN LATERAL jsonb_to_recordset(j.detail -> 'counts') c (counter text, period text, units bigint)
                   WHERE j.detail ? 'counts'
                 UNION ALL
                SELECT o.account_id, c.counter, c.period, c.used FROM before o
                 CROSS JOIN LATERAL jsonb_to_recordset(o.counters) c (counter text, period text, used bigint)) u
                   GROUP BY account_id, counter, period) u
       GROUP BY account_id),
    debts AS (
      SELECT account_id, sum(coalesce((detail ->> 'owed')::bigint, 0)) AS owed,
        sum(coalesce((detail ->> 'repaid')::bigint, 0)) AS repaid
        FROM j GROUP BY account_id),
    keys AS (
      SELECT j.account_id, count(*) AS keys, sum(ledger.key_digest(ROW(k.*)::ledger.op_keys)) AS digest
        FROM j JOIN ledger.op_keys k
        USING (account_id, key) GROUP BY j.account_id)
    SELECT e.account_id, e.seq, e.at, e.recorded_at, e.available_after, e.held_after, e.debt_after,
           (coalesce(o.owed, 0) + d.owed)::bigint, (coalesce(o.repaid, 0) + d.repaid)::bigint,
           coalesce(o.keys, 0) + coalesce(k.keys, 0), coalesce(o.keys_digest, 0) + coalesce(k.digest, 0),
           coalesce(l.lots, '[]'), coalesce(c.counters, '[]')
      FROM ends e JOIN debts d USING (account_id) LEFT JOIN before o USING (account_id) LEFT JOIN lots l USING (account_id)
      LEFT JOIN counters c USING (account_id) LEFT JOIN keys k USING (account_id)
  $q$, p_partition);
END $$;

-- What a month's rows amount to, hold by hold.
CREATE FUNCTION ledger.opening_holds_of(p_partition regclass) RETURNS SETOF ledger.opening_holds LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY EXECUTE format($q$
    SELECT j.account_id, j.hold_id,
           coalesce(sum(m.amount), 0)::bigint, coalesce(sum(m.held), 0)::bigint, coalesce(sum(m.captured), 0)::bigint,
           coalesce(sum(m.released), 0)::bigint, coalesce(sum(m.forfeited), 0)::bigint, coalesce(sum(m.refunded), 0)::bigint,
           coalesce(array_agg(j.detail ->> 'phase' ORDER BY j.seq)
             FILTER (WHERE j.kind = 'capture' AND j.detail ? 'phase'), '{}'),
           count(*) FILTER (WHERE j.kind IN ('release', 'charge')
             OR (j.kind = 'capture' AND (j.detail ->> 'final')::boolean))::int,
           coalesce(jsonb_agg(jsonb_build_object('at', j.at, 'milli', j.detail -> 'amount', 'reason', j.reason) ORDER BY j.seq)
             FILTER (WHERE j.kind = 'refund'), '[]'),
           coalesce(array_agg(coalesce(m.captured, 0)::bigint ORDER BY j.seq)
             FILTER (WHERE j.kind = 'capture' AND j.detail ? 'phase'), '{}')
      FROM %1$s j
     CROSS JOIN LATERAL (
       SELECT sum(milli) FILTER (WHERE source = 'available' AND target IN ('held', 'spent')) AS amount,
              sum(milli * ((target = 'held')::int - (source = 'held')::int)) AS held,
              sum(milli) FILTER (WHERE target = 'spent') AS captured,
              sum(milli) FILTER (WHERE source = 'held' AND target <> 'spent') AS released,
              coalesce(sum(milli) FILTER (WHERE source = 'held' AND target = 'expired'), 0)
                - coalesce(sum(milli) FILTER (WHERE source = 'outside' AND j.kind <> 'refund'), 0) AS forfeited,
              sum(milli) FILTER (WHERE source = 'spent') AS refunded
         FROM unnest(j.moves)) m
     WHERE j.hold_id IS NOT NULL AND j.status = 'applied' GROUP BY j.account_id, j.hold_id
  $q$, p_partition);
END $$;

-- Takes a month out of the journal, once it lies in a file that was compared with it row by row. Openings, detaching and
-- dropping are one transaction: afterwards the month is here as before, or archived. Only the owner may.
--   p_attempts  how often to try for the lock, two seconds apart. Detaching takes ACCESS EXCLUSIVE on the journal; whoever waits
--               for it makes every writer wait too, so each try is short, and the lock is the last thing taken, for a
--               moment. DETACH CONCURRENTLY would take less, but cannot be in one transaction with the rest.
CREATE FUNCTION ledger.archive_month(p_month date, p_rows bigint, p_sha256 text, p_file text, p_attempts int) RETURNS void
  LANGUAGE plpgsql AS $$
DECLARE
  name    text := 'ledger.journal_' || to_char(p_month, 'YYYY_MM');
  found   bigint;
  account text;
BEGIN
  IF p_month >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date THEN
    RAISE EXCEPTION 'month % has not ended yet', to_char(p_month, 'YYYY-MM') USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('LOCK TABLE ONLY %s IN SHARE MODE', name); -- nothing is added to it from here on
  EXECUTE format('SELECT count(*) FROM %s', name) INTO found;
  IF found <> p_rows THEN
    RAISE EXCEPTION 'the file has % rows and the month %', p_rows, found USING ERRCODE = 'data_exception';
  END IF;
  -- Openings are of everything up to a row, so the month must continue exactly where the one before it ended.
  EXECUTE format($q$
    SELECT m.account_id FROM (SELECT account_id, min(seq) AS first, max(seq) AS last, count(*) AS n FROM %s GROUP BY account_id) m
      LEFT JOIN ledger.openings o USING (account_id)
     WHERE m.first <> coalesce(o.seq, 0) + 1 OR m.last - m.first + 1 <> m.n LIMIT 1 $q$, name) INTO account;
  IF account IS NOT NULL THEN
    RAISE EXCEPTION 'the rows of account % in % do not follow each other, or not what was archived before', account,
      to_char(p_month, 'YYYY-MM')
      USING ERRCODE = 'data_corrupted',
        HINT = 'npm run audit -- --account tells more. The database''s clock may have gone back over the end of a month.';
  END IF;
  INSERT INTO ledger.openings SELECT * FROM ledger.openings_after(name::regclass)
  ON CONFLICT (account_id) DO UPDATE SET seq = excluded.seq, at = excluded.at, recorded_at = excluded.recorded_at,
    available = excluded.available,
    held = excluded.held, debt = excluded.debt, owed = excluded.owed, repaid = excluded.repaid, keys = excluded.keys,
    keys_digest = excluded.keys_digest, lots = excluded.lots, counters = excluded.counters;
  INSERT INTO ledger.opening_holds AS o SELECT * FROM ledger.opening_holds_of(name::regclass)
  ON CONFLICT (account_id, hold_id) DO UPDATE SET amount = o.amount + excluded.amount, held = o.held + excluded.held,
    captured = o.captured + excluded.captured,
    released = o.released + excluded.released, forfeited = o.forfeited + excluded.forfeited,
      refunded = o.refunded + excluded.refunded,
    phases = o.phases || excluded.phases,
    phases_milli = o.phases_milli || array_fill(NULL::bigint, ARRAY[cardinality(o.phases) - cardinality(o.phases_milli)])
      || excluded.phases_milli, closings = o.closings + excluded.closings, refunds = o.refunds || excluded.refunds;
  INSERT INTO ledger.archives (month, rows, sha256, file) VALUES (p_month, p_rows, p_sha256, p_file);
  FOR attempt IN 1..p_attempts LOOP
    BEGIN
      PERFORM set_config('lock_timeout', '250ms', true);
      EXECUTE format('LOCK TABLE ONLY ledger.journal, ONLY %s IN ACCESS EXCLUSIVE MODE', name);
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF attempt = p_attempts THEN
        RAISE EXCEPTION 'something has been reading the journal all the time' USING ERRCODE = 'lock_not_available',
          HINT = 'An audit, a backup or a report, perhaps: see pg_stat_activity, and try again when it is done.';
      END IF;
    END;
    PERFORM pg_sleep(2);
  END LOOP;
  EXECUTE format('ALTER TABLE ledger.journal DETACH PARTITION %s', name);
  EXECUTE format('DROP TABLE %s', name);
END $$;
