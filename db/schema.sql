-- The schema as it is: made from a migrated database by the tests (UPDATE_DOCS=1 npx jest test/db/migrate/schema), never by hand.
-- How it came to be is in migrations/0001_….sql and what follows it; the functions that read and write it are in
-- migrations/functions, where 14_rights.sql says who may do what. Comments are those of the database: \d+ shows them too.
-- All amounts are millicredits: 1000 are one credit.

CREATE TYPE ledger.part AS ENUM ('outside', 'available', 'held', 'frozen', 'spent', 'expired', 'revoked');
CREATE TYPE ledger.move AS (lot integer, source ledger.part, target ledger.part, milli bigint);

-- One row per account: its totals, its clock, and when it has to be looked at. Every operation locks this row.
CREATE TABLE ledger.accounts (
  account_id     text NOT NULL,                            -- Id chosen by the product.
  seq            bigint NOT NULL DEFAULT 0,                -- Number of the newest journal row.
  lot_seq        integer NOT NULL DEFAULT 0,               -- Number of the newest lot.
  available      bigint NOT NULL DEFAULT 0,                -- Credits that can be spent, in millicredits: the sum over its lots.
  held           bigint NOT NULL DEFAULT 0,                -- Credits reserved by open holds, in millicredits: the sum over its lots.
  debt           bigint NOT NULL DEFAULT 0,                -- Credits owed after a refund or dispute of spent credits, in millicredits.
  open_holds     integer NOT NULL DEFAULT 0,               -- Number of open holds.
  journal_at     timestamptz NOT NULL DEFAULT '-infinity', -- Instant of the newest journal row, on the account's clock. Journal time never runs backwards.
  clock_at       timestamptz,                              -- The account's clock where it is on a test clock; null: the database's clock.
  lots_due_at    timestamptz NOT NULL DEFAULT 'infinity',  -- No open lot expires before this, on the account's clock.
  next_due_at    timestamptz NOT NULL DEFAULT '-infinity', -- A step of the calendar is due from then on and is settled before any use, on the account's clock (rule 11).
  wake_at        timestamptz NOT NULL DEFAULT 'infinity',  -- When the account's workflow has something to do, on the account's clock.
  rules_version  bigint NOT NULL DEFAULT 1,                -- Moves with every change of what gates decide by.
  settle_version bigint NOT NULL DEFAULT 0,                -- Moves with every settlement.
  leases_due_at  timestamptz NOT NULL DEFAULT 'infinity',  -- No lease expires before this, on the account's clock.
  low_below      bigint,                                   -- The balance is low below this, in millicredits; null: nobody is told.
  notice_before  interval,                                 -- Credits that end are announced this long before; null: never.
  told           smallint NOT NULL DEFAULT 0,              -- What the account was told of its balance: 1 that it is low, 2 that it is empty, 0 nothing.
  refused_from   timestamptz NOT NULL DEFAULT '-infinity', -- Start of the minute in which refusals are counted, on the database's clock.
  refused        integer NOT NULL DEFAULT 0,               -- Refusals in that minute: each leaves a journal row, so their number is limited.
  PRIMARY KEY (account_id),
  CHECK (LEAST(available, held, debt, (open_holds)::bigint) >= 0)
) WITH (fillfactor=50);
CREATE INDEX accounts_on_test_clocks ON ledger.accounts (account_id) WHERE (clock_at IS NOT NULL);
CREATE INDEX accounts_wake ON ledger.accounts (wake_at, account_id) WHERE ((wake_at < 'infinity') AND (clock_at IS NULL));

-- What gates and the calendar decide by: plan, time zone, limits. One row per account.
CREATE TABLE ledger.account_rules (
  account_id      text NOT NULL,                           -- The account.
  catalog         text NOT NULL,                           -- Name of its catalog.
  plan            text NOT NULL,                           -- Its plan in that catalog.
  plan_source     text NOT NULL,                           -- Where the plan comes from: free, admin or stripe.
  plan_interval   text,                                    -- Billing period of the plan: month, quarter or year; null: free.
  paid_until      timestamptz,                             -- End of what is paid for, on the account's clock; null: the plan does not end.
  timezone        text NOT NULL DEFAULT 'UTC',             -- IANA time zone that its days and months begin in.
  anchor          timestamptz NOT NULL,                    -- Instant that its billing cycles are counted from.
  suspended       boolean NOT NULL DEFAULT false,          -- Whether it may not generate.
  max_open        integer,                                 -- Most open generations and holds; null: the default.
  email           text,                                    -- Address of the customer, for support.
  stripe_customer text,                                    -- Id of the customer in Stripe.
  calendar        jsonb NOT NULL DEFAULT '{}',             -- What settlements have done so far, by bucket (domain/time/settle.ts).
  created_at      timestamptz NOT NULL,                    -- When the account was opened, on its clock, in whole milliseconds.
  credits_per_day bigint,                                  -- Most credits of a day, in millicredits; null: no limit.
  pending         jsonb,                                   -- The scheduled change of plan: {plan, source, interval, at}; null: none.
  period_from     timestamptz,                             -- Cycle that the paid periods are counted from; null: the anchor.
  ended_at        timestamptz,                             -- When the last subscription ended; null: there is one, or never was.
  test_clock      text,                                    -- The test clock it is on; null: the database's clock.
  zone_change     jsonb,                                   -- A change of time zone that still has effect: {was, dayFrom, from}; until `from` it is the day that began at `dayFrom` (rule 21).
  opened_by       text,                                    -- The request that opened the account: sent again, it finds its own account.
  PRIMARY KEY (account_id),
  CHECK (credits_per_day >= 0),
  CHECK (max_open > 0),
  CHECK (plan_interval = ANY (ARRAY['month', 'quarter', 'year'])),
  CHECK (plan_source = ANY (ARRAY['free', 'admin', 'stripe'])),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);
