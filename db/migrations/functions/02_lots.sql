-- Which lots pay, and where credits return to (rules 13, 14): pure, on the arrays that a call has read.

-- The order lots are spent in, which is the order they are kept in: an added lot goes where it belongs.
CREATE FUNCTION ledger.in_spend_order(p_lots ledger.lot[], OUT lots ledger.lot[], OUT numbers int[]) LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(o ORDER BY rank, expires_at, lot_no), '{}'),
         coalesce(array_agg(lot_no ORDER BY rank, expires_at, lot_no), '{}')
    FROM unnest(p_lots) o
$$;

-- The lots with those of these numbers among them.
CREATE FUNCTION ledger.with_lots(p_account text, p_lots ledger.lot[], p_numbers int[], OUT lots ledger.lot[], OUT numbers int[])
LANGUAGE plpgsql STABLE AS $$
DECLARE
  missing ledger.lot[];
BEGIN
  SELECT array_agg(ROW(o.account_id, o.lot_no, o.bucket, o.rank, o.effective_at, o.expires_at, o.ended_at, o.return_grace,
                       o.parent_lot, o.source, o.granted, o.available, o.held, o.frozen, o.spent, o.expired,
                       o.revoked)::ledger.lot)
    INTO missing FROM ledger.lots o
   WHERE o.account_id = p_account AND o.lot_no = ANY (p_numbers)
     AND o.lot_no <> ALL (ARRAY(SELECT (l).lot_no FROM unnest(p_lots) l));
  SELECT s.lots, s.numbers INTO lots, numbers FROM ledger.in_spend_order(p_lots || missing) s;
END $$;

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
  moves := '{}'; returned := 0; forfeited := 0;
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
      new_lots := coalesce(new_lots, '[]') || jsonb_build_object('lot', p_lot_seq, 'bucket', l.bucket, 'rank', l.rank,
        'effectiveAt', p_at, 'expiresAt', ends, 'parent', l.lot_no, 'source', 'return');
      returned := returned + p_amounts[i];
    END IF;
  END LOOP;
END $$;

-- A lot as it begins: empty, until moves fill it.
CREATE FUNCTION ledger.new_lot(p_account text, p_terms jsonb) RETURNS ledger.lot LANGUAGE sql STABLE AS $$
  SELECT ROW(p_account, (p_terms ->> 'lot')::int, p_terms ->> 'bucket', (p_terms ->> 'rank')::smallint,
    (p_terms ->> 'effectiveAt')::timestamptz, coalesce((p_terms ->> 'expiresAt')::timestamptz, 'infinity'), NULL,
    make_interval(secs => (p_terms ->> 'graceSeconds')::double precision), (p_terms ->> 'parent')::int, p_terms ->> 'source',
    0, 0, 0, 0, 0, 0, 0)::ledger.lot
$$;

-- By how much a move changes one part of a lot.
CREATE FUNCTION ledger.change_of(p_part ledger.part, m ledger.move) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_part WHEN m.target THEN m.milli WHEN m.source THEN -m.milli ELSE 0 END
$$;

-- The lot after one of its moves.
CREATE FUNCTION ledger.moved(l ledger.lot, m ledger.move) RETURNS ledger.lot LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  CASE m.source
    WHEN 'outside' THEN l.granted := l.granted + m.milli;
    WHEN 'available' THEN l.available := l.available - m.milli;
    WHEN 'held' THEN l.held := l.held - m.milli;
    WHEN 'frozen' THEN l.frozen := l.frozen - m.milli;
    WHEN 'spent' THEN l.spent := l.spent - m.milli;
  END CASE;
  CASE m.target
    WHEN 'available' THEN l.available := l.available + m.milli;
    WHEN 'held' THEN l.held := l.held + m.milli;
    WHEN 'frozen' THEN l.frozen := l.frozen + m.milli;
    WHEN 'spent' THEN l.spent := l.spent + m.milli;
    WHEN 'expired' THEN l.expired := l.expired + m.milli;
    WHEN 'revoked' THEN l.revoked := l.revoked + m.milli;
  END CASE;
  RETURN l;
END $$;
