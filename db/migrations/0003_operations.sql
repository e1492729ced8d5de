-- min_compatible: 1
-- The ledger's operations. One call of ledger.apply is one account, one transaction, one round trip.
--
--   apply    locks the account, answers known keys, settles what is due, runs each operation
--   reserve, capture, release, refund, grant_lot, adjust, change_rules    decide what moves
--   post     the only writer: lots, totals, keys and journal change here, together
--
-- A function and not one statement: each statement in here takes its snapshot after the row lock was
-- granted. A single CTE that waited for the lock would go on with the lots as they were before.
-- Refusals come back as values; an exception means a bug or a broken request, and nothing is written.
-- Timestamps come from clock_timestamp() after the lock, never from now(), which is when waiting began.

-- Writes one journal row and everything it says. p_lots describes lots that p_moves fill from outside:
-- [{lot, bucket, rank, effectiveAt, expiresAt, graceSeconds, parent, source}].
CREATE FUNCTION ledger.post(
  p_account text, p_at timestamptz, p_kind text, p_status text, p_key text, p_hash text, p_answer jsonb,
  p_hold text, p_moves ledger.move[], p_lots jsonb, p_detail jsonb, p_actor text, p_reason text,
  p_open_holds int DEFAULT 0
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  a            ledger.accounts;
  d_available  bigint;
  d_held       bigint;
  touched      int;
  updated      int;
  opened_until timestamptz := 'infinity';
  answer       jsonb;
BEGIN
  SELECT coalesce(sum(CASE WHEN m.target = 'available' THEN m.milli WHEN m.source = 'available' THEN -m.milli END), 0),
         coalesce(sum(CASE WHEN m.target = 'held' THEN m.milli WHEN m.source = 'held' THEN -m.milli END), 0),
         count(DISTINCT m.lot) FILTER (WHERE m.source <> 'outside')
    INTO d_available, d_held, touched
    FROM unnest(p_moves) m;

  IF p_lots IS NOT NULL THEN
    INSERT INTO ledger.lots (account_id, lot_no, bucket, rank, effective_at, expires_at, return_grace, parent_lot,
                             source, granted, available)
    SELECT p_account, n.lot, n.bucket, n.rank, n."effectiveAt", coalesce(n."expiresAt", 'infinity'),
           make_interval(secs => n."graceSeconds"), n.parent, n.source, m.milli, m.milli
      FROM jsonb_to_recordset(p_lots) n (lot int, bucket text, rank smallint, "effectiveAt" timestamptz,
             "expiresAt" timestamptz, "graceSeconds" double precision, parent int, source text)
      JOIN unnest(p_moves) m ON m.lot = n.lot AND m.source = 'outside';
    GET DIAGNOSTICS updated = ROW_COUNT;
    IF updated <> jsonb_array_length(p_lots) THEN
      RAISE EXCEPTION 'a lot was announced that nothing was granted into' USING ERRCODE = 'data_corrupted';
    END IF;
    SELECT coalesce(min((n.value ->> 'expiresAt')::timestamptz), 'infinity') INTO opened_until
      FROM jsonb_array_elements(p_lots) n;
  END IF;

  IF touched > 0 THEN
    WITH moved AS (
      UPDATE ledger.lots l
         SET available = l.available + d.available, held = l.held + d.held, frozen = l.frozen + d.frozen,
             spent = l.spent + d.spent, expired = l.expired + d.expired, revoked = l.revoked + d.revoked
        FROM (SELECT m.lot,
                     sum(m.milli * ((m.target = 'available')::int - (m.source = 'available')::int)) AS available,
                     sum(m.milli * ((m.target = 'held')::int - (m.source = 'held')::int)) AS held,
                     sum(m.milli * ((m.target = 'frozen')::int - (m.source = 'frozen')::int)) AS frozen,
                     sum(m.milli * ((m.target = 'spent')::int - (m.source = 'spent')::int)) AS spent,
                     sum(m.milli * ((m.target = 'expired')::int - (m.source = 'expired')::int)) AS expired,
                     sum(m.milli * ((m.target = 'revoked')::int - (m.source = 'revoked')::int)) AS revoked
                FROM unnest(p_moves) m WHERE m.source <> 'outside' GROUP BY m.lot) d
       WHERE l.account_id = p_account AND l.lot_no = d.lot
      RETURNING l.open, l.expires_at
    )
    SELECT count(*), least(opened_until, min(expires_at) FILTER (WHERE open)) INTO updated, opened_until FROM moved;
    IF updated <> touched THEN
      RAISE EXCEPTION 'moves name a lot that account % does not have', p_account USING ERRCODE = 'data_corrupted';
    END IF;
  END IF;

  UPDATE ledger.accounts
     SET seq = seq + 1, available = available + d_available, held = held + d_held,
         lot_seq = lot_seq + coalesce(jsonb_array_length(p_lots), 0),
         open_holds = open_holds + p_open_holds, lots_due_at = least(lots_due_at, opened_until),
         journal_at = greatest(journal_at, p_at)
   WHERE account_id = p_account
  RETURNING * INTO a;

  INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after,
                              held_after, debt_after, moves, detail, actor, reason)
  VALUES (p_account, a.seq, a.journal_at, clock_timestamp(), p_kind, p_status, p_key, p_hold, d_available, a.available,
          a.held, a.debt, p_moves, CASE WHEN p_lots IS NULL THEN p_detail
                                        ELSE coalesce(p_detail, '{}') || jsonb_build_object('lots', p_lots) END,
          p_actor, p_reason);

  answer := coalesce(p_answer, '{}') || jsonb_build_object('op', p_kind, 'status', p_status, 'seq', a.seq,
    'at', a.journal_at, 'available', a.available, 'held', a.held, 'debt', a.debt);
  IF p_key IS NOT NULL THEN
    INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer)
    VALUES (p_account, p_key, p_hash, a.seq, answer::text);
  END IF;
  RETURN answer;
