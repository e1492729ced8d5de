-- min_compatible: 1
-- The journal's months are made ahead without standing in anybody's way, and everyone can see how many there are.

-- Makes the months that are missing, from this month (UTC) on; returns how many were. A month is made beside the journal
-- and attached, which lets reads and writes go on (SHARE UPDATE EXCLUSIVE); made in place, as PARTITION OF, it would wait for
-- every reader of the journal, and every writer behind it (ACCESS EXCLUSIVE).
CREATE OR REPLACE FUNCTION ledger.ensure_partitions(p_months_ahead int) RETURNS int
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
                        AND c.relname = 'journal_' || to_char(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + make_interval(months => n), 'YYYY_MM'))
$$;
REVOKE EXECUTE ON FUNCTION ledger.months_ahead() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.months_ahead() TO holdfast_app;