CREATE INDEX account_rules_by_email ON ledger.account_rules (lower(email)) WHERE (email IS NOT NULL);
CREATE INDEX account_rules_by_stripe_customer ON ledger.account_rules (stripe_customer) WHERE (stripe_customer IS NOT NULL);
CREATE INDEX account_rules_test_clock ON ledger.account_rules (test_clock, account_id) WHERE (test_clock IS NOT NULL);

-- Members of a team account.
CREATE TABLE ledger.members (
  account_id    text NOT NULL,                             -- The account.
  member        text NOT NULL,                             -- Id of the member, chosen by the product.
  role          text NOT NULL,                             -- owner or member.
  monthly_limit bigint,                                    -- Most credits the member may use in a month, in millicredits; null: no limit.
  added_at      timestamptz NOT NULL,                      -- When the member was added, on the account's clock.
  PRIMARY KEY (account_id, member),
  CHECK (monthly_limit >= 0),
  CHECK (role = ANY (ARRAY['owner', 'member'])),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);

-- Grants of credits, each with its own bucket, rank and end. All amounts in millicredits; what was granted is the sum of its parts.
CREATE TABLE ledger.lots (
  account_id   text NOT NULL,                              -- The account.
  lot_no       integer NOT NULL,                           -- Number of the lot within the account.
  bucket       text NOT NULL,                              -- Bucket of the catalog, as it was called when the lot was granted (rule 20).
  rank         smallint NOT NULL,                          -- Order of spending: the lower rank first, then the earlier end, then the lower number.
  effective_at timestamptz NOT NULL,                       -- When it was granted, on the account's clock.
  expires_at   timestamptz NOT NULL DEFAULT 'infinity',    -- When it ends, on the account's clock; infinity: never.
  ended_at     timestamptz,                                -- When a later grant took its place before its own end; null: it was not replaced.
  return_grace interval,                                   -- How long credits that return after its end stay spendable, in a linked lot; null: they are forfeited (rule 14).
  parent_lot   integer,                                    -- The lot that credits returned for; null: not a linked lot.
  source       text NOT NULL,                              -- Where it comes from: daily:…, plan:…, a purchase, a return. The part before the colon is the schedule.
  granted      bigint NOT NULL,                            -- Credits granted, in millicredits.
  available    bigint NOT NULL,                            -- The part that can be spent, in millicredits.
  held         bigint NOT NULL DEFAULT 0,                  -- The part reserved by open holds, in millicredits.
  frozen       bigint NOT NULL DEFAULT 0,                  -- The part frozen by a dispute, in millicredits.
  spent        bigint NOT NULL DEFAULT 0,                  -- The part that was captured, in millicredits.
  expired      bigint NOT NULL DEFAULT 0,                  -- The part that expired unspent, in millicredits.
  revoked      bigint NOT NULL DEFAULT 0,                  -- The part that was taken back, in millicredits.
  open         boolean GENERATED ALWAYS AS ((available > 0)) STORED, -- Whether anything can be spent from it.
  PRIMARY KEY (account_id, lot_no),
  CHECK (granted = (((((available + held) + frozen) + spent) + expired) + revoked)),
  CHECK (LEAST((granted - 1), available, held, frozen, spent, expired, revoked) >= 0),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
) WITH (fillfactor=70);
CREATE INDEX lots_by_end ON ledger.lots (account_id, expires_at) WHERE (expires_at < 'infinity');
CREATE INDEX lots_spend_order ON ledger.lots (account_id, rank, expires_at, lot_no) WHERE open;