END $$;

-- Expires, in time order, every open lot that is over at p_until. Rows carry the instant of expiry.
CREATE FUNCTION ledger.expire_lots(p_account text, p_until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  l record;
BEGIN
  FOR l IN SELECT lot_no, available, expires_at FROM ledger.lots
            WHERE account_id = p_account AND open AND expires_at <= p_until ORDER BY expires_at, lot_no LOOP
    PERFORM ledger.post(p_account, l.expires_at, 'expire', 'applied', NULL, NULL, NULL, NULL,
      ARRAY[ROW(l.lot_no, 'available', 'expired', l.available)::ledger.move], NULL, NULL, NULL, NULL);
  END LOOP;
  UPDATE ledger.accounts SET lots_due_at = coalesce(
      (SELECT min(expires_at) FROM ledger.lots WHERE account_id = p_account AND open), 'infinity')
   WHERE account_id = p_account;
END $$;

-- Decides where credits go back to (rule 14): to the lot they came from while it lives; else they expire
-- there, and where policy and cause allow, a linked lot takes their place beside it.
CREATE FUNCTION ledger.give_back(
  p_account text, p_at timestamptz, p_from ledger.part, p_lots int[], p_amounts bigint[], p_cause text,
  p_spendable interval, p_lot_seq int,
  OUT moves ledger.move[], OUT new_lots jsonb, OUT returned bigint, OUT forfeited bigint
) LANGUAGE plpgsql AS $$
DECLARE
  l     ledger.lots;
  grace interval;
BEGIN
  moves := '{}'; returned := 0; forfeited := 0;
  FOR i IN 1..cardinality(p_lots) LOOP
    CONTINUE WHEN p_amounts[i] = 0;
    SELECT * INTO STRICT l FROM ledger.lots WHERE account_id = p_account AND lot_no = p_lots[i];
    IF l.ended_at IS NULL AND l.expires_at > p_at THEN
      moves := moves || ROW(l.lot_no, p_from, 'available', p_amounts[i])::ledger.move;
      returned := returned + p_amounts[i];
      CONTINUE;
    END IF;
    moves := moves || ROW(l.lot_no, p_from, 'expired', p_amounts[i])::ledger.move;
    grace := CASE WHEN p_spendable IS NOT NULL THEN p_spendable
                  WHEN p_cause <> 'customer' AND l.parent_lot IS NULL THEN l.return_grace END;
    IF grace IS NULL THEN
      forfeited := forfeited + p_amounts[i];
    ELSE
      p_lot_seq := p_lot_seq + 1;
      moves := moves || ROW(p_lot_seq, 'outside', 'available', p_amounts[i])::ledger.move;
      new_lots := coalesce(new_lots, '[]') || jsonb_build_object('lot', p_lot_seq, 'bucket', l.bucket, 'rank', l.rank,
        'effectiveAt', p_at, 'expiresAt', p_at + grace, 'parent', l.lot_no, 'source', 'return');
      returned := returned + p_amounts[i];
    END IF;
  END LOOP;
END $$;

-- What moved, by bucket, in the order the buckets were drawn: [{bucket, milli}].
CREATE FUNCTION ledger.by_bucket(p_account text, p_lots int[], p_amounts bigint[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object('bucket', bucket, 'milli', milli) ORDER BY first), '[]')
    FROM (SELECT l.bucket, sum(u.milli) AS milli, min(u.n) AS first
            FROM unnest(p_lots, p_amounts) WITH ORDINALITY u (lot, milli, n)
            JOIN ledger.lots l ON l.account_id = p_account AND l.lot_no = u.lot
           GROUP BY l.bucket) b
$$;

-- The hold as it is now; null if there is none.
CREATE FUNCTION ledger.hold_state(p_account text, p_hold text) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('holdId', hold_id, 'amount', amount, 'held', held, 'captured', captured, 'released', released,
                            'forfeited', forfeited, 'refunded', refunded, 'open', open, 'epoch', epoch)
    FROM ledger.holds WHERE account_id = p_account AND hold_id = p_hold
$$;

-- Grants one lot. op: {key, hash, bucket, rank, amount, expiresAt, graceSeconds, source, replaces, actor, reason}. With
-- `replaces` it takes the place of what the same schedule granted before: daily credits are set and not added, and a
-- renewal ends the old month, in one operation (rules 18, 21). A schedule is the first part of `source`: daily, plan.
CREATE FUNCTION ledger.grant_lot(p_account text, p_at timestamptz, p_kind text, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  lot    int;
  amount bigint := (op ->> 'amount')::bigint;
  l      record;
  moves  ledger.move[] := '{}';
  ended  int[] := '{}';
  answer jsonb;
BEGIN
  IF (op ->> 'expiresAt')::timestamptz <= p_at THEN
    RETURN jsonb_build_object('status', 'already_expired');
  END IF;
  IF (op ->> 'replaces')::boolean THEN
    FOR l IN SELECT lot_no, available FROM ledger.lots
              WHERE account_id = p_account AND bucket = op ->> 'bucket' AND expires_at > p_at AND ended_at IS NULL
                AND split_part(source, ':', 1) = split_part(op ->> 'source', ':', 1) ORDER BY lot_no LOOP
      ended := ended || l.lot_no;
      CONTINUE WHEN l.available = 0;
      moves := moves || ROW(l.lot_no, 'available', 'expired', l.available)::ledger.move;
    END LOOP;
  END IF;
  SELECT lot_seq + 1 INTO lot FROM ledger.accounts WHERE account_id = p_account;
  answer := ledger.post(p_account, p_at, p_kind, 'applied', op ->> 'key', op ->> 'hash', jsonb_build_object('amount', amount, 'lot', lot),
    NULL, moves || ROW(lot, 'outside', 'available', amount)::ledger.move,
    jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('lot', lot, 'bucket', op -> 'bucket', 'rank', op -> 'rank',
      'effectiveAt', p_at, 'expiresAt', op -> 'expiresAt', 'graceSeconds', op -> 'graceSeconds', 'source', op -> 'source'))),
    CASE WHEN cardinality(ended) > 0 THEN jsonb_build_object('ended', ended) END, op ->> 'actor', op ->> 'reason');
  UPDATE ledger.lots SET ended_at = (answer ->> 'at')::timestamptz WHERE account_id = p_account AND lot_no = ANY (ended);
  RETURN answer;
