-- min_compatible: 1
-- The ledger: what the money truth is made of, and what the database itself refuses.
--
-- Amounts are integer millicredits (1 credit = 1000). Every key starts with account_id: two accounts never
-- touch the same row, so accounts can be spread over servers. Functions that write are in 0003.

-- Two roles: the owner runs migrations; the application may read the ledger and call its functions, no more.
-- Roles belong to the cluster, so another database of it may have made this one, perhaps at this moment.
DO $$
BEGIN
  CREATE ROLE holdfast_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- it is there, which is all we need
END $$;
-- Who makes a role may not thereby become it (Postgres 16 and later), so it is tried, and granted where it fails.
DO $$
BEGIN
  SET LOCAL ROLE holdfast_app;
  RESET ROLE;
EXCEPTION WHEN insufficient_privilege THEN
  EXECUTE format('GRANT holdfast_app TO %I', session_user);
END $$;

CREATE SCHEMA IF NOT EXISTS holdfast;
CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger, holdfast TO holdfast_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA ledger GRANT SELECT ON TABLES TO holdfast_app;

-- Where credits of a lot can be. `outside` is not part of any lot: a grant moves from it.
CREATE TYPE ledger.part AS ENUM ('outside', 'available', 'held', 'frozen', 'spent', 'expired', 'revoked');
CREATE TYPE ledger.move AS (lot int, source ledger.part, target ledger.part, milli bigint);

