-- min_compatible: 11
-- A role that may only read, who published a catalog's version, and two repairs: of 0011 where it was applied as it first was,
-- and of what 0008 left behind.

-- For accountants and reports; functions/4_rights.sql says what it may read. Whoever runs this may have lost the right to make
-- roles since 0001, so it is asked first whether the role is there.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'holdfast_read') THEN
    CREATE ROLE holdfast_read NOLOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of the cluster made it at this moment
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role holdfast_read is missing, and % may not make it', current_user
      USING ERRCODE = 'insufficient_privilege', HINT = 'As an administrator: CREATE ROLE holdfast_read NOLOGIN; then run this again.';
END $$;
GRANT USAGE ON SCHEMA ledger, holdfast TO holdfast_read;

-- Everybody may call a new function unless that is taken back. It can be taken back for all schemas only, not for one of them.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

ALTER TABLE holdfast.catalogs ADD COLUMN published_by text; -- 'shipped', or the id of a key; null: before this was kept

-- 0011 was changed after it had been applied here and there: it had made `created_at`, and had moved the answers otherwise.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'ledger.kept_answers'::regclass AND attname = 'created_at') THEN
    RETURN;
  END IF;
  ALTER TABLE ledger.kept_answers RENAME COLUMN created_at TO claimed_at;
  ALTER TABLE ledger.kept_answers ALTER COLUMN claimed_at SET DEFAULT clock_timestamp();
  WITH moved AS (DELETE FROM holdfast.request_keys WHERE api_key LIKE 'account:%' RETURNING *)
  INSERT INTO ledger.kept_answers (account_id, key, request_hash, status, answer, claimed_at)
  SELECT substr(m.api_key, length('account:') + 1), 'req:' || m.key, m.request_hash, m.status, m.answer, m.created_at FROM moved m
  ON CONFLICT DO NOTHING;
  -- Where a key had come to two requests, the operation of the ledger keeps it.
  DELETE FROM ledger.kept_answers a USING ledger.op_keys k
   WHERE k.account_id = a.account_id AND k.key = a.key AND k.request_hash <> a.request_hash;
  ALTER TABLE holdfast.request_keys ADD CHECK (api_key NOT LIKE '%:%');
END $$;

-- 0008 left free accounts awake for a boundary that nobody observes, until they are settled next. They may sleep: daily and
-- monthly credits wake nobody when they end.
UPDATE ledger.accounts a SET wake_at = 'infinity'
  FROM ledger.account_rules r
 WHERE r.account_id = a.account_id AND r.plan_source = 'free' AND a.wake_at < 'infinity' AND a.wake_at > a.journal_at
   AND NOT EXISTS (SELECT FROM ledger.lots l WHERE l.account_id = a.account_id AND l.expires_at >= a.wake_at AND l.expires_at < 'infinity'
                      AND split_part(l.source, ':', 1) NOT IN ('daily', 'plan'));
