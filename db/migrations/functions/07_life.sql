-- The kinds of operation that have tables of their own, and write them: disputes and debts, rules, members.

-- Takes bought credits back (rule 27): {cause, source, buckets, amount}. What the dispute `cause` froze first, then what is left
-- of the lot `source` and of what came back of it, then lots of the buckets in spend order; the rest is debt.
CREATE FUNCTION ledger.revoke(a ledger.account, lots ledger.lot[], op jsonb) RETURNS ledger.effect LANGUAGE plpgsql AS $$
DECLARE
  e      ledger.effect := ledger.begun('revoke');
  wanted bigint := (op ->> 'amount')::bigint;
  frozen ledger.freezes;
  own    int[];
  l      ledger.lot;
  part   bigint;
BEGIN
  SELECT * INTO frozen FROM ledger.freezes f WHERE f.account_id = a.account_id AND f.cause = op ->> 'cause' AND f.open;
  IF FOUND THEN
    e.unread := frozen.lots;
    FOR i IN 1..cardinality(frozen.lots) LOOP
      part := least(wanted, frozen.amounts[i]);
      CONTINUE WHEN part = 0;
      e.moves := e.moves || ROW(frozen.lots[i], 'frozen', 'revoked', part)::ledger.move;
      frozen.amounts[i] := frozen.amounts[i] - part;
      wanted := wanted - part;
    END LOOP;
    UPDATE ledger.freezes f SET amounts = frozen.amounts WHERE f.account_id = a.account_id AND f.cause = frozen.cause;
  END IF;
  own := ledger.lots_of_source(a.account_id, op ->> 'source');
  FOR pass IN 1..2 LOOP -- its own lot and what came back of it, then the others
    FOREACH l IN ARRAY lots LOOP
      CONTINUE WHEN (l.source = op ->> 'source' OR coalesce(l.parent_lot = ANY (own), false)) <> (pass = 1)
        OR (pass = 2 AND NOT op -> 'buckets' ? l.bucket);
      part := least(wanted, l.available);
      CONTINUE WHEN part = 0;
      e.moves := e.moves || ROW(l.lot_no, 'available', 'revoked', part)::ledger.move;
      wanted := wanted - part;
    END LOOP;
  END LOOP;
  e.owed := wanted;
  IF wanted > 0 THEN
    INSERT INTO ledger.debts AS d (account_id, cause, seq, owed) VALUES (a.account_id, op ->> 'cause', a.seq + 1, wanted)
    ON CONFLICT (account_id, cause) DO UPDATE SET owed = d.owed + excluded.owed;
  END IF;
  e.reply := jsonb_build_object('amount', (op ->> 'amount')::bigint, 'owed', wanted);
  e.detail := jsonb_build_object('cause', op -> 'cause', 'owed', wanted);
  RETURN e;
END $$;

-- Freezes what is available of the lot `source`, and of what came back of it, for a dispute (rule 28).
--   {cause, source, amount (null: all of it)}
CREATE FUNCTION ledger.freeze(a ledger.account, lots ledger.lot[], op jsonb) RETURNS ledger.effect LANGUAGE plpgsql AS $$
DECLARE
  e       ledger.effect := ledger.begun('freeze');
  wanted  bigint := coalesce((op ->> 'amount')::bigint, 9007199254740991);
  own     constant int[] := ledger.lots_of_source(a.account_id, op ->> 'source');
  numbers int[] := '{}';
  amounts bigint[] := '{}';
  total   bigint := 0;
  l       ledger.lot;
  part    bigint;
BEGIN
  FOREACH l IN ARRAY lots LOOP
    part := least(wanted, l.available);
    CONTINUE WHEN part = 0 OR NOT (l.source = op ->> 'source' OR coalesce(l.parent_lot = ANY (own), false));
    e.moves := e.moves || ROW(l.lot_no, 'available', 'frozen', part)::ledger.move;
    numbers := numbers || l.lot_no;
    amounts := amounts || part;
    wanted := wanted - part;
    total := total + part;
  END LOOP;
  INSERT INTO ledger.freezes (account_id, cause, lots, amounts) VALUES (a.account_id, op ->> 'cause', numbers, amounts)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    e := ledger.not_done('freeze', 'already_frozen', NULL);
    total := 0;
  END IF;
  e.reply := jsonb_build_object('amount', total);
  e.detail := jsonb_build_object('cause', op -> 'cause');
  RETURN e;
END $$;

