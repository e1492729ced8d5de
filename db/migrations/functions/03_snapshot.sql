-- What gates, settlement and readers start from.

-- The hold as callers see it; null if there is none.
CREATE FUNCTION ledger.hold_state(h ledger.hold) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN h.hold_id IS NOT NULL THEN jsonb_build_object('holdId', h.hold_id, 'amount', h.amount, 'held', h.held,
    'captured', h.captured, 'released', h.released, 'forfeited', h.forfeited, 'refunded', h.refunded,
    'open', h.open, 'epoch', h.epoch, 'expiresAt', h.expires_at) END
$$;

-- Rules, calendar and versions of one account, as gates and settle need them. Null if there is no such account.
-- endsAt: from then on some lot or lease has ended that the totals still count. clock: the database's, whatever the account's.
CREATE FUNCTION ledger.snapshot(p_account text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
  SELECT jsonb_build_object(
    'account', a.account_id, 'now', greatest(coalesce(a.clock_at, clock_timestamp()), a.journal_at),
    'onTestClock', a.clock_at IS NOT NULL, 'clock', clock_timestamp(),
    'seq', a.seq, 'available', a.available, 'held', a.held, 'debt', a.debt, 'openHolds', a.open_holds,
    'nextDueAt', a.next_due_at, 'endsAt', least(a.lots_due_at, a.leases_due_at), 'wakeAt', a.wake_at,
    'rulesVersion', a.rules_version, 'settleVersion', a.settle_version,
    'rules', jsonb_build_object('catalog', r.catalog, 'plan', r.plan, 'planSource', r.plan_source,
      'planInterval', r.plan_interval, 'paidUntil', r.paid_until, 'timezone', r.timezone, 'zoneChange', r.zone_change,
      'anchor', r.anchor, 'suspended', r.suspended, 'maxOpen', r.max_open, 'creditsPerDay', r.credits_per_day,
      'pending', r.pending, 'periodFrom', r.period_from, 'endedAt', r.ended_at, 'testClock', r.test_clock,
      'email', r.email, 'stripeCustomer', r.stripe_customer, 'createdAt', r.created_at),
    'members', coalesce((SELECT jsonb_object_agg(m.member, jsonb_build_object('role', m.role, 'monthlyLimit', m.monthly_limit))
                           FROM ledger.members m WHERE m.account_id = p_account), '{}'),
    'calendar', r.calendar,
    -- What ends and is not daily: when, since when it is there, and of which schedule.
    'ending', coalesce((
      SELECT jsonb_agg(DISTINCT jsonb_build_object('at', l.expires_at, 'since', l.effective_at,
                                                   'of', split_part(l.source, ':', 1)))
        FROM ledger.lots l
       WHERE l.account_id = p_account AND l.open AND l.expires_at < 'infinity' AND l.source NOT LIKE 'daily:%'), '[]'))
    FROM ledger.accounts a JOIN ledger.account_rules r USING (account_id)
   WHERE a.account_id = p_account
$$;

-- What an account may have in all, by what callers do (MAX_BALANCE_MILLI in domain/credits.ts): a ninth of 2^53, from where on
-- JSON rounds.
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
             UNION
            SELECT u FROM ledger.holds h CROSS JOIN LATERAL unnest(h.lots) u WHERE h.account_id = p_account AND h.open
             UNION
            SELECT o.lot_no FROM ledger.lots o
             WHERE o.account_id = p_account AND o.expires_at < 'infinity' AND o.ended_at IS NULL
               AND o.expires_at > (SELECT coalesce(a.clock_at, statement_timestamp())
                                     FROM ledger.accounts a WHERE a.account_id = p_account)) n (lot)
     CROSS JOIN LATERAL (SELECT * FROM ledger.lots o WHERE o.account_id = p_account AND o.lot_no = n.lot OFFSET 0) l), '[]'))
$$;
