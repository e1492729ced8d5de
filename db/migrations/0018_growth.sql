-- min_compatible: 11
-- What moved no credits does not stay for ever (rule 38). ledger.forget_passing takes it away after 30 days.

-- A quote is over on its account's clock, which may stand still: when it goes is a matter of the database's.
ALTER TABLE holdfast.quotes ADD COLUMN created_at timestamptz NOT NULL DEFAULT statement_timestamp(); -- those that are there: from today on
CREATE INDEX quotes_by_age ON holdfast.quotes (created_at);

-- Answers of quotes, estimates, cancels and signs of life. Of those that were kept before this it is not known which they are.
ALTER TABLE ledger.kept_answers ADD COLUMN passing boolean NOT NULL DEFAULT false;
CREATE INDEX kept_answers_passing ON ledger.kept_answers (claimed_at) WHERE passing;
ALTER TABLE holdfast.request_keys ADD COLUMN passing boolean NOT NULL DEFAULT false;
CREATE INDEX request_keys_passing ON holdfast.request_keys (created_at) WHERE passing;

-- How many of an account's requests were refused since when, at most a minute: each leaves a row for ever, so there is a limit.
ALTER TABLE ledger.accounts
  ADD COLUMN refused_from timestamptz NOT NULL DEFAULT '-infinity',
  ADD COLUMN refused      int NOT NULL DEFAULT 0;
