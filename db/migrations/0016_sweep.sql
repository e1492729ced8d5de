-- min_compatible: 11
-- The sweep as a backstop: when it last came to its end, pages by index, and namespaces that a person has declared lost.

-- The last pass of a kind that did all of its parts. Until there is one, when this migration ran.
CREATE TABLE holdfast.passes (
  kind     text PRIMARY KEY,
  whole_at timestamptz NOT NULL
);
INSERT INTO holdfast.passes (kind, whole_at) VALUES ('sweep', clock_timestamp()), ('audit', clock_timestamp());
GRANT SELECT, INSERT, UPDATE ON holdfast.passes TO holdfast_app;

-- Temporal namespaces, by id, that will never come back: holds of exactly these ids may be freed (rule 17).
CREATE TABLE holdfast.lost_namespaces (
  namespace_id text PRIMARY KEY,
  reason       text NOT NULL,
  declared_by  text NOT NULL, -- the key that said so
  declared_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, DELETE ON holdfast.lost_namespaces TO holdfast_app;

-- A page of what is overdue is a range of an index, in the order of its cursor. Accounts on a test clock are no part of it.
DROP INDEX ledger.accounts_wake;
CREATE INDEX accounts_wake ON ledger.accounts (wake_at, account_id) WHERE wake_at < 'infinity' AND clock_at IS NULL;
CREATE INDEX accounts_on_test_clocks ON ledger.accounts (account_id) WHERE clock_at IS NOT NULL;
CREATE INDEX holds_owned ON ledger.holds (namespace_id, account_id, hold_id) WHERE open AND namespace_id IS NOT NULL;
CREATE INDEX holds_leased ON ledger.holds (expires_at, account_id, hold_id) WHERE open AND expires_at IS NOT NULL;
CREATE INDEX holds_overdue ON ledger.holds (overdue_at, account_id, hold_id) WHERE open AND expires_at IS NULL;
CREATE INDEX operations_items_by_kind ON holdfast.operations_items (kind, account_id, subject) WHERE resolved_at IS NULL;

-- An alert about a hold closes with it, whatever closes it (rule 12). Only a hold that was overdue can have one.
CREATE FUNCTION ledger.resolve_overdue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
  UPDATE holdfast.operations_items SET resolved_at = clock_timestamp()
   WHERE account_id = NEW.account_id AND kind = 'hold_overdue' AND subject = NEW.hold_id AND resolved_at IS NULL;
  RETURN NULL;
END $$;
CREATE TRIGGER overdue_alerts_close_with_their_hold AFTER UPDATE OF open ON ledger.holds
  FOR EACH ROW WHEN (OLD.open AND NOT NEW.open AND NEW.expires_at IS NULL AND NEW.closed_at >= NEW.overdue_at)
  EXECUTE FUNCTION ledger.resolve_overdue();
