-- min_compatible: 1
-- What the HTTP interface remembers: its keys, and its answers to requests that name no account.

-- The secret itself is never stored. It has 256 random bits, so one round of sha256 is enough.
-- A deleted key stays as a row, so that logs and kept answers can still be traced to it.
CREATE TABLE holdfast.api_keys (
  id            text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
  secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
  name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  scopes        text[] NOT NULL
                CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'generate', 'billing', 'admin']),
  account_id    text CHECK (account_id ~ '^[A-Za-z0-9_-]{1,64}$'), -- null: every account
  -- Whole milliseconds, because it is half of a list's cursor, which passes through a JavaScript Date.
  created_at    timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
  created_by    text NOT NULL,
  revoked_at    timestamptz
);
CREATE INDEX api_keys_newest ON holdfast.api_keys (created_at DESC, id DESC) WHERE revoked_at IS NULL;
GRANT SELECT, INSERT, UPDATE (revoked_at) ON holdfast.api_keys TO holdfast_app;

-- The answers to POSTs that name no account. The row is claimed, the effect happens, and the answer is kept in
-- one transaction: nobody ever reads a claimed row without an answer, and a duplicate waits for the first.
CREATE TABLE holdfast.request_keys (
  api_key      text NOT NULL,
  key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  request_hash text NOT NULL CHECK (request_hash ~ '^[0-9a-f]{64}$'),
  status       int,
  answer       bytea, -- sealed with the caller's own key (api/seal.ts): it may hold a secret shown once
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (api_key, key),
  CHECK ((status IS NULL) = (answer IS NULL))
);
GRANT SELECT, INSERT, UPDATE (status, answer) ON holdfast.request_keys TO holdfast_app;
