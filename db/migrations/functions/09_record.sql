-- What a call reads, and what comes with an operation beside its own effect.

-- Locks the accounts of a call, always in the same order, so that two calls with accounts in common cannot wait for each other.
-- Answers those it got: without waiting, those that nobody else has locked.
CREATE FUNCTION ledger.lock_accounts(p_calls jsonb, p_wait boolean) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  asked constant text[] := ARRAY(SELECT jsonb_array_elements(p_calls) ->> 'account');
BEGIN
  IF p_wait THEN
    RETURN ARRAY(SELECT account_id FROM ledger.accounts WHERE account_id = ANY (asked) ORDER BY account_id FOR NO KEY UPDATE);
  END IF;
  RETURN ARRAY(
    SELECT account_id FROM ledger.accounts WHERE account_id = ANY (asked) ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED);
END $$;

-- What was committed before the locks were granted: of each account the row, the answers to keys that are known, the claims on
-- keys, the holds that are named, and in spend order the lots that may be spent from or that end.
CREATE FUNCTION ledger.read_calls(p_calls jsonb) RETURNS SETOF ledger.call LANGUAGE sql STABLE AS $$
  SELECT q.account_id, q.ops, nullif(q.value -> 'settle', 'null'),
         ROW(a.account_id, a.seq, a.lot_seq, a.available, a.held, a.debt, a.open_holds, a.journal_at, a.lots_due_at,
             a.leases_due_at, a.next_due_at, a.wake_at, a.rules_version, a.settle_version, a.low_below, a.notice_before, a.told,
             a.refused_from, a.refused)::ledger.account, a.clock_at,
         ARRAY(SELECT ROW(o.account_id, o.key, o.request_hash, o.seq, o.answer)::ledger.answer FROM ledger.op_keys o
                WHERE o.account_id = q.account_id AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(q.ops) ->> 'key'))),
         ARRAY(SELECT ROW(o.account_id, o.key, o.request_hash, 0, '')::ledger.answer FROM ledger.kept_answers o
                WHERE o.account_id = q.account_id AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(q.ops) ->> 'key'))),
         ARRAY(SELECT ROW(o.account_id, o.hold_id, o.generation_id, o.amount, o.held, o.captured, o.released, o.forfeited,
                          o.refunded, o.lots, o.lots_held, o.lots_captured, o.open, o.epoch, o.workflow_id, o.namespace_id,
                          o.opened_at, o.overdue_at, o.closed_at, o.expires_at, o.phases, o.work, o.counts)::ledger.hold
                 FROM ledger.holds o
                WHERE o.account_id = q.account_id AND o.hold_id = ANY (ARRAY(SELECT jsonb_array_elements(q.ops) ->> 'holdId'))),
         ARRAY(SELECT ROW(o.account_id, o.lot_no, o.bucket, o.rank, o.effective_at, o.expires_at, o.ended_at, o.return_grace,
                          o.parent_lot, o.source, o.granted, o.available, o.held, o.frozen, o.spent, o.expired,
                          o.revoked)::ledger.lot
                 FROM ledger.lots o WHERE o.account_id = q.account_id AND o.open ORDER BY o.rank, o.expires_at, o.lot_no),
         NULL::timestamptz, NULL::timestamptz, NULL::int[], NULL::timestamptz, NULL::boolean
    FROM (SELECT value, ordinality, value ->> 'account' AS account_id, value -> 'ops' AS ops
            FROM jsonb_array_elements(p_calls) WITH ORDINALITY OFFSET 0) q
    LEFT JOIN LATERAL (SELECT * FROM ledger.accounts o WHERE o.account_id = q.account_id OFFSET 0) a ON true
   ORDER BY q.ordinality
$$;

-- Whether all keys of a call are known, and no lease has expired that is to be written down first, for a hold is shown as it is
-- now (rule 5). A key that is only claimed is not an answer.
CREATE FUNCTION ledger.only_replays(c ledger.call) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN cardinality(c.answers) = (SELECT count(DISTINCT o.value ->> 'key') FROM jsonb_array_elements(c.ops) o)
    AND ((c.account).leases_due_at > c.now OR NOT EXISTS (
      SELECT FROM ledger.holds o WHERE o.account_id = c.account_id AND o.open AND o.expires_at <= c.now));
END $$;

