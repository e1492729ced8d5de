-- The ledger's operations. One call of ledger.apply is one account, one transaction, one round trip, for one
-- operation or hundreds: it reads what the call needs into arrays, decides there, and writes each table once.
--
--   apply              locks the account, answers known keys, lets what is over end, decides, writes
--   take, give_back    which lots pay, and where credits return to (rules 13, 14): pure, on the arrays
--   snapshot, balance  what gates, settlement and readers start from
--
-- A function and not one statement: each statement in here takes its snapshot after the row lock was granted. A
-- single CTE that waited for the lock would go on with the lots as they were before. Refusals come back as values;
-- an exception means a bug or a broken request, and nothing is written. Timestamps come from clock_timestamp()
-- after the lock, never from now(), which is when waiting began.

-- What is in this directory is put in as a whole whenever its number is higher (db/migrate/migrate.ts), so each function is written down
-- once. What is ours alone goes first; what others may build on (3_past.sql) is replaced, so that their views and grants stay.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND prorettype <> 'trigger'::regtype
              AND proname NOT IN ('due_moves', 'seq_before', 'lots_before', 'totals_before', 'statement') LOOP
    EXECUTE format('DROP FUNCTION %s', f);
  END LOOP;
END $$;
DROP TYPE IF EXISTS ledger.account, ledger.lot, ledger.hold, ledger.entry, ledger.answer;

-- What a call works on, as plain rows: a table's own row type drags its constraints along wherever it is unpacked,
-- which costs more than the work itself.
CREATE TYPE ledger.account AS (
  account_id text, seq bigint, lot_seq int, available bigint, held bigint, debt bigint, open_holds int, journal_at timestamptz,
  lots_due_at timestamptz, leases_due_at timestamptz, next_due_at timestamptz, wake_at timestamptz, rules_version bigint,
  settle_version bigint, low_below bigint, notice_before interval, told smallint, refused_from timestamptz, refused int);
CREATE TYPE ledger.lot AS (
  account_id text, lot_no int, bucket text, rank smallint, effective_at timestamptz, expires_at timestamptz, ended_at timestamptz,
  return_grace interval, parent_lot int, source text,
  granted bigint, available bigint, held bigint, frozen bigint, spent bigint, expired bigint, revoked bigint);
CREATE TYPE ledger.hold AS (
  account_id text, hold_id text, generation_id text, amount bigint, held bigint, captured bigint, released bigint, forfeited bigint, refunded bigint,
  lots int[], lots_held bigint[], lots_captured bigint[], open boolean, epoch int, workflow_id text, namespace_id text,
  opened_at timestamptz, overdue_at timestamptz, closed_at timestamptz, expires_at timestamptz, phases text[], work jsonb, counts jsonb);
CREATE TYPE ledger.entry AS (
  account_id text, seq bigint, at timestamptz, recorded_at timestamptz, kind text, status text, key text, hold_id text, credits bigint,
  available_after bigint, held_after bigint, debt_after bigint, moves ledger.move[], detail jsonb, actor text, reason text);
CREATE TYPE ledger.answer AS (account_id text, key text, request_hash text, seq bigint, answer text);

CREATE FUNCTION ledger.as_lot(l ledger.lots) RETURNS ledger.lot LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(l.account_id, l.lot_no, l.bucket, l.rank, l.effective_at, l.expires_at, l.ended_at, l.return_grace, l.parent_lot, l.source,
             l.granted, l.available, l.held, l.frozen, l.spent, l.expired, l.revoked)::ledger.lot
$$;
CREATE FUNCTION ledger.as_hold(h ledger.holds) RETURNS ledger.hold LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(h.account_id, h.hold_id, h.generation_id, h.amount, h.held, h.captured, h.released, h.forfeited, h.refunded,
             h.lots, h.lots_held, h.lots_captured, h.open, h.epoch, h.workflow_id, h.namespace_id,
             h.opened_at, h.overdue_at, h.closed_at, h.expires_at, h.phases, h.work, h.counts)::ledger.hold
$$;

-- The order lots are spent in, which is the order they are kept in: what is added to them goes where it belongs.
CREATE FUNCTION ledger.in_spend_order(p_lots ledger.lot[], OUT lots ledger.lot[], OUT numbers int[]) LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(o ORDER BY rank, expires_at, lot_no), '{}'), coalesce(array_agg(lot_no ORDER BY rank, expires_at, lot_no), '{}')
    FROM unnest(p_lots) o
$$;

