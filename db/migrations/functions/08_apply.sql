-- The call: lock, read, decide, record, write.
--
--   apply      locks the accounts, reads what the call needs, and writes each table once
--   apply_to   decides and records one account's operations, one after the other

-- Everything that changes an account comes through here: calls on several accounts, one transaction, one round trip.
--   p_calls  [{account, ops, settle}], each account once
--   p_wait   whether to wait for accounts that somebody else has locked. A call that waits keeps the locks it has meanwhile, and
--            so may make strangers wait: for several accounts it should be false.
--   ops      [{op, key, hash, ...}], each independent of the others, decided in order. A key says what was asked, `hash` how: the
--            same key with another hash is a conflict (rules 1, 3; callers' are `req:…`, ours `sys:…` by hold and step,
--            rule 4). Their fields are in 05_decide.sql and 07_life.sql.
--   settle   {settleVersion, rulesVersion, steps: [{at, ...grant}], calendar, nextDueAt, wakeAt, until, lowBelow,
--            noticeSeconds}, or null: the steps that are due, from domain/time/settle.ts; SQL does no calendar
--            arithmetic (rule 11)
-- Answers one result for each account, in the order asked: {account, result: ok, replies: [...], ...}, or without having written
-- anything there {result: unknown_account}, {result: busy} (it is locked), {result: settle_required | stale, snapshot}.
CREATE FUNCTION ledger.apply(p_calls jsonb, p_wait boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  locked      constant text[] := ledger.lock_accounts(p_calls, p_wait);
  seen        text[] := '{}';
  results     jsonb[] := '{}';
  c           ledger.call;
  o           ledger.outcome;
  was         ledger.account;                   -- an account before and after
  a           ledger.account;
  l           ledger.lot;
  h           ledger.hold;
  e           ledger.entry;
  k           ledger.answer;
  n           int;
  not_ready   text;
  -- What is to be written, of all accounts.
  accounts    ledger.account[] := '{}';
  lots_new    ledger.lot[] := '{}';
  lots_moved  ledger.lot[] := '{}';
  holds_new   ledger.hold[] := '{}';
  holds_moved ledger.hold[] := '{}';
  journal     ledger.entry[] := '{}';
  answers     ledger.answer[] := '{}';
  generations jsonb := '[]';
  ends        jsonb := '{}';
BEGIN
  FOR c IN SELECT * FROM ledger.read_calls(p_calls) LOOP
    IF c.account_id = ANY (seen) THEN
      RAISE EXCEPTION 'account % is in one call twice', c.account_id USING ERRCODE = 'invalid_parameter_value';
    END IF;
    seen := seen || c.account_id;
    was := c.account;
    IF was.account_id IS NULL OR c.account_id <> ALL (locked) THEN
      results := results || jsonb_build_object('account', c.account_id,
        'result', CASE WHEN was.account_id IS NULL THEN 'unknown_account' ELSE 'busy' END);
      CONTINUE;
    END IF;
    -- The account's clock, the database's or a test clock's, and never before what the journal has seen (invariant 10).
    c.now := greatest(coalesce(c.clock_at, clock_timestamp()), was.journal_at);
    c.until := least(c.now, coalesce((c.settlement ->> 'until')::timestamptz, c.now));
    c.next_lease := was.leases_due_at;
    -- A key that is known is answered before anything else is looked at, also before settling (rule 1).
    c.only_replays := cardinality(c.answers) > 0 AND c.settlement IS NULL AND ledger.only_replays(c);
    IF c.settlement IS NULL THEN
      not_ready := CASE WHEN c.now >= was.next_due_at AND NOT c.only_replays THEN 'settle_required' END;
    ELSE
      not_ready := ledger.not_settleable(c, was);
    END IF;
    IF not_ready IS NOT NULL THEN
      results := results
        || jsonb_build_object('account', c.account_id, 'result', not_ready, 'snapshot', ledger.snapshot(c.account_id));
      CONTINUE;
    END IF;
    IF c.settlement IS NOT NULL THEN
      c := ledger.settling(c);
    END IF;
    IF was.leases_due_at <= c.now THEN
      c := ledger.with_expired_leases(c);
    END IF;

    o := ledger.apply_to(c);

    a := o.account;
    a.lots_due_at := 'infinity';
    FOREACH l IN ARRAY o.lots LOOP
      IF l.available > 0 THEN -- a lot that was spent wakes nobody when it ends
        a.lots_due_at := least(a.lots_due_at, l.expires_at);
      END IF;
      IF l.lot_no > was.lot_seq THEN
        lots_new := lots_new || l;
      ELSIF l.lot_no = ANY (o.moved) THEN
        lots_moved := lots_moved || l;
      END IF;
    END LOOP;
    n := 0;
    FOREACH h IN ARRAY o.holds LOOP
      n := n + 1;
      IF n > cardinality(c.holds) THEN
        holds_new := holds_new || h;
      ELSIF h.epoch > c.holds[n].epoch THEN
        holds_moved := holds_moved || h;
      END IF;
    END LOOP;
    FOREACH e IN ARRAY o.journal LOOP journal := journal || e; END LOOP;
    FOREACH k IN ARRAY o.answers[cardinality(c.answers) + 1:] LOOP answers := answers || k; END LOOP;
    generations := generations || o.generations;
    ends := ends || o.ends;
    IF o.used <> '{}' THEN
      PERFORM ledger.write_counters(a.account_id, o.used);
    END IF;
    IF a IS DISTINCT FROM was THEN
      accounts := accounts || a;
    END IF;
    results := results || jsonb_build_object('account', c.account_id, 'result', 'ok', 'at', c.now, 'seq', a.seq,
      'available', a.available, 'held', a.held, 'debt', a.debt, 'rulesVersion', a.rules_version,
      'settleVersion', a.settle_version, 'nextDueAt', a.next_due_at, 'wakeAt', a.wake_at,
      'endsAt', least(a.lots_due_at, a.leases_due_at), 'replies', to_jsonb(o.replies),
      -- Its workflow has no timer for what has come nearer, and none at all before the first settlement.
      'ring', a.wake_at < was.wake_at
        OR (was.settle_version = 0 AND a.settle_version > 0 AND a.wake_at < 'infinity'));
  END LOOP;

  -- Most calls are a single operation, which is written faster row by row.
  IF cardinality(journal) = 1 AND cardinality(lots_new) = 0 THEN
    PERFORM ledger.write_one(journal[1], accounts, lots_moved, holds_new, holds_moved, answers);
  ELSE
    PERFORM ledger.write_many(journal, accounts, lots_new, lots_moved, holds_new, holds_moved, answers);
  END IF;
  IF generations <> '[]' OR ends <> '{}' THEN
    PERFORM ledger.write_generations(generations, ends);
  END IF;
  RETURN to_jsonb(results);
END $$;

-- One account's operations, one after the other: what ends before the next one, the steps of the calendar, the operations asked.
CREATE FUNCTION ledger.apply_to(c ledger.call) RETURNS ledger.outcome LANGUAGE plpgsql AS $$
DECLARE
  a           ledger.account := c.account;
  lots        ledger.lot[] := c.lots;          -- in spend order; `numbers` has their numbers
  numbers     int[] := '{}';
  moved       int[] := '{}';                   -- numbers of the lots that change
  holds       ledger.hold[] := c.holds;        -- `hold_ids` has their ids
  hold_ids    text[] := '{}';
  next_lease  timestamptz := c.next_lease;     -- no lease that has not expired ends before this
  expired     int := 0;                        -- how many of the expired leases were ended
  answers     ledger.answer[] := c.answers;    -- `keys` has their keys
  keys        text[] := '{}';
  used        jsonb := '{}';
  generations jsonb := '[]';
  ends        jsonb := '{}';
  journal     ledger.entry[] := '{}';
  replies     jsonb[] := '{}';
  todo        constant jsonb := CASE WHEN c.settlement IS NULL THEN c.ops ELSE (c.settlement -> 'steps') || c.ops END;
  n           int := 0;
  op          jsonb;
  at          timestamptz;
  e           ledger.effect;
  h           ledger.hold;
  l           ledger.lot;
  m           ledger.move;
  k           ledger.answer;
  r           record;
  x           int;
  d_available bigint;
  d_held      bigint;
BEGIN
  FOREACH k IN ARRAY answers LOOP keys := keys || k.key; END LOOP;
  FOREACH l IN ARRAY lots LOOP numbers := numbers || l.lot_no; END LOOP;
  FOREACH h IN ARRAY holds LOOP
    hold_ids := hold_ids || h.hold_id;
    IF NOT h.lots <@ numbers THEN -- lots that nothing is left of
      SELECT s.* INTO lots, numbers FROM ledger.with_lots(a.account_id, lots, h.lots) s;
    END IF;
  END LOOP;
  LOOP
    op := todo -> n;
    at := coalesce((op ->> 'at')::timestamptz, c.until); -- of a step of the calendar, or of all operations
    IF least(a.lots_due_at, a.leases_due_at) <= at AND NOT c.only_replays THEN
      r := ledger.next_end(lots, holds[c.expired[expired + 1]], next_lease);
      a.lots_due_at := r.lots_due_at;
      a.leases_due_at := r.leases_due_at;
      CONTINUE WHEN least(a.lots_due_at, a.leases_due_at) > at;
      at := least(a.lots_due_at, a.leases_due_at);
      op := r.op;
      expired := expired + (op ? 'holdId')::int;
    ELSIF op IS NULL THEN
      EXIT;
    ELSE
      n := n + 1;
      x := array_position(keys, op ->> 'key');
      IF x IS NOT NULL OR (cardinality(c.claims) > 0 AND ledger.claimed_otherwise(c.claims, op)) THEN
        CONTINUE WHEN op ? 'at'; -- granted before, by another road: the step is done
        r := ledger.replay(answers[x], holds[array_position(hold_ids, op ->> 'holdId')], op);
        replies := replies || r.reply;
        IF r.resumes THEN holds[array_position(hold_ids, op ->> 'holdId')] := r.hold; END IF;
        CONTINUE;
      END IF;
    END IF;

    at := greatest(a.journal_at, at);
    x := array_position(hold_ids, op ->> 'holdId');
    e := CASE ledger.kind_of(op)
           WHEN 'reserve'  THEN ledger.decide_reserve(a, lots, holds[x], op, at, used)
           WHEN 'charge'   THEN ledger.decide_reserve(a, lots, holds[x], op, at, used)
           WHEN 'capture'  THEN ledger.decide_capture(a, lots, numbers, holds[x], op, at)
           WHEN 'release'  THEN ledger.decide_release(a, lots, numbers, holds[x], op, at)
           WHEN 'extend'   THEN ledger.decide_extend(holds[x], op, at)
           WHEN 'refund'   THEN ledger.decide_refund(a, lots, numbers, holds[x], op, at)
           WHEN 'grant'    THEN ledger.decide_grant(a, lots, op, at)
           WHEN 'adjust'   THEN ledger.decide_grant(a, lots, op, at)
           WHEN 'expire'   THEN ledger.decide_expire(lots, numbers, op)
           WHEN 'notice'   THEN ledger.decide_notice(lots, op)
           WHEN 'revoke'   THEN ledger.revoke(a, lots, op)
           WHEN 'freeze'   THEN ledger.freeze(a, lots, op)
           WHEN 'unfreeze' THEN ledger.unfreeze(a, lots, op, at)
           WHEN 'rules'    THEN ledger.change_rules(a, op, at)
           WHEN 'member'   THEN ledger.change_member(a, op, at)
           ELSE ledger.not_an_operation(op) END;
    h := e.hold;
    IF e.rules_version IS NOT NULL THEN a := ledger.with_new_rules(a, e); END IF;
    IF e.recorded AND e.status <> 'applied' AND op ->> 'key' LIKE 'req:%' THEN
      r := ledger.count_refusal(a, e);
      a := r.a; e := r.e;
    END IF;

    IF e.recorded THEN
      IF e.counts IS NOT NULL THEN
        used := CASE WHEN e.used IS NULL THEN ledger.counters_after(a.account_id, e.counts, used) ELSE e.used END;
        e.detail := coalesce(e.detail, '{}') || jsonb_build_object('counts', e.counts);
      END IF;
      IF e.schedule IS NOT NULL OR e.new_lots IS NOT NULL OR e.unread IS NOT NULL OR (a.debt > 0 AND e.kind <> 'revoke') THEN
        r := ledger.with_its_lots(a, e, lots, op, at);
        a := r.a; e := r.e; lots := r.lots; numbers := r.numbers; moved := moved || e.ends;
      END IF;
      d_available := 0; d_held := 0;
      FOREACH m IN ARRAY e.moves LOOP
        x := array_position(numbers, m.lot);
        l := ledger.moved(lots[x], m);
        lots[x] := l;
        moved := moved || m.lot;
        d_available := d_available + ledger.change_of('available', m);
        d_held := d_held + ledger.change_of('held', m);
        IF m.target = 'available' THEN a.lots_due_at := least(a.lots_due_at, l.expires_at); END IF;
      END LOOP;
      IF e.status = 'applied' AND h.hold_id IS NOT NULL THEN
        x := array_position(hold_ids, h.hold_id);
        IF x IS NULL THEN
          holds := holds || h;
          hold_ids := hold_ids || h.hold_id;
          a.open_holds := a.open_holds + h.open::int;
          next_lease := least(next_lease, CASE WHEN h.open THEN h.expires_at END);
          a.leases_due_at := least(a.leases_due_at, next_lease);
        ELSE
          h.epoch := h.epoch + 1;
          holds[x] := h;
          a.open_holds := a.open_holds - e.closes::int;
        END IF;
        IF op ? 'generation' AND e.kind IN ('capture', 'release') THEN ends := ledger.with_end(ends, h, op, at); END IF;
      END IF;
      IF e.generation IS NOT NULL THEN generations := generations || e.generation; END IF;
      a.seq := a.seq + 1;
      a.available := a.available + d_available;
      a.held := a.held + d_held;
      a.debt := a.debt + e.owed;
      a.journal_at := at;
      IF a.low_below IS NOT NULL THEN r := ledger.notify(a, e, d_available + d_held); a := r.a; e := r.e; END IF;
      journal := journal || ROW(a.account_id, a.seq, at, clock_timestamp(), e.kind, e.status, op ->> 'key',
        CASE WHEN e.status = 'applied' THEN h.hold_id END, d_available, a.available, a.held, a.debt, e.moves, e.detail,
        op ->> 'actor', op ->> 'reason')::ledger.entry;
      e.reply := ledger.reply_to(e, a, h, at);
      IF op ? 'key' THEN
        k := ledger.answer_to(op, e, a);
        answers := answers || k;
        keys := keys || k.key;
        e.reply := e.reply || jsonb_build_object('answer', k.answer);
      END IF;
    END IF;
    IF op ? 'hash' AND NOT op ? 'at' THEN
      replies := replies || ledger.told(e, h);
    END IF;
  END LOOP;

  RETURN ROW(a, lots, moved, holds, journal, answers, replies, used, generations, ends)::ledger.outcome;
END $$;
