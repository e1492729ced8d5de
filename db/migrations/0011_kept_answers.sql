-- min_compatible: 11
-- Answers that are kept as they were sent move into the ledger, where a key is compared under the account's lock (rule 1).
-- An older binary would look for them where they no longer are.

CREATE TABLE ledger.kept_answers (
  account_id   text NOT NULL,
  key          text NOT NULL CHECK (length(key) <= 260), -- as in ledger.op_keys: `req:<key>`
  request_hash text NOT NULL,
  claims       int  NOT NULL DEFAULT 0 CHECK (claims >= 0), -- requests at work under the key, and those that crashed at it
  status       int,
  answer       bytea,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, key),
  CHECK ((status IS NULL) = (answer IS NULL))
);
INSERT INTO ledger.kept_answers (account_id, key, request_hash, status, answer, created_at)
SELECT substr(api_key, length('account:') + 1), 'req:' || key, request_hash, status, answer, created_at
  FROM holdfast.request_keys WHERE api_key LIKE 'account:%';
DELETE FROM holdfast.request_keys WHERE api_key LIKE 'account:%';
