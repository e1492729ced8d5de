-- What a call decided, written: each table once.

-- A single operation, row by row, which is faster than by set.
CREATE FUNCTION ledger.write_one(
  e ledger.entry, p_accounts ledger.account[], p_lots ledger.lot[], p_holds_new ledger.hold[], p_holds_moved ledger.hold[],
  p_answers ledger.answer[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  a ledger.account;
  l ledger.lot;
  h ledger.hold;
  k ledger.answer;
BEGIN
  FOREACH l IN ARRAY p_lots LOOP
    UPDATE ledger.lots
       SET available = l.available, held = l.held, frozen = l.frozen, spent = l.spent, expired = l.expired, revoked = l.revoked,
           ended_at = l.ended_at
     WHERE account_id = l.account_id AND lot_no = l.lot_no;
  END LOOP;
  FOREACH h IN ARRAY p_holds_new LOOP
    INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, lots, lots_held, lots_captured, open,
                              epoch, workflow_id, namespace_id, opened_at, overdue_at, closed_at, expires_at, work, counts)
    VALUES (h.account_id, h.hold_id, h.generation_id, h.amount, h.held, h.captured, h.lots, h.lots_held, h.lots_captured, h.open,
            h.epoch, h.workflow_id, h.namespace_id, h.opened_at, h.overdue_at, h.closed_at, h.expires_at, h.work, h.counts);
  END LOOP;
  FOREACH h IN ARRAY p_holds_moved LOOP
    UPDATE ledger.holds
       SET held = h.held, captured = h.captured, released = h.released, forfeited = h.forfeited, refunded = h.refunded,
           lots_held = h.lots_held, lots_captured = h.lots_captured, phases = h.phases, open = h.open, epoch = h.epoch,
           expires_at = h.expires_at, overdue_at = h.overdue_at, closed_at = h.closed_at
     WHERE account_id = h.account_id AND hold_id = h.hold_id;
  END LOOP;
  FOREACH k IN ARRAY p_answers LOOP
    INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer)
    VALUES (k.account_id, k.key, k.request_hash, k.seq, k.answer);
  END LOOP;
  INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after,
                              held_after, debt_after, moves, detail, actor, reason)
  VALUES (e.account_id, e.seq, e.at, e.recorded_at, e.kind, e.status, e.key, e.hold_id, e.credits, e.available_after,
          e.held_after, e.debt_after, e.moves, e.detail, e.actor, e.reason);
  FOREACH a IN ARRAY p_accounts LOOP
    UPDATE ledger.accounts
       SET seq = a.seq, lot_seq = a.lot_seq, available = a.available, held = a.held, debt = a.debt, open_holds = a.open_holds,
           journal_at = a.journal_at, lots_due_at = a.lots_due_at, leases_due_at = a.leases_due_at, next_due_at = a.next_due_at,
           wake_at = a.wake_at, rules_version = a.rules_version, settle_version = a.settle_version, low_below = a.low_below,
           notice_before = a.notice_before, told = a.told, refused_from = a.refused_from, refused = a.refused
     WHERE account_id = a.account_id;
  END LOOP;
END $$;