-- Gives back exactly what the dispute `cause` froze and still has frozen: {cause}.
CREATE FUNCTION ledger.unfreeze(a ledger.account, lots ledger.lot[], op jsonb, at timestamptz) RETURNS ledger.effect
LANGUAGE plpgsql AS $$
DECLARE
  e       ledger.effect := ledger.begun('unfreeze');
  frozen  ledger.freezes;
  numbers int[];
  back    record;
BEGIN
  UPDATE ledger.freezes f SET open = false WHERE f.account_id = a.account_id AND f.cause = op ->> 'cause' AND f.open
  RETURNING * INTO frozen;
  IF NOT FOUND THEN
    RETURN ledger.not_done('unfreeze', 'not_frozen', NULL);
  END IF;
  SELECT s.lots, s.numbers INTO lots, numbers FROM ledger.with_lots(a.account_id, lots, frozen.lots) s;
  back := ledger.give_back(lots, numbers, at, 'frozen', frozen.lots, frozen.amounts, 'operator', NULL, a.lot_seq);
  e.unread := frozen.lots;
  e.moves := back.moves;
  e.new_lots := back.new_lots;
  e.reply := jsonb_build_object('returned', back.returned, 'forfeited', back.forfeited);
  e.detail := jsonb_build_object('cause', op -> 'cause');
  RETURN e;
END $$;

-- The numbers of the lots of one source, spent or not.
CREATE FUNCTION ledger.lots_of_source(p_account text, p_source text) RETURNS int[] LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT o.lot_no FROM ledger.lots o WHERE o.account_id = p_account AND o.source = p_source);
END $$;

-- Changes what gates and calendar are decided by.
--   {rules: {plan, planSource, ...}, rulesVersion, settleVersion, grants, ends, forfeits}
-- Only a change of plan, or of what is going to happen to it, and a suspension are history.
--   rulesVersion, settleVersion   what it was worked out from; if one has moved since, nothing happens
--   grants     [{bucket, rank, amount, expiresAt, graceSeconds, source}], what an upgrade adds at once (rule 19)
--   ends       a schedule whose lots end with this
--   forfeits   what comes back of them is lost, whatever their policy says (rule 14)
CREATE FUNCTION ledger.change_rules(a ledger.account, op jsonb, at timestamptz) RETURNS ledger.effect LANGUAGE plpgsql AS $$
DECLARE
  e     ledger.effect;
  r     constant jsonb := op -> 'rules';
  lot   int := a.lot_seq;
  terms jsonb;
BEGIN
  IF (op ->> 'rulesVersion')::bigint <> a.rules_version OR (op ->> 'settleVersion')::bigint <> a.settle_version THEN
    RETURN ledger.not_done('rules', 'stale', NULL);
  END IF;
  e := ledger.begun(CASE WHEN r ?| ARRAY['plan', 'pending'] THEN 'plan'
                         WHEN (r ->> 'suspended')::boolean THEN 'suspend' ELSE 'unsuspend' END);
  e.detail := ledger.write_rules(a.account_id, r);
  -- Every step of the calendar is worked out again: the next use settles first.
  e.rules_version := a.rules_version + 1;
  e.next_due_at := '-infinity';
  e.recorded := r ?| ARRAY['plan', 'pending', 'suspended'];
  IF NOT e.recorded THEN
    e.reply := '{"op": "rules"}';
  ELSIF e.kind <> 'plan' THEN
    e.detail := NULL;
  ELSE
    e.wake_at := at; -- its workflow settles as well
    e.schedule := op ->> 'ends';
    FOR terms IN SELECT * FROM jsonb_array_elements(op -> 'grants') LOOP
      lot := lot + 1;
      e.moves := e.moves || ROW(lot, 'outside', 'available', (terms ->> 'amount')::bigint)::ledger.move;
      e.new_lots := coalesce(e.new_lots, '[]')
        || (jsonb_strip_nulls(terms - 'amount') || jsonb_build_object('lot', lot, 'effectiveAt', at));
    END LOOP;
  END IF;
  RETURN e;
END $$;

