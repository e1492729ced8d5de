-- The ledger's functions, in reading order. Everything that changes an account goes through ledger.apply (08_apply.sql), which
-- locks, reads, decides and writes in one transaction and one round trip, for one account or for many.
--
--   01_types      what a call works on, and what an operation does
--   02_lots       which lots pay, and where credits return to
--   03_snapshot   what gates, settlement and readers start from
--   04_keys       a request's key and its answer
--   05_decide     what each kind of operation does: decisions on credits, which write nothing
--   06_counters   quotas and limits: what a decision counts, and what it uncounts
--   07_life       the kinds of operation that have tables of their own: rules, members, debts, disputes
--   08_apply      the call: locks, reads, decides, records
--   09_record     what a call reads, and what comes with an operation: replays, ends, debt, notices
--   10_write      what was decided, written
--   11_accounts   opening an account, clocks, locks
--   12_growth     months of the journal, made ahead and archived
--   13_past       accounts and statements as they were: what others may build on
--   14_rights     who may call what
--
-- A function and not one statement: each statement in here takes its snapshot after the row lock was granted. A single CTE that
-- waited for the lock would continue with the lots as they were before. Refusals are values; an exception means a bug or a
-- broken request, and nothing is written. Timestamps come from clock_timestamp() after the lock, never from now(), which is
-- when waiting began. All amounts are millicredits.
--
-- This directory is installed as a whole whenever its number is higher (db/migrate/migrate.ts), so each function is written down
-- once. The engine's own functions are dropped first; those that others may build on (13_past.sql) are replaced, so that their
-- views and grants stay.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid FROM pg_proc
            WHERE pronamespace = 'ledger'::regnamespace AND prorettype <> 'trigger'::regtype
              AND proname NOT IN ('due_moves', 'seq_before', 'lots_before', 'totals_before', 'statement') LOOP
    EXECUTE format('DROP FUNCTION %s', f);
  END LOOP;
END $$;
DROP TYPE IF EXISTS
  ledger.outcome, ledger.call, ledger.effect, ledger.account, ledger.lot, ledger.hold, ledger.entry, ledger.answer;

-- Rows as plain types: a table's own row type drags its constraints along wherever it is unpacked, which costs more than the
-- work itself.
CREATE TYPE ledger.account AS (
  account_id text, seq bigint, lot_seq int, available bigint, held bigint, debt bigint, open_holds int, journal_at timestamptz,
  lots_due_at timestamptz, leases_due_at timestamptz, next_due_at timestamptz, wake_at timestamptz, rules_version bigint,
  settle_version bigint, low_below bigint, notice_before interval, told smallint, refused_from timestamptz, refused int);
CREATE TYPE ledger.lot AS (
  account_id text, lot_no int, bucket text, rank smallint, effective_at timestamptz, expires_at timestamptz, ended_at timestamptz,
  return_grace interval, parent_lot int, source text,
  granted bigint, available bigint, held bigint, frozen bigint, spent bigint, expired bigint, revoked bigint);
CREATE TYPE ledger.hold AS (
  account_id text, hold_id text, generation_id text,
  amount bigint, held bigint, captured bigint, released bigint, forfeited bigint, refunded bigint,
  lots int[], lots_held bigint[], lots_captured bigint[], open boolean, epoch int, workflow_id text, namespace_id text,
  opened_at timestamptz, overdue_at timestamptz, closed_at timestamptz, expires_at timestamptz,
  phases text[], work jsonb, counts jsonb);
CREATE TYPE ledger.entry AS (
  account_id text, seq bigint, at timestamptz, recorded_at timestamptz, kind text, status text, key text, hold_id text,
  credits bigint, available_after bigint, held_after bigint, debt_after bigint,
  moves ledger.move[], detail jsonb, actor text, reason text);
CREATE TYPE ledger.answer AS (account_id text, key text, request_hash text, seq bigint, answer text);

-- One account's part of a call, as it was read under the lock.
CREATE TYPE ledger.call AS (
  account_id text, ops jsonb, settlement jsonb,
  account ledger.account, clock_at timestamptz,
  answers ledger.answer[],  -- of keys that are known
  claims ledger.answer[],   -- on keys that have no answer yet
  holds ledger.hold[],      -- those that are named
  lots ledger.lot[],        -- in spend order: those that may be spent from or that end
  now timestamptz,          -- on the account's clock
  until timestamptz,        -- how far this call goes; what ends later waits for the next settlement
  expired int[],            -- positions in `holds` of the leases that have expired, in the order of their ends
  next_lease timestamptz,   -- no other lease ends before this
  only_replays boolean);    -- whether all its keys are known

-- What one operation does to an account. Null: nothing of the kind.
CREATE TYPE ledger.effect AS (
  kind text,                -- as the journal calls it
  status text,              -- applied, or why not
  recorded boolean,         -- whether it leaves a journal row and uses up its key
  moves ledger.move[],
  new_lots jsonb,           -- [{lot, bucket, rank, effectiveAt, expiresAt, graceSeconds, parent, source}]; moves fill them
  hold ledger.hold,         -- as it is from now on
  closes boolean,           -- whether that hold is closed with it
  reply jsonb,
  detail jsonb,
  counts jsonb,             -- what is counted, or uncounted: [{counter, period, of, units}]
  used jsonb,               -- how much of those counters is used then, where the decision has looked
  owed bigint,              -- debt that arises, less what is repaid
  facts jsonb,              -- for the answer, where they are not the operation's
  generation jsonb,         -- a generation that begins
  schedule text,            -- the schedule whose lots end: the first part of their source, daily or plan
  ends int[],               -- the lots that end before their time
  unread int[],             -- the lots it moves that were not read
  rules_version bigint,     -- of the account, where gates or calendar change
  next_due_at timestamptz,
  wake_at timestamptz);

-- One account after its part of a call: what is to be written, and the replies.
CREATE TYPE ledger.outcome AS (
  account ledger.account,
  lots ledger.lot[], moved int[],  -- all that were read or made, and the numbers of those that changed
  holds ledger.hold[],             -- as in the call, then new ones; those that changed have another epoch
  journal ledger.entry[], answers ledger.answer[], replies jsonb[],
  used jsonb,                      -- counters that changed: {"[counter, period]": units}
  generations jsonb,               -- those that begin: [{account, id, ...}]
  ends jsonb);                     -- what became of others: {"account id": {account, id, at, status, outputs, error, ...}}