-- The lots that pay p_amount: rank, then earliest expiry, then oldest, which is the order of p_lots (invariant 9).
-- Short of p_amount it is all there is. p_bucket: only from that bucket; p_excluded: from none of these.
--   draws   what was taken, by bucket, in the order of taking: [{bucket, milli}]
CREATE FUNCTION ledger.take(
  p_lots ledger.lot[], p_amount bigint, p_target ledger.part, p_bucket text, p_excluded jsonb,
  OUT moves ledger.move[], OUT numbers int[], OUT amounts bigint[], OUT taken bigint, OUT draws jsonb
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  l      ledger.lot;
  part   bigint;
  bucket text; -- the one that is being drawn, and what it has given
  given  bigint := 0;
BEGIN
  moves := '{}'; numbers := '{}'; amounts := '{}'; taken := 0; draws := '[]';
  FOR i IN 1..cardinality(p_lots) LOOP
    EXIT WHEN taken >= p_amount;
    l := p_lots[i];
    CONTINUE WHEN l.available = 0 OR l.bucket <> p_bucket OR p_excluded ? l.bucket;
    part := least(p_amount - taken, l.available);
    moves := moves || ROW(l.lot_no, 'available', p_target, part)::ledger.move;
    numbers := numbers || l.lot_no;
    amounts := amounts || part;
    taken := taken + part;
    IF bucket <> l.bucket THEN
      draws := draws || jsonb_build_object('bucket', bucket, 'milli', given);
      given := 0;
    END IF;
    bucket := l.bucket;
    given := given + part;
  END LOOP;
  IF bucket IS NOT NULL THEN
    draws := draws || jsonb_build_object('bucket', bucket, 'milli', given);
  END IF;
END $$;

-- Where credits go back to (rule 14): to the lot they came from while it lives; else they expire there, and where
-- policy and cause allow, a linked lot takes their place beside it, once.
--   p_from            the part they are in: held, spent or frozen
--   p_until           an administrator's refund always yields spendable credits, until then
CREATE FUNCTION ledger.give_back(
  p_lots ledger.lot[], p_numbers int[], p_at timestamptz, p_from ledger.part, p_from_lots int[], p_amounts bigint[],
  p_cause text, p_until timestamptz, p_lot_seq int,
  OUT moves ledger.move[], OUT new_lots jsonb, OUT returned bigint, OUT forfeited bigint
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  l    ledger.lot;
  ends timestamptz;
BEGIN
  moves := '{}'; new_lots := '[]'; returned := 0; forfeited := 0;
  FOR i IN 1..cardinality(p_from_lots) LOOP
    CONTINUE WHEN p_amounts[i] = 0;
    l := p_lots[array_position(p_numbers, p_from_lots[i])];
    IF l.ended_at IS NULL AND l.expires_at > p_at THEN
      moves := moves || ROW(l.lot_no, p_from, 'available', p_amounts[i])::ledger.move;
      returned := returned + p_amounts[i];
      CONTINUE;
    END IF;
    moves := moves || ROW(l.lot_no, p_from, 'expired', p_amounts[i])::ledger.move;
    ends := CASE WHEN p_until IS NOT NULL THEN p_until
                 WHEN p_cause <> 'customer' AND l.parent_lot IS NULL THEN p_at + l.return_grace END;
    IF ends IS NULL THEN
      forfeited := forfeited + p_amounts[i];
    ELSE
      p_lot_seq := p_lot_seq + 1;
      moves := moves || ROW(p_lot_seq, 'outside', 'available', p_amounts[i])::ledger.move;
      new_lots := new_lots || jsonb_build_object('lot', p_lot_seq, 'bucket', l.bucket, 'rank', l.rank,
        'effectiveAt', p_at, 'expiresAt', ends, 'parent', l.lot_no, 'source', 'return');
      returned := returned + p_amounts[i];
    END IF;
  END LOOP;
END $$;

-- The hold as callers see it; null if there is none.
CREATE FUNCTION ledger.hold_state(h ledger.hold) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN h.hold_id IS NOT NULL THEN jsonb_build_object('holdId', h.hold_id, 'amount', h.amount, 'held', h.held,
    'captured', h.captured, 'released', h.released, 'forfeited', h.forfeited, 'refunded', h.refunded, 'open', h.open, 'epoch', h.epoch,
    'expiresAt', h.expires_at) END
$$;

-- Rules, calendar and versions of one account, as gates and settle need them. Null if there is no such account.
-- endsAt: from then on some lot or lease is over that the totals still count. clock: the database's, whatever the account's.
CREATE FUNCTION ledger.snapshot(p_account text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  SELECT jsonb_build_object(
    'account', a.account_id, 'now', greatest(coalesce(a.clock_at, clock_timestamp()), a.journal_at), 'onTestClock', a.clock_at IS NOT NULL,
    'clock', clock_timestamp(),
    'seq', a.seq, 'available', a.available, 'held', a.held, 'debt', a.debt, 'openHolds', a.open_holds,
    'nextDueAt', a.next_due_at, 'endsAt', least(a.lots_due_at, a.leases_due_at), 'wakeAt', a.wake_at,
    'rulesVersion', a.rules_version, 'settleVersion', a.settle_version,
    'rules', jsonb_build_object('catalog', r.catalog, 'plan', r.plan, 'planSource', r.plan_source, 'planInterval', r.plan_interval,
      'paidUntil', r.paid_until, 'timezone', r.timezone, 'zoneChange', r.zone_change, 'anchor', r.anchor, 'suspended', r.suspended, 'maxOpen', r.max_open,
      'creditsPerDay', r.credits_per_day, 'pending', r.pending, 'periodFrom', r.period_from, 'endedAt', r.ended_at, 'testClock', r.test_clock, 'email', r.email, 'stripeCustomer', r.stripe_customer, 'createdAt', r.created_at),
    'members', coalesce((SELECT jsonb_object_agg(m.member, jsonb_build_object('role', m.role, 'monthlyLimit', m.monthly_limit))
                           FROM ledger.members m WHERE m.account_id = p_account), '{}'),
    'calendar', r.calendar,
    -- What ends and is not daily: when, since when it is there, and of which schedule.
    'ending', coalesce((SELECT jsonb_agg(DISTINCT jsonb_build_object('at', l.expires_at, 'since', l.effective_at, 'of', split_part(l.source, ':', 1)))
                          FROM ledger.lots l
                         WHERE l.account_id = p_account AND l.open AND l.expires_at < 'infinity' AND l.source NOT LIKE 'daily:%'), '[]'))
    FROM ledger.accounts a JOIN ledger.account_rules r USING (account_id)
   WHERE a.account_id = p_account
$$;

-- What an account may have in all, by what callers do (MAX_BALANCE_MILLI in domain/credits.ts): a ninth of 2^53, from where on JSON rounds.
CREATE FUNCTION ledger.balance_limit() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 1000000000000000 $$;

-- The snapshot with the lots a balance is made of: what is open or held, and what this period granted.
CREATE FUNCTION ledger.balance(p_account text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  SELECT ledger.snapshot(p_account) || jsonb_build_object('lots', coalesce((
    SELECT jsonb_agg(jsonb_build_object('lot', lot_no, 'bucket', bucket, 'rank', rank, 'effectiveAt', effective_at,
             'expiresAt', expires_at, 'source', source, 'granted', granted, 'available', l.available, 'held', l.held,
             'over', ended_at IS NOT NULL)
             ORDER BY rank, expires_at, lot_no)
      FROM (SELECT o.lot_no FROM ledger.lots o WHERE o.account_id = p_account AND o.open
             UNION SELECT u FROM ledger.holds h CROSS JOIN LATERAL unnest(h.lots) u WHERE h.account_id = p_account AND h.open
             UNION SELECT o.lot_no FROM ledger.lots o WHERE o.account_id = p_account AND o.expires_at < 'infinity' AND o.ended_at IS NULL
                      AND o.expires_at > (SELECT coalesce(a.clock_at, statement_timestamp()) FROM ledger.accounts a WHERE a.account_id = p_account)) n (lot)
     CROSS JOIN LATERAL (SELECT * FROM ledger.lots o WHERE o.account_id = p_account AND o.lot_no = n.lot OFFSET 0) l), '[]'))
$$;

-- Requests of one account that may be refused in a minute and leave a row.
CREATE FUNCTION ledger.refusals_a_minute() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 300 $$;

-- Takes one account's lock: `locked`, or `unknown_account`, or without waiting `busy`, where somebody else has it.
CREATE FUNCTION ledger.lock_account(p_account text, p_wait boolean) RETURNS text
LANGUAGE plpgsql SET search_path = ledger, pg_temp AS $$
BEGIN
  IF p_wait THEN
    PERFORM FROM ledger.accounts WHERE account_id = p_account FOR NO KEY UPDATE;
  ELSE
    PERFORM FROM ledger.accounts WHERE account_id = p_account FOR NO KEY UPDATE SKIP LOCKED;
  END IF;
  IF FOUND THEN
    RETURN 'locked';
  END IF;
  RETURN CASE WHEN EXISTS (SELECT FROM ledger.accounts WHERE account_id = p_account) THEN 'busy' ELSE 'unknown_account' END;
END $$;

-- A request whose answer is a text, and whose effect need not be an operation, claims its key before it does anything: from then
-- on the ledger refuses the key to any other request, as it refuses one of op_keys (rule 1). Answers what is known of it:
-- claimed, answered (with the answer), conflict, unknown_account, or without waiting busy. A claim that nobody came back to for ten minutes is of one
-- that failed without a word; it counts no more once its own request comes again.
--   p_passing  the answer moves no credits, and goes after a while (forget_passing)
CREATE FUNCTION ledger.claim_key(p_account text, p_key text, p_hash text, p_wait boolean DEFAULT true, p_passing boolean DEFAULT false, OUT known text, OUT status int, OUT answer bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
#variable_conflict use_column
DECLARE
  kept ledger.kept_answers;
BEGIN
  known := ledger.lock_account(p_account, p_wait);
  IF known <> 'locked' THEN
    RETURN;
  END IF;
  SELECT * INTO kept FROM ledger.kept_answers WHERE account_id = p_account AND key = p_key;
  IF kept.request_hash <> p_hash
     OR EXISTS (SELECT FROM ledger.op_keys WHERE account_id = p_account AND key = p_key AND request_hash <> p_hash) THEN
    known := 'conflict';
  ELSIF kept.answer IS NOT NULL THEN
    known := 'answered';
    status := kept.status;
    answer := kept.answer;
  ELSE
    known := 'claimed';
    INSERT INTO ledger.kept_answers AS k (account_id, key, request_hash, claims, passing) VALUES (p_account, p_key, p_hash, 1, p_passing)
      ON CONFLICT (account_id, key) DO UPDATE
         SET claims = CASE WHEN k.claimed_at < clock_timestamp() - interval '10 minutes' THEN 1 ELSE k.claims + 1 END,
             claimed_at = clock_timestamp();
  END IF;
END $$;

-- The answer of a claimed key; of two requests at a time both get the first one's, which is returned.
CREATE FUNCTION ledger.keep_answer(p_account text, p_key text, p_hash text, p_status int, p_answer bytea, OUT status int, OUT answer bytea)
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  UPDATE ledger.kept_answers k
     SET claims = greatest(0, k.claims - 1), status = coalesce(k.status, p_status), answer = coalesce(k.answer, p_answer)
   WHERE k.account_id = p_account AND k.key = p_key AND k.request_hash = p_hash
  RETURNING k.status, k.answer
$$;

-- A request that was refused does not use its key up (rule 2). One that failed keeps its claim: it may have had its effect.
CREATE FUNCTION ledger.free_key(p_account text, p_key text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  UPDATE ledger.kept_answers SET claims = greatest(0, claims - 1) WHERE account_id = p_account AND key = p_key;
  DELETE FROM ledger.kept_answers WHERE account_id = p_account AND key = p_key AND claims = 0 AND answer IS NULL;
$$;

-- Takes away what moved no credits and is thirty days old (rule 38): quotes, and the answers that are passing; of each at most so
-- many at once. Returns how many went, and whether there may be more. What somebody works on at this moment is left for the next time.
CREATE FUNCTION ledger.forget_passing(p_most int, OUT quotes int, OUT answers int, OUT more boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  before     constant timestamptz := statement_timestamp() - interval '30 days';
  of_callers int;
BEGIN
  DELETE FROM holdfast.quotes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM holdfast.quotes WHERE created_at < before ORDER BY created_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS quotes = ROW_COUNT;
  DELETE FROM ledger.kept_answers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ledger.kept_answers WHERE passing AND claimed_at < before ORDER BY claimed_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS answers = ROW_COUNT;
  DELETE FROM holdfast.request_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM holdfast.request_keys WHERE passing AND created_at < before ORDER BY created_at LIMIT p_most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS of_callers = ROW_COUNT;
  more := greatest(quotes, answers, of_callers) = p_most;
  answers := answers + of_callers;
END $$;

-- Everything that changes an account comes through here: calls on several accounts, one transaction, one round trip.
--   p_calls  [{account, ops, settle}], each account once
--   p_wait   whether to wait for accounts that somebody else has locked. A call that waits keeps the locks it has meanwhile, and so
--            may make strangers wait: for several accounts it should be false.
--   ops      [{op, key, hash, ...}], each independent of the others, decided in order. A key says what was asked, `hash` how: the
--            same key with another hash is a conflict (rules 1, 3; callers' are `req:…`, ours `sys:…` by hold and step, rule 4).
--            The fields of each are at its WHEN below.
--   settle   {settleVersion, rulesVersion, steps: [{at, ...grant}], calendar, nextDueAt, wakeAt, lowBelow, noticeSeconds}, or null: the steps that
--            are due, worked out by domain/time/settle.ts; SQL does no calendar arithmetic (rule 11)
-- Answers one result for each account, in the order asked: {account, result: ok, replies: [...], ...}, or without having written
-- anything there {result: unknown_account}, {result: busy} (it is locked), {result: settle_required | stale, snapshot}.
CREATE FUNCTION ledger.apply(p_calls jsonb, p_wait boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  c           record;
  results     jsonb[] := '{}';
  seen        text[] := '{}';
  locked      text[];
  -- What is to be written, of all accounts.
  accounts    ledger.account[] := '{}';
  lots_new    ledger.lot[] := '{}';
  lots_moved  ledger.lot[] := '{}';
  holds_new   ledger.hold[] := '{}';
  holds_moved ledger.hold[] := '{}';
  journal     ledger.entry[] := '{}';
  answers_new ledger.answer[] := '{}';
  generations jsonb := '[]';
  ends        jsonb := '{}';            -- what became of a generation, by account and id
  -- One of a kind, wherever it is needed.
  a           ledger.account;
  h           ledger.hold;
  l           ledger.lot;
  m           ledger.move;
  e           ledger.entry;
  k           ledger.answer;
  frozen      ledger.freezes;
  taken       record;
  back        record;
  conflict    constant jsonb := '{"status": "idempotency_conflict", "answer": null}';
BEGIN
  -- Always in the same order, so that two calls with accounts in common cannot wait for each other.
  IF p_wait THEN
    locked := ARRAY(SELECT account_id FROM ledger.accounts WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_calls) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE);
  ELSE
    locked := ARRAY(SELECT account_id FROM ledger.accounts WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_calls) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED);
  END IF;

  -- This statement sees what was committed before the locks were granted: of each account the row, the answers to keys that are
  -- known, the claims on keys, the holds that are named, and in spend order the lots that may be spent from or that end.
  <<calls>>
  FOR c IN
    SELECT q.value ->> 'account' AS account_id, q.value -> 'ops' AS ops, q.value -> 'settle' AS settlement, a.clock_at, a.wake_at,
           ROW(a.account_id, a.seq, a.lot_seq, a.available, a.held, a.debt, a.open_holds, a.journal_at, a.lots_due_at, a.leases_due_at,
               a.next_due_at, a.wake_at, a.rules_version, a.settle_version, a.low_below, a.notice_before, a.told, a.refused_from, a.refused)::ledger.account AS account,
           ARRAY(SELECT ROW(o.account_id, o.key, o.request_hash, o.seq, o.answer)::ledger.answer FROM ledger.op_keys o
                  WHERE o.account_id = q.value ->> 'account' AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(q.value -> 'ops') ->> 'key'))) AS answers,
           ARRAY(SELECT ROW(o.account_id, o.key, o.request_hash, 0, '')::ledger.answer FROM ledger.kept_answers o
                  WHERE o.account_id = q.value ->> 'account' AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(q.value -> 'ops') ->> 'key'))) AS claims,
           ARRAY(SELECT ledger.as_hold(o) FROM ledger.holds o
                  WHERE o.account_id = q.value ->> 'account' AND o.hold_id = ANY (ARRAY(SELECT jsonb_array_elements(q.value -> 'ops') ->> 'holdId'))) AS holds,
           ARRAY(SELECT ledger.as_lot(o) FROM ledger.lots o
                  WHERE o.account_id = q.value ->> 'account' AND o.open ORDER BY o.rank, o.expires_at, o.lot_no) AS lots
      FROM jsonb_array_elements(p_calls) WITH ORDINALITY q LEFT JOIN ledger.accounts a ON a.account_id = q.value ->> 'account'
     ORDER BY q.ordinality
  LOOP
    DECLARE
      a           ledger.account := c.account;        -- as it will be written
      was         ledger.account := c.account;        -- and as it was
      t           timestamptz;                        -- now, on the account's clock
      stop        timestamptz;                        -- and how far this call goes: what is over later waits for the next settlement
      settlement  jsonb := nullif(c.settlement, 'null');
      -- What the call works on; positions in `numbers`, `hold_ids` and `keys` are those in the arrays beside them.
      lots        ledger.lot[] := c.lots;             -- in spend order
      numbers     int[] := '{}';
      moved       int[] := '{}';                      -- numbers of lots that change
      cut         int[] := '{}';                      -- numbers of lots that holds were cut from
      holds       ledger.hold[] := c.holds;
      hold_ids    text[] := '{}';
      epochs      int[] := '{}';                      -- as they were: a hold that changes moves its epoch
      stored      int;                                -- holds up to here are in the table already
      next_lease  timestamptz := a.leases_due_at;     -- no lease that is not over ends before this
      over        int[] := '{}';                      -- positions of the leases that are over, in the order of their ends
      ended_leases int := 0;                          -- how many of them were ended
      answers     ledger.answer[] := c.answers;
      keys        text[] := '{}';
      known       int := cardinality(c.answers);      -- keys up to here are in the table already
      replies     jsonb[] := '{}';
      counters    text[] := '{}';                     -- those that were looked at, as [counter, period], and how much of them is used
      used        bigint[] := '{}';
      counted     boolean := false;                   -- whether any of them changed
      -- One turn of the loop: what happens next to this account.
      steps       int := coalesce(jsonb_array_length(settlement -> 'steps'), 0);
      replay_only boolean := false;
      n           int := 0;
      op          jsonb;
      at          timestamptz;
      kind        text;
      status      text;
      closed      text;                               -- why nothing can be done with the hold any more
      recorded    boolean;                            -- whether it leaves a journal row and uses up its key
      reply       jsonb;
      detail      jsonb;
      counts      jsonb;                              -- what is counted, or uncounted: [{counter, period, of, units}]
      limited     jsonb;                              -- the first counter that is too full
      gave_back   bigint;
      moves       ledger.move[];
      ended       ledger.move[];
      new_lots    jsonb;
      x           int;
      amount      bigint;
      wanted      bigint;
      part        bigint;
      final       boolean;
      runs        boolean;                            -- whether work is done for it, which needs a hold, be it of nothing
      delivered   boolean;                            -- whether anything came of a hold that ends
      schedule    text;                               -- the schedule whose lots end: the first part of their source, daily or plan
      from_lots   int[];
      amounts     bigint[];
      none        bigint[];
      r           jsonb;
      d_available bigint;
      d_held      bigint;
      level       smallint;
      owed        bigint;
      repaid_now  bigint;
      due         timestamptz;
      lease_due   timestamptz;
    BEGIN
      IF c.account_id = ANY (seen) THEN
        RAISE EXCEPTION 'account % is in one call twice', c.account_id USING ERRCODE = 'invalid_parameter_value';
      END IF;
      seen := seen || c.account_id;
      IF a.account_id IS NULL THEN
        results := results || jsonb_build_object('account', c.account_id, 'result', 'unknown_account');
        CONTINUE calls;
      ELSIF c.account_id <> ALL (locked) THEN
        results := results || jsonb_build_object('account', c.account_id, 'result', 'busy');
        CONTINUE calls;
      END IF;
      -- The account's clock, the database's or a test clock's, and never before what the journal has seen (invariant 10).
      t := greatest(coalesce(c.clock_at, clock_timestamp()), a.journal_at);
      stop := least(t, coalesce((settlement ->> 'until')::timestamptz, t));

      -- A key that is known is answered before anything else is looked at, also before settling (rule 1); one that is only
      -- claimed is no answer, and the call settles first.
      -- Where a lease is over that is first written down, for a hold is shown as it is now (rule 5).
      IF known > 0 AND settlement IS NULL AND (a.leases_due_at > t OR NOT EXISTS (
           SELECT FROM ledger.holds o WHERE o.account_id = c.account_id AND o.open AND o.expires_at <= t)) THEN
        replay_only := known = (SELECT count(DISTINCT o.value ->> 'key') FROM jsonb_array_elements(c.ops) o);
      END IF;
      IF settlement IS NULL THEN
        IF t >= a.next_due_at AND NOT replay_only THEN
          results := results || jsonb_build_object('account', c.account_id, 'result', 'settle_required', 'snapshot', ledger.snapshot(c.account_id));
          CONTINUE calls;
        END IF;
      ELSIF (settlement ->> 'settleVersion')::bigint <> a.settle_version OR (settlement ->> 'rulesVersion')::bigint <> a.rules_version THEN
        results := results || jsonb_build_object('account', c.account_id, 'result', 'stale', 'snapshot', ledger.snapshot(c.account_id));
        CONTINUE calls;
      ELSIF t >= (settlement ->> 'nextDueAt')::timestamptz AND c.ops <> '[]' THEN -- a boundary passed while it was on its way here
        results := results || jsonb_build_object('account', c.account_id, 'result', 'settle_required', 'snapshot', ledger.snapshot(c.account_id));
        CONTINUE calls;
      ELSE
        a.settle_version := a.settle_version + 1;
        a.next_due_at := (settlement ->> 'nextDueAt')::timestamptz;
        a.wake_at := (settlement ->> 'wakeAt')::timestamptz;
        a.low_below := (settlement ->> 'lowBelow')::bigint;
        a.notice_before := make_interval(secs => (settlement ->> 'noticeSeconds')::double precision);
        UPDATE ledger.account_rules SET calendar = calendar || (settlement -> 'calendar')
         WHERE account_id = c.account_id AND NOT calendar @> (settlement -> 'calendar');
        -- A step that was granted before, by another road, is done.
        SELECT answers || coalesce(array_agg(ROW(o.account_id, o.key, o.request_hash, o.seq, o.answer)::ledger.answer), '{}') INTO answers
          FROM ledger.op_keys o WHERE o.account_id = c.account_id AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(settlement -> 'steps') ->> 'key'));
        known := cardinality(answers);
      END IF;
      FOR i IN 1..known LOOP
        keys := keys || answers[i].key;
      END LOOP;
      FOR i IN 1..cardinality(lots) LOOP
        numbers := numbers || lots[i].lot_no;
      END LOOP;

      IF a.leases_due_at <= t THEN -- the leases that are over
        SELECT holds || coalesce(array_agg(ledger.as_hold(o)) FILTER (WHERE o.overdue_at <= t
                 AND o.hold_id <> ALL (ARRAY(SELECT (b).hold_id FROM unnest(holds) b))), '{}'),
               coalesce(min(o.expires_at) FILTER (WHERE o.overdue_at > t), 'infinity')
          INTO holds, next_lease FROM ledger.holds o WHERE o.account_id = c.account_id AND o.open AND o.expires_at IS NOT NULL;
      END IF;
      stored := cardinality(holds);
      -- Of leases that end together the one with the lesser id goes first, so that a batch and single calls agree.
      IF a.leases_due_at <= t THEN
        over := ARRAY(SELECT o.n FROM unnest(holds) WITH ORDINALITY o (account_id, hold_id, generation_id, amount, held, captured, released, forfeited,
            refunded, lots, lots_held, lots_captured, open, epoch, workflow_id, namespace_id, opened_at, overdue_at, closed_at, expires_at, phases, work, counts, n)
          WHERE o.open AND o.expires_at <= t ORDER BY o.expires_at, o.hold_id COLLATE "C");
      END IF;
      FOR i IN 1..stored LOOP
        hold_ids := hold_ids || holds[i].hold_id;
        epochs := epochs || holds[i].epoch;
        cut := cut || holds[i].lots;
      END LOOP;
      IF NOT cut <@ numbers THEN -- lots that holds were cut from, and nothing is left of
        SELECT s.* INTO lots, numbers FROM ledger.in_spend_order(lots || ARRAY(SELECT ledger.as_lot(o)
          FROM ledger.lots o WHERE o.account_id = c.account_id AND o.lot_no = ANY (cut) AND o.lot_no <> ALL (numbers))) s;
      END IF;

    LOOP
      -- What comes next: something that is over by then, or else the next step of the calendar or operation.
      op := CASE WHEN n < steps THEN settlement -> 'steps' -> n ELSE c.ops -> (n - steps) END;
      at := CASE WHEN n < steps THEN (op ->> 'at')::timestamptz ELSE stop END;
      IF least(a.lots_due_at, a.leases_due_at) <= at AND NOT replay_only THEN
        due := 'infinity';
        FOR i IN 1..cardinality(lots) LOOP
          IF lots[i].available > 0 AND lots[i].expires_at < due THEN
            due := lots[i].expires_at;
            l := lots[i];
          END IF;
        END LOOP;
        -- The leases that are over are ended in their order, before any operation: none becomes so while operations are decided.
        lease_due := next_lease;
        IF ended_leases < cardinality(over) THEN
          h := holds[over[ended_leases + 1]];
          lease_due := h.expires_at;
        END IF;
        a.lots_due_at := due;
        a.leases_due_at := lease_due;
        CONTINUE WHEN least(due, lease_due) > at;
        at := least(due, lease_due);
        IF due <= lease_due THEN
          op := jsonb_build_object('op', 'expire', 'lot', l.lot_no);
        ELSE
          op := jsonb_build_object('op', 'release', 'holdId', h.hold_id, 'cause', 'customer', 'reason', 'lease_over');
          ended_leases := ended_leases + 1;
        END IF;
      ELSIF op IS NULL THEN
        EXIT;
      ELSE
        n := n + 1;
        x := array_position(keys, op ->> 'key');
        IF x IS NOT NULL THEN
          CONTINUE WHEN n <= steps; -- granted before, by another road: the step is done
          -- The stored answer byte for byte, and the hold as it is now (rule 5).
          reply := CASE WHEN answers[x].request_hash <> op ->> 'hash' THEN conflict
                        ELSE answers[x].answer::jsonb - 'facts' || jsonb_build_object('answer', answers[x].answer) END;
          -- The run that goes on with an open hold is its owner from now on (rule 17), which is a sign of life.
          h := holds[array_position(hold_ids, op ->> 'holdId')];
          IF op ->> 'op' = 'reserve' AND h.open AND h.generation_id IS NOT NULL AND answers[x].request_hash = op ->> 'hash'
             AND op ->> 'workflowId' IS NOT NULL THEN
            h.workflow_id := op ->> 'workflowId';
            h.namespace_id := op ->> 'namespaceId';
            h.epoch := h.epoch + 1;
            holds[array_position(hold_ids, h.hold_id)] := h;
            UPDATE ledger.holds SET workflow_id = h.workflow_id, namespace_id = h.namespace_id, epoch = h.epoch
             WHERE account_id = h.account_id AND hold_id = h.hold_id;
          END IF;
          replies := replies || (reply || jsonb_build_object('replayed', true,
            'hold', ledger.hold_state(holds[array_position(hold_ids, op ->> 'holdId')])));
          CONTINUE;
        ELSIF cardinality(c.claims) > 0 AND EXISTS (SELECT FROM unnest(c.claims) o WHERE o.key = op ->> 'key' AND o.request_hash <> op ->> 'hash') THEN
          replies := replies || (conflict || jsonb_build_object('replayed', true,
            'hold', ledger.hold_state(holds[array_position(hold_ids, op ->> 'holdId')])));
          CONTINUE;
        END IF;
      END IF;

      kind := coalesce(op ->> 'op', 'grant');
      status := 'applied';
      recorded := true;
      reply := '{}';
      detail := NULL;
      moves := '{}';
      new_lots := '[]';
      counts := '[]';
      gave_back := 0;
      owed := 0;
      repaid_now := 0;
      at := greatest(a.journal_at, at);
      amount := (op ->> 'amount')::bigint;
      IF amount < 0 AND kind <> 'adjust' THEN
        RAISE EXCEPTION 'the amount of a % must not be negative', kind USING ERRCODE = 'invalid_parameter_value';
      END IF;
      x := array_position(hold_ids, op ->> 'holdId');
      h := holds[x];
      final := false; -- whether it closes a hold
      schedule := NULL;
      closed := CASE WHEN h.hold_id IS NULL THEN 'unknown_hold'
                     WHEN op ? 'leased' AND h.generation_id IS NOT NULL THEN 'not_leased' -- its workflow's
                     WHEN NOT h.open AND h.closed_at = h.expires_at THEN 'hold_expired'
                     WHEN NOT h.open THEN 'hold_closed' END;

      CASE kind

      -- {rulesVersion, amount, holdId, excluded: [bucket], refusal, counts: [{counter, period, of: uses | credits, units, limit,
      -- refusal}], countsUntil, maxOpen, reserveBefore, overdueSeconds | ttlSeconds, deadlineSeconds, refuseOnly,
      --  runs, workflowId, namespaceId, facts, ifRefused, generation | work}. The caller decided from a snapshot at rulesVersion what applies (refusal,
      -- excluded buckets); here it is decided whether that still holds, and the balance (rule 9). A charge is reserve and capture in one.
      -- refuseOnly: for a caller without a workflow, who expects a refusal and may not hold anything (rule 10).
      -- runs: a workflow does it, also where it comes to 0: only what is listed as a free action ends at once. Older callers do not say.
      WHEN 'reserve', 'charge' THEN
        IF x IS NOT NULL THEN
          RAISE EXCEPTION 'hold % exists already, under another key', op ->> 'holdId' USING ERRCODE = 'unique_violation';
        END IF;
        IF (op ->> 'rulesVersion')::bigint <> a.rules_version OR at >= (op ->> 'countsUntil')::timestamptz THEN
          status := 'stale';
          recorded := false;
        ELSIF clock_timestamp() > (op ->> 'reserveBefore')::timestamptz THEN
          status := 'too_late'; -- nobody is charged minutes after they left (rule 8)
          recorded := false;
        ELSE
          runs := amount > 0 OR coalesce((op ->> 'runs')::boolean, false);
          -- Quotas first, then the member (rule 9): the first that would be exceeded says no.
          limited := NULL;
          FOR i IN 0..coalesce(jsonb_array_length(op -> 'counts'), 0) - 1 LOOP
            r := op -> 'counts' -> i;
            counts := counts || jsonb_build_object('counter', r -> 'counter', 'period', r -> 'period', 'of', r -> 'of', 'units', r -> 'units');
            x := array_position(counters, jsonb_build_array(r -> 'counter', r -> 'period')::text);
            IF x IS NULL THEN
              counters := counters || jsonb_build_array(r -> 'counter', r -> 'period')::text;
              used := used || coalesce((SELECT o.used FROM ledger.counters o
                WHERE o.account_id = c.account_id AND o.counter = r ->> 'counter' AND o.period = r ->> 'period'), 0);
              x := cardinality(used);
            END IF;
            IF limited IS NULL AND used[x] + (r ->> 'units')::bigint > (r ->> 'limit')::bigint THEN
              limited := r || jsonb_build_object('used', used[x]);
            END IF;
          END LOOP;
          taken := ledger.take(lots, CASE WHEN op ? 'refusal' OR limited IS NOT NULL THEN 9007199254740991 ELSE amount END,
            CASE kind WHEN 'charge' THEN 'spent'::ledger.part ELSE 'held' END, NULL, op -> 'excluded');
          status := CASE WHEN op ? 'refusal' THEN op ->> 'refusal'
                         WHEN limited IS NOT NULL THEN limited ->> 'refusal'
                         WHEN kind = 'reserve' AND runs AND a.open_holds >= (op ->> 'maxOpen')::int THEN 'too_many_open_generations'
                         WHEN taken.taken < amount THEN 'insufficient_credits'
                         WHEN runs AND (op ->> 'refuseOnly')::boolean THEN 'would_hold'
                         ELSE 'applied' END;
          -- These refusals leave the key free; the others are journal rows and the key's answer for ever (rule 2).
          recorded := status NOT IN ('too_many_open_generations', 'would_hold');
          IF status <> 'applied' THEN
            reply := jsonb_build_object('required', amount, 'spendable', taken.taken)
              || CASE WHEN status = limited ->> 'refusal' THEN jsonb_build_object('limited', limited) ELSE '{}' END;
            IF recorded THEN -- what could be spent, and until when: whether waiting is enough is told from it
              reply := reply || jsonb_build_object('left', coalesce((
                SELECT jsonb_agg(jsonb_build_object('bucket', g.bucket, 'schedule', g.schedule, 'until', g.expires_at, 'milli', g.milli) ORDER BY g.n)
                  FROM (SELECT o.bucket, split_part(o.source, ':', 1) AS schedule, o.expires_at, sum(o.available)::bigint AS milli,
                               min(array_position(numbers, o.lot_no)) AS n
                          FROM unnest(lots) o WHERE o.available > 0 AND NOT coalesce(op -> 'excluded' ? o.bucket, false)
                         GROUP BY o.bucket, split_part(o.source, ':', 1), o.expires_at) g), '[]'));
            END IF;
            counts := '[]';
            op := op || jsonb_build_object('facts', (op -> 'facts') || coalesce(op -> 'ifRefused', '{}'));
          ELSE
            moves := taken.moves;
            reply := jsonb_build_object('amount', amount) || CASE WHEN op ? 'work' THEN '{}' ELSE jsonb_build_object('draws', taken.draws) END;
            detail := CASE WHEN op ? 'generation' THEN jsonb_build_object('generation', op -> 'generation' -> 'id') END;
            IF op ? 'deadlineSeconds' THEN -- of the pipeline's own work: in real time, also on a test clock (rule 23)
              r := to_jsonb(date_trunc('milliseconds', clock_timestamp() + make_interval(secs => (op ->> 'deadlineSeconds')::double precision)));
              op := jsonb_set(jsonb_set(op, '{generation,deadlineAt}', r), '{facts,generation,deadlineAt}', r);
            END IF;
            IF runs THEN
              due := at + make_interval(secs => (op ->> 'ttlSeconds')::int);
              none := array_fill(0::bigint, ARRAY[cardinality(moves)]);
              h := ROW(a.account_id, op ->> 'holdId', op -> 'generation' ->> 'id', amount, amount, 0, 0, 0, 0, taken.numbers, taken.amounts, none, true, 0,
                op ->> 'workflowId', op ->> 'namespaceId', at, coalesce(due, at + make_interval(secs => (op ->> 'overdueSeconds')::int), at),
                NULL, due, '{}'::text[],
                op -> 'work' || jsonb_build_object('draws', taken.draws), nullif(counts, '[]'))::ledger.hold;
              IF kind = 'charge' THEN
                h.held := 0;
                h.captured := amount;
                h.lots_held := none;
                h.lots_captured := taken.amounts;
                h.open := false;
                h.closed_at := at;
              ELSE
                a.open_holds := a.open_holds + 1;
                a.leases_due_at := least(a.leases_due_at, coalesce(h.expires_at, 'infinity'));
                next_lease := least(next_lease, coalesce(h.expires_at, 'infinity'));
                detail := coalesce(detail, '{}') || jsonb_strip_nulls(jsonb_build_object('expiresAt', h.expires_at));
              END IF;
            END IF;
            IF op ? 'generation' THEN
              generations := generations || (op -> 'generation' || jsonb_build_object('account', a.account_id, 'key', op -> 'key', 'amount', amount,
                'holdId', CASE WHEN runs THEN op -> 'holdId' END, 'draws', reply -> 'draws', 'workflowId', op -> 'workflowId', 'at', at));
            END IF;
          END IF;
        END IF;

      -- Captures held credits and, when final, gives back the rest in the same operation (rule 13). {holdId, amount | delivered +
      -- ordered (of `price`, by default of all) | neither (all), clamp, final, phase, cause, generation}. clamp: take what remains if asked for more (rule 15).
      WHEN 'capture' THEN
        status := coalesce(closed, CASE WHEN op ->> 'phase' = ANY (h.phases) THEN 'phase_captured' ELSE 'applied' END);
        IF status = 'applied' THEN
          -- The delivered share of the whole price, less what phases took already (rule 13).
          wanted := CASE WHEN amount IS NOT NULL THEN amount
                         WHEN op ? 'delivered' THEN greatest(0,
                           div(coalesce((op ->> 'price')::bigint, h.amount)::numeric * (op ->> 'delivered')::int, (op ->> 'ordered')::int)::bigint - h.captured)
                         ELSE h.held END;
          IF wanted > h.held AND NOT coalesce((op ->> 'clamp')::boolean, false) THEN
            status := 'exceeds_hold';
          END IF;
        END IF;
        recorded := status = 'applied';
        IF recorded THEN
          final := (op ->> 'final')::boolean;
          reply := jsonb_build_object('captured', least(wanted, h.held), 'clamped', wanted > h.held);
          detail := jsonb_strip_nulls(jsonb_build_object('final', final, 'phase', op -> 'phase', 'clamped', nullif(wanted > h.held, false)));
          wanted := least(wanted, h.held);
          h.captured := h.captured + wanted;
          h.held := h.held - wanted;
          IF op ? 'phase' THEN
            h.phases := h.phases || (op ->> 'phase');
          END IF;
          FOR i IN 1..cardinality(h.lots) LOOP -- the order they were cut in is the spend order
            part := least(wanted, h.lots_held[i]);
            CONTINUE WHEN part = 0;
            moves := moves || ROW(h.lots[i], 'held', 'spent', part)::ledger.move;
            h.lots_held[i] := h.lots_held[i] - part;
            h.lots_captured[i] := h.lots_captured[i] + part;
            wanted := wanted - part;
          END LOOP;
        END IF;

      -- Gives back everything a hold still holds and closes it. {holdId, cause, epoch, generation}. With `epoch` only if no sign of
      -- life came since it was read (rule 17).
      WHEN 'release' THEN
        status := coalesce(closed, CASE WHEN h.epoch <> (op ->> 'epoch')::int THEN 'hold_alive' ELSE 'applied' END);
        recorded := status = 'applied';
        final := recorded;
        detail := jsonb_build_object('cause', op -> 'cause');

      -- Moves the end of a lease to now + ttlSeconds, never to earlier than it was, and never beyond a week in all: credits that
      -- end are not kept by holding them. {holdId, ttlSeconds}
      WHEN 'extend' THEN
        status := coalesce(closed, 'applied');
        recorded := status = 'applied';
        IF recorded THEN
          h.expires_at := greatest(h.expires_at, least(at + make_interval(secs => (op ->> 'ttlSeconds')::int), h.opened_at + interval '7 days'));
          h.overdue_at := h.expires_at;
          detail := jsonb_build_object('expiresAt', h.expires_at);
        END IF;

      -- Gives captured credits back, last drawn first, so that lasting credits return before passing ones. {holdId, amount (null: all),
      -- expiresAt | spendableSeconds}. Into an expired lot they stay spendable until then, or that long (rule 14). Whoever names the
      -- instant means all of the credits: those of a lot that lives would end with it, so then nothing moves.
      WHEN 'refund' THEN
        wanted := coalesce(amount, h.captured - h.refunded);
        due := coalesce((op ->> 'expiresAt')::timestamptz, at + make_interval(secs => (op ->> 'spendableSeconds')::double precision));
        status := CASE WHEN closed IN ('unknown_hold', 'not_leased') THEN closed
                       WHEN wanted > h.captured - h.refunded OR wanted <= 0 THEN 'refund_exceeds_captured'
                       WHEN due <= at THEN 'already_expired'
                       WHEN a.available + a.held + wanted > ledger.balance_limit() THEN 'balance_limit_reached' ELSE 'applied' END;
        recorded := status = 'applied';
        IF recorded THEN
          reply := jsonb_build_object('amount', wanted);
          detail := reply;
          h.refunded := h.refunded + wanted;
          gave_back := wanted;
          from_lots := '{}';
          amounts := '{}';
          FOR i IN REVERSE cardinality(h.lots)..1 LOOP
            part := least(wanted, h.lots_captured[i]);
            from_lots := from_lots || h.lots[i];
            amounts := amounts || part;
            h.lots_captured[i] := h.lots_captured[i] - part;
            wanted := wanted - part;
          END LOOP;
          back := ledger.give_back(lots, numbers, at, 'spent', from_lots, amounts, 'operator', due, a.lot_seq);
          moves := back.moves;
          new_lots := back.new_lots;
          IF op ? 'expiresAt' AND EXISTS (SELECT FROM unnest(moves) o WHERE o.source = 'spent' AND o.target = 'available') THEN
            status := 'lot_lives';
            recorded := false;
            reply := '{}';
            h := holds[x];
          END IF;
        END IF;

      -- Grants one lot. {bucket, rank, amount, expiresAt, graceSeconds, source, replaces}. With `replaces` it takes the place of what
      -- the same schedule granted before: daily credits are set and not added, and a renewal ends the old month, in one operation
      -- (rules 18, 21). A schedule is the first part of `source`: daily, plan. An adjustment may be negative: then credits are revoked.
      WHEN 'grant', 'adjust' THEN
        IF amount < 0 THEN
          taken := ledger.take(lots, -amount, 'revoked', op ->> 'bucket', NULL);
          recorded := taken.taken = -amount;
          IF recorded THEN
            moves := taken.moves;
          ELSE
            status := 'adjustment_exceeds_available';
            reply := jsonb_build_object('spendable', taken.taken);
          END IF;
        ELSIF (op ->> 'expiresAt')::timestamptz <= at THEN
          status := 'already_expired';
          recorded := false;
        ELSIF n > steps AND a.available + a.held + amount > ledger.balance_limit() THEN
          status := 'balance_limit_reached'; -- what settle grants is within the room above the limit
          recorded := false;
        ELSE
          moves := moves || ROW(a.lot_seq + 1, 'outside', 'available', amount)::ledger.move;
          new_lots := jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('lot', a.lot_seq + 1, 'bucket', op -> 'bucket',
            'rank', op -> 'rank', 'effectiveAt', at, 'expiresAt', op -> 'expiresAt', 'graceSeconds', op -> 'graceSeconds',
            'source', op -> 'source')));
        END IF;
        schedule := CASE WHEN recorded AND (op ->> 'replaces')::boolean THEN split_part(op ->> 'source', ':', 1) END;
        reply := reply || jsonb_build_object('amount', amount) || CASE WHEN amount > 0 AND recorded THEN jsonb_build_object('lot', a.lot_seq + 1) ELSE '{}' END;

      -- A lot that is over. It comes from the loop above, not from callers.
      WHEN 'expire' THEN
        moves := ARRAY[ROW(l.lot_no, 'available', 'expired', l.available)::ledger.move];

      -- Takes bought credits back (rule 27): {cause, source, buckets, amount}. What the dispute `cause` froze first, then what is left
      -- of the lot `source`, then lots of the buckets in spend order; the rest is debt.
      WHEN 'revoke' THEN
        wanted := amount;
        SELECT * INTO frozen FROM ledger.freezes WHERE account_id = c.account_id AND cause = op ->> 'cause' AND open;
        IF FOUND THEN
          SELECT s.* INTO lots, numbers FROM ledger.in_spend_order(lots || ARRAY(SELECT ledger.as_lot(o)
            FROM ledger.lots o WHERE account_id = c.account_id AND lot_no = ANY (frozen.lots) AND lot_no <> ALL (numbers))) s;
          FOR i IN 1..cardinality(frozen.lots) LOOP
            part := least(wanted, frozen.amounts[i]);
            CONTINUE WHEN part = 0;
            moves := moves || ROW(frozen.lots[i], 'frozen', 'revoked', part)::ledger.move;
            frozen.amounts[i] := frozen.amounts[i] - part;
            wanted := wanted - part;
          END LOOP;
          UPDATE ledger.freezes SET amounts = frozen.amounts WHERE account_id = c.account_id AND cause = frozen.cause;
        END IF;
        from_lots := ARRAY(SELECT o.lot_no FROM ledger.lots o WHERE o.account_id = c.account_id AND o.source = op ->> 'source');
        FOR pass IN 1..2 LOOP -- its own lot and what came back of it, then the others
          FOR i IN 1..cardinality(lots) LOOP
            CONTINUE WHEN (lots[i].source = op ->> 'source' OR coalesce(lots[i].parent_lot = ANY (from_lots), false)) <> (pass = 1) OR (pass = 2 AND NOT op -> 'buckets' ? lots[i].bucket);
            part := least(wanted, lots[i].available);
            CONTINUE WHEN part = 0;
            moves := moves || ROW(numbers[i], 'available', 'revoked', part)::ledger.move;
            wanted := wanted - part;
          END LOOP;
        END LOOP;
        owed := wanted;
        IF owed > 0 THEN
          INSERT INTO ledger.debts AS d (account_id, cause, seq, owed) VALUES (c.account_id, op ->> 'cause', a.seq + 1, owed)
          ON CONFLICT (account_id, cause) DO UPDATE SET owed = d.owed + excluded.owed;
        END IF;
        reply := jsonb_build_object('amount', amount, 'owed', owed);
        detail := jsonb_build_object('cause', op -> 'cause', 'owed', owed);

      -- Freezes what is available of the lot `source`, and of what came back of it, for a dispute (rule 28): {cause, source, amount (null: all of it)}.
      WHEN 'freeze' THEN
        wanted := coalesce(amount, 9007199254740991);
        from_lots := ARRAY(SELECT o.lot_no FROM ledger.lots o WHERE o.account_id = c.account_id AND o.source = op ->> 'source');
        FOR i IN 1..cardinality(lots) LOOP
          part := least(wanted, lots[i].available);
          CONTINUE WHEN part = 0 OR NOT (lots[i].source = op ->> 'source' OR coalesce(lots[i].parent_lot = ANY (from_lots), false));
          moves := moves || ROW(numbers[i], 'available', 'frozen', part)::ledger.move;
          wanted := wanted - part;
        END LOOP;
        INSERT INTO ledger.freezes (account_id, cause, lots, amounts) VALUES (c.account_id, op ->> 'cause',
          ARRAY(SELECT lot FROM unnest(moves)), ARRAY(SELECT milli FROM unnest(moves))) ON CONFLICT DO NOTHING;
        recorded := FOUND;
        IF NOT recorded THEN
          status := 'already_frozen';
          moves := '{}';
        END IF;
        reply := jsonb_build_object('amount', coalesce((SELECT sum(milli) FROM unnest(moves)), 0));
        detail := jsonb_build_object('cause', op -> 'cause');

      -- Gives back exactly what the dispute `cause` froze and still has frozen: {cause}.
      WHEN 'unfreeze' THEN
        UPDATE ledger.freezes SET open = false WHERE account_id = c.account_id AND cause = op ->> 'cause' AND open RETURNING * INTO frozen;
        recorded := FOUND;
        IF NOT recorded THEN
          status := 'not_frozen';
        ELSE
          SELECT s.* INTO lots, numbers FROM ledger.in_spend_order(lots || ARRAY(SELECT ledger.as_lot(o)
            FROM ledger.lots o WHERE account_id = c.account_id AND lot_no = ANY (frozen.lots) AND lot_no <> ALL (numbers))) s;
          back := ledger.give_back(lots, numbers, at, 'frozen', frozen.lots, frozen.amounts, 'operator', NULL, a.lot_seq);
          moves := back.moves;
          new_lots := back.new_lots;
          reply := jsonb_build_object('returned', back.returned, 'forfeited', back.forfeited);
          detail := jsonb_build_object('cause', op -> 'cause');
        END IF;

      -- Changes what gates and calendar are decided by: {rules: {plan, planSource, ...}, rulesVersion, grants, ends, forfeits}. Only a change of plan,
      -- or of what is going to happen to it, and a suspension are history. rulesVersion, settleVersion: what it was worked out from; if one has moved since, nothing happens.
      -- grants: [{bucket, rank, amount, expiresAt, graceSeconds, source}], what an upgrade adds at once (rule 19). ends: a schedule whose
      -- lots end with this; forfeits: what comes back of them is lost, whatever their policy says (rule 14).
      WHEN 'rules' THEN
        IF (op ->> 'rulesVersion')::bigint <> a.rules_version OR (op ->> 'settleVersion')::bigint <> a.settle_version THEN
          status := 'stale';
          recorded := false;
        ELSE
          r := op -> 'rules';
          UPDATE ledger.account_rules u
             SET plan = coalesce(r ->> 'plan', u.plan), plan_source = coalesce(r ->> 'planSource', u.plan_source),
                 plan_interval = CASE WHEN r ? 'planInterval' THEN r ->> 'planInterval' ELSE u.plan_interval END,
                 paid_until = CASE WHEN r ? 'paidUntil' THEN (r ->> 'paidUntil')::timestamptz ELSE u.paid_until END,
                 period_from = CASE WHEN r ? 'periodFrom' THEN (r ->> 'periodFrom')::timestamptz ELSE u.period_from END,
                 pending = CASE WHEN r ? 'pending' THEN nullif(r -> 'pending', 'null') ELSE u.pending END,
                 ended_at = CASE WHEN r ? 'endedAt' THEN (r ->> 'endedAt')::timestamptz ELSE u.ended_at END,
                 timezone = coalesce(r ->> 'timezone', u.timezone),
                 zone_change = CASE WHEN r ? 'zoneChange' THEN nullif(r -> 'zoneChange', 'null') ELSE u.zone_change END, anchor = coalesce((r ->> 'anchor')::timestamptz, u.anchor),
                 suspended = coalesce((r ->> 'suspended')::boolean, u.suspended),
                 max_open = CASE WHEN r ? 'maxOpen' THEN (r ->> 'maxOpen')::int ELSE u.max_open END,
                 credits_per_day = CASE WHEN r ? 'creditsPerDay' THEN (r ->> 'creditsPerDay')::bigint ELSE u.credits_per_day END,
                 email = CASE WHEN r ? 'email' THEN r ->> 'email' ELSE u.email END,
                 calendar = u.calendar || coalesce(r -> 'calendar', '{}')
            FROM ledger.account_rules was
           WHERE u.account_id = c.account_id AND was.account_id = u.account_id
          RETURNING jsonb_strip_nulls(jsonb_build_object('before', was.plan, 'after', u.plan, 'interval', u.plan_interval, 'source', u.plan_source,
            'pending', u.pending)) INTO detail;
          -- Every step of the calendar is worked out afresh: the next use settles first.
          a.rules_version := a.rules_version + 1;
          a.next_due_at := '-infinity';
          kind := CASE WHEN r ?| ARRAY['plan', 'pending'] THEN 'plan' WHEN (r ->> 'suspended')::boolean THEN 'suspend' ELSE 'unsuspend' END;
          recorded := r ?| ARRAY['plan', 'pending', 'suspended'];
          IF NOT recorded THEN
            reply := '{"op": "rules"}';
          ELSIF kind <> 'plan' THEN
            detail := NULL;
          ELSE
            a.wake_at := least(a.wake_at, at); -- and so does its workflow
            schedule := op ->> 'ends';
            FOR i IN 0..coalesce(jsonb_array_length(op -> 'grants'), 0) - 1 LOOP
              r := op -> 'grants' -> i;
              moves := moves || ROW(a.lot_seq + 1 + i, 'outside', 'available', (r ->> 'amount')::bigint)::ledger.move;
              new_lots := new_lots || (jsonb_strip_nulls(r - 'amount') || jsonb_build_object('lot', a.lot_seq + 1 + i, 'effectiveAt', at));
            END LOOP;
          END IF;
        END IF;

      -- Says that credits are about to end, if any are left: {expiresAt}. It moves none.
      WHEN 'notice' THEN
        part := 0;
        FOR i IN 1..cardinality(lots) LOOP
          CONTINUE WHEN lots[i].expires_at <> (op ->> 'expiresAt')::timestamptz OR lots[i].source LIKE 'daily:%';
          part := part + lots[i].available;
        END LOOP;
        recorded := part > 0;
        detail := jsonb_build_object('notice', 'credits.expiring', 'milli', part, 'expiresAt', op -> 'expiresAt');

      -- Adds, changes or removes a member: {rulesVersion, member, role, monthlyLimit, remove, seats}. Whether a seat is free and an
      -- owner is left is decided here, under the lock.
      WHEN 'member' THEN
        recorded := false;
        SELECT count(*) FILTER (WHERE member <> op ->> 'member') AS others, count(*) FILTER (WHERE member = op ->> 'member') AS known,
               count(*) FILTER (WHERE member <> op ->> 'member' AND role = 'owner') AS owners,
               count(*) FILTER (WHERE member = op ->> 'member' AND role = 'owner') AS owner INTO taken
          FROM ledger.members WHERE account_id = c.account_id;
        status := CASE WHEN (op ->> 'rulesVersion')::bigint <> a.rules_version THEN 'stale'
                       WHEN op ? 'remove' AND taken.known = 0 THEN 'unknown_member'
                       WHEN taken.owner = 1 AND taken.owners = 0 AND (op ? 'remove' OR op ->> 'role' <> 'owner')
                            AND NOT (op ? 'remove' AND taken.others = 0) THEN 'last_owner'
                       WHEN NOT op ? 'remove' AND taken.known = 0 AND taken.others >= (op ->> 'seats')::int THEN 'seat_limit_reached'
                       ELSE 'applied' END;
        IF status = 'applied' THEN
          a.rules_version := a.rules_version + 1;
          IF op ? 'remove' THEN
            DELETE FROM ledger.members WHERE account_id = c.account_id AND member = op ->> 'member';
          ELSE
            INSERT INTO ledger.members (account_id, member, role, monthly_limit, added_at)
            VALUES (c.account_id, op ->> 'member', op ->> 'role', (op ->> 'monthlyLimit')::bigint, at)
            ON CONFLICT (account_id, member) DO UPDATE SET role = excluded.role, monthly_limit = excluded.monthly_limit;
          END IF;
        END IF;

      ELSE
        RAISE EXCEPTION 'unknown ledger operation: %', kind USING ERRCODE = 'invalid_parameter_value';
      END CASE;

      IF schedule IS NOT NULL THEN -- lots of a schedule end before their time, also those that are held as a whole
        SELECT s.* INTO lots, numbers FROM ledger.in_spend_order(lots || ARRAY(SELECT ledger.as_lot(o)
          FROM ledger.lots o WHERE o.account_id = c.account_id AND NOT o.open AND o.lot_no <> ALL (numbers)
           AND split_part(o.source, ':', 1) = schedule AND o.ended_at IS NULL AND o.expires_at >= at)) s;
        from_lots := '{}';
        ended := '{}';
        FOR i IN 1..cardinality(lots) LOOP
          CONTINUE WHEN split_part(lots[i].source, ':', 1) <> schedule OR lots[i].ended_at IS NOT NULL OR lots[i].expires_at < at
            OR (kind <> 'plan' AND (lots[i].bucket <> op ->> 'bucket' OR lots[i].expires_at = at));
          lots[i].ended_at := at;
          moved := moved || numbers[i];
          from_lots := from_lots || numbers[i];
          IF lots[i].available > 0 THEN
            ended := ended || ROW(numbers[i], 'available', 'expired', lots[i].available)::ledger.move;
          END IF;
          IF op ? 'forfeits' THEN
            lots[i].return_grace := NULL;
          END IF;
        END LOOP;
        moves := ended || moves;
        IF cardinality(from_lots) > 0 THEN
          detail := coalesce(detail, '{}') || jsonb_build_object('ended', to_jsonb(from_lots));
          IF op ? 'forfeits' THEN
            detail := detail || '{"forGood": true}';
            UPDATE ledger.lots SET return_grace = NULL WHERE account_id = c.account_id AND lot_no = ANY (from_lots);
          END IF;
        END IF;
      END IF;

      IF final THEN -- what a closing hold still holds goes back
        IF h.held > 0 THEN
          back := ledger.give_back(lots, numbers, at, 'held', h.lots, h.lots_held, op ->> 'cause', NULL, a.lot_seq);
          moves := moves || back.moves;
          new_lots := back.new_lots;
          reply := reply || jsonb_build_object('returned', back.returned, 'forfeited', back.forfeited);
          h.released := h.released + h.held;
          gave_back := h.held;
          h.forfeited := h.forfeited + back.forfeited;
          h.held := 0;
          h.lots_held := array_fill(0::bigint, ARRAY[cardinality(h.lots)]);
        ELSE
          reply := reply || '{"returned": 0, "forfeited": 0}';
        END IF;
        h.open := false;
        h.closed_at := at;
        a.open_holds := a.open_holds - 1;
      END IF;

      -- A refusal is a row for ever. Beyond so many in a minute it is none, and uses up no key (rules 2, 38).
      IF recorded AND status <> 'applied' AND op ->> 'key' LIKE 'req:%' THEN
        IF clock_timestamp() NOT BETWEEN a.refused_from AND a.refused_from + interval '1 minute' THEN
          a.refused_from := clock_timestamp();
          a.refused := 0;
        END IF;
        IF a.refused < ledger.refusals_a_minute() THEN
          a.refused := a.refused + 1;
        ELSE
          status := 'overloaded';
          recorded := false;
        END IF;
      END IF;

      IF recorded THEN
        -- A hold uncounts what it gives back, in the period it was counted in: credits as they come, a use once, if nothing
        -- was captured (rule 22), or where nothing could be, if nothing was delivered.
        delivered := h.captured > 0 OR (h.amount = 0 AND (h.phases <> '{}' OR coalesce(op -> 'generation' ->> 'status', '') IN ('succeeded', 'partial')));
        FOR i IN 0..CASE WHEN kind IN ('reserve', 'charge') THEN 0 ELSE coalesce(jsonb_array_length(h.counts), 0) END - 1 LOOP
          r := h.counts -> i;
          part := CASE WHEN r ->> 'of' = 'credits' THEN gave_back WHEN final AND NOT delivered THEN (r ->> 'units')::bigint ELSE 0 END;
          CONTINUE WHEN part = 0;
          counts := counts || jsonb_build_object('counter', r -> 'counter', 'period', r -> 'period', 'units', -part);
        END LOOP;
        FOR i IN 0..jsonb_array_length(counts) - 1 LOOP
          r := counts -> i;
          x := array_position(counters, jsonb_build_array(r -> 'counter', r -> 'period')::text);
          IF x IS NULL THEN
            counters := counters || jsonb_build_array(r -> 'counter', r -> 'period')::text;
            used := used || (SELECT o.used FROM ledger.counters o
              WHERE o.account_id = c.account_id AND o.counter = r ->> 'counter' AND o.period = r ->> 'period');
            x := cardinality(used);
          END IF;
          used[x] := used[x] + (r ->> 'units')::bigint;
          counted := true;
        END LOOP;
        IF counts <> '[]' THEN
          detail := coalesce(detail, '{}') || jsonb_build_object('counts', counts);
        END IF;

        -- New lots first: moves fill them from outside.
        FOR i IN 0..jsonb_array_length(new_lots) - 1 LOOP
          r := new_lots -> i;
          l := NULL;
          l.account_id := a.account_id;
          l.lot_no := (r ->> 'lot')::int;
          l.bucket := r ->> 'bucket';
          l.rank := (r ->> 'rank')::smallint;
          l.effective_at := (r ->> 'effectiveAt')::timestamptz;
          l.expires_at := coalesce((r ->> 'expiresAt')::timestamptz, 'infinity');
          l.return_grace := make_interval(secs => (r ->> 'graceSeconds')::double precision);
          l.parent_lot := (r ->> 'parent')::int;
          l.source := r ->> 'source';
          l.granted := 0; l.available := 0; l.held := 0; l.frozen := 0; l.spent := 0; l.expired := 0; l.revoked := 0;
          lots := lots || l;
          numbers := numbers || l.lot_no;
          -- What a schedule grants wakes as its settlement says; all else when it is announced, or ends.
          IF l.expires_at < 'infinity' AND split_part(l.source, ':', 1) NOT IN ('daily', 'plan') THEN
            a.wake_at := least(a.wake_at, CASE WHEN l.expires_at - a.notice_before > at THEN l.expires_at - a.notice_before ELSE l.expires_at END);
          END IF;
        END LOOP;

        -- Credits that become available repay debt first, daily ones aside (rule 27).
        FOR i IN 1..CASE WHEN a.debt > 0 AND kind <> 'revoke' THEN cardinality(moves) ELSE 0 END LOOP
          m := moves[i];
          CONTINUE WHEN m.target <> 'available' OR lots[array_position(numbers, m.lot)].source LIKE 'daily:%';
          part := least(m.milli, a.debt - repaid_now);
          CONTINUE WHEN part = 0;
          moves := moves || ROW(m.lot, 'available', 'revoked', part)::ledger.move;
          repaid_now := repaid_now + part;
        END LOOP;
        IF repaid_now > 0 THEN
          reply := reply || jsonb_build_object('repaid', repaid_now);
          detail := coalesce(detail, '{}') || jsonb_build_object('repaid', repaid_now);
          -- The oldest debt first; at once, because a cause may owe again later in the batch.
          UPDATE ledger.debts d SET repaid = d.repaid + least(o.open, repaid_now - o.before)
            FROM (SELECT cause, owed - repaid AS open,
                         coalesce(sum(owed - repaid) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
                    FROM ledger.debts WHERE account_id = c.account_id AND owed > repaid) o
           WHERE d.account_id = c.account_id AND d.cause = o.cause AND o.before < repaid_now;
        END IF;

        d_available := 0;
        d_held := 0;
        FOR i IN 1..cardinality(moves) LOOP
          m := moves[i];
          x := array_position(numbers, m.lot);
          l := lots[x];
          CASE m.source
            WHEN 'outside' THEN l.granted := l.granted + m.milli;
            WHEN 'available' THEN l.available := l.available - m.milli; d_available := d_available - m.milli;
            WHEN 'held' THEN l.held := l.held - m.milli; d_held := d_held - m.milli;
            WHEN 'frozen' THEN l.frozen := l.frozen - m.milli;
            WHEN 'spent' THEN l.spent := l.spent - m.milli;
          END CASE;
          CASE m.target
            WHEN 'available' THEN
              l.available := l.available + m.milli; d_available := d_available + m.milli;
              a.lots_due_at := least(a.lots_due_at, l.expires_at);
            WHEN 'held' THEN l.held := l.held + m.milli; d_held := d_held + m.milli;
            WHEN 'frozen' THEN l.frozen := l.frozen + m.milli;
            WHEN 'spent' THEN l.spent := l.spent + m.milli;
            WHEN 'expired' THEN l.expired := l.expired + m.milli;
            WHEN 'revoked' THEN l.revoked := l.revoked + m.milli;
          END CASE;
          lots[x] := l;
          moved := moved || m.lot;
        END LOOP;
        IF jsonb_array_length(new_lots) > 0 THEN
          a.lot_seq := a.lot_seq + jsonb_array_length(new_lots);
          detail := coalesce(detail, '{}') || jsonb_build_object('lots', new_lots);
          SELECT s.* INTO lots, numbers FROM ledger.in_spend_order(lots) s;
        END IF;

        IF status = 'applied' AND h.hold_id IS NOT NULL THEN
          x := array_position(hold_ids, h.hold_id);
          IF x IS NULL THEN
            holds := holds || h;
            hold_ids := hold_ids || h.hold_id;
          ELSE
            h.epoch := h.epoch + 1;
            holds[x] := h;
          END IF;
          IF h.work IS NOT NULL THEN -- its caller sees it as it was right after, also when asking again
            reply := reply || jsonb_build_object('after', ledger.hold_state(h) || jsonb_build_object('draws', h.work -> 'draws'));
          END IF;
          IF op ? 'generation' AND kind IN ('capture', 'release') AND h.generation_id IS NOT NULL THEN
            -- What failed after something of it was captured was delivered in part, whoever ended it.
            r := jsonb_build_object('account', a.account_id, 'id', h.generation_id, 'at', at)
              || CASE WHEN op -> 'generation' ->> 'status' = 'failed' AND (h.captured > 0 OR h.phases <> '{}') THEN '{"status": "partial"}'::jsonb ELSE '{}' END;
              ends := ends || jsonb_build_object(a.account_id || ' ' || h.generation_id,
                coalesce(ends -> (a.account_id || ' ' || h.generation_id), '{}') || (op -> 'generation') || r);
          END IF;
        END IF;

        a.seq := a.seq + 1;
        a.available := a.available + d_available;
        a.held := a.held + d_held;
        a.debt := a.debt + owed - repaid_now;
        a.journal_at := at;
        -- Told once on the way down, and again only when something was granted meanwhile. What is held is not gone: a hold that comes
        -- and goes says nothing, and neither does what ends with its period.
        IF a.low_below IS NOT NULL THEN
          level := CASE WHEN a.available + a.held = 0 THEN 2 WHEN a.available + a.held < a.low_below THEN 1 ELSE 0 END;
          IF level > a.told AND d_available + d_held < 0 AND kind IN ('charge', 'capture', 'revoke', 'freeze', 'adjust') THEN
            a.told := level;
            detail := coalesce(detail, '{}')
              || jsonb_build_object('notice', CASE level WHEN 2 THEN 'balance.depleted' ELSE 'balance.low' END, 'milli', a.available + a.held);
          ELSIF level < a.told AND kind IN ('grant', 'adjust', 'plan', 'refund') THEN
            a.told := level;
          END IF;
        END IF;
        e := ROW(a.account_id, a.seq, at, clock_timestamp(), kind, status, op ->> 'key', CASE WHEN status = 'applied' THEN h.hold_id END,
          d_available, a.available, a.held, a.debt, moves, detail, op ->> 'actor', op ->> 'reason')::ledger.entry;
        journal := journal || e;
        reply := reply || jsonb_build_object('op', kind, 'status', status, 'seq', a.seq, 'at', at, 'available', a.available, 'held', a.held, 'debt', a.debt);
        IF op ? 'key' THEN
          k := ROW(a.account_id, op ->> 'key', op ->> 'hash', a.seq,
            (CASE WHEN op ? 'facts' THEN jsonb_build_object('facts', op -> 'facts') || reply ELSE reply END)::text)::ledger.answer;
          answers := answers || k;
          keys := keys || k.key;
          reply := reply || jsonb_build_object('answer', k.answer);
        END IF;
      ELSE
        reply := reply || jsonb_build_object('status', status);
      END IF;
      IF op ? 'hash' AND n > steps THEN
        replies := replies || (jsonb_build_object('answer', NULL, 'replayed', false, 'hold', ledger.hold_state(h)) || reply);
      END IF;
    END LOOP;

      -- What was decided, beside what was decided for the other accounts. A lot that was spent wakes nobody when it ends.
      a.lots_due_at := 'infinity';
      FOR i IN 1..cardinality(lots) LOOP
        IF lots[i].available > 0 THEN
          a.lots_due_at := least(a.lots_due_at, lots[i].expires_at);
        END IF;
        IF lots[i].lot_no > was.lot_seq THEN
          lots_new := lots_new || lots[i];
        ELSIF lots[i].lot_no = ANY (moved) THEN
          lots_moved := lots_moved || lots[i];
        END IF;
      END LOOP;
      FOR i IN 1..cardinality(holds) LOOP
        IF i > stored THEN
          holds_new := holds_new || holds[i];
        ELSIF holds[i].epoch > epochs[i] THEN
          holds_moved := holds_moved || holds[i];
        END IF;
      END LOOP;
      FOR i IN known + 1..cardinality(answers) LOOP
        answers_new := answers_new || answers[i];
      END LOOP;
      IF counted THEN
        INSERT INTO ledger.counters AS o (account_id, counter, period, used)
        SELECT c.account_id, u.name::jsonb ->> 0, u.name::jsonb ->> 1, u.used FROM unnest(counters, used) u (name, used)
        ON CONFLICT (account_id, counter, period) DO UPDATE SET used = excluded.used;
      END IF;
      IF a IS DISTINCT FROM was THEN
        accounts := accounts || a;
      END IF;
      results := results || jsonb_build_object('account', c.account_id, 'result', 'ok', 'at', t, 'seq', a.seq, 'available', a.available,
        'held', a.held, 'debt', a.debt, 'rulesVersion', a.rules_version, 'settleVersion', a.settle_version, 'nextDueAt', a.next_due_at,
        'wakeAt', a.wake_at, 'endsAt', least(a.lots_due_at, a.leases_due_at), 'replies', to_jsonb(replies),
        -- Its workflow has no timer for what has come nearer, and none at all before the first settlement.
        'ring', a.wake_at < c.wake_at OR (was.settle_version = 0 AND a.settle_version > 0 AND a.wake_at < 'infinity'));
    END;
  END LOOP;

  -- What was decided is written, each table once: from the arrays, or for a single operation, which is most of them, row by row,
  -- which is faster. Both write the same columns.
  IF cardinality(journal) = 1 AND cardinality(lots_new) = 0 THEN
    FOREACH l IN ARRAY lots_moved LOOP
      UPDATE ledger.lots
         SET available = l.available, held = l.held, frozen = l.frozen, spent = l.spent, expired = l.expired, revoked = l.revoked, ended_at = l.ended_at
       WHERE account_id = l.account_id AND lot_no = l.lot_no;
    END LOOP;
    FOREACH h IN ARRAY holds_new LOOP
      INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, lots, lots_held, lots_captured, open, epoch, workflow_id,
                                namespace_id, opened_at, overdue_at, closed_at, expires_at, work, counts)
      VALUES (h.account_id, h.hold_id, h.generation_id, h.amount, h.held, h.captured, h.lots, h.lots_held, h.lots_captured, h.open, h.epoch, h.workflow_id,
              h.namespace_id, h.opened_at, h.overdue_at, h.closed_at, h.expires_at, h.work, h.counts);
    END LOOP;
    FOREACH h IN ARRAY holds_moved LOOP
      UPDATE ledger.holds
         SET held = h.held, captured = h.captured, released = h.released, forfeited = h.forfeited, refunded = h.refunded, lots_held = h.lots_held,
             lots_captured = h.lots_captured, phases = h.phases, open = h.open, epoch = h.epoch, expires_at = h.expires_at,
             overdue_at = h.overdue_at, closed_at = h.closed_at
       WHERE account_id = h.account_id AND hold_id = h.hold_id;
    END LOOP;
    FOREACH k IN ARRAY answers_new LOOP
      INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer) VALUES (k.account_id, k.key, k.request_hash, k.seq, k.answer);
    END LOOP;
    INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after, held_after,
                                debt_after, moves, detail, actor, reason)
    VALUES (e.account_id, e.seq, e.at, e.recorded_at, e.kind, e.status, e.key, e.hold_id, e.credits, e.available_after, e.held_after,
            e.debt_after, e.moves, e.detail, e.actor, e.reason);
    FOREACH a IN ARRAY accounts LOOP
      UPDATE ledger.accounts
         SET seq = a.seq, lot_seq = a.lot_seq, available = a.available, held = a.held, debt = a.debt, open_holds = a.open_holds,
             journal_at = a.journal_at, lots_due_at = a.lots_due_at, leases_due_at = a.leases_due_at, next_due_at = a.next_due_at,
             wake_at = a.wake_at, rules_version = a.rules_version, settle_version = a.settle_version,
             low_below = a.low_below, notice_before = a.notice_before, told = a.told, refused_from = a.refused_from, refused = a.refused
       WHERE account_id = a.account_id;
    END LOOP;
  ELSIF cardinality(journal) > 0 THEN
    INSERT INTO ledger.lots (account_id, lot_no, bucket, rank, effective_at, expires_at, ended_at, return_grace, parent_lot, source,
                             granted, available, held, frozen, spent, expired, revoked)
    SELECT * FROM unnest(lots_new);
    UPDATE ledger.lots o
       SET available = v.available, held = v.held, frozen = v.frozen, spent = v.spent, expired = v.expired, revoked = v.revoked, ended_at = v.ended_at
      FROM unnest(lots_moved) v WHERE o.account_id = v.account_id AND o.lot_no = v.lot_no;
    INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, released, forfeited, refunded, lots, lots_held,
                              lots_captured, open, epoch, workflow_id, namespace_id, opened_at, overdue_at, closed_at, expires_at, phases, work, counts)
    SELECT * FROM unnest(holds_new);
    UPDATE ledger.holds o
       SET held = v.held, captured = v.captured, released = v.released, forfeited = v.forfeited, refunded = v.refunded, lots_held = v.lots_held,
           lots_captured = v.lots_captured, phases = v.phases, open = v.open, epoch = v.epoch, expires_at = v.expires_at,
           overdue_at = v.overdue_at, closed_at = v.closed_at
      FROM unnest(holds_moved) v WHERE o.account_id = v.account_id AND o.hold_id = v.hold_id;
    INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer) SELECT * FROM unnest(answers_new);
    INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after, held_after,
                                debt_after, moves, detail, actor, reason)
    SELECT * FROM unnest(journal);
  END IF;
  IF generations <> '[]' THEN
    INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, model, params, ordered, member,
        project, feature, parent, metadata, provider, quoted, draws, catalog_version, workflow_id, temporal_url, deadline_at,
        created_at, finished_at, outputs)
    SELECT g.account, g.id, g."holdId", g.key, CASE WHEN g."holdId" IS NULL THEN 'succeeded' ELSE 'running' END, g.action, g.model, g.params,
        g.ordered, g.member, g.project, g.feature, g.parent, nullif(g.metadata, 'null'), g.provider, g.amount, g.draws, g."catalogVersion",
        CASE WHEN g."holdId" IS NOT NULL THEN g."workflowId" END, g."temporalUrl", g."deadlineAt", g.at, CASE WHEN g."holdId" IS NULL THEN g.at END, '[]'
      FROM jsonb_to_recordset(generations) g (account text, id text, "holdId" text, key text, amount bigint, action text, model text, params jsonb,
        ordered int, member text, project text, feature text, parent text, metadata jsonb, provider jsonb, draws jsonb,
        "catalogVersion" int, "workflowId" text, "temporalUrl" text, "deadlineAt" timestamptz, at timestamptz);
  END IF;
  IF ends <> '{}' THEN
    UPDATE ledger.generations g
       SET status = coalesce(v.value ->> 'status', g.status), outputs = coalesce(v.value -> 'outputs', g.outputs),
           error = coalesce(nullif(v.value -> 'error', 'null'), g.error),
           provider_cost = coalesce(nullif(v.value -> 'providerCost', 'null'), g.provider_cost),
           finished_at = CASE WHEN v.value ->> 'status' IS NULL THEN g.finished_at ELSE (v.value ->> 'at')::timestamptz END
      FROM jsonb_each(ends) v WHERE g.account_id = v.value ->> 'account' AND g.generation_id = v.value ->> 'id' AND g.status = 'running';
  END IF;
  IF cardinality(journal) <> 1 OR cardinality(lots_new) > 0 THEN
    UPDATE ledger.accounts o
       SET seq = v.seq, lot_seq = v.lot_seq, available = v.available, held = v.held, debt = v.debt, open_holds = v.open_holds,
           journal_at = v.journal_at, lots_due_at = v.lots_due_at, leases_due_at = v.leases_due_at, next_due_at = v.next_due_at,
           wake_at = v.wake_at, rules_version = v.rules_version, settle_version = v.settle_version,
           low_below = v.low_below, notice_before = v.notice_before, told = v.told, refused_from = v.refused_from, refused = v.refused
      FROM unnest(accounts) v WHERE o.account_id = v.account_id;
  END IF;
  RETURN to_jsonb(results);
