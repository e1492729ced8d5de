-- min_compatible: 11
-- Answers that are kept as they were sent move into the ledger, where a key is compared under the account's lock (rule 1).
-- An older binary would look for them where they no longer are.

CREATE TABLE ledger.kept_answers (
  account_id   text NOT NULL,
  key          text NOT NULL CHECK (length(key) <= 260), -- as in ledger.op_keys: `req:<key>`
  request_hash text NOT NULL,
  claims       int  NOT NULL DEFAULT 0 CHECK (claims >= 0), -- requests at work under the key, and those that failed at it
  claimed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  status       int,
  answer       bytea,
  PRIMARY KEY (account_id, key),
  CHECK ((status IS NULL) = (answer IS NULL))
);

-- Where a key had come to two requests, the operation of the ledger keeps it.
WITH moved AS (DELETE FROM holdfast.request_keys WHERE api_key LIKE 'account:%' RETURNING *)
INSERT INTO ledger.kept_answers (account_id, key, request_hash, status, answer, claimed_at)
SELECT substr(m.api_key, length('account:') + 1), 'req:' || m.key, m.request_hash, m.status, m.answer, m.created_at
  FROM moved m
 WHERE NOT EXISTS (SELECT FROM ledger.op_keys k
                    WHERE k.account_id = substr(m.api_key, length('account:') + 1) AND k.key = 'req:' || m.key
                      AND k.request_hash <> m.request_hash);

-- A process of an older version that was left running fails here, and keeps no answers that nobody would look for.
ALTER TABLE holdfast.request_keys ADD CHECK (api_key NOT LIKE '%:%');