-- All others, by set.
CREATE FUNCTION ledger.write_many(
  p_journal ledger.entry[], p_accounts ledger.account[], p_lots_new ledger.lot[], p_lots_moved ledger.lot[],
  p_holds_new ledger.hold[], p_holds_moved ledger.hold[], p_answers ledger.answer[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(p_journal) > 0 THEN
    INSERT INTO ledger.lots (account_id, lot_no, bucket, rank, effective_at, expires_at, ended_at, return_grace, parent_lot,
                             source, granted, available, held, frozen, spent, expired, revoked)
    SELECT * FROM unnest(p_lots_new);
    UPDATE ledger.lots o
       SET available = v.available, held = v.held, frozen = v.frozen, spent = v.spent, expired = v.expired, revoked = v.revoked,
           ended_at = v.ended_at
      FROM unnest(p_lots_moved) v WHERE o.account_id = v.account_id AND o.lot_no = v.lot_no;
    INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, released, forfeited, refunded, lots,
                              lots_held, lots_captured, open, epoch, workflow_id, namespace_id, opened_at, overdue_at, closed_at,
                              expires_at, phases, work, counts)
    SELECT * FROM unnest(p_holds_new);
    UPDATE ledger.holds o
       SET held = v.held, captured = v.captured, released = v.released, forfeited = v.forfeited, refunded = v.refunded,
           lots_held = v.lots_held, lots_captured = v.lots_captured, phases = v.phases, open = v.open, epoch = v.epoch,
           expires_at = v.expires_at, overdue_at = v.overdue_at, closed_at = v.closed_at
      FROM unnest(p_holds_moved) v WHERE o.account_id = v.account_id AND o.hold_id = v.hold_id;
    INSERT INTO ledger.op_keys (account_id, key, request_hash, seq, answer) SELECT * FROM unnest(p_answers);
    INSERT INTO ledger.journal (account_id, seq, at, recorded_at, kind, status, key, hold_id, credits, available_after,
                                held_after, debt_after, moves, detail, actor, reason)
    SELECT * FROM unnest(p_journal);
  END IF;
  UPDATE ledger.accounts o
     SET seq = v.seq, lot_seq = v.lot_seq, available = v.available, held = v.held, debt = v.debt, open_holds = v.open_holds,
         journal_at = v.journal_at, lots_due_at = v.lots_due_at, leases_due_at = v.leases_due_at, next_due_at = v.next_due_at,
         wake_at = v.wake_at, rules_version = v.rules_version, settle_version = v.settle_version, low_below = v.low_below,
         notice_before = v.notice_before, told = v.told, refused_from = v.refused_from, refused = v.refused
    FROM unnest(p_accounts) v WHERE o.account_id = v.account_id;
END $$;

-- Generations that begin, and what became of those that were running.
CREATE FUNCTION ledger.write_generations(p_begun jsonb, p_ended jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_begun <> '[]' THEN
    INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, model, params, ordered, member,
        project, feature, parent, metadata, provider, quoted, draws, catalog_version, workflow_id, temporal_url, deadline_at,
        created_at, finished_at, outputs)
    SELECT g.account, g.id, g."holdId", g.key, CASE WHEN g."holdId" IS NULL THEN 'succeeded' ELSE 'running' END, g.action,
        g.model, g.params, g.ordered, g.member, g.project, g.feature, g.parent, nullif(g.metadata, 'null'), g.provider, g.amount,
        g.draws, g."catalogVersion", CASE WHEN g."holdId" IS NOT NULL THEN g."workflowId" END, g."temporalUrl", g."deadlineAt",
        g.at,
        CASE WHEN g."holdId" IS NULL THEN g.at END, '[]'
      FROM jsonb_to_recordset(p_begun) g (account text, id text, "holdId" text, key text, amount bigint, action text, model text,
        params jsonb, ordered int, member text, project text, feature text, parent text, metadata jsonb, provider jsonb,
        draws jsonb, "catalogVersion" int, "workflowId" text, "temporalUrl" text, "deadlineAt" timestamptz, at timestamptz);
  END IF;
  IF p_ended <> '{}' THEN
    UPDATE ledger.generations g
       SET status = coalesce(v.status, g.status), outputs = coalesce(v.outputs, g.outputs),
           error = coalesce(nullif(v.error, 'null'), g.error),
           provider_cost = coalesce(nullif(v."providerCost", 'null'), g.provider_cost),
           finished_at = CASE WHEN v.status IS NULL THEN g.finished_at ELSE v.at END
      FROM jsonb_to_recordset(jsonb_path_query_array(p_ended, '$.*')) v (
        account text, id text, at timestamptz, status text, outputs jsonb, error jsonb, "providerCost" jsonb)
     WHERE g.account_id = v.account AND g.generation_id = v.id AND g.status = 'running';
  END IF;
END $$;

-- Counters as a call leaves them: {"[counter, period]": units}.
CREATE FUNCTION ledger.write_counters(p_account text, p_used jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ledger.counters AS o (account_id, counter, period, used)
  SELECT p_account, u.key::jsonb ->> 0, u.key::jsonb ->> 1, u.value::bigint FROM jsonb_each_text(p_used) u
  ON CONFLICT (account_id, counter, period) DO UPDATE SET used = excluded.used;
END $$;
