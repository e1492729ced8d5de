-- min_compatible: 11
-- Lists by index. A cursor passes through a JavaScript Date, so lists are ordered by whole milliseconds (db/listOrder.ts says it in
-- the same words), and by id within one: that is few rows, put in order as they are read. The id is not in the index, which would make it
-- twice as large.
-- None of these indexes has a column that changes, nor a predicate that was not in one already: what was HOT stays so.

DROP INDEX ledger.generations_by_time;
CREATE INDEX generations_by_time ON ledger.generations (account_id, date_trunc('milliseconds', created_at AT TIME ZONE 'UTC') DESC);
CREATE INDEX generations_of_all_by_time ON ledger.generations (date_trunc('milliseconds', created_at AT TIME ZONE 'UTC') DESC);
CREATE INDEX holds_open_by_time ON ledger.holds (date_trunc('milliseconds', opened_at AT TIME ZONE 'UTC')) WHERE open;
CREATE INDEX inbox_by_time ON holdfast.inbox (account_id, date_trunc('milliseconds', received_at AT TIME ZONE 'UTC') DESC);
DROP INDEX holdfast.operations_items_open;
CREATE INDEX operations_items_open ON holdfast.operations_items
  (date_trunc('milliseconds', raised_at AT TIME ZONE 'UTC') DESC) WHERE resolved_at IS NULL;
CREATE INDEX operations_items_resolved ON holdfast.operations_items
  (date_trunc('milliseconds', raised_at AT TIME ZONE 'UTC') DESC) WHERE resolved_at IS NOT NULL;
-- Where most accounts have one row, either index finds one row as fast, on average; who has a million is not the average.
ALTER TABLE ledger.generations ALTER COLUMN account_id SET (n_distinct = -0.01);
ALTER TABLE holdfast.inbox ALTER COLUMN account_id SET (n_distinct = -0.01);

-- Accounts by what a person knows of a customer.
CREATE INDEX account_rules_by_email ON ledger.account_rules (lower(email)) WHERE email IS NOT NULL;
CREATE INDEX account_rules_by_stripe_customer ON ledger.account_rules (stripe_customer) WHERE stripe_customer IS NOT NULL;
