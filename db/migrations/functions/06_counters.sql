-- Counters of quotas and limits (rules 9, 22): what an operation counts in them, and what it uncounts.

-- What a reserve counts, how much is used then, and the first counter that would be too full for it.
--   p_used   counters as this call has changed them: {"[counter, period]": units}
CREATE FUNCTION ledger.count_up(
  p_account text, p_counts jsonb, p_used jsonb, OUT counts jsonb, OUT used jsonb, OUT limited jsonb
) LANGUAGE plpgsql STABLE AS $$
DECLARE
  r      jsonb;
  so_far bigint;
  name   text;
BEGIN
  counts := '[]';
  used := p_used;
  FOR i IN 0..jsonb_array_length(p_counts) - 1 LOOP
    r := p_counts -> i;
    counts := counts
      || jsonb_build_object('counter', r -> 'counter', 'period', r -> 'period', 'of', r -> 'of', 'units', r -> 'units');
    so_far := ledger.used_of(p_account, r, p_used);
    IF limited IS NULL AND so_far + (r ->> 'units')::bigint > (r ->> 'limit')::bigint THEN
      limited := r || jsonb_build_object('used', so_far);
    END IF;
    name := jsonb_build_array(r -> 'counter', r -> 'period')::text;
    used := used || jsonb_build_object(name, coalesce((used ->> name)::bigint, so_far) + (r ->> 'units')::bigint);
  END LOOP;
END $$;

-- What a hold uncounts as it gives credits back, in the period it was counted in: credits as they come, a use once, when it
-- closes with nothing captured (rule 22), or where nothing could be, with nothing delivered. Null: nothing.
CREATE FUNCTION ledger.count_back(h ledger.hold, op jsonb, p_gave_back bigint, p_closes boolean) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  delivered constant boolean := h.captured > 0 OR (h.amount = 0
    AND (h.phases <> '{}' OR coalesce(op -> 'generation' ->> 'status', '') IN ('succeeded', 'partial')));
  counts    jsonb := '[]';
  r         jsonb;
  units     bigint;
BEGIN
  FOR i IN 0..jsonb_array_length(h.counts) - 1 LOOP
    r := h.counts -> i;
    units := CASE WHEN r ->> 'of' = 'credits' THEN p_gave_back
                  WHEN p_closes AND NOT delivered THEN (r ->> 'units')::bigint ELSE 0 END;
    CONTINUE WHEN units = 0;
    counts := counts || jsonb_build_object('counter', r -> 'counter', 'period', r -> 'period', 'units', -units);
  END LOOP;
  RETURN nullif(counts, '[]');
END $$;

-- How much of a counter is used: as this call has left it, or else as it is written.
CREATE FUNCTION ledger.used_of(p_account text, p_count jsonb, p_used jsonb) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
  used bigint := (p_used ->> jsonb_build_array(p_count -> 'counter', p_count -> 'period')::text)::bigint;
BEGIN
  IF used IS NULL THEN
    SELECT o.used INTO used FROM ledger.counters o
     WHERE o.account_id = p_account AND o.counter = p_count ->> 'counter' AND o.period = p_count ->> 'period';
  END IF;
  RETURN coalesce(used, 0);
END $$;

-- The counters as this call leaves them, with what an operation uncounts.
CREATE FUNCTION ledger.counters_after(p_account text, p_counts jsonb, p_used jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
  r jsonb;
BEGIN
  FOR i IN 0..jsonb_array_length(p_counts) - 1 LOOP
    r := p_counts -> i;
    p_used := p_used || jsonb_build_object(jsonb_build_array(r -> 'counter', r -> 'period')::text,
      ledger.used_of(p_account, r, p_used) + (r ->> 'units')::bigint);
  END LOOP;
  RETURN p_used;
END $$;