-- Why a settlement cannot be written: it was worked out from what is no longer so, or a boundary passed on its way here.
CREATE FUNCTION ledger.not_settleable(c ledger.call, a ledger.account) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN (c.settlement ->> 'settleVersion')::bigint <> a.settle_version
                OR (c.settlement ->> 'rulesVersion')::bigint <> a.rules_version THEN 'stale'
              WHEN c.now >= (c.settlement ->> 'nextDueAt')::timestamptz AND c.ops <> '[]' THEN 'settle_required' END
$$;

-- The call with its settlement begun: the account's calendar, and the answers to steps that were granted by another road.
CREATE FUNCTION ledger.settling(c ledger.call) RETURNS ledger.call LANGUAGE plpgsql AS $$
DECLARE
  a ledger.account := c.account;
  s constant jsonb := c.settlement;
BEGIN
  a.settle_version := a.settle_version + 1;
  a.next_due_at := (s ->> 'nextDueAt')::timestamptz;
  a.wake_at := (s ->> 'wakeAt')::timestamptz;
  a.low_below := (s ->> 'lowBelow')::bigint;
  a.notice_before := make_interval(secs => (s ->> 'noticeSeconds')::double precision);
  c.account := a;
  UPDATE ledger.account_rules r SET calendar = r.calendar || (s -> 'calendar')
   WHERE r.account_id = c.account_id AND NOT r.calendar @> (s -> 'calendar');
  IF s -> 'steps' <> '[]' THEN
    c.answers := c.answers || ARRAY(
      SELECT ROW(o.account_id, o.key, o.request_hash, o.seq, o.answer)::ledger.answer FROM ledger.op_keys o
       WHERE o.account_id = c.account_id AND o.key = ANY (ARRAY(SELECT jsonb_array_elements(s -> 'steps') ->> 'key')));
  END IF;
  RETURN c;
END $$;

-- The call with the leases that have expired. Where leases end together, the one with the lesser id goes first, so that a batch
-- and single calls agree.
CREATE FUNCTION ledger.with_expired_leases(c ledger.call) RETURNS ledger.call LANGUAGE plpgsql STABLE AS $$
DECLARE
  named constant text[] := ARRAY(SELECT (h).hold_id FROM unnest(c.holds) h);
BEGIN
  SELECT c.holds || coalesce(array_agg(ROW(o.account_id, o.hold_id, o.generation_id, o.amount, o.held, o.captured, o.released,
           o.forfeited, o.refunded, o.lots, o.lots_held, o.lots_captured, o.open, o.epoch, o.workflow_id, o.namespace_id,
           o.opened_at, o.overdue_at, o.closed_at, o.expires_at, o.phases, o.work, o.counts)::ledger.hold)
           FILTER (WHERE o.overdue_at <= c.now AND o.hold_id <> ALL (named)), '{}'),
         coalesce(min(o.expires_at) FILTER (WHERE o.overdue_at > c.now), 'infinity')
    INTO c.holds, c.next_lease
    FROM ledger.holds o WHERE o.account_id = c.account_id AND o.open AND o.expires_at IS NOT NULL;
  c.expired := ARRAY(
    SELECT o.n
      FROM unnest(c.holds) WITH ORDINALITY o (account_id, hold_id, generation_id, amount, held, captured, released, forfeited,
        refunded, lots, lots_held, lots_captured, open, epoch, workflow_id, namespace_id, opened_at, overdue_at, closed_at,
        expires_at, phases, work, counts, n)
     WHERE o.open AND o.expires_at <= c.now ORDER BY o.expires_at, o.hold_id COLLATE "C");
  RETURN c;
END $$;

