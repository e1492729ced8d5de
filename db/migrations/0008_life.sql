-- min_compatible: 8
-- An account's life: what is going to happen to its plan, what it is told, which clock it lives on, and when to wake it.

-- Two instants: next_due_at (to be settled before any use) and wake_at (something that somebody could observe is due: a paid
-- renewal, the end of a plan, of lasting credits, a notice). It is worked out by domain/settle.ts, and moved to earlier where an
-- operation adds a lot that ends. Daily credits wake nobody when they end.
UPDATE ledger.accounts SET renews_at = wake_at WHERE wake_at < renews_at; -- and settling works it out anew
ALTER TABLE ledger.accounts DROP COLUMN wake_at;
ALTER TABLE ledger.accounts RENAME COLUMN renews_at TO wake_at;
CREATE INDEX accounts_wake ON ledger.accounts (wake_at) WHERE wake_at < 'infinity'; -- rarely moves, so spending stays HOT

-- What the account is told of by itself: set by its settlement, null: nothing.
ALTER TABLE ledger.accounts
  ADD COLUMN low_below     bigint,                      -- the balance is low below this
  ADD COLUMN notice_before interval,                    -- credits that end are announced this long before
  ADD COLUMN told          smallint NOT NULL DEFAULT 0; -- 1: that it is low, 2: that it is depleted

ALTER TABLE ledger.account_rules
  ADD COLUMN pending    jsonb,       -- the change of plan at the end of the period: {plan, source, interval, at}
  ADD COLUMN period_from timestamptz, -- the cycle that the paid periods are counted from; null: from the anchor
  ADD COLUMN ended_at   timestamptz, -- when the last subscription ended; null: there is one, or never was
  ADD COLUMN test_clock text;
-- What a paid plan granted so far is known to be so (rule 19).
UPDATE ledger.account_rules SET calendar = (
  SELECT jsonb_object_agg(b.key, CASE WHEN b.value ? 'slotStart' THEN b.value || '{"paid": true}' ELSE b.value END) FROM jsonb_each(calendar) b)
 WHERE plan_source <> 'free' AND calendar <> '{}';
CREATE INDEX account_rules_test_clock ON ledger.account_rules (test_clock, account_id) WHERE test_clock IS NOT NULL;

-- A row of the mailbox that could not be done is tried again from this instant on; the others do not wait for it.
ALTER TABLE holdfast.inbox ADD COLUMN retry_at timestamptz NOT NULL DEFAULT '-infinity';
-- What a person should look at, newest first. Items of no account in particular have '' for one.
CREATE INDEX operations_items_open ON holdfast.operations_items (raised_at) WHERE resolved_at IS NULL;

-- A clock that stands still until it is told to move (rule 23). Accounts have a copy of `now_at`, moved boundary by boundary.
CREATE TABLE holdfast.test_clocks (
  clock_id   text PRIMARY KEY,
  now_at     timestamptz NOT NULL,
  target_at  timestamptz NOT NULL,
  status     text NOT NULL CHECK (status IN ('ready', 'advancing')),
  progress   jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (now_at <= target_at AND (status = 'advancing' OR now_at = target_at))
);
GRANT SELECT, INSERT, UPDATE ON holdfast.test_clocks TO holdfast_app;
