-- min_compatible: 1
-- What lets the journal grow for years: months archived, and audits that need not read everything.
--
--   openings, opening_holds    what an account's archived rows amount to; the ledger is rebuilt from them and the rows left
--   audit_marks                what the audit has seen of rows that are still here
--   archives                   the months that lie in files; functions/2_growth.sql takes them out
--
-- Keys, generations and holds are permanent rows and are never archived (rule 3).

-- An account at one of its journal rows: totals, and every lot with its terms and parts.
CREATE TABLE ledger.openings (
  account_id  text PRIMARY KEY REFERENCES ledger.accounts,
  seq         bigint NOT NULL CHECK (seq > 0),
  at          timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL,
  available   bigint NOT NULL,
  held        bigint NOT NULL,
  debt        bigint NOT NULL,
  owed        bigint NOT NULL, -- in all so far, and
  repaid      bigint NOT NULL,
  keys        bigint NOT NULL, -- that these rows bear, and the sum of their digests: they stay, and must stay as they are
  keys_digest numeric NOT NULL,
  lots        jsonb NOT NULL,  -- as detail.lots of the journal has them, with all parts, and when one was ended
  counters    jsonb NOT NULL   -- [{counter, period, used}]
);

-- What the archived rows of a hold amount to. More may follow: even a hold that was closed can be refunded.
CREATE TABLE ledger.opening_holds (
  account_id text   NOT NULL REFERENCES ledger.openings,
  hold_id    text   NOT NULL,
  amount     bigint NOT NULL,
  held       bigint NOT NULL,
  captured   bigint NOT NULL,
  released   bigint NOT NULL,
  forfeited  bigint NOT NULL,
  refunded   bigint NOT NULL,
  phases     text[] NOT NULL, -- that were captured
  closings   int    NOT NULL,
  refunds    jsonb  NOT NULL, -- [{at, milli, reason}]
  PRIMARY KEY (account_id, hold_id)
);
CREATE TRIGGER openings_are_not_deleted BEFORE DELETE ON ledger.openings FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER openings_are_not_truncated BEFORE TRUNCATE ON ledger.openings FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER opening_holds_are_not_deleted BEFORE DELETE ON ledger.opening_holds FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER opening_holds_are_not_truncated BEFORE TRUNCATE ON ledger.opening_holds FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TABLE ledger.audit_marks (LIKE ledger.openings INCLUDING ALL);
ALTER TABLE ledger.audit_marks ADD FOREIGN KEY (account_id) REFERENCES ledger.accounts;

-- Months of the journal that are no longer here. The file's name and digest say where they are.
CREATE TABLE ledger.archives (
  month       date PRIMARY KEY,
  rows        bigint NOT NULL,
  sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  file        text NOT NULL,
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER archives_are_append_only BEFORE UPDATE OR DELETE ON ledger.archives FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER archives_are_not_truncated BEFORE TRUNCATE ON ledger.archives FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
GRANT INSERT, UPDATE ON ledger.audit_marks TO holdfast_app; -- what the audit has seen; no money is here
