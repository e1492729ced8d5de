-- A request's key, and the answer that is kept under it (rules 1, 2, 38).

-- Requests of one account that may be refused in a minute and leave a row.
CREATE FUNCTION ledger.refusals_a_minute() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 300 $$;

-- Takes one account's lock: `locked`, or `unknown_account`, or without waiting `busy`, where somebody else has it.
CREATE FUNCTION ledger.lock_account(p_account text, p_wait boolean) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_temp AS $$
BEGIN
  IF p_wait THEN
    PERFORM FROM ledger.accounts WHERE account_id = p_account FOR NO KEY UPDATE;
  ELSE
    PERFORM FROM ledger.accounts WHERE account_id = p_account FOR NO KEY UPDATE SKIP LOCKED;
  END IF;
  IF FOUND THEN
    RETURN 'locked';
  END IF;
  RETURN CASE WHEN EXISTS (SELECT FROM ledger.accounts WHERE account_id = p_account) THEN 'busy' ELSE 'unknown_account' END;
END $$;

-- A request whose answer is a text, and whose effect need not be an operation, claims its key before it does anything: from then
-- on the ledger refuses the key to any other request, as it refuses one of op_keys (rule 1). Answers what is known of it:
-- claimed, answered (with the answer), conflict, unknown_account, or without waiting busy. A claim that is ten minutes old
-- belongs to a request that died: it no longer counts once its own request comes again.
--   p_passing  the answer moves no credits, and goes after a while (forget_passing)
CREATE FUNCTION ledger.claim_key(
  p_account text, p_key text, p_hash text, p_wait boolean DEFAULT true, p_passing boolean DEFAULT false,
  OUT known text, OUT status int, OUT answer bytea
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
#variable_conflict use_column
DECLARE
  kept ledger.kept_answers;
  at   timestamptz;
  died timestamptz; -- a claim of before then
BEGIN
  known := ledger.lock_account(p_account, p_wait);
  IF known <> 'locked' THEN
    RETURN;
  END IF;
  SELECT * INTO kept FROM ledger.kept_answers WHERE account_id = p_account AND key = p_key;
  IF kept.request_hash <> p_hash
     OR EXISTS (SELECT FROM ledger.op_keys WHERE account_id = p_account AND key = p_key AND request_hash <> p_hash) THEN
    known := 'conflict';
  ELSIF kept.answer IS NOT NULL THEN
    known := 'answered';
    status := kept.status;
    answer := kept.answer;
  ELSE
    known := 'claimed';
    at := clock_timestamp();
    died := at - interval '10 minutes';
    INSERT INTO ledger.kept_answers AS k (account_id, key, request_hash, claims, passing)
      VALUES (p_account, p_key, p_hash, 1, p_passing)
      ON CONFLICT (account_id, key) DO UPDATE
         SET claims = CASE WHEN k.claimed_at < died THEN 1 ELSE k.claims + 1 END, claimed_at = at;
  END IF;
END $$;

-- The answer of a claimed key; of two requests at a time both get the first one's, which is returned.
CREATE FUNCTION ledger.keep_answer(
  p_account text, p_key text, p_hash text, p_status int, p_answer bytea, OUT status int, OUT answer bytea
) LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  UPDATE ledger.kept_answers k
     SET claims = greatest(0, k.claims - 1), status = coalesce(k.status, p_status), answer = coalesce(k.answer, p_answer)
   WHERE k.account_id = p_account AND k.key = p_key AND k.request_hash = p_hash
  RETURNING k.status, k.answer
$$;

-- A request that was refused does not use its key up (rule 2). One that failed keeps its claim: it may have had its effect.
CREATE FUNCTION ledger.free_key(p_account text, p_key text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  UPDATE ledger.kept_answers SET claims = greatest(0, claims - 1) WHERE account_id = p_account AND key = p_key;
  DELETE FROM ledger.kept_answers WHERE account_id = p_account AND key = p_key AND claims = 0 AND answer IS NULL;
$$;

-- Takes away what moved no credits and is thirty days old (rule 38): quotes, and the answers that are passing; of each at most so
-- many at once. Returns how many went, and whether there may be more. Rows in use at this moment are left for the next time.
CREATE FUNCTION ledger.forget_passing(p_most int, OUT quotes int, OUT answers int, OUT more boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  before     constant timestamptz := statement_timestamp() - interval '30 days';
  of_callers int;
BEGIN
  DELETE FROM holdfast.quotes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM holdfast.quotes WHERE created_at < before ORDER BY created_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS quotes = ROW_COUNT;
  DELETE FROM ledger.kept_answers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ledger.kept_answers WHERE passing AND claimed_at < before
      ORDER BY claimed_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS answers = ROW_COUNT;
  DELETE FROM holdfast.request_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM holdfast.request_keys WHERE passing AND created_at < before
      ORDER BY created_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS of_callers = ROW_COUNT;
  more := greatest(quotes, answers, of_callers) = p_most;
  answers := answers + of_callers;
END $$;