-- Writes the rules that are named and answers what the journal keeps of it: {before, after, interval, source, pending}.
CREATE FUNCTION ledger.write_rules(p_account text, r jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  u    ledger.account_rules;
  plan text;
BEGIN
  SELECT * INTO STRICT u FROM ledger.account_rules o WHERE o.account_id = p_account;
  plan := u.plan;
  u.plan := coalesce(r ->> 'plan', u.plan);
  u.plan_source := coalesce(r ->> 'planSource', u.plan_source);
  IF r ? 'planInterval' THEN u.plan_interval := r ->> 'planInterval'; END IF;
  IF r ? 'paidUntil' THEN u.paid_until := r ->> 'paidUntil'; END IF;
  IF r ? 'periodFrom' THEN u.period_from := r ->> 'periodFrom'; END IF;
  IF r ? 'pending' THEN u.pending := nullif(r -> 'pending', 'null'); END IF;
  IF r ? 'endedAt' THEN u.ended_at := r ->> 'endedAt'; END IF;
  u.timezone := coalesce(r ->> 'timezone', u.timezone);
  IF r ? 'zoneChange' THEN u.zone_change := nullif(r -> 'zoneChange', 'null'); END IF;
  u.anchor := coalesce((r ->> 'anchor')::timestamptz, u.anchor);
  u.suspended := coalesce((r ->> 'suspended')::boolean, u.suspended);
  IF r ? 'maxOpen' THEN u.max_open := r ->> 'maxOpen'; END IF;
  IF r ? 'creditsPerDay' THEN u.credits_per_day := r ->> 'creditsPerDay'; END IF;
  IF r ? 'email' THEN u.email := r ->> 'email'; END IF;
  u.calendar := u.calendar || coalesce(r -> 'calendar', '{}');
  UPDATE ledger.account_rules o
     SET plan = u.plan, plan_source = u.plan_source, plan_interval = u.plan_interval, paid_until = u.paid_until,
         period_from = u.period_from, pending = u.pending, ended_at = u.ended_at, timezone = u.timezone,
         zone_change = u.zone_change, anchor = u.anchor, suspended = u.suspended, max_open = u.max_open,
         credits_per_day = u.credits_per_day, email = u.email, calendar = u.calendar
   WHERE o.account_id = p_account;
  RETURN jsonb_strip_nulls(jsonb_build_object('before', plan, 'after', u.plan, 'interval', u.plan_interval,
    'source', u.plan_source, 'pending', u.pending));
END $$;

-- Adds, changes or removes a member: {rulesVersion, member, role, monthlyLimit, remove, seats}. Whether a seat is free and an
-- owner is left is decided here, under the lock.
CREATE FUNCTION ledger.change_member(a ledger.account, op jsonb, at timestamptz) RETURNS ledger.effect LANGUAGE plpgsql AS $$
DECLARE
  e       ledger.effect;
  removes constant boolean := op ? 'remove';
  m       record;
  why_not text;
BEGIN
  SELECT count(*) FILTER (WHERE member <> op ->> 'member') AS others, count(*) FILTER (WHERE member = op ->> 'member') AS known,
         count(*) FILTER (WHERE member <> op ->> 'member' AND role = 'owner') AS other_owners,
         count(*) FILTER (WHERE member = op ->> 'member' AND role = 'owner') AS owner INTO m
    FROM ledger.members WHERE account_id = a.account_id;
  why_not := CASE WHEN (op ->> 'rulesVersion')::bigint <> a.rules_version THEN 'stale'
                  WHEN removes AND m.known = 0 THEN 'unknown_member'
                  WHEN m.owner = 1 AND m.other_owners = 0 AND (removes OR op ->> 'role' <> 'owner')
                       AND NOT (removes AND m.others = 0) THEN 'last_owner'
                  WHEN NOT removes AND m.known = 0 AND m.others >= (op ->> 'seats')::int THEN 'seat_limit_reached' END;
  e := ledger.not_done('member', coalesce(why_not, 'applied'), NULL);
  IF why_not IS NULL THEN
    e.rules_version := a.rules_version + 1;
    IF removes THEN
      DELETE FROM ledger.members WHERE account_id = a.account_id AND member = op ->> 'member';
    ELSE
      INSERT INTO ledger.members (account_id, member, role, monthly_limit, added_at)
      VALUES (a.account_id, op ->> 'member', op ->> 'role', (op ->> 'monthlyLimit')::bigint, at)
      ON CONFLICT (account_id, member) DO UPDATE SET role = excluded.role, monthly_limit = excluded.monthly_limit;
    END IF;
  END IF;
  RETURN e;
END $$;

-- The account with its gates or its calendar changed.
CREATE FUNCTION ledger.with_new_rules(a ledger.account, e ledger.effect) RETURNS ledger.account LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  a.rules_version := e.rules_version;
  a.next_due_at := coalesce(e.next_due_at, a.next_due_at);
  a.wake_at := least(a.wake_at, e.wake_at);
  RETURN a;
END $$;
