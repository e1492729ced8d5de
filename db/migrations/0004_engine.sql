-- min_compatible: 1
-- What the engine keeps beside the ledger. The application may write here; nothing here is money.

-- Catalog versions are never edited in place.
CREATE TABLE holdfast.catalogs (
  catalog      text NOT NULL,
  version      int  NOT NULL CHECK (version > 0),
  body         jsonb NOT NULL,
  hash         text NOT NULL,
  effective_at timestamptz NOT NULL, -- read on the account's clock; '-infinity' for a catalog's first version
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (catalog, version)
);

-- A price with its working, bound to account, action, model and parameters, until it expires.
CREATE TABLE holdfast.quotes (
  account_id      text NOT NULL,
  quote_id        text NOT NULL,
  catalog         text NOT NULL,
  catalog_version int  NOT NULL,
  action          text NOT NULL,
  model           text,
  params          jsonb NOT NULL,
  credits         bigint NOT NULL,
  expires_at      timestamptz NOT NULL, -- on the account's clock
  PRIMARY KEY (account_id, quote_id)
);

-- The account's mailbox: work that arrived from outside, done one row at a time (rule 24).
CREATE TABLE holdfast.inbox (
  account_id  text NOT NULL,
  inbox_key   text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('pack_purchase')),
  request_hash text NOT NULL,
  body        jsonb NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts    int NOT NULL DEFAULT 0,
  last_error  text,
  done_at     timestamptz,
  PRIMARY KEY (account_id, inbox_key)
);
CREATE INDEX inbox_pending ON holdfast.inbox (account_id, received_at) WHERE done_at IS NULL;

-- One row per submission to a provider, keyed by what it is for, so that a later run of the same
-- workflow resumes the job instead of paying the provider twice (rule 5).
CREATE TABLE holdfast.provider_jobs (
  account_id text NOT NULL,
  hold_id    text NOT NULL,
  phase      text NOT NULL,
  provider   text NOT NULL,
  state      jsonb NOT NULL DEFAULT '{}',
  claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (account_id, hold_id, phase)
);

-- What a pipeline or provider said of its work: applied, or late (rule 16).
CREATE TABLE holdfast.reports (
  account_id    text NOT NULL,
  generation_id text NOT NULL,
  report_id     text NOT NULL,
  body          jsonb NOT NULL,
  outcome       text NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'applied', 'rejected', 'late')),
  received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (account_id, generation_id, report_id)
);
CREATE INDEX reports_late ON holdfast.reports (account_id, received_at) WHERE outcome = 'late';

-- What a person should look at: things that moved no credits but should not have happened.
CREATE TABLE holdfast.operations_items (
  account_id  text NOT NULL,
  kind        text NOT NULL,
  subject     text NOT NULL,
  detail      jsonb NOT NULL,
  raised_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  resolved_at timestamptz,
  PRIMARY KEY (account_id, kind, subject)
);

GRANT SELECT, INSERT ON holdfast.catalogs TO holdfast_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON holdfast.quotes, holdfast.inbox, holdfast.provider_jobs, holdfast.reports,
  holdfast.operations_items TO holdfast_app;