-- Reserved credits: of a generation, or of a lease or charge without a workflow. Closed holds stay.
CREATE TABLE ledger.holds (
  account_id    text NOT NULL,                             -- The account.
  hold_id       text NOT NULL,                             -- Id of the hold.
  generation_id text,                                      -- The generation it pays for; null: a lease or a charge.
  amount        bigint NOT NULL,                           -- Credits reserved, in millicredits.
  held          bigint NOT NULL,                           -- The part that is still reserved, in millicredits.
  captured      bigint NOT NULL DEFAULT 0,                 -- The part that was charged, in millicredits.
  released      bigint NOT NULL DEFAULT 0,                 -- The part that was given back, in millicredits.
  forfeited     bigint NOT NULL DEFAULT 0,                 -- Released credits that were lost with their lot, in millicredits (rule 14).
  refunded      bigint NOT NULL DEFAULT 0,                 -- Captured credits that were given back later, in millicredits.
  lots          integer[] NOT NULL,                        -- Numbers of the lots it was cut from, in spend order.
  lots_held     bigint[] NOT NULL,                         -- What it still holds of each of these lots, in millicredits.
  lots_captured bigint[] NOT NULL,                         -- What it captured of each, less refunds, in millicredits.
  open          boolean NOT NULL DEFAULT true,             -- Whether it still holds credits, or could capture.
  epoch         integer NOT NULL DEFAULT 0,                -- Moves with every sign of life; the sweep releases only at the epoch it has read (rule 17).
  workflow_id   text,                                      -- The workflow that owns it; null: none.
  namespace_id  text,                                      -- Id, not name, of that workflow's Temporal namespace.
  opened_at     timestamptz NOT NULL,                      -- When it was opened, on the account's clock.
  overdue_at    timestamptz NOT NULL,                      -- When an open hold raises an alert, or a lease expires, on the account's clock.
  closed_at     timestamptz,                               -- When it was closed, on the account's clock; null: open.
  expires_at    timestamptz,                               -- End of a lease, on the account's clock; null: a workflow owns it.
  phases        text[] NOT NULL DEFAULT '{}'[],            -- Names of the phases that were captured.
  work          jsonb,                                     -- What a lease or charge is for: {action, model, params, member, project, feature, metadata, catalogVersion, draws}.
  counts        jsonb,                                     -- What it counted in counters: [{counter, period, of, units}].
  PRIMARY KEY (account_id, hold_id),
  CHECK (open = (closed_at IS NULL)) AND (open OR (held = 0)),
  CHECK (amount = ((captured + released) + held)),
  CHECK ((LEAST(amount, held, forfeited, (released - forfeited), refunded, (captured - refunded)) >= 0)) NOT VALID,
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
) WITH (fillfactor=80);
CREATE INDEX holds_leased ON ledger.holds (expires_at, account_id, hold_id) WHERE (open AND (expires_at IS NOT NULL));
CREATE INDEX holds_open ON ledger.holds (account_id, overdue_at) WHERE open;
CREATE INDEX holds_open_by_time ON ledger.holds (date_trunc('milliseconds', (opened_at AT TIME ZONE 'UTC'))) WHERE open;
CREATE INDEX holds_overdue ON ledger.holds (overdue_at, account_id, hold_id) WHERE (open AND (expires_at IS NULL));
CREATE INDEX holds_owned ON ledger.holds (namespace_id, account_id, hold_id) WHERE (open AND (namespace_id IS NOT NULL));
CREATE TRIGGER overdue_alerts_close_with_their_hold AFTER UPDATE OF open ON ledger.holds FOR EACH ROW WHEN ((old.open AND (NOT new.open) AND (new.expires_at IS NULL) AND (new.closed_at >= new.overdue_at))) EXECUTE FUNCTION ledger.resolve_overdue();

-- The work that holds pay for, and free actions. A refused request leaves no row here.
CREATE TABLE ledger.generations (
  account_id      text NOT NULL,                           -- The account.
  generation_id   text NOT NULL,                           -- Id of the generation, made from account and key.
  hold_id         text,                                    -- The hold that pays for it; null: a free action.
  key             text NOT NULL,                           -- Idempotency key of the request, as req:<key>.
  status          text NOT NULL,                           -- running, succeeded, partial, failed or canceled.
  action          text NOT NULL,                           -- Action of the catalog.
  model           text,                                    -- Model of the action; null: it has none.
  params          jsonb NOT NULL,                          -- Parameters as they were priced.
  ordered         integer NOT NULL,                        -- Outputs ordered.
  member          text,                                    -- Member of the team who asked; null: nobody in particular.
  project         text,                                    -- Project named by the caller.
  feature         text,                                    -- Feature named by the caller.
  parent          text,                                    -- Generation that this one continues, named by the caller.
  metadata        jsonb,                                   -- JSON of the caller, not read by the engine.
  provider        jsonb NOT NULL,                          -- Who does the work: {type, …}.
  quoted          bigint NOT NULL,                         -- Price that was held, in millicredits.
  draws           jsonb NOT NULL,                          -- What each bucket gave: [{bucket, milli}], in millicredits.
  outputs         jsonb NOT NULL DEFAULT '[]',             -- What was delivered: [{index, status, url, error}].
  error           jsonb,                                   -- Why it failed: {code, message}; null: it did not.
  provider_cost   jsonb,                                   -- What the provider charged: {amount, currency}.
  progress        double precision,                        -- 0 to 1, as the pipeline last said.
  deadline_at     timestamptz,                             -- End of the pipeline's time for its own work, in real time; heartbeats move it.
  catalog_version integer NOT NULL,                        -- Version of the catalog it was priced with.
  workflow_id     text,                                    -- Its workflow; null: a free action.
  temporal_url    text,                                    -- Address of its workflow in the Temporal UI.
  created_at      timestamptz NOT NULL,                    -- When it was reserved, on the account's clock.
  finished_at     timestamptz,                             -- When it ended, on the account's clock; null: running.
  PRIMARY KEY (account_id, generation_id),
  CHECK (status = 'running') = (finished_at IS NULL),
  CHECK (ordered > 0),
  CHECK (progress >= (0)::double precision) AND (progress <= (1)::double precision),
  CHECK (quoted >= 0),
  CHECK (status = ANY (ARRAY['running', 'succeeded', 'partial', 'failed', 'canceled'])),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
) WITH (fillfactor=80);
CREATE INDEX generations_by_time ON ledger.generations (account_id, date_trunc('milliseconds', (created_at AT TIME ZONE 'UTC')) DESC);
CREATE INDEX generations_of_all_by_time ON ledger.generations (date_trunc('milliseconds', (created_at AT TIME ZONE 'UTC')) DESC);