-- One row per account: its lock, its sequence, its totals, and when it must next be looked at.
-- No secondary index, and half of each page is left free, so that every update stays within its page (HOT).
CREATE TABLE ledger.accounts (
  account_id     text PRIMARY KEY CHECK (account_id ~ '^[A-Za-z0-9_-]{1,64}$'),
  seq            bigint NOT NULL DEFAULT 0,
  lot_seq        int    NOT NULL DEFAULT 0,
  available      bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
  held           bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  debt           bigint NOT NULL DEFAULT 0 CHECK (debt >= 0),
  open_holds     int    NOT NULL DEFAULT 0 CHECK (open_holds >= 0),
  journal_at     timestamptz NOT NULL DEFAULT '-infinity', -- journal time never runs backwards
  clock_at       timestamptz,                               -- null: the database's clock; else a test clock's
  lots_due_at    timestamptz NOT NULL DEFAULT 'infinity',  -- no open lot expires before this
  next_due_at    timestamptz NOT NULL DEFAULT '-infinity', -- a calendar step is due before any use (rule 11)
  renews_at      timestamptz NOT NULL DEFAULT 'infinity',  -- the next calendar step somebody can observe
  wake_at        timestamptz GENERATED ALWAYS AS (least(renews_at, lots_due_at)) STORED,
  rules_version  bigint NOT NULL DEFAULT 1,
  settle_version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What decides gates and calendar. rules_version above moves when a column here that matters to a gate does.
CREATE TABLE ledger.account_rules (
  account_id      text PRIMARY KEY REFERENCES ledger.accounts,
  catalog         text NOT NULL,
  plan            text NOT NULL,
  plan_source     text NOT NULL CHECK (plan_source IN ('free', 'admin', 'stripe')),
  plan_interval   text CHECK (plan_interval IN ('month', 'quarter', 'year')),
  paid_until      timestamptz,
  timezone        text NOT NULL DEFAULT 'UTC',
  anchor          timestamptz NOT NULL,
  suspended       boolean NOT NULL DEFAULT false,
  max_open        int CHECK (max_open > 0),
  email           text,
  stripe_customer text,
  calendar        jsonb NOT NULL DEFAULT '{}', -- what settle has done so far (domain/settle.ts)
  created_at      timestamptz NOT NULL
);

-- One grant of credits. Bucket, rank, return policy and expiry are frozen here when it is granted (rule 20).
CREATE TABLE ledger.lots (
  account_id   text   NOT NULL REFERENCES ledger.accounts,
  lot_no       int    NOT NULL,
  bucket       text   NOT NULL,
  rank         smallint NOT NULL,
  effective_at timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL DEFAULT 'infinity',
  ended_at     timestamptz, -- before its time, by a grant that took its place: it is over as if it had expired
  return_grace interval,   -- returns into it after expiry live this long in a linked lot; null: forfeited
  parent_lot   int,        -- set on a linked lot, which is never extended a second time (rule 14)
  source       text   NOT NULL,
  granted      bigint NOT NULL CHECK (granted > 0),
  available    bigint NOT NULL CHECK (available >= 0),
  held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  frozen       bigint NOT NULL DEFAULT 0 CHECK (frozen >= 0),
  spent        bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
  expired      bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
  revoked      bigint NOT NULL DEFAULT 0 CHECK (revoked >= 0),
  open         boolean GENERATED ALWAYS AS (available > 0) STORED,
  PRIMARY KEY (account_id, lot_no),
  CONSTRAINT lot_conservation CHECK (granted = available + held + frozen + spent + expired + revoked)
) WITH (fillfactor = 70);
-- The predicate is the rarely flipped `open`, not `available`, so that spending from a lot stays HOT.
CREATE INDEX lots_spend_order ON ledger.lots (account_id, rank, expires_at, lot_no) WHERE open;

-- Credits taken out of lots for one generation. Closed holds stay: the ledger never forgets a generation.
CREATE TABLE ledger.holds (
  account_id    text   NOT NULL REFERENCES ledger.accounts,
  hold_id       text   NOT NULL,
  generation_id text,
  amount        bigint NOT NULL CHECK (amount > 0),
  held          bigint NOT NULL CHECK (held >= 0),
  captured      bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
  released      bigint NOT NULL DEFAULT 0 CHECK (released >= 0),
  forfeited     bigint NOT NULL DEFAULT 0 CHECK (forfeited BETWEEN 0 AND released), -- of what was released
  refunded      bigint NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND captured),  -- of what was captured
  lots          int[]    NOT NULL, -- in the order they were cut
  lots_held     bigint[] NOT NULL,
  lots_captured bigint[] NOT NULL, -- less what was refunded
  open          boolean NOT NULL DEFAULT true,
  epoch         int     NOT NULL DEFAULT 0, -- moves with every sign of life; a sweeper releases by compare-and-set
  workflow_id   text,
  namespace_id  text,                      -- the Temporal namespace's id, not its name (rule 17)
  opened_at     timestamptz NOT NULL,
  overdue_at    timestamptz NOT NULL,      -- opened_at + the rate's maxDuration: older open holds raise an alert
  closed_at     timestamptz,
  PRIMARY KEY (account_id, hold_id),
  CONSTRAINT hold_conservation CHECK (amount = captured + released + held),
  CONSTRAINT hold_closed_is_empty CHECK (open = (closed_at IS NULL) AND (open OR held = 0))
) WITH (fillfactor = 80);
CREATE INDEX holds_open ON ledger.holds (account_id, overdue_at) WHERE open;