END $$;

-- Holds the price of a generation. op: {key, hash, rulesVersion, amount, holdId, excluded: [bucket], refusal, maxOpen,
-- reserveBefore, overdueSeconds, refuseOnly, workflowId, namespaceId, facts, generation}. The caller decided, from a snapshot
-- at rulesVersion, what applies (refusal, excluded buckets); here it is decided whether that still holds, and the balance.
-- refuseOnly: for a caller without a workflow, who expects a refusal and may not hold anything.
CREATE FUNCTION ledger.reserve(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  a       ledger.accounts;
  l       record;
  g       jsonb := op -> 'generation';
  hold    text;
  amount  bigint := (op ->> 'amount')::bigint;
  missing bigint := (op ->> 'amount')::bigint;
  take    bigint;
  moves   ledger.move[] := '{}';
  lots    int[] := '{}';
  amounts bigint[] := '{}';
  draws   jsonb;
  answer  jsonb;
BEGIN
  SELECT * INTO STRICT a FROM ledger.accounts WHERE account_id = p_account;
  IF (op ->> 'rulesVersion')::bigint <> a.rules_version THEN
    RETURN jsonb_build_object('status', 'stale');
  ELSIF clock_timestamp() > (op ->> 'reserveBefore')::timestamptz THEN
    RETURN jsonb_build_object('status', 'too_late'); -- nobody is charged minutes after they left (rule 8)
  ELSIF op ->> 'refusal' IS NOT NULL THEN
    RETURN ledger.post(p_account, p_at, 'reserve', op ->> 'refusal', op ->> 'key', op ->> 'hash',
      jsonb_build_object('facts', op -> 'facts'), NULL, '{}', NULL, NULL, NULL, NULL);
  ELSIF amount > 0 AND a.open_holds >= (op ->> 'maxOpen')::int THEN
    RETURN jsonb_build_object('status', 'too_many_open_generations', 'limit', op -> 'maxOpen');
  END IF;

  FOR l IN SELECT lot_no, available FROM ledger.lots
            WHERE account_id = p_account AND open AND NOT (op -> 'excluded' ? bucket)
            ORDER BY rank, expires_at, lot_no LOOP
    EXIT WHEN missing = 0;
    take := least(missing, l.available);
    moves := moves || ROW(l.lot_no, 'available', 'held', take)::ledger.move;
    lots := lots || l.lot_no;
    amounts := amounts || take;
    missing := missing - take;
  END LOOP;
  IF missing > 0 THEN
    RETURN ledger.post(p_account, p_at, 'reserve', 'insufficient_credits', op ->> 'key', op ->> 'hash',
      jsonb_build_object('facts', op -> 'facts', 'required', amount, 'spendable', amount - missing), NULL, '{}', NULL, NULL, NULL, NULL);
  END IF;

  IF amount > 0 AND (op ->> 'refuseOnly')::boolean THEN
    RETURN jsonb_build_object('status', 'would_hold');
  END IF;

  draws := ledger.by_bucket(p_account, lots, amounts);
  hold := CASE WHEN amount > 0 THEN op ->> 'holdId' END;
  answer := ledger.post(p_account, p_at, 'reserve', 'applied', op ->> 'key', op ->> 'hash',
    jsonb_build_object('facts', op -> 'facts', 'amount', amount, 'draws', draws), hold, moves, NULL,
    jsonb_build_object('generation', g -> 'id'), NULL, NULL, (amount > 0)::int);
  IF amount > 0 THEN
    INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, lots, lots_held, lots_captured, workflow_id,
                              namespace_id, opened_at, overdue_at)
    VALUES (p_account, hold, g ->> 'id', amount, amount, lots, amounts, array_fill(0::bigint, ARRAY[cardinality(lots)]),
            op ->> 'workflowId', op ->> 'namespaceId', p_at, p_at + make_interval(secs => (op ->> 'overdueSeconds')::int));
  END IF;
  INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, model, params, ordered, member,
      project, feature, parent, metadata, provider, quoted, draws, catalog_version, workflow_id,
      temporal_url, deadline_at, created_at, finished_at, outputs)
  VALUES (p_account, g ->> 'id', hold, op ->> 'key', CASE WHEN amount > 0 THEN 'running' ELSE 'succeeded' END,
      g ->> 'action', g ->> 'model', g -> 'params', (g ->> 'ordered')::int, g ->> 'member', g ->> 'project', g ->> 'feature',
      g ->> 'parent', nullif(g -> 'metadata', 'null'), g -> 'provider', amount, draws, (g ->> 'catalogVersion')::int,
      CASE WHEN amount > 0 THEN op ->> 'workflowId' END, g ->> 'temporalUrl', (g ->> 'deadlineAt')::timestamptz, p_at,
      CASE WHEN amount = 0 THEN p_at END, '[]');
  RETURN answer;