-- History: one row per operation, applied or refused, numbered without gaps per account, never changed. Partitioned by month.
CREATE TABLE ledger.journal (
  account_id      text NOT NULL,                           -- The account.
  seq             bigint NOT NULL,                         -- Number of the row within the account.
  at              timestamptz NOT NULL,                    -- When it happened, on the account's clock.
  recorded_at     timestamptz NOT NULL,                    -- When it was written, on the database's clock.
  kind            text NOT NULL,                           -- grant, reserve, capture, release, extend, charge, refund, expire, adjust, revoke, freeze, unfreeze, plan, suspend, unsuspend, notice.
  status          text NOT NULL,                           -- applied, or the code of the refusal.
  key             text,                                    -- The operation's key: req:… of a caller, sys:… of the engine.
  hold_id         text,                                    -- The hold it is about.
  credits         bigint NOT NULL,                         -- Change of the spendable balance, in millicredits, signed.
  available_after bigint NOT NULL,                         -- Spendable balance afterwards, in millicredits.
  held_after      bigint NOT NULL,                         -- Reserved balance afterwards, in millicredits.
  debt_after      bigint NOT NULL,                         -- Debt afterwards, in millicredits.
  moves           ledger.move[] NOT NULL,                  -- Movements between parts of lots: (lot, source, target, milli), in millicredits.
  detail          jsonb,                                   -- What a rebuild needs beyond the moves: new lots, ended lots, counts, notices, the plan.
  actor           text,                                    -- Who caused it: a key's id; null: the engine.
  reason          text,                                    -- Why, in the words of who caused it.
  PRIMARY KEY (account_id, seq, recorded_at),
  CHECK (LEAST((seq - 1), available_after, held_after, debt_after) >= 0),
  CHECK (status = 'applied') OR (cardinality(moves) = 0)
) PARTITION BY RANGE (recorded_at);
-- Its partitions are months, made by ledger.ensure_partitions.
CREATE INDEX journal_by_hold ON ONLY ledger.journal (account_id, hold_id) WHERE (hold_id IS NOT NULL);
CREATE TRIGGER journal_is_append_only BEFORE DELETE OR UPDATE ON ledger.journal FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER journal_is_not_truncated BEFORE TRUNCATE ON ledger.journal FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- One effect per idempotency key, for ever (rules 1, 3). Never changed, not partitioned, never archived.
CREATE TABLE ledger.op_keys (
  account_id   text NOT NULL,                              -- The account.
  key          text NOT NULL,                              -- req:<key> of a caller, or sys:<hold and step> of the engine.
  request_hash text NOT NULL,                              -- SHA-256 of what was asked: the same key with another request is a conflict.
  seq          bigint NOT NULL,                            -- Number of the journal row with its effect.
  answer       text NOT NULL,                              -- The decision's facts as JSON text, byte for byte what the HTTP answer is rendered from.
  PRIMARY KEY (account_id, key),
  CHECK (length(key) <= 260)
);
CREATE TRIGGER keys_are_append_only BEFORE DELETE OR UPDATE ON ledger.op_keys FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER keys_are_not_truncated BEFORE TRUNCATE ON ledger.op_keys FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Claims on keys of requests that are not operations of the ledger, and their answers.
CREATE TABLE ledger.kept_answers (
  account_id   text NOT NULL,                              -- The account.
  key          text NOT NULL,                              -- req:<key>, in one space with ledger.op_keys.
  request_hash text NOT NULL,                              -- SHA-256 of what was asked.
  claims       integer NOT NULL DEFAULT 0,                 -- Requests at work under the key, and those that died at it.
  claimed_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was last claimed, on the database's clock.
  status       integer,                                    -- HTTP status of the answer; null: none yet.
  answer       bytea,                                      -- Body of the answer as it was sent.
  passing      boolean NOT NULL DEFAULT false,             -- Whether the answer moved no credits and is deleted after 30 days (rule 38).
  PRIMARY KEY (account_id, key),
  CHECK (status IS NULL) = (answer IS NULL),
  CHECK (claims >= 0),
  CHECK (length(key) <= 260)
);
CREATE INDEX kept_answers_passing ON ledger.kept_answers (claimed_at) WHERE passing;

-- How much of quotas and limits is used, by period.
CREATE TABLE ledger.counters (
  account_id text NOT NULL,                                -- The account.
  counter    text NOT NULL,                                -- Name of the quota, member or limit.
  period     text NOT NULL,                                -- The period it counts in.
  used       bigint NOT NULL,                              -- Uses, or credits in millicredits, as the counter counts.
  PRIMARY KEY (account_id, counter, period),
  CHECK (used >= 0),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);

-- Credits owed after a refund or a lost dispute of credits that were spent, by cause (rule 27).
CREATE TABLE ledger.debts (
  account_id text NOT NULL,                                -- The account.
  cause      text NOT NULL,                                -- The refund or dispute.
  seq        bigint NOT NULL,                              -- Journal row in which it arose.
  owed       bigint NOT NULL,                              -- Credits owed for this cause in all, in millicredits.
  repaid     bigint NOT NULL DEFAULT 0,                    -- The part repaid by credits that came in later, in millicredits.
  PRIMARY KEY (account_id, cause),
  CHECK (repaid >= 0) AND (repaid <= owed),
  CHECK (owed > 0),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);

-- Credits frozen by disputes (rule 28).
CREATE TABLE ledger.freezes (
  account_id text NOT NULL,                                -- The account.
  cause      text NOT NULL,                                -- The dispute.
  lots       integer[] NOT NULL,                           -- Numbers of the lots that were frozen.
  amounts    bigint[] NOT NULL,                            -- What is frozen of each, in millicredits.
  open       boolean NOT NULL DEFAULT true,                -- Whether the dispute is undecided.
  PRIMARY KEY (account_id, cause),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);