-- The work a hold pays for. A refused request leaves no row here, only its journal row and its key.
CREATE TABLE ledger.generations (
  account_id      text NOT NULL REFERENCES ledger.accounts,
  generation_id   text NOT NULL,
  hold_id         text,               -- null: free
  key             text NOT NULL,
  status          text NOT NULL CHECK (status IN ('running', 'succeeded', 'partial', 'failed', 'canceled')),
  action          text NOT NULL,
  model           text,
  params          jsonb NOT NULL,
  ordered         int  NOT NULL CHECK (ordered > 0),
  member          text,
  project         text,
  feature         text,
  parent          text,
  metadata        jsonb,
  provider        jsonb NOT NULL,
  quoted          bigint NOT NULL CHECK (quoted >= 0),
  draws           jsonb NOT NULL,
  outputs         jsonb NOT NULL DEFAULT '[]',
  error           jsonb,
  provider_cost   jsonb,
  progress        double precision CHECK (progress BETWEEN 0 AND 1),
  deadline_at     timestamptz,        -- of work done by the pipeline itself; moved by its heartbeats
  catalog_version int  NOT NULL,
  workflow_id     text,
  temporal_url    text,
  created_at      timestamptz NOT NULL,
  finished_at     timestamptz,
  PRIMARY KEY (account_id, generation_id),
  CHECK ((status = 'running') = (finished_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX generations_by_time ON ledger.generations (account_id, created_at DESC, generation_id);
GRANT UPDATE (progress, deadline_at) ON ledger.generations TO holdfast_app; -- heartbeats move no credits

-- History, idempotency record and balance-at-a-time in one: a row per operation, applied or refused,
-- numbered without gaps per account. It is partitioned by when it was written, because an account on a
-- test clock may carry any `at`; that seq is unique is kept by the account row, not by an index.
CREATE TABLE ledger.journal (
  account_id      text   NOT NULL,
  seq             bigint NOT NULL CHECK (seq > 0),
  at              timestamptz NOT NULL,  -- on the account's clock
  recorded_at     timestamptz NOT NULL,  -- on the database's
  kind            text   NOT NULL CHECK (kind IN ('grant', 'reserve', 'capture', 'release', 'refund', 'expire',
                                                  'adjust', 'plan')),
  status          text   NOT NULL,       -- 'applied', or the code of the refusal
  key             text,
  hold_id         text,
  credits         bigint NOT NULL,       -- signed change of `available`
  available_after bigint NOT NULL CHECK (available_after >= 0),
  held_after      bigint NOT NULL CHECK (held_after >= 0),
  debt_after      bigint NOT NULL CHECK (debt_after >= 0),
  moves           ledger.move[] NOT NULL,
  detail          jsonb,                 -- what a rebuild needs beyond the moves: new lots, the hold's facts
  actor           text,
  reason          text,
  PRIMARY KEY (account_id, seq, recorded_at),
  CHECK (status = 'applied' OR moves = '{}')
) PARTITION BY RANGE (recorded_at);
CREATE INDEX journal_by_hold ON ledger.journal (account_id, hold_id) WHERE hold_id IS NOT NULL;

-- One effect per key, for ever: not partitioned and never archived (rule 3).
-- `req:<key>` are callers' keys, `sys:<...>` ours, so that a caller cannot stand in the way of a grant.
CREATE TABLE ledger.op_keys (
  account_id   text   NOT NULL,
  key          text   NOT NULL CHECK (length(key) <= 260),
  request_hash text   NOT NULL,
  seq          bigint NOT NULL,
  answer       text   NOT NULL,  -- the decision's facts, from which the HTTP answer is rendered (db/answers.ts)
  PRIMARY KEY (account_id, key)
);

-- The database itself refuses to change history, whoever asks.
CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation',
          HINT = 'Correct a mistake with a new operation: an adjustment or a refund.';
END $$;
CREATE TRIGGER journal_is_append_only BEFORE UPDATE OR DELETE ON ledger.journal
  FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER journal_is_not_truncated BEFORE TRUNCATE ON ledger.journal
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER keys_are_append_only BEFORE UPDATE OR DELETE ON ledger.op_keys
  FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER keys_are_not_truncated BEFORE TRUNCATE ON ledger.op_keys
  FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Journal partitions, one per month (UTC), from this month on; callable by the application, which owns none.
CREATE FUNCTION ledger.ensure_partitions(p_months_ahead int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  first_month timestamp := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
  from_month  timestamp;
  name        text;
  made        int := 0;
BEGIN
  IF p_months_ahead NOT BETWEEN 0 AND 120 THEN
    RAISE EXCEPTION 'months ahead must be 0 to 120, not %', p_months_ahead USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Several processes start at once; the lock makes the second find what the first made.
  PERFORM pg_advisory_xact_lock(hashtextextended('holdfast journal partitions', 0));
  FOR i IN 0..p_months_ahead LOOP
    from_month := first_month + make_interval(months => i);
    name := 'journal_' || to_char(from_month, 'YYYY_MM');
    CONTINUE WHEN to_regclass('ledger.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE ledger.%I PARTITION OF ledger.journal FOR VALUES FROM (%L) TO (%L)', name,
                   from_month AT TIME ZONE 'UTC', (from_month + interval '1 month') AT TIME ZONE 'UTC');
    EXECUTE format('CREATE TRIGGER journal_is_not_truncated BEFORE TRUNCATE ON ledger.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', name);
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION ledger.ensure_partitions(int) TO holdfast_app;
SELECT ledger.ensure_partitions(12);
