-- min_compatible: 5
-- Leased holds and charges, debts, freezes, members and counters. The functions that write them, whose first version was
-- here, are in functions/1_ledger.sql.

-- Holds that no workflow owns: leased until an instant, or closed at birth (a charge). What they pay for is `work`.
ALTER TABLE ledger.holds
  ADD COLUMN expires_at timestamptz,
  ADD COLUMN phases     text[] NOT NULL DEFAULT '{}', -- captured so far, each at most once
  ADD COLUMN work       jsonb;
ALTER TABLE ledger.accounts ADD COLUMN leases_due_at timestamptz NOT NULL DEFAULT 'infinity'; -- no open lease ends before this

-- Each statement reads a table's constraints anew, a microsecond or more for every node of their expressions (a sixth of an
-- operation's time, measured), so what must not be negative is said in one go. Kinds are those of ledger.apply, ids those
-- ledger.open_account lets in, and the audit looks at both.
ALTER TABLE ledger.accounts
  DROP CONSTRAINT accounts_account_id_check, DROP CONSTRAINT accounts_available_check, DROP CONSTRAINT accounts_held_check,
  DROP CONSTRAINT accounts_debt_check, DROP CONSTRAINT accounts_open_holds_check,
  ADD CONSTRAINT account_not_negative CHECK (least(available, held, debt, open_holds) >= 0);
ALTER TABLE ledger.lots
  DROP CONSTRAINT lots_granted_check, DROP CONSTRAINT lots_available_check, DROP CONSTRAINT lots_held_check,
  DROP CONSTRAINT lots_frozen_check, DROP CONSTRAINT lots_spent_check, DROP CONSTRAINT lots_expired_check,
  DROP CONSTRAINT lots_revoked_check,
  ADD CONSTRAINT lot_not_negative CHECK (least(granted - 1, available, held, frozen, spent, expired, revoked) >= 0);
ALTER TABLE ledger.holds
  DROP CONSTRAINT holds_amount_check, DROP CONSTRAINT holds_held_check, DROP CONSTRAINT holds_captured_check,
  DROP CONSTRAINT holds_released_check, DROP CONSTRAINT holds_check, DROP CONSTRAINT holds_check1,
  ADD CONSTRAINT hold_not_negative CHECK (least(amount - 1, held, forfeited, released - forfeited, refunded, captured - refunded) >= 0);
ALTER TABLE ledger.journal
  DROP CONSTRAINT journal_kind_check, DROP CONSTRAINT journal_seq_check, DROP CONSTRAINT journal_available_after_check,
  DROP CONSTRAINT journal_held_after_check, DROP CONSTRAINT journal_debt_after_check, DROP CONSTRAINT journal_check,
  ADD CONSTRAINT journal_not_negative CHECK (least(seq - 1, available_after, held_after, debt_after) >= 0),
  ADD CONSTRAINT journal_refused_moves_nothing CHECK (status = 'applied' OR cardinality(moves) = 0);

-- Credits taken back that had been spent already: one row per cause. The account's debt is what is not repaid.
CREATE TABLE ledger.debts (
  account_id text   NOT NULL REFERENCES ledger.accounts,
  cause      text   NOT NULL,
  seq        bigint NOT NULL, -- of the journal row that first took back: the oldest debt is repaid first
  owed       bigint NOT NULL CHECK (owed > 0),
  repaid     bigint NOT NULL DEFAULT 0 CHECK (repaid BETWEEN 0 AND owed),
  PRIMARY KEY (account_id, cause)
);

-- What a dispute froze, lot by lot, so that exactly that is unfrozen when it is won (rule 28).
CREATE TABLE ledger.freezes (
  account_id text     NOT NULL REFERENCES ledger.accounts,
  cause      text     NOT NULL,
  lots       int[]    NOT NULL,
  amounts    bigint[] NOT NULL,
  open       boolean  NOT NULL DEFAULT true,
  PRIMARY KEY (account_id, cause)
);

-- Who is in a team. Deleting a member keeps its counters.
CREATE TABLE ledger.members (
  account_id    text   NOT NULL REFERENCES ledger.accounts,
  member        text   NOT NULL,
  role          text   NOT NULL CHECK (role IN ('owner', 'member')),
  monthly_limit bigint CHECK (monthly_limit >= 0), -- null: none
  added_at      timestamptz NOT NULL,
  PRIMARY KEY (account_id, member)
);

-- What is limited per period: uses of a quota, credits of a member or of the account. Keyed by the period in which the
-- reserve happened, and given back to that period (rule 22). `period` is what the caller calls it; SQL does no calendar.
CREATE TABLE ledger.counters (
  account_id text   NOT NULL REFERENCES ledger.accounts,
  counter    text   NOT NULL,
  period     text   NOT NULL,
  used       bigint NOT NULL CHECK (used >= 0),
  PRIMARY KEY (account_id, counter, period)
);
ALTER TABLE ledger.holds ADD COLUMN counts jsonb; -- what it counts against: [{counter, period, of, units}]
ALTER TABLE ledger.account_rules ADD COLUMN credits_per_day bigint CHECK (credits_per_day >= 0);