-- What an account's archived journal rows amount to: the account as of its last archived row.
CREATE TABLE ledger.openings (
  account_id  text NOT NULL,                               -- The account.
  seq         bigint NOT NULL,                             -- Number of the last archived row.
  at          timestamptz NOT NULL,                        -- Its instant, on the account's clock.
  recorded_at timestamptz NOT NULL,                        -- When it was written, on the database's clock.
  available   bigint NOT NULL,                             -- Spendable balance then, in millicredits.
  held        bigint NOT NULL,                             -- Reserved balance then, in millicredits.
  debt        bigint NOT NULL,                             -- Debt then, in millicredits.
  owed        bigint NOT NULL,                             -- Credits ever owed until then, in millicredits.
  repaid      bigint NOT NULL,                             -- Credits ever repaid until then, in millicredits.
  keys        bigint NOT NULL,                             -- Number of keys that the archived rows bear.
  keys_digest numeric NOT NULL,                            -- Sum of the digests of these keys, which must stay as they are.
  lots        jsonb NOT NULL,                              -- Every lot then, with its terms and parts: [{lot, bucket, …, granted, available, …}], in millicredits.
  counters    jsonb NOT NULL,                              -- Every counter then: [{counter, period, used}].
  PRIMARY KEY (account_id),
  CHECK (seq > 0),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);
CREATE TRIGGER openings_are_not_deleted BEFORE DELETE ON ledger.openings FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER openings_are_not_truncated BEFORE TRUNCATE ON ledger.openings FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What the archived journal rows of a hold amount to.
CREATE TABLE ledger.opening_holds (
  account_id   text NOT NULL,                              -- The account.
  hold_id      text NOT NULL,                              -- The hold.
  amount       bigint NOT NULL,                            -- Credits reserved, in millicredits.
  held         bigint NOT NULL,                            -- Still reserved then, in millicredits.
  captured     bigint NOT NULL,                            -- Charged until then, in millicredits.
  released     bigint NOT NULL,                            -- Given back until then, in millicredits.
  forfeited    bigint NOT NULL,                            -- Lost with its lot until then, in millicredits.
  refunded     bigint NOT NULL,                            -- Refunded until then, in millicredits.
  phases       text[] NOT NULL,                            -- Names of the phases captured until then.
  closings     integer NOT NULL,                           -- How often it was closed: 0 or 1.
  refunds      jsonb NOT NULL,                             -- Refunds until then: [{at, milli, reason}], in millicredits.
  phases_milli bigint[] NOT NULL DEFAULT '{}'::bigint[],   -- What each of these phases took, in millicredits; null: archived before this was kept.
  PRIMARY KEY (account_id, hold_id),
  FOREIGN KEY (account_id) REFERENCES ledger.openings(account_id)
);
CREATE TRIGGER opening_holds_are_not_deleted BEFORE DELETE ON ledger.opening_holds FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER opening_holds_are_not_truncated BEFORE TRUNCATE ON ledger.opening_holds FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Months of the journal that lie in files and are no longer in the database.
CREATE TABLE ledger.archives (
  month       date NOT NULL,                               -- First day of the month (UTC).
  rows        bigint NOT NULL,                             -- Number of its rows.
  sha256      text NOT NULL,                               -- Digest of the file.
  file        text NOT NULL,                               -- Name of the file.
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was archived, on the database's clock.
  PRIMARY KEY (month),
  CHECK (sha256 ~ '^[0-9a-f]{64}$')
);
CREATE TRIGGER archives_are_append_only BEFORE DELETE OR UPDATE ON ledger.archives FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER archives_are_not_truncated BEFORE TRUNCATE ON ledger.archives FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Where the quick audit has got to with each account, and what it found there.
CREATE TABLE ledger.audit_marks (
  account_id  text NOT NULL,                               -- The account.
  seq         bigint NOT NULL,                             -- Number of the last row that was audited.
  at          timestamptz NOT NULL,                        -- Its instant, on the account's clock.
  recorded_at timestamptz NOT NULL,                        -- When the audit looked, on the database's clock.
  available   bigint NOT NULL,                             -- Spendable balance then, in millicredits.
  held        bigint NOT NULL,                             -- Reserved balance then, in millicredits.
  debt        bigint NOT NULL,                             -- Debt then, in millicredits.
  owed        bigint NOT NULL,                             -- Credits ever owed until then, in millicredits.
  repaid      bigint NOT NULL,                             -- Credits ever repaid until then, in millicredits.
  keys        bigint NOT NULL,                             -- Not used: 0.
  keys_digest numeric NOT NULL,                            -- Not used: 0.
  lots        jsonb NOT NULL DEFAULT '[]',                 -- Not used: ledger.audit_lots has them.
  counters    jsonb NOT NULL DEFAULT '[]',                 -- Not used: ledger.audit_counters has them.
  PRIMARY KEY (account_id),
  CHECK (seq > 0),
  FOREIGN KEY (account_id) REFERENCES ledger.accounts(account_id)
);

-- Lots as the quick audit last saw them; columns as in ledger.lots.
CREATE TABLE ledger.audit_lots (
  account_id   text NOT NULL,                              -- The account.
  lot_no       integer NOT NULL,                           -- Number of the lot within the account.
  bucket       text NOT NULL,                              -- Bucket of the catalog, as it was called when the lot was granted (rule 20).
  rank         smallint NOT NULL,                          -- Order of spending: the lower rank first, then the earlier end, then the lower number.
  effective_at timestamptz NOT NULL,                       -- When it was granted, on the account's clock.
  expires_at   timestamptz NOT NULL,                       -- When it ends, on the account's clock; infinity: never.
  ended_at     timestamptz,                                -- When a later grant took its place before its own end; null: it was not replaced.
  return_grace interval,                                   -- How long credits that return after its end stay spendable, in a linked lot; null: they are forfeited (rule 14).
  parent_lot   integer,                                    -- The lot that credits returned for; null: not a linked lot.
  source       text NOT NULL,                              -- Where it comes from: daily:…, plan:…, a purchase, a return. The part before the colon is the schedule.
  granted      bigint NOT NULL,                            -- Credits granted, in millicredits.
  available    bigint NOT NULL,                            -- The part that can be spent, in millicredits.
  held         bigint NOT NULL,                            -- The part reserved by open holds, in millicredits.
  frozen       bigint NOT NULL,                            -- The part frozen by a dispute, in millicredits.
  spent        bigint NOT NULL,                            -- The part that was captured, in millicredits.
  expired      bigint NOT NULL,                            -- The part that expired unspent, in millicredits.
  revoked      bigint NOT NULL,                            -- The part that was taken back, in millicredits.
  open         boolean,                                    -- Whether anything can be spent from it.
  PRIMARY KEY (account_id, lot_no)
);
CREATE INDEX audit_lots_live ON ledger.audit_lots (account_id, lot_no) WHERE (((available + held) + frozen) > 0);

