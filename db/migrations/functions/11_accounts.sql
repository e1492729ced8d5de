-- Accounts: opened, moved along a test clock, locked.

-- Opens an account; its first settle grants what its plan gives, and what is paid for is due for that at once, whoever comes.
-- False if the id is taken by another request (openedBy).
CREATE FUNCTION ledger.open_account(p_account text, p_rules jsonb, p_clock timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  t timestamptz := coalesce(p_clock, clock_timestamp());
BEGIN
  IF p_account !~ '^[A-Za-z0-9_-]{1,64}$' THEN -- rule 6; the key is hashed into ids in domain/ids.ts
    RAISE EXCEPTION 'not an account id: %', p_account USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO ledger.accounts (account_id, clock_at, wake_at)
  VALUES (p_account, p_clock, CASE WHEN p_rules ->> 'planSource' = 'free' THEN 'infinity' ELSE t END) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN EXISTS (SELECT FROM ledger.account_rules WHERE account_id = p_account AND opened_by = p_rules ->> 'openedBy');
  END IF;
  INSERT INTO ledger.account_rules (account_id, catalog, plan, plan_source, plan_interval, timezone, anchor, email, test_clock,
    opened_by, created_at)
  VALUES (p_account, p_rules ->> 'catalog', p_rules ->> 'plan', p_rules ->> 'planSource', p_rules ->> 'planInterval',
          coalesce(p_rules ->> 'timezone', 'UTC'), coalesce((p_rules ->> 'anchor')::timestamptz, date_trunc('milliseconds', t)),
          p_rules ->> 'email', p_rules ->> 'testClock', p_rules ->> 'openedBy', date_trunc('milliseconds', t));
  RETURN true;
END $$;

-- Moves the clock of an account that is on a test clock. A clock never goes back.
CREATE FUNCTION ledger.move_clock(p_account text, p_to timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
  UPDATE ledger.accounts SET clock_at = p_to WHERE account_id = p_account AND clock_at <= p_to;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account % is not on a test clock, or its clock is past %', p_account, p_to
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
END $$;

-- The clocks of many accounts at once, for whoever carries them along a test clock: [{account, at}]. One that is further already
-- stays. Answers what each is settled from: their snapshots, without those that do not exist, and those that somebody else has
-- locked, unless they are to be waited for.
CREATE FUNCTION ledger.move_clocks(p_moves jsonb, p_wait boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  locked text[];
BEGIN
  IF p_wait THEN -- in the order of ledger.apply
    locked := ARRAY(SELECT account_id FROM ledger.accounts
      WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_moves) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE);
  ELSE
    locked := ARRAY(SELECT account_id FROM ledger.accounts
      WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_moves) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  UPDATE ledger.accounts a SET clock_at = m.at
    FROM jsonb_to_recordset(p_moves) m (account text, at timestamptz)
   WHERE a.account_id = m.account AND a.account_id = ANY (locked) AND a.clock_at < m.at;
  RETURN coalesce((SELECT jsonb_agg(ledger.snapshot(m.account)) FROM jsonb_to_recordset(p_moves) m (account text)
    WHERE m.account = ANY (locked)), '[]');
END $$;

-- Whether it is certain that a request holds nothing: it could take something only by p_before, and its key has no answer.
-- Whoever
-- is at work on the account is waited for, because what was decided in time may not be committed yet; not for long, for the
-- caller waits.
CREATE FUNCTION ledger.nothing_held(p_account text, p_key text, p_before timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET lock_timeout = '1s' AS $$
BEGIN
  PERFORM FROM ledger.accounts WHERE account_id = p_account FOR SHARE;
  RETURN clock_timestamp() > p_before AND NOT EXISTS (SELECT FROM ledger.op_keys WHERE account_id = p_account AND key = p_key);
END $$;

-- Says that a run continues with the hold's work, and which: it is the hold's owner from now on (rule 17). False if the hold is
-- no longer open (rule 5). Moves the epoch. Without a namespace, as older binaries call it, the owner stays.
-- Null: somebody else has the account's lock, and it was not to be waited for.
CREATE FUNCTION ledger.assert_hold_open(p_account text, p_hold text, p_workflow text DEFAULT NULL, p_namespace text DEFAULT NULL,
  p_wait boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
  IF ledger.lock_account(p_account, p_wait) = 'busy' THEN -- everything that changes an account has its lock
    RETURN NULL;
  END IF;
  UPDATE ledger.holds
     SET epoch = epoch + 1, workflow_id = coalesce(p_workflow, workflow_id), namespace_id = coalesce(p_namespace, namespace_id)
   WHERE account_id = p_account AND hold_id = p_hold AND open;
  RETURN FOUND;
END $$;
