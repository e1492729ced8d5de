-- What each kind of operation does to an account (ledger.effect). A decision is made on what the call has read: it writes
-- nothing. Above each one are the fields of its operation, beside op, key, hash, actor, reason and facts.
--
--   a          the account before the operation
--   lots       its lots in spend order; `numbers` has their numbers
--   h          the hold that is named, if there is one
--   op, at     the operation, and the instant at which it happens

-- An operation that is applied, and does nothing yet.
CREATE FUNCTION ledger.begun(p_kind text) RETURNS ledger.effect LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(p_kind, 'applied', true, '{}', NULL, NULL, false, '{}', NULL, NULL, NULL, 0,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::ledger.effect
$$;

-- An operation that is not applied, and leaves its key free (rule 2).
CREATE FUNCTION ledger.not_done(p_kind text, p_status text, h ledger.hold) RETURNS ledger.effect LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(p_kind, p_status, false, '{}', NULL, h, false, '{}', NULL, NULL, NULL, 0,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::ledger.effect
$$;

-- Why nothing can be done with a hold any more; null: it is open.
CREATE FUNCTION ledger.unusable(h ledger.hold, op jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN h.hold_id IS NULL THEN 'unknown_hold'
              WHEN op ? 'leased' AND h.generation_id IS NOT NULL THEN 'not_leased' -- its workflow's
              WHEN NOT h.open AND h.closed_at = h.expires_at THEN 'hold_expired'
              WHEN NOT h.open THEN 'hold_closed' END
$$;

-- Reserves credits, or with op charge reserves and captures them in one.
--   {rulesVersion, amount, holdId, excluded: [bucket], refusal, countsUntil,
--    counts: [{counter, period, of: uses | credits, units, limit, refusal}], maxOpen, reserveBefore,
--    overdueSeconds | ttlSeconds, deadlineSeconds, refuseOnly, runs, workflowId, namespaceId, ifRefused, generation | work}
-- The caller decided from a snapshot at rulesVersion what applies (refusal, excluded buckets); here it is decided whether that
-- still holds, and the balance (rule 9).
--   refuseOnly  for a caller without a workflow, who expects a refusal and may not hold anything (rule 10)
--   runs        a workflow does it, also where it comes to 0: only a free action ends at once. Older callers do not say.
--   p_used      how much of counters is used, where this call changed it
CREATE FUNCTION ledger.decide_reserve(
  a ledger.account, lots ledger.lot[], h ledger.hold, op jsonb, at timestamptz, p_used jsonb
) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e       ledger.effect := ledger.begun(op ->> 'op');
  amount  constant bigint := (op ->> 'amount')::bigint;
  runs    constant boolean := amount > 0 OR coalesce((op ->> 'runs')::boolean, false);
  counted record;
  limited jsonb; -- the first counter that is too full
  taken   record;
  none    bigint[];
  due     timestamptz;
BEGIN
  IF h.hold_id IS NOT NULL THEN
    RAISE EXCEPTION 'hold % exists already, under another key', op ->> 'holdId' USING ERRCODE = 'unique_violation';
  END IF;
  IF (op ->> 'rulesVersion')::bigint <> a.rules_version OR at >= (op ->> 'countsUntil')::timestamptz THEN
    RETURN ledger.not_done(e.kind, 'stale', NULL);
  ELSIF clock_timestamp() > (op ->> 'reserveBefore')::timestamptz THEN
    RETURN ledger.not_done(e.kind, 'too_late', NULL); -- nobody is charged minutes after they left (rule 8)
  END IF;
  IF jsonb_array_length(op -> 'counts') > 0 THEN
    counted := ledger.count_up(a.account_id, op -> 'counts', p_used);
    limited := counted.limited;
    e.counts := counted.counts;
    e.used := counted.used;
  END IF;
  taken := ledger.take(lots, CASE WHEN op ? 'refusal' OR limited IS NOT NULL THEN 9007199254740991 ELSE amount END,
    CASE e.kind WHEN 'charge' THEN 'spent'::ledger.part ELSE 'held' END, NULL, op -> 'excluded');
  -- Quotas first, then the member, then the balance (rule 9).
  e.status := CASE WHEN op ? 'refusal' THEN op ->> 'refusal'
                   WHEN limited IS NOT NULL THEN limited ->> 'refusal'
                   WHEN e.kind = 'reserve' AND runs AND a.open_holds >= (op ->> 'maxOpen')::int THEN 'too_many_open_generations'
                   WHEN taken.taken < amount THEN 'insufficient_credits'
                   WHEN runs AND (op ->> 'refuseOnly')::boolean THEN 'would_hold'
                   ELSE 'applied' END;
  IF e.status <> 'applied' THEN
    RETURN ledger.refused(e, op, lots, taken.taken, limited);
  END IF;
  e.moves := taken.moves;
  IF op ? 'work' THEN
    e.reply := jsonb_build_object('amount', amount);
  ELSE
    e.reply := jsonb_build_object('amount', amount, 'draws', taken.draws);
  END IF;
  IF runs THEN
    due := at + make_interval(secs => (op ->> 'ttlSeconds')::int);
    none := array_fill(0::bigint, ARRAY[cardinality(taken.moves)]);
    IF e.kind = 'charge' THEN
      e.hold := ROW(a.account_id, op ->> 'holdId', NULL, amount, 0, amount, 0, 0, 0, taken.numbers, none, taken.amounts, false, 0,
        op ->> 'workflowId', op ->> 'namespaceId', at, coalesce(due, at), at, due, '{}'::text[],
        op -> 'work' || jsonb_build_object('draws', taken.draws), e.counts)::ledger.hold;
    ELSE
      e.hold := ROW(a.account_id, op ->> 'holdId', op -> 'generation' ->> 'id', amount, amount, 0, 0, 0, 0,
        taken.numbers, taken.amounts, none, true, 0, op ->> 'workflowId', op ->> 'namespaceId', at,
        coalesce(due, at + make_interval(secs => (op ->> 'overdueSeconds')::int), at), NULL, due, '{}'::text[],
        op -> 'work' || jsonb_build_object('draws', taken.draws), e.counts)::ledger.hold;
      e.detail := CASE WHEN due IS NOT NULL THEN jsonb_build_object('expiresAt', due) END;
    END IF;
  END IF;
  IF op ? 'generation' THEN
    e.detail := coalesce(e.detail, '{}') || jsonb_build_object('generation', op -> 'generation' -> 'id');
    e.generation := op -> 'generation' || jsonb_build_object('account', a.account_id, 'key', op -> 'key', 'amount', amount,
      'holdId', CASE WHEN runs THEN op -> 'holdId' END, 'draws', taken.draws, 'workflowId', op -> 'workflowId', 'at', at);
    IF op ? 'deadlineSeconds' THEN -- of the pipeline's own work: in real time, also on a test clock (rule 23)
      e.generation := e.generation || jsonb_build_object('deadlineAt',
        date_trunc('milliseconds', clock_timestamp() + make_interval(secs => (op ->> 'deadlineSeconds')::double precision)));
      e.facts := jsonb_set(op -> 'facts', '{generation,deadlineAt}', e.generation -> 'deadlineAt');
    END IF;
  END IF;
  RETURN e;
END $$;

-- A reserve that is refused: what was required, what could be spent, and until when, which tells whether waiting is enough.
CREATE FUNCTION ledger.refused(e ledger.effect, op jsonb, lots ledger.lot[], p_spendable bigint, p_limited jsonb)
RETURNS ledger.effect LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  -- These refusals leave the key free; the others are journal rows and the key's answer for ever (rule 2).
  e.recorded := e.status NOT IN ('too_many_open_generations', 'would_hold');
  e.counts := NULL;
  e.facts := (op -> 'facts') || coalesce(op -> 'ifRefused', '{}');
  e.reply := jsonb_build_object('required', op -> 'amount', 'spendable', p_spendable);
  IF e.status = p_limited ->> 'refusal' THEN
    e.reply := e.reply || jsonb_build_object('limited', p_limited);
  END IF;
  IF e.recorded THEN
    e.reply := e.reply || jsonb_build_object('left', coalesce((
      SELECT jsonb_agg(
               jsonb_build_object('bucket', g.bucket, 'schedule', g.schedule, 'until', g.expires_at, 'milli', g.milli)
               ORDER BY g.n)
        FROM (SELECT o.bucket, split_part(o.source, ':', 1) AS schedule, o.expires_at,
                     sum(o.available)::bigint AS milli, min(o.n) AS n
                FROM unnest(lots) WITH ORDINALITY o (account_id, lot_no, bucket, rank, effective_at, expires_at, ended_at,
                  return_grace, parent_lot, source, granted, available, held, frozen, spent, expired, revoked, n)
               WHERE o.available > 0 AND NOT coalesce(op -> 'excluded' ? o.bucket, false)
               GROUP BY o.bucket, split_part(o.source, ':', 1), o.expires_at) g), '[]'));
  END IF;
  RETURN e;
END $$;

-- Captures held credits and, when final, gives back the rest in the same operation (rule 13).
--   {holdId, amount | delivered + ordered (of `price`, by default of all) | neither (all), clamp, final, phase, cause,
--    generation}
--   clamp   take what remains if asked for more (rule 15)
CREATE FUNCTION ledger.decide_capture(
  a ledger.account, lots ledger.lot[], numbers int[], h ledger.hold, op jsonb, at timestamptz
) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e       ledger.effect;
  why_not constant text := coalesce(ledger.unusable(h, op), CASE WHEN op ->> 'phase' = ANY (h.phases) THEN 'phase_captured' END);
  asked   bigint;
  wanted  bigint;
  part    bigint;
BEGIN
  IF why_not IS NOT NULL THEN
    RETURN ledger.not_done('capture', why_not, h);
  END IF;
  -- The delivered share of the whole price, less what phases took already (rule 13).
  asked := CASE WHEN op ->> 'amount' IS NOT NULL THEN (op ->> 'amount')::bigint
                WHEN op ? 'delivered' THEN greatest(0, div(coalesce((op ->> 'price')::bigint, h.amount)::numeric
                     * (op ->> 'delivered')::int, (op ->> 'ordered')::int)::bigint - h.captured)
                ELSE h.held END;
  IF asked > h.held AND NOT coalesce((op ->> 'clamp')::boolean, false) THEN
    RETURN ledger.not_done('capture', 'exceeds_hold', h);
  END IF;
  wanted := least(asked, h.held);
  e := ledger.begun('capture');
  e.reply := jsonb_build_object('captured', wanted, 'clamped', asked > h.held);
  e.detail := jsonb_strip_nulls(jsonb_build_object('final', (op ->> 'final')::boolean, 'phase', op -> 'phase',
    'clamped', nullif(asked > h.held, false)));
  h.captured := h.captured + wanted;
  h.held := h.held - wanted;
  IF op ? 'phase' THEN
    h.phases := h.phases || (op ->> 'phase');
  END IF;
  FOR i IN 1..cardinality(h.lots) LOOP -- the order they were cut in is the spend order
    part := least(wanted, h.lots_held[i]);
    CONTINUE WHEN part = 0;
    e.moves := e.moves || ROW(h.lots[i], 'held', 'spent', part)::ledger.move;
    h.lots_held[i] := h.lots_held[i] - part;
    h.lots_captured[i] := h.lots_captured[i] + part;
    wanted := wanted - part;
  END LOOP;
  e.hold := h;
  IF (op ->> 'final')::boolean THEN
    RETURN ledger.close_hold(e, a, lots, numbers, op, at);
  END IF;
  RETURN e;
END $$;

-- Gives back everything a hold still holds and closes it. With `epoch` only if no sign of life came since it was read (rule 17).
--   {holdId, cause, epoch, generation}
CREATE FUNCTION ledger.decide_release(
  a ledger.account, lots ledger.lot[], numbers int[], h ledger.hold, op jsonb, at timestamptz
) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e       ledger.effect;
  why_not constant text := coalesce(ledger.unusable(h, op), CASE WHEN h.epoch <> (op ->> 'epoch')::int THEN 'hold_alive' END);
BEGIN
  IF why_not IS NOT NULL THEN
    RETURN ledger.not_done('release', why_not, h);
  END IF;
  e := ledger.begun('release');
  e.hold := h;
  e.detail := jsonb_build_object('cause', op -> 'cause');
  RETURN ledger.close_hold(e, a, lots, numbers, op, at);
END $$;

-- The effect, closing its hold as well: what is still held goes back.
CREATE FUNCTION ledger.close_hold(
  e ledger.effect, a ledger.account, lots ledger.lot[], numbers int[], op jsonb, at timestamptz
) RETURNS ledger.effect LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  h         ledger.hold := e.hold;
  gave_back constant bigint := h.held;
  back      record;
BEGIN
  IF gave_back = 0 THEN
    e.reply := e.reply || '{"returned": 0, "forfeited": 0}';
  ELSE
    back := ledger.give_back(lots, numbers, at, 'held', h.lots, h.lots_held, op ->> 'cause', NULL, a.lot_seq);
    e.moves := e.moves || back.moves;
    e.new_lots := back.new_lots;
    e.reply := e.reply || jsonb_build_object('returned', back.returned, 'forfeited', back.forfeited);
    h.released := h.released + gave_back;
    h.forfeited := h.forfeited + back.forfeited;
    h.held := 0;
    h.lots_held := array_fill(0::bigint, ARRAY[cardinality(h.lots)]);
  END IF;
  h.open := false;
  h.closed_at := at;
  e.hold := h;
  e.closes := true;
  IF h.counts IS NOT NULL THEN
    e.counts := ledger.count_back(h, op, gave_back, true);
  END IF;
  RETURN e;
END $$;

-- Moves the end of a lease to now + ttlSeconds, never to earlier than it was, and never beyond a week in all: credits that
-- end are not kept by holding them.
--   {holdId, ttlSeconds}
CREATE FUNCTION ledger.decide_extend(h ledger.hold, op jsonb, at timestamptz) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e       ledger.effect;
  why_not constant text := ledger.unusable(h, op);
BEGIN
  IF why_not IS NOT NULL THEN
    RETURN ledger.not_done('extend', why_not, h);
  END IF;
  h.expires_at := greatest(h.expires_at,
    least(at + make_interval(secs => (op ->> 'ttlSeconds')::int), h.opened_at + interval '7 days'));
  h.overdue_at := h.expires_at;
  e := ledger.begun('extend');
  e.hold := h;
  e.detail := jsonb_build_object('expiresAt', h.expires_at);
  RETURN e;
END $$;

-- Gives captured credits back, last drawn first, so that lasting credits return before passing ones.
--   {holdId, amount (null: all), expiresAt | spendableSeconds}
-- Into an expired lot they stay spendable until then, or that long (rule 14). Whoever names the instant means all of the
-- credits: those of a lot that lives would end with it, so then nothing moves.
CREATE FUNCTION ledger.decide_refund(
  a ledger.account, lots ledger.lot[], numbers int[], h ledger.hold, op jsonb, at timestamptz
) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e         ledger.effect;
  amount    constant bigint := coalesce((op ->> 'amount')::bigint, h.captured - h.refunded);
  due       constant timestamptz := coalesce((op ->> 'expiresAt')::timestamptz,
                                             at + make_interval(secs => (op ->> 'spendableSeconds')::double precision));
  closed    constant text := ledger.unusable(h, op);
  why_not   text;
  back      record;
  wanted    bigint := amount;
  part      bigint;
  from_lots int[] := '{}';
  amounts   bigint[] := '{}';
  was       constant ledger.hold := h;
BEGIN
  why_not := CASE WHEN closed IN ('unknown_hold', 'not_leased') THEN closed
                  WHEN wanted > h.captured - h.refunded OR wanted <= 0 THEN 'refund_exceeds_captured'
                  WHEN due <= at THEN 'already_expired'
                  WHEN a.available + a.held + wanted > ledger.balance_limit() THEN 'balance_limit_reached' END;
  IF why_not IS NOT NULL THEN
    RETURN ledger.not_done('refund', why_not, h);
  END IF;
  h.refunded := h.refunded + wanted;
  FOR i IN REVERSE cardinality(h.lots)..1 LOOP
    part := least(wanted, h.lots_captured[i]);
    from_lots := from_lots || h.lots[i];
    amounts := amounts || part;
    h.lots_captured[i] := h.lots_captured[i] - part;
    wanted := wanted - part;
  END LOOP;
  back := ledger.give_back(lots, numbers, at, 'spent', from_lots, amounts, 'operator', due, a.lot_seq);
  IF op ? 'expiresAt' AND EXISTS (SELECT FROM unnest(back.moves) o WHERE o.source = 'spent' AND o.target = 'available') THEN
    RETURN ledger.not_done('refund', 'lot_lives', was);
  END IF;
  e := ledger.begun('refund');
  e.moves := back.moves;
  e.new_lots := back.new_lots;
  e.hold := h;
  e.reply := jsonb_build_object('amount', amount);
  e.detail := e.reply;
  IF h.counts IS NOT NULL THEN
    e.counts := ledger.count_back(h, op, amount, false);
  END IF;
  RETURN e;
END $$;

-- Grants one lot, or with op adjust and a negative amount revokes credits.
--   {bucket, rank, amount, expiresAt, graceSeconds, source, replaces; at: of a step of the calendar}
-- With `replaces` it takes the place of what the same schedule granted before: daily credits are set and not added, and a
-- renewal ends the old month, in one operation (rules 18, 21). A schedule is the first part of `source`: daily, plan.
CREATE FUNCTION ledger.decide_grant(a ledger.account, lots ledger.lot[], op jsonb, at timestamptz) RETURNS ledger.effect
LANGUAGE plpgsql STABLE AS $$
DECLARE
  e      ledger.effect := ledger.begun(coalesce(op ->> 'op', 'grant'));
  amount constant bigint := (op ->> 'amount')::bigint;
  taken  record;
BEGIN
  e.reply := jsonb_build_object('amount', amount);
  IF amount < 0 THEN
    taken := ledger.take(lots, -amount, 'revoked', op ->> 'bucket', NULL);
    e.recorded := taken.taken = -amount;
    IF e.recorded THEN
      e.moves := taken.moves;
    ELSE
      e.status := 'adjustment_exceeds_available';
      e.reply := e.reply || jsonb_build_object('spendable', taken.taken);
    END IF;
  ELSIF (op ->> 'expiresAt')::timestamptz <= at THEN
    e.status := 'already_expired';
    e.recorded := false;
  ELSIF NOT op ? 'at' AND a.available + a.held + amount > ledger.balance_limit() THEN
    e.status := 'balance_limit_reached'; -- what settle grants is within the room above the limit
    e.recorded := false;
  ELSE
    e.moves := e.moves || ROW(a.lot_seq + 1, 'outside', 'available', amount)::ledger.move;
    e.new_lots := jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('lot', a.lot_seq + 1, 'bucket', op -> 'bucket',
      'rank', op -> 'rank', 'effectiveAt', at, 'expiresAt', op -> 'expiresAt', 'graceSeconds', op -> 'graceSeconds',
      'source', op -> 'source')));
    IF amount > 0 THEN
      e.reply := e.reply || jsonb_build_object('lot', a.lot_seq + 1);
    END IF;
  END IF;
  IF e.recorded AND (op ->> 'replaces')::boolean THEN
    e.schedule := split_part(op ->> 'source', ':', 1);
  END IF;
  RETURN e;
END $$;

-- A lot that expires with what is left in it: {lot}. It comes from ledger.next_end, not from callers.
CREATE FUNCTION ledger.decide_expire(lots ledger.lot[], numbers int[], op jsonb) RETURNS ledger.effect
LANGUAGE plpgsql STABLE AS $$
DECLARE
  e ledger.effect := ledger.begun('expire');
  l constant ledger.lot := lots[array_position(numbers, (op ->> 'lot')::int)];
BEGIN
  e.moves := e.moves || ROW(l.lot_no, 'available', 'expired', l.available)::ledger.move;
  RETURN e;
END $$;

-- Says that credits are about to end, if any are left: {expiresAt}. It moves none.
CREATE FUNCTION ledger.decide_notice(lots ledger.lot[], op jsonb) RETURNS ledger.effect LANGUAGE plpgsql STABLE AS $$
DECLARE
  e    ledger.effect := ledger.begun('notice');
  rest bigint := 0;
BEGIN
  FOR i IN 1..cardinality(lots) LOOP
    CONTINUE WHEN lots[i].expires_at <> (op ->> 'expiresAt')::timestamptz OR lots[i].source LIKE 'daily:%';
    rest := rest + lots[i].available;
  END LOOP;
  e.recorded := rest > 0;
  e.detail := jsonb_build_object('notice', 'credits.expiring', 'milli', rest, 'expiresAt', op -> 'expiresAt');
  RETURN e;
END $$;