-- Counters as the quick audit last saw them.
CREATE TABLE ledger.audit_counters (
  account_id text NOT NULL,                                -- The account.
  counter    text NOT NULL,                                -- Name of the quota, member or limit.
  period     text NOT NULL,                                -- The period it counts in.
  used       bigint NOT NULL,                              -- Uses, or credits in millicredits, as the counter counts.
  PRIMARY KEY (account_id, counter, period)
);

-- Double entry: two lines for each move of the journal, a debit and a credit.
-- CREATE VIEW ledger.lines (
-- account_id   text,                                       -- The account.
-- seq          bigint,                                     -- Number of the journal row.
-- move         integer,                                    -- Which of its moves.
-- side         text,                                       -- debit or credit.
-- book         text,                                       -- Book of accounts that the line is in.
-- debit_milli  bigint,                                     -- Amount on the debit side, in millicredits; 0 on the other.
-- credit_milli bigint,                                     -- Amount on the credit side, in millicredits; 0 on the other.
-- at           timestamptz,                                -- When it happened, on the account's clock.
-- recorded_at  timestamptz,                                -- When it was written, on the database's clock.
-- lot          integer,                                    -- Number of the lot.
-- bucket       text,                                       -- Bucket of the lot.
-- kind         text,                                       -- Kind of the journal row.
-- key          text,                                       -- Key of the operation.
-- hold_id      text,                                       -- The hold it is about.
-- actor        text,                                       -- Who caused it.
-- reason       text                                        -- Why.
-- ); -- its query is in migrations/functions/13_past.sql

-- What a product may want to tell its customer: credits granted, expired, revoked, about to end, a low balance, a plan change.
-- CREATE VIEW ledger.events (
-- account_id  text,                                        -- The account.
-- seq         bigint,                                      -- Number of the journal row.
-- at          timestamptz,                                 -- When it happened, on the account's clock.
-- recorded_at timestamptz,                                 -- When it was written, on the database's clock.
-- type        text,                                        -- credits.granted, credits.expired, credits.revoked, credits.expiring, balance.low, balance.depleted or subscription.updated.
-- milli       bigint,                                      -- Credits it is about, in millicredits; of a balance, what is left.
-- detail      jsonb                                        -- Facts of the event.
-- ); -- its query is in migrations/functions/13_past.sql

-- Catalogs, by version. A version is never changed.
CREATE TABLE holdfast.catalogs (
  catalog      text NOT NULL,                              -- Name of the catalog.
  version      integer NOT NULL,                           -- Number of the version, from 1.
  body         jsonb NOT NULL,                             -- The catalog, as docs/catalogs.md describes it; prices in credits.
  hash         text NOT NULL,                              -- Digest of the body.
  effective_at timestamptz NOT NULL,                       -- In force from then on, read on each account's clock; -infinity: the first version.
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was published, on the database's clock.
  published_by text,                                       -- shipped, or the id of a key; null: published before this was kept.
  PRIMARY KEY (catalog, version),
  CHECK (version > 0)
);

-- Prices that were told to a caller, and hold until they expire. Deleted after 30 days (rule 38).
CREATE TABLE holdfast.quotes (
  account_id      text NOT NULL,                           -- The account.
  quote_id        text NOT NULL,                           -- Id of the quote.
  catalog         text NOT NULL,                           -- Catalog it was made from.
  catalog_version integer NOT NULL,                        -- Version of that catalog.
  action          text NOT NULL,                           -- Action that was priced.
  model           text,                                    -- Model that was priced; null: none.
  params          jsonb NOT NULL,                          -- Parameters that were priced.
  credits         bigint NOT NULL,                         -- The price, in millicredits.
  expires_at      timestamptz NOT NULL,                    -- The quote holds until then, on the account's clock.
  created_at      timestamptz NOT NULL DEFAULT statement_timestamp(), -- When it was made, on the database's clock.
  PRIMARY KEY (account_id, quote_id)
);
CREATE INDEX quotes_by_age ON holdfast.quotes (created_at);

-- API keys. The secret is not stored.
CREATE TABLE holdfast.api_keys (
  id            text NOT NULL,                             -- Public part of the key.
  secret_sha256 bytea NOT NULL,                            -- SHA-256 of the secret, which has 256 random bits.
  name          text NOT NULL,                             -- Name for people.
  scopes        text[] NOT NULL,                           -- What it may do: read, generate, billing, admin.
  account_id    text,                                      -- The one account it may see; null: every account.
  created_at    timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()), -- When it was made, on the database's clock, in whole milliseconds.
  created_by    text NOT NULL,                             -- The key that made it.
  revoked_at    timestamptz,                               -- When it was revoked, on the database's clock; null: it is valid.
  PRIMARY KEY (id),
  CHECK (account_id ~ '^[A-Za-z0-9_-]{1,64}$'),
  CHECK (id ~ '^[0-9a-f]{16}$'),
  CHECK (length(name) >= 1) AND (length(name) <= 200),
  CHECK (cardinality(scopes) > 0) AND (scopes <@ ARRAY['read', 'generate', 'billing', 'admin']),
  CHECK (octet_length(secret_sha256) = 32)
);
CREATE INDEX api_keys_newest ON holdfast.api_keys (created_at DESC, id DESC) WHERE (revoked_at IS NULL);