END $$;

-- Opens an account; its first settle grants what its plan gives, and what is paid for is due for that at once, whoever comes.
-- False if the id is taken by another request (openedBy).
CREATE FUNCTION ledger.open_account(p_account text, p_rules jsonb, p_clock timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  t timestamptz := coalesce(p_clock, clock_timestamp());
BEGIN
  IF p_account !~ '^[A-Za-z0-9_-]{1,64}$' THEN -- rule 6; the key is hashed into ids in domain/ids.ts
    RAISE EXCEPTION 'not an account id: %', p_account USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO ledger.accounts (account_id, clock_at, wake_at)
  VALUES (p_account, p_clock, CASE WHEN p_rules ->> 'planSource' = 'free' THEN 'infinity' ELSE t END) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN EXISTS (SELECT FROM ledger.account_rules WHERE account_id = p_account AND opened_by = p_rules ->> 'openedBy');
  END IF;
  INSERT INTO ledger.account_rules (account_id, catalog, plan, plan_source, plan_interval, timezone, anchor, email, test_clock, opened_by, created_at)
  VALUES (p_account, p_rules ->> 'catalog', p_rules ->> 'plan', p_rules ->> 'planSource', p_rules ->> 'planInterval',
          coalesce(p_rules ->> 'timezone', 'UTC'), coalesce((p_rules ->> 'anchor')::timestamptz, date_trunc('milliseconds', t)),
          p_rules ->> 'email', p_rules ->> 'testClock', p_rules ->> 'openedBy', date_trunc('milliseconds', t));
  RETURN true;
END $$;

-- Moves the clock of an account that is on a test clock. A clock never goes back.
CREATE FUNCTION ledger.move_clock(p_account text, p_to timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
  UPDATE ledger.accounts SET clock_at = p_to WHERE account_id = p_account AND clock_at <= p_to;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'account % is not on a test clock, or its clock is past %', p_account, p_to
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
END $$;

-- The clocks of many accounts at once, for whoever carries them along a test clock: [{account, at}]. One that is further already
-- stays. Answers what each is settled from: their snapshots, without those that do not exist, and those that somebody else has
-- locked, unless they are to be waited for.
CREATE FUNCTION ledger.move_clocks(p_moves jsonb, p_wait boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  locked text[];
BEGIN
  IF p_wait THEN -- in the order of ledger.apply
    locked := ARRAY(SELECT account_id FROM ledger.accounts WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_moves) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE);
  ELSE
    locked := ARRAY(SELECT account_id FROM ledger.accounts WHERE account_id = ANY (ARRAY(SELECT jsonb_array_elements(p_moves) ->> 'account'))
    ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  UPDATE ledger.accounts a SET clock_at = m.at
    FROM jsonb_to_recordset(p_moves) m (account text, at timestamptz)
   WHERE a.account_id = m.account AND a.account_id = ANY (locked) AND a.clock_at < m.at;
  RETURN coalesce((SELECT jsonb_agg(ledger.snapshot(m.account)) FROM jsonb_to_recordset(p_moves) m (account text) WHERE m.account = ANY (locked)), '[]');
END $$;

-- Whether it is certain that a request holds nothing: it could take something only by p_before, and its key has no answer. Whoever
-- is at work on the account is waited for, because what was decided in time may not be committed yet; not for long, for the caller waits.
CREATE FUNCTION ledger.nothing_held(p_account text, p_key text, p_before timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET lock_timeout = '1s' AS $$
BEGIN
  PERFORM FROM ledger.accounts WHERE account_id = p_account FOR SHARE;
  RETURN clock_timestamp() > p_before AND NOT EXISTS (SELECT FROM ledger.op_keys WHERE account_id = p_account AND key = p_key);
END $$;

-- Says that a run goes on with the hold's work, and which: it is the hold's owner from now on (rule 17). False if the hold is no
-- longer open (rule 5). Moves the epoch. Without a namespace, as older binaries call it, the owner
-- stays. Null: somebody else has the account's lock, and it was not to be waited for.
CREATE FUNCTION ledger.assert_hold_open(p_account text, p_hold text, p_workflow text DEFAULT NULL, p_namespace text DEFAULT NULL, p_wait boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
  IF ledger.lock_account(p_account, p_wait) = 'busy' THEN -- everything that changes an account has its lock
    RETURN NULL;
  END IF;
  UPDATE ledger.holds
     SET epoch = epoch + 1, workflow_id = coalesce(p_workflow, workflow_id), namespace_id = coalesce(p_namespace, namespace_id)
   WHERE account_id = p_account AND hold_id = p_hold AND open;
  RETURN FOUND;
END $$;