END $$;

-- Records how a generation ended, in the transaction that moves its credits. p_end: {status, outputs, error, providerCost}.
CREATE FUNCTION ledger.end_generation(p_account text, p_generation text, p_at timestamptz, p_end jsonb)
RETURNS void LANGUAGE sql AS $$
  UPDATE ledger.generations
     SET status = coalesce(p_end ->> 'status', status), outputs = coalesce(p_end -> 'outputs', outputs),
         error = coalesce(nullif(p_end -> 'error', 'null'), error),
         provider_cost = coalesce(nullif(p_end -> 'providerCost', 'null'), provider_cost),
         finished_at = CASE WHEN p_end ->> 'status' IS NULL THEN finished_at ELSE p_at END
   WHERE account_id = p_account AND generation_id = p_generation AND status = 'running'
$$;

-- Captures held credits and, when final, gives back the rest in the same operation (rule 13). op: {key, hash, holdId,
-- amount | delivered + ordered, clamp, final, phase, cause, generation}. `clamp`: take what remains if asked for more (rule 15).
CREATE FUNCTION ledger.capture(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  h        ledger.holds;
  back     record;
  wanted   bigint;
  take     bigint;
  rest     bigint;
  clamped  boolean;
  final    boolean := (op ->> 'final')::boolean;
  moves    ledger.move[] := '{}';
  new_lots jsonb;
  given    bigint := 0;
  lost     bigint := 0;
  answer   jsonb;
BEGIN
  SELECT * INTO h FROM ledger.holds WHERE account_id = p_account AND hold_id = op ->> 'holdId' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('status', 'unknown_hold');
  ELSIF NOT h.open THEN
    RETURN jsonb_build_object('status', 'hold_closed', 'hold', ledger.hold_state(p_account, h.hold_id));
  END IF;
  -- The delivered share of the whole price, less what phases took already (rule 13).
  wanted := coalesce((op ->> 'amount')::bigint,
    greatest(0, div(h.amount::numeric * (op ->> 'delivered')::int, (op ->> 'ordered')::int)::bigint - h.captured));
  clamped := wanted > h.held;
  IF clamped AND NOT coalesce((op ->> 'clamp')::boolean, false) THEN
    RETURN jsonb_build_object('status', 'exceeds_hold', 'hold', ledger.hold_state(p_account, h.hold_id));
  END IF;
  wanted := least(wanted, h.held);
  rest := wanted;

  FOR i IN 1..cardinality(h.lots) LOOP -- the order they were cut in is the spend order
    take := least(rest, h.lots_held[i]);
    CONTINUE WHEN take = 0;
    moves := moves || ROW(h.lots[i], 'held', 'spent', take)::ledger.move;
    h.lots_held[i] := h.lots_held[i] - take;
    h.lots_captured[i] := h.lots_captured[i] + take;
    rest := rest - take;
  END LOOP;
  h.captured := h.captured + wanted;
  h.held := h.held - wanted;

  IF final THEN
    SELECT * INTO back FROM ledger.give_back(p_account, p_at, 'held', h.lots, h.lots_held, op ->> 'cause', NULL,
      (SELECT lot_seq FROM ledger.accounts WHERE account_id = p_account));
    moves := moves || back.moves;
    new_lots := back.new_lots;
    given := back.returned;
    lost := back.forfeited;
    h.lots_held := array_fill(0::bigint, ARRAY[cardinality(h.lots)]);
    h.released := h.released + h.held;
    h.forfeited := h.forfeited + lost;
    h.held := 0;
  END IF;

  answer := ledger.post(p_account, p_at, 'capture', 'applied', op ->> 'key', op ->> 'hash',
    jsonb_build_object('facts', op -> 'facts', 'captured', wanted, 'clamped', clamped, 'returned', given, 'forfeited', lost),
    h.hold_id, moves, new_lots,
    jsonb_strip_nulls(jsonb_build_object('final', final, 'phase', op -> 'phase', 'clamped', nullif(clamped, false))),
    op ->> 'actor', op ->> 'reason', -final::int);
  UPDATE ledger.holds SET held = h.held, captured = h.captured, released = h.released, forfeited = h.forfeited,
         lots_held = h.lots_held, lots_captured = h.lots_captured, open = NOT final, epoch = epoch + 1,
         closed_at = CASE WHEN final THEN p_at END
   WHERE account_id = p_account AND hold_id = h.hold_id;
  PERFORM ledger.end_generation(p_account, h.generation_id, p_at, op -> 'generation');
  RETURN answer || jsonb_build_object('hold', ledger.hold_state(p_account, h.hold_id));
END $$;

-- Gives back everything a hold still holds and closes it. op: {key, hash, holdId, cause, epoch, generation}. With `epoch`
-- only if no sign of life came since it was read (rule 17).
CREATE FUNCTION ledger.release(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  h      ledger.holds;
  back   record;
  answer jsonb;
BEGIN
  SELECT * INTO h FROM ledger.holds WHERE account_id = p_account AND hold_id = op ->> 'holdId' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('status', 'unknown_hold');
  ELSIF NOT h.open THEN
    RETURN jsonb_build_object('status', 'hold_closed', 'hold', ledger.hold_state(p_account, h.hold_id));
  ELSIF h.epoch <> coalesce((op ->> 'epoch')::int, h.epoch) THEN
    RETURN jsonb_build_object('status', 'hold_alive', 'hold', ledger.hold_state(p_account, h.hold_id));
  END IF;
  SELECT * INTO back FROM ledger.give_back(p_account, p_at, 'held', h.lots, h.lots_held, op ->> 'cause', NULL,
    (SELECT lot_seq FROM ledger.accounts WHERE account_id = p_account));
  answer := ledger.post(p_account, p_at, 'release', 'applied', op ->> 'key', op ->> 'hash',
    jsonb_build_object('facts', op -> 'facts', 'returned', back.returned, 'forfeited', back.forfeited),
    h.hold_id, back.moves, back.new_lots, jsonb_build_object('cause', op -> 'cause'), op ->> 'actor', op ->> 'reason', -1);
  UPDATE ledger.holds SET held = 0, released = h.released + h.held, forfeited = h.forfeited + back.forfeited,
         lots_held = array_fill(0::bigint, ARRAY[cardinality(h.lots)]), open = false, epoch = epoch + 1, closed_at = p_at
   WHERE account_id = p_account AND hold_id = h.hold_id;
  PERFORM ledger.end_generation(p_account, h.generation_id, p_at, op -> 'generation');
  RETURN answer || jsonb_build_object('hold', ledger.hold_state(p_account, h.hold_id));
END $$;

-- Gives captured credits back, last drawn first, so that lasting credits return before passing ones. op: {key, hash, holdId,
-- amount (null: all), spendableSeconds, actor, reason}. Into an expired lot they stay spendable that long (rule 14).
CREATE FUNCTION ledger.refund(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  h       ledger.holds;
  back    record;
  wanted  bigint;
  rest    bigint;
  take    bigint;
  lots    int[] := '{}';
  amounts bigint[] := '{}';
  answer  jsonb;
BEGIN
  SELECT * INTO h FROM ledger.holds WHERE account_id = p_account AND hold_id = op ->> 'holdId' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('status', 'unknown_hold');
  END IF;
  wanted := coalesce((op ->> 'amount')::bigint, h.captured - h.refunded);
  IF wanted > h.captured - h.refunded OR wanted = 0 THEN
    RETURN jsonb_build_object('status', 'refund_exceeds_captured', 'hold', ledger.hold_state(p_account, h.hold_id));
  END IF;
  rest := wanted;
  FOR i IN REVERSE cardinality(h.lots)..1 LOOP
    take := least(rest, h.lots_captured[i]);
    CONTINUE WHEN take = 0;
    lots := lots || h.lots[i];
    amounts := amounts || take;
    h.lots_captured[i] := h.lots_captured[i] - take;
    rest := rest - take;
  END LOOP;
  SELECT * INTO back FROM ledger.give_back(p_account, p_at, 'spent', lots, amounts, 'operator',
    make_interval(secs => (op ->> 'spendableSeconds')::double precision),
    (SELECT lot_seq FROM ledger.accounts WHERE account_id = p_account));
  answer := ledger.post(p_account, p_at, 'refund', 'applied', op ->> 'key', op ->> 'hash',
    jsonb_build_object('facts', op -> 'facts', 'amount', wanted), h.hold_id, back.moves, back.new_lots,
    jsonb_build_object('amount', wanted), op ->> 'actor', op ->> 'reason');
  UPDATE ledger.holds SET refunded = h.refunded + wanted, lots_captured = h.lots_captured, epoch = epoch + 1
   WHERE account_id = p_account AND hold_id = h.hold_id;
  RETURN answer || jsonb_build_object('hold', ledger.hold_state(p_account, h.hold_id));
END $$;

-- An administrator's correction: a new lot, or (amount < 0) credits revoked from the bucket's lots in spend order.
CREATE FUNCTION ledger.adjust(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  l       record;
  amount  bigint := (op ->> 'amount')::bigint;
  missing bigint := -(op ->> 'amount')::bigint;
  take    bigint;
  moves   ledger.move[] := '{}';
BEGIN
  IF amount > 0 THEN
    RETURN ledger.grant_lot(p_account, p_at, 'adjust', op);
  END IF;
  FOR l IN SELECT lot_no, available FROM ledger.lots WHERE account_id = p_account AND open AND bucket = op ->> 'bucket'
            ORDER BY rank, expires_at, lot_no LOOP
    EXIT WHEN missing = 0;
    take := least(missing, l.available);
    moves := moves || ROW(l.lot_no, 'available', 'revoked', take)::ledger.move;
    missing := missing - take;
  END LOOP;
  IF missing > 0 THEN
    RETURN jsonb_build_object('status', 'adjustment_exceeds_available', 'spendable', -amount - missing);
  END IF;
  RETURN ledger.post(p_account, p_at, 'adjust', 'applied', op ->> 'key', op ->> 'hash',
    jsonb_build_object('facts', op -> 'facts', 'amount', amount), NULL, moves, NULL, NULL, op ->> 'actor', op ->> 'reason');
END $$;

-- Changes what gates and calendar are decided by. op: {key, hash, rules: {plan, planSource, ...}, actor, reason}.
CREATE FUNCTION ledger.change_rules(p_account text, p_at timestamptz, op jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  before ledger.account_rules;
  r      jsonb := op -> 'rules';
BEGIN
  SELECT * INTO STRICT before FROM ledger.account_rules WHERE account_id = p_account;
  UPDATE ledger.account_rules
     SET plan = coalesce(r ->> 'plan', plan), plan_source = coalesce(r ->> 'planSource', plan_source),
         plan_interval = CASE WHEN r ? 'planInterval' THEN r ->> 'planInterval' ELSE plan_interval END,
         paid_until = CASE WHEN r ? 'paidUntil' THEN (r ->> 'paidUntil')::timestamptz ELSE paid_until END,
         timezone = coalesce(r ->> 'timezone', timezone), anchor = coalesce((r ->> 'anchor')::timestamptz, anchor),
         suspended = coalesce((r ->> 'suspended')::boolean, suspended),
         max_open = CASE WHEN r ? 'maxOpen' THEN (r ->> 'maxOpen')::int ELSE max_open END,
         email = CASE WHEN r ? 'email' THEN r ->> 'email' ELSE email END,
         calendar = calendar || coalesce(r -> 'calendar', '{}')
   WHERE account_id = p_account;
  -- Every step of the calendar is worked out afresh: the next use settles first.
  UPDATE ledger.accounts SET rules_version = rules_version + 1, next_due_at = '-infinity' WHERE account_id = p_account;
  IF r ? 'plan' THEN
    RETURN ledger.post(p_account, p_at, 'plan', 'applied', op ->> 'key', op ->> 'hash', jsonb_build_object('facts', op -> 'facts'),
      NULL, '{}', NULL, jsonb_build_object('before', before.plan, 'after', r -> 'plan'), op ->> 'actor', op ->> 'reason');
  END IF;
  RETURN jsonb_build_object('op', 'rules', 'status', 'applied');
END $$;

-- Rules, calendar and versions of one account, as gates and settle need them. Null if there is no such account.
CREATE FUNCTION ledger.snapshot(p_account text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  SELECT jsonb_build_object(
    'account', a.account_id, 'now', greatest(coalesce(a.clock_at, clock_timestamp()), a.journal_at), 'onTestClock', a.clock_at IS NOT NULL,
    'seq', a.seq, 'available', a.available, 'held', a.held, 'debt', a.debt, 'openHolds', a.open_holds,
    'nextDueAt', a.next_due_at, 'wakeAt', a.wake_at, 'rulesVersion', a.rules_version, 'settleVersion', a.settle_version,
    'rules', jsonb_build_object('catalog', r.catalog, 'plan', r.plan, 'planSource', r.plan_source, 'planInterval', r.plan_interval,
      'paidUntil', r.paid_until, 'timezone', r.timezone, 'anchor', r.anchor, 'suspended', r.suspended, 'maxOpen', r.max_open,
      'email', r.email, 'stripeCustomer', r.stripe_customer, 'createdAt', r.created_at),
    'calendar', r.calendar)
    FROM ledger.accounts a JOIN ledger.account_rules r USING (account_id)
   WHERE a.account_id = p_account
$$;

-- The snapshot with the lots a balance is made of: what is open or held, and what this period granted.
CREATE FUNCTION ledger.balance(p_account text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  SELECT ledger.snapshot(p_account) || jsonb_build_object('lots', coalesce((
    SELECT jsonb_agg(jsonb_build_object('lot', lot_no, 'bucket', bucket, 'rank', rank, 'effectiveAt', effective_at,
             'expiresAt', expires_at, 'source', source, 'granted', granted, 'available', l.available, 'held', l.held)
             ORDER BY rank, expires_at, lot_no)
      FROM ledger.lots l JOIN ledger.accounts a USING (account_id)
     WHERE account_id = p_account AND (l.open OR l.held > 0 OR (ended_at IS NULL AND expires_at < 'infinity' AND expires_at > coalesce(a.clock_at, clock_timestamp())))), '[]'))
$$;

CREATE FUNCTION ledger.account_now(a ledger.accounts) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT greatest(coalesce(a.clock_at, clock_timestamp()), a.journal_at)
$$;

-- Everything that changes an account comes through here.
--   p_ops     [{op, key, hash, ...}], each independent of the others, run in order
--   p_settle  {settleVersion, rulesVersion, steps: [{at, ...grant}], calendar, nextDueAt, renewsAt}: the calendar steps that are
--             due, worked out by domain/settle.ts; SQL does no calendar arithmetic (rule 11)
-- Answers {result: ok, replies: [...], ...}, or without having written anything {result: unknown_account},
-- {result: settle_required | stale, snapshot}.
CREATE FUNCTION ledger.apply(p_account text, p_ops jsonb, p_settle jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  a        ledger.accounts;
  woke     timestamptz;
  t        timestamptz;
  op       jsonb;
  step     jsonb;
  known    ledger.op_keys;
  reply    jsonb;
  replies  jsonb := '[]';
  fresh    int := 0;
BEGIN
  SELECT * INTO a FROM ledger.accounts WHERE account_id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN '{"result": "unknown_account"}';
  END IF;
  -- From here on every statement sees what was committed before the lock was granted.
  t := ledger.account_now(a);
  woke := a.wake_at;

  -- A key that is known is answered before anything else is looked at, also before settling.
  FOR op IN SELECT value FROM jsonb_array_elements(p_ops) LOOP
    SELECT * INTO known FROM ledger.op_keys WHERE account_id = p_account AND key = op ->> 'key';
    IF NOT FOUND THEN
      reply := NULL;
      fresh := fresh + 1;
    ELSIF known.request_hash <> op ->> 'hash' THEN
      reply := jsonb_build_object('status', 'idempotency_conflict', 'replayed', true,
                 'hold', ledger.hold_state(p_account, op ->> 'holdId'));
    ELSE
      reply := known.answer::jsonb || jsonb_build_object('replayed', true, 'answer', known.answer,
                 'hold', ledger.hold_state(p_account, op ->> 'holdId'));
    END IF;
    replies := replies || jsonb_build_array(reply);
  END LOOP;
  IF fresh = 0 AND p_settle IS NULL AND jsonb_array_length(p_ops) > 0 THEN
    RETURN jsonb_build_object('result', 'ok', 'at', t, 'replies', replies);
  END IF;

  IF p_settle IS NULL THEN
    IF t >= a.next_due_at THEN
      RETURN jsonb_build_object('result', 'settle_required', 'snapshot', ledger.snapshot(p_account));
    END IF;
  ELSE
    IF (p_settle ->> 'settleVersion')::bigint <> a.settle_version OR (p_settle ->> 'rulesVersion')::bigint <> a.rules_version THEN
      RETURN jsonb_build_object('result', 'stale', 'snapshot', ledger.snapshot(p_account));
    END IF;
    FOR step IN SELECT value FROM jsonb_array_elements(p_settle -> 'steps') LOOP
      PERFORM ledger.expire_lots(p_account, (step ->> 'at')::timestamptz);
      -- A key that is there already was granted by another road (the Stripe sync); the step is done.
      CONTINUE WHEN EXISTS (SELECT FROM ledger.op_keys WHERE account_id = p_account AND key = step ->> 'key');
      PERFORM ledger.grant_lot(p_account, (step ->> 'at')::timestamptz, 'grant', step);
    END LOOP;
    UPDATE ledger.account_rules SET calendar = calendar || (p_settle -> 'calendar')
     WHERE account_id = p_account AND NOT calendar @> (p_settle -> 'calendar');
    UPDATE ledger.accounts SET settle_version = settle_version + 1, next_due_at = (p_settle ->> 'nextDueAt')::timestamptz,
           renews_at = (p_settle ->> 'renewsAt')::timestamptz
     WHERE account_id = p_account;
  END IF;
  IF a.lots_due_at <= t OR p_settle IS NOT NULL THEN
    PERFORM ledger.expire_lots(p_account, t);
  END IF;

  FOR i IN 0..jsonb_array_length(p_ops) - 1 LOOP
    CONTINUE WHEN replies -> i <> 'null';
    op := p_ops -> i;
    reply := CASE op ->> 'op'
      WHEN 'reserve' THEN ledger.reserve(p_account, t, op)
      WHEN 'capture' THEN ledger.capture(p_account, t, op)
      WHEN 'release' THEN ledger.release(p_account, t, op)
      WHEN 'refund' THEN ledger.refund(p_account, t, op)
      WHEN 'grant' THEN ledger.grant_lot(p_account, t, 'grant', op)
      WHEN 'adjust' THEN ledger.adjust(p_account, t, op)
      WHEN 'rules' THEN ledger.change_rules(p_account, t, op)
    END;
    IF reply IS NULL THEN
      RAISE EXCEPTION 'unknown ledger operation: %', op ->> 'op' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    replies := jsonb_set(replies, ARRAY[i::text], reply || jsonb_build_object('replayed', false, 'answer',
      (SELECT k.answer FROM ledger.op_keys k WHERE k.account_id = p_account AND k.key = op ->> 'key')));
  END LOOP;

  SELECT * INTO a FROM ledger.accounts WHERE account_id = p_account;
  RETURN jsonb_build_object('result', 'ok', 'at', t, 'seq', a.seq, 'available', a.available, 'held', a.held, 'debt', a.debt,
    'rulesVersion', a.rules_version, 'settleVersion', a.settle_version, 'nextDueAt', a.next_due_at, 'wakeAt', a.wake_at,
    'ring', a.wake_at < woke, 'replies', replies);
END $$;

-- Opens an account; its first settle grants what its plan gives. False if the id is taken.
CREATE FUNCTION ledger.open_account(p_account text, p_rules jsonb, p_clock timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
  t timestamptz := coalesce(p_clock, clock_timestamp());
BEGIN
  INSERT INTO ledger.accounts (account_id, clock_at) VALUES (p_account, p_clock) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO ledger.account_rules (account_id, catalog, plan, plan_source, plan_interval, timezone, anchor, email, created_at)
  VALUES (p_account, p_rules ->> 'catalog', p_rules ->> 'plan', p_rules ->> 'planSource', p_rules ->> 'planInterval',
          coalesce(p_rules ->> 'timezone', 'UTC'), coalesce((p_rules ->> 'anchor')::timestamptz, date_trunc('milliseconds', t)),
          p_rules ->> 'email', date_trunc('milliseconds', t));
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

-- Says that a run is about to submit the hold's work; false if the hold is no longer open (rule 5). Moves the epoch.
CREATE FUNCTION ledger.assert_hold_open(p_account text, p_hold text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
BEGIN
  UPDATE ledger.holds SET epoch = epoch + 1 WHERE account_id = p_account AND hold_id = p_hold AND open;
  RETURN FOUND;
END $$;

-- The application may call these and nothing else; what they call in turn runs as the owner.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.apply(text, jsonb, jsonb), ledger.open_account(text, jsonb, timestamptz),
  ledger.snapshot(text), ledger.balance(text), ledger.move_clock(text, timestamptz), ledger.assert_hold_open(text, text)
  TO holdfast_app;