-- Whether another request has claimed the operation's key.
CREATE FUNCTION ledger.claimed_otherwise(p_claims ledger.answer[], op jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT EXISTS (SELECT FROM unnest(p_claims) o WHERE o.key = op ->> 'key' AND o.request_hash <> op ->> 'hash')
$$;

-- The reply to a key that is known: the stored answer byte for byte, and the hold as it is now (rule 5). A run that resumes with
-- an open hold owns it from now on (rule 17), which is a sign of life.
--   k   the answer; null, or of another request: the key was used for something else
CREATE FUNCTION ledger.replay(
  k ledger.answer, h ledger.hold, op jsonb, OUT reply jsonb, OUT hold ledger.hold, OUT resumes boolean
) LANGUAGE plpgsql AS $$
DECLARE
  same constant boolean := coalesce(k.request_hash = op ->> 'hash', false);
BEGIN
  reply := CASE WHEN same THEN k.answer::jsonb - 'facts' || jsonb_build_object('answer', k.answer)
                ELSE '{"status": "idempotency_conflict", "answer": null}' END;
  resumes := same AND op ->> 'op' = 'reserve' AND coalesce(h.open, false) AND h.generation_id IS NOT NULL
    AND op ->> 'workflowId' IS NOT NULL;
  IF resumes THEN
    h.workflow_id := op ->> 'workflowId';
    h.namespace_id := op ->> 'namespaceId';
    h.epoch := h.epoch + 1;
    UPDATE ledger.holds o SET workflow_id = h.workflow_id, namespace_id = h.namespace_id, epoch = h.epoch
     WHERE o.account_id = h.account_id AND o.hold_id = h.hold_id;
  END IF;
  hold := h;
  reply := reply || jsonb_build_object('replayed', true, 'hold', ledger.hold_state(h));
END $$;

-- The lot or the lease that ends next, as the operation that ends it. Leases that have expired are ended in their order, before
-- any operation: none expires while operations are decided.
--   h              the first of those that have expired
--   p_next_lease   no other lease ends before this
CREATE FUNCTION ledger.next_end(
  lots ledger.lot[], h ledger.hold, p_next_lease timestamptz,
  OUT op jsonb, OUT lots_due_at timestamptz, OUT leases_due_at timestamptz
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  l     ledger.lot;
  ended int;
BEGIN
  lots_due_at := 'infinity';
  FOREACH l IN ARRAY lots LOOP
    IF l.available > 0 AND l.expires_at < lots_due_at THEN
      lots_due_at := l.expires_at;
      ended := l.lot_no;
    END IF;
  END LOOP;
  leases_due_at := coalesce(h.expires_at, p_next_lease);
  IF lots_due_at <= leases_due_at THEN
    op := jsonb_build_object('op', 'expire', 'lot', ended);
  ELSE
    op := jsonb_build_object('op', 'release', 'holdId', h.hold_id, 'cause', 'customer', 'reason', 'lease_over');
  END IF;
END $$;

-- What an operation does to lots beside its moves: the lots of its schedule end, new ones begin, credits that become available
-- repay debt.
CREATE FUNCTION ledger.with_its_lots(
  INOUT a ledger.account, INOUT e ledger.effect, INOUT lots ledger.lot[], op jsonb, at timestamptz, OUT numbers int[]
) LANGUAGE plpgsql AS $$
DECLARE
  l ledger.lot;
BEGIN
  IF e.schedule IS NOT NULL THEN
    e := ledger.end_schedule(e, lots, op, at, a.account_id);
    IF op ? 'forfeits' THEN
      UPDATE ledger.lots o SET return_grace = NULL WHERE o.account_id = a.account_id AND o.lot_no = ANY (e.ends);
    END IF;
  END IF;
  IF cardinality(e.unread) > 0 THEN
    SELECT s.lots INTO lots FROM ledger.with_lots(a.account_id, lots, e.unread) s;
  END IF;
  FOR i IN 1..cardinality(lots) LOOP
    CONTINUE WHEN e.ends IS NULL OR lots[i].lot_no <> ALL (e.ends);
    lots[i].ended_at := at;
    IF op ? 'forfeits' THEN
      lots[i].return_grace := NULL;
    END IF;
  END LOOP;
  FOR i IN 0..coalesce(jsonb_array_length(e.new_lots), 0) - 1 LOOP
    l := ledger.new_lot(a.account_id, e.new_lots -> i);
    lots := lots || l;
    -- What a schedule grants wakes as its settlement says; all else when it is announced, or ends.
    IF l.expires_at < 'infinity' AND split_part(l.source, ':', 1) NOT IN ('daily', 'plan') THEN
      a.wake_at := least(a.wake_at,
        CASE WHEN l.expires_at - a.notice_before > at THEN l.expires_at - a.notice_before ELSE l.expires_at END);
    END IF;
  END LOOP;
  IF e.new_lots IS NOT NULL THEN
    a.lot_seq := a.lot_seq + jsonb_array_length(e.new_lots);
    e.detail := coalesce(e.detail, '{}') || jsonb_build_object('lots', e.new_lots);
  END IF;
  SELECT s.lots, s.numbers INTO lots, numbers FROM ledger.in_spend_order(lots) s;
  IF a.debt > 0 AND e.kind <> 'revoke' THEN
    e := ledger.repaying(e, a, lots, numbers);
  END IF;
END $$;

-- The effect, ending the lots of its schedule before their time, also those that are held as a whole. With `forfeits` what comes
-- back of them is lost, whatever their policy says (rule 14).
CREATE FUNCTION ledger.end_schedule(e ledger.effect, lots ledger.lot[], op jsonb, at timestamptz, p_account text)
RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  l     ledger.lot;
  ended ledger.move[] := '{}';
BEGIN
  e.unread := ARRAY(SELECT o.lot_no FROM ledger.lots o
                     WHERE o.account_id = p_account AND NOT o.open AND split_part(o.source, ':', 1) = e.schedule
                       AND o.ended_at IS NULL AND o.expires_at >= at);
  SELECT s.lots INTO lots FROM ledger.with_lots(p_account, lots, e.unread) s;
  e.ends := '{}';
  FOREACH l IN ARRAY lots LOOP
    CONTINUE WHEN split_part(l.source, ':', 1) <> e.schedule OR l.ended_at IS NOT NULL OR l.expires_at < at
      OR (e.kind <> 'plan' AND (l.bucket <> op ->> 'bucket' OR l.expires_at = at));
    e.ends := e.ends || l.lot_no;
    IF l.available > 0 THEN
      ended := ended || ROW(l.lot_no, 'available', 'expired', l.available)::ledger.move;
    END IF;
  END LOOP;
  e.moves := ended || e.moves;
  IF cardinality(e.ends) > 0 THEN
    e.detail := coalesce(e.detail, '{}') || jsonb_build_object('ended', to_jsonb(e.ends));
    IF op ? 'forfeits' THEN
      e.detail := e.detail || '{"forGood": true}';
    END IF;
  END IF;
  RETURN e;
END $$;

-- The effect with the debt it repays: credits that become available repay it first, daily ones aside (rule 27).
CREATE FUNCTION ledger.repaying(e ledger.effect, a ledger.account, lots ledger.lot[], numbers int[]) RETURNS ledger.effect
LANGUAGE plpgsql AS $$
DECLARE
  m      ledger.move;
  part   bigint;
  paid   bigint := 0;
BEGIN
  FOREACH m IN ARRAY e.moves LOOP
    CONTINUE WHEN m.target <> 'available' OR lots[array_position(numbers, m.lot)].source LIKE 'daily:%';
    part := least(m.milli, a.debt - paid);
    CONTINUE WHEN part = 0;
    e.moves := e.moves || ROW(m.lot, 'available', 'revoked', part)::ledger.move;
    paid := paid + part;
  END LOOP;
  IF paid = 0 THEN
    RETURN e;
  END IF;
  e.owed := -paid;
  e.reply := e.reply || jsonb_build_object('repaid', paid);
  e.detail := coalesce(e.detail, '{}') || jsonb_build_object('repaid', paid);
  -- The oldest debt first; at once, because a cause may owe again later in the batch.
  UPDATE ledger.debts d SET repaid = d.repaid + least(o.open, paid - o.before)
    FROM (SELECT o.cause, o.owed - o.repaid AS open,
                 coalesce(sum(o.owed - o.repaid)
                            OVER (ORDER BY o.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM ledger.debts o WHERE o.account_id = a.account_id AND o.owed > o.repaid) o
   WHERE d.account_id = a.account_id AND d.cause = o.cause AND o.before < paid;
  RETURN e;
END $$;

-- One more refusal that leaves a row for ever: beyond this many in a minute it leaves none, and uses up no key (rules 2, 38).
CREATE FUNCTION ledger.count_refusal(INOUT a ledger.account, INOUT e ledger.effect) LANGUAGE plpgsql AS $$
BEGIN
  IF clock_timestamp() NOT BETWEEN a.refused_from AND a.refused_from + interval '1 minute' THEN
    a.refused_from := clock_timestamp();
    a.refused := 0;
  END IF;
  IF a.refused < ledger.refusals_a_minute() THEN
    a.refused := a.refused + 1;
  ELSE
    e.status := 'overloaded';
    e.recorded := false;
  END IF;
END $$;

-- Says once that a balance is low or empty, on the way down, and again only when something was granted meanwhile. What is held is
-- not gone: a hold that comes and goes says nothing, and neither do credits that end with their period.
CREATE FUNCTION ledger.notify(INOUT a ledger.account, INOUT e ledger.effect, p_change bigint) LANGUAGE plpgsql AS $$
DECLARE
  left_milli constant bigint := a.available + a.held;
  level      constant smallint := CASE WHEN left_milli = 0 THEN 2 WHEN left_milli < a.low_below THEN 1 ELSE 0 END;
BEGIN
  IF level > a.told AND p_change < 0 AND e.kind IN ('charge', 'capture', 'revoke', 'freeze', 'adjust') THEN
    a.told := level;
    e.detail := coalesce(e.detail, '{}')
      || jsonb_build_object('notice', CASE level WHEN 2 THEN 'balance.depleted' ELSE 'balance.low' END, 'milli', left_milli);
  ELSIF level < a.told AND e.kind IN ('grant', 'adjust', 'plan', 'refund') THEN
    a.told := level;
  END IF;
END $$;

-- Generations that end with this call, with the one of a hold that is captured or released. What failed after something of it was
-- captured was delivered in part, whoever ended it.
CREATE FUNCTION ledger.with_end(p_ends jsonb, h ledger.hold, op jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  name constant text := h.account_id || ' ' || coalesce(h.generation_id, '');
  ends jsonb := coalesce(p_ends -> name, '{}') || (op -> 'generation')
    || jsonb_build_object('account', h.account_id, 'id', h.generation_id, 'at', at);
BEGIN
  IF h.generation_id IS NULL THEN -- a lease has none
    RETURN p_ends;
  END IF;
  IF op -> 'generation' ->> 'status' = 'failed' AND (h.captured > 0 OR h.phases <> '{}') THEN
    ends := ends || '{"status": "partial"}';
  END IF;
  RETURN p_ends || jsonb_build_object(name, ends);
END $$;

-- The reply as the caller gets it.
CREATE FUNCTION ledger.told(e ledger.effect, h ledger.hold) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('answer', NULL, 'replayed', false, 'hold', ledger.hold_state(h), 'status', e.status) || e.reply
$$;

-- The reply to an operation that is recorded, as it is kept. The caller of work without a generation sees its hold as it was
-- right after.
CREATE FUNCTION ledger.reply_to(e ledger.effect, a ledger.account, h ledger.hold, at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT e.reply || jsonb_build_object('op', e.kind, 'status', e.status, 'seq', a.seq, 'at', at, 'available', a.available,
           'held', a.held, 'debt', a.debt)
         || CASE WHEN e.status = 'applied' AND h.work IS NOT NULL
                 THEN jsonb_build_object('after', ledger.hold_state(h) || jsonb_build_object('draws', h.work -> 'draws'))
                 ELSE '{}' END
$$;

-- What is kept under the operation's key.
CREATE FUNCTION ledger.answer_to(op jsonb, e ledger.effect, a ledger.account) RETURNS ledger.answer LANGUAGE sql STABLE AS $$
  SELECT ROW(a.account_id, op ->> 'key', op ->> 'hash', a.seq,
    (CASE WHEN op ? 'facts' THEN jsonb_build_object('facts', coalesce(e.facts, op -> 'facts')) || e.reply
          ELSE e.reply END)::text)::ledger.answer
$$;

-- The kind of an operation; null: its amount is negative, and only an adjustment's may be.
CREATE FUNCTION ledger.kind_of(op jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN (op ->> 'amount')::bigint < 0 AND op ->> 'op' <> 'adjust' THEN NULL ELSE coalesce(op ->> 'op', 'grant') END
$$;

-- Says what is wrong with an operation that nothing decides.
CREATE FUNCTION ledger.not_an_operation(op jsonb) RETURNS ledger.effect LANGUAGE plpgsql AS $$
BEGIN
  IF (op ->> 'amount')::bigint < 0 THEN
    RAISE EXCEPTION 'the amount of a % must not be negative', op ->> 'op' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RAISE EXCEPTION 'unknown ledger operation: %', op ->> 'op' USING ERRCODE = 'invalid_parameter_value';
END $$;