-- Idempotency keys and answers of requests that name no account.
CREATE TABLE holdfast.request_keys (
  api_key      text NOT NULL,                              -- The API key of the caller.
  key          text NOT NULL,                              -- The idempotency key.
  request_hash text NOT NULL,                              -- SHA-256 of what was asked.
  status       integer,                                    -- HTTP status of the answer.
  answer       bytea,                                      -- Body of the answer, sealed with the caller's own key: it may hold a secret that is shown once.
  created_at   timestamptz NOT NULL DEFAULT now(),         -- When it was claimed, on the database's clock.
  passing      boolean NOT NULL DEFAULT false,             -- Whether the answer moved no credits and is deleted after 30 days (rule 38).
  PRIMARY KEY (api_key, key),
  CHECK (api_key !~~ '%:%'),
  CHECK (status IS NULL) = (answer IS NULL),
  CHECK (length(key) >= 1) AND (length(key) <= 255),
  CHECK (request_hash ~ '^[0-9a-f]{64}$')
);
CREATE INDEX request_keys_passing ON holdfast.request_keys (created_at) WHERE passing;

-- Work for an account that came from outside, done one row at a time by its workflow (rule 24).
CREATE TABLE holdfast.inbox (
  account_id   text NOT NULL,                              -- The account.
  inbox_key    text NOT NULL,                              -- Key of the request.
  kind         text NOT NULL,                              -- pack_purchase.
  request_hash text NOT NULL,                              -- SHA-256 of what was asked.
  body         jsonb NOT NULL,                             -- What is to be done.
  received_at  timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it arrived, on the database's clock.
  attempts     integer NOT NULL DEFAULT 0,                 -- How often it was tried.
  last_error   text,                                       -- Why the last attempt failed.
  done_at      timestamptz,                                -- When it was done, on the database's clock; null: waiting.
  retry_at     timestamptz NOT NULL DEFAULT '-infinity',   -- Not tried before then, on the database's clock.
  PRIMARY KEY (account_id, inbox_key),
  CHECK (kind = 'pack_purchase')
);
CREATE INDEX inbox_by_time ON holdfast.inbox (account_id, date_trunc('milliseconds', (received_at AT TIME ZONE 'UTC')) DESC);
CREATE INDEX inbox_pending ON holdfast.inbox (account_id, received_at) WHERE (done_at IS NULL);

-- Submissions to providers, claimed before they are made, so that nothing is paid for twice (rule 5).
CREATE TABLE holdfast.provider_jobs (
  account_id text NOT NULL,                                -- The account.
  hold_id    text NOT NULL,                                -- The hold that pays for it.
  phase      text NOT NULL,                                -- Phase of the work.
  provider   text NOT NULL,                                -- Type of the provider.
  state      jsonb NOT NULL DEFAULT '{}',                  -- What is known of the job at the provider.
  claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was claimed, on the database's clock.
  PRIMARY KEY (account_id, hold_id, phase)
);

-- What pipelines said of their work, and what became of it (rule 16).
CREATE TABLE holdfast.reports (
  account_id    text NOT NULL,                             -- The account.
  generation_id text NOT NULL,                             -- The generation.
  report_id     text NOT NULL,                             -- Id of the report, by which it is the same report again.
  body          jsonb NOT NULL,                            -- The report.
  outcome       text NOT NULL DEFAULT 'pending',           -- pending, applied, rejected, late or charged.
  received_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it arrived, on the database's clock.
  untold        boolean NOT NULL DEFAULT false,            -- Whether its workflow has yet to be told of it.
  charge        jsonb,                                     -- What was charged for it by hand: {id, milli, at, by, reason}; null: nothing.
  PRIMARY KEY (account_id, generation_id, report_id),
  CHECK (outcome = 'charged') = (charge IS NOT NULL),
  CHECK (outcome = ANY (ARRAY['pending', 'applied', 'rejected', 'late', 'charged']))
);
CREATE INDEX reports_late ON holdfast.reports (account_id, generation_id) WHERE (outcome = ANY (ARRAY['late', 'charged']));
CREATE INDEX reports_unseen ON holdfast.reports (received_at, account_id, generation_id, report_id) WHERE (untold OR (outcome = 'pending'));

-- What an operator should look at, until it is resolved.
CREATE TABLE holdfast.operations_items (
  account_id  text NOT NULL,                               -- The account; empty: none in particular.
  kind        text NOT NULL,                               -- Kind of the item.
  subject     text NOT NULL,                               -- What it is about, unique within account and kind.
  detail      jsonb NOT NULL,                              -- Facts for the operator.
  raised_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was raised, on the database's clock.
  resolved_at timestamptz,                                 -- When it was resolved, on the database's clock; null: open.
  PRIMARY KEY (account_id, kind, subject)
);
CREATE INDEX operations_items_by_kind ON holdfast.operations_items (kind, account_id, subject) WHERE (resolved_at IS NULL);
CREATE INDEX operations_items_open ON holdfast.operations_items (date_trunc('milliseconds', (raised_at AT TIME ZONE 'UTC')) DESC) WHERE (resolved_at IS NULL);
CREATE INDEX operations_items_resolved ON holdfast.operations_items (date_trunc('milliseconds', (raised_at AT TIME ZONE 'UTC')) DESC) WHERE (resolved_at IS NOT NULL);

-- Clocks that stand still until they are advanced (rule 23).
CREATE TABLE holdfast.test_clocks (
  clock_id   text NOT NULL,                                -- Id of the clock.
  now_at     timestamptz NOT NULL,                         -- What time it is on it.
  target_at  timestamptz NOT NULL,                         -- Where it is advancing to.
  status     text NOT NULL,                                -- ready or advancing.
  progress   jsonb NOT NULL DEFAULT '{}',                  -- How far the advance has got.
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was made, on the database's clock.
  PRIMARY KEY (clock_id),
  CHECK (now_at <= target_at) AND ((status = 'advancing') OR (now_at = target_at)),
  CHECK (status = ANY (ARRAY['ready', 'advancing']))
);

-- Hours and days whose usage was added up. May be emptied: it fills again when it is asked for.
CREATE TABLE holdfast.usage_spans (
  account_id text NOT NULL,                                -- The account.
  starts     timestamptz NOT NULL,                         -- Start of the span.
  ends       timestamptz NOT NULL,                         -- End of the span, exclusive.
  PRIMARY KEY (account_id, starts, ends)
);

-- Usage within these spans, one row for each combination of dimensions. May be emptied with usage_spans.
CREATE TABLE holdfast.usage_sums (
  account_id    text NOT NULL,                             -- The account.
  starts        timestamptz NOT NULL,                      -- Start of the span.
  ends          timestamptz NOT NULL,                      -- End of the span, exclusive.
  action        text,                                      -- Action; null: none.
  model         text,                                      -- Model; null: none.
  member        text,                                      -- Member; null: none.
  feature       text,                                      -- Feature; null: none.
  project       text,                                      -- Project; null: none.
  resolution    text,                                      -- Resolution of the parameters; null: none.
  provider      text,                                      -- Type of the provider; null: none.
  bucket        text,                                      -- Bucket that paid; null: none.
  credits       bigint NOT NULL,                           -- Credits used, in millicredits.
  works         bigint NOT NULL,                           -- Pieces of work, each counted once in every bucket that paid for it.
  leads         bigint NOT NULL,                           -- The same, each counted only in the first of these buckets, so that a sum over buckets counts it once.
  works_outputs bigint NOT NULL,                           -- Outputs of `works`.
  leads_outputs bigint NOT NULL,                           -- Outputs of `leads`.
  FOREIGN KEY (account_id, starts, ends) REFERENCES holdfast.usage_spans(account_id, starts, ends) ON DELETE CASCADE
);
CREATE INDEX usage_sums_by_span ON holdfast.usage_sums (account_id, starts, ends);

-- Processes that run, and how far their clocks are off.
CREATE TABLE holdfast.processes (
  process      text NOT NULL,                              -- Id of the process.
  kind         text NOT NULL,                              -- api or worker.
  skew_seconds double precision NOT NULL,                  -- Its clock less the database's, in seconds.
  seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it last said so, on the database's clock.
  PRIMARY KEY (process),
  CHECK (kind = ANY (ARRAY['api', 'worker']))
);

-- The last complete pass of the sweep and of the audit.
CREATE TABLE holdfast.passes (
  kind     text NOT NULL,                                  -- sweep or audit.
  whole_at timestamptz NOT NULL,                           -- When it ended, on the database's clock.
  PRIMARY KEY (kind)
);

-- Temporal namespaces that an operator has declared lost: holds of their workflows may be released (rule 17).
CREATE TABLE holdfast.lost_namespaces (
  namespace_id text NOT NULL,                              -- Id of the namespace.
  reason       text NOT NULL,                              -- Why it is lost.
  declared_by  text NOT NULL,                              -- The key that declared it.
  declared_at  timestamptz NOT NULL DEFAULT clock_timestamp(), -- When it was declared, on the database's clock.
  PRIMARY KEY (namespace_id)
);

-- Migrations that were applied, as knex keeps them.
CREATE TABLE holdfast.migrations (
  id             integer NOT NULL DEFAULT nextval('holdfast.migrations_id_seq'::regclass), -- Number of the row.
  name           character varying(255),                   -- File of the migration.
  batch          integer,                                  -- Migrations that were applied together.
  migration_time timestamptz,                              -- When it was applied.
  PRIMARY KEY (id)
);

-- The lock of knex on its migrations.
CREATE TABLE holdfast.migrations_lock (
  index     integer NOT NULL DEFAULT nextval('holdfast.migrations_lock_index_seq'::regclass), -- Number of the row.
  is_locked integer,                                       -- 1 while migrations run.
  PRIMARY KEY (index)
);

-- Which binaries may run on which migration (docs/deploys.md).
CREATE TABLE holdfast.schema_compatibility (
  number         integer NOT NULL,                         -- Number of the migration.
  name           text NOT NULL,                            -- File of the migration.
  min_compatible integer NOT NULL,                         -- Lowest migration that a binary must know to run.
  sha256         text,                                     -- Digest of the file.
  PRIMARY KEY (number)
);

-- Which version of the functions is installed.
CREATE TABLE holdfast.schema_functions (
  one        boolean NOT NULL DEFAULT true,                -- Always true: there is one row.
  migrations integer NOT NULL,                             -- Number of the newest migration they were installed with.
  digest     text NOT NULL,                                -- SHA-256 of their files.
  number     integer,                                      -- Their number in functions/numbers.json.
  PRIMARY KEY (one),
  CHECK (one)
);
