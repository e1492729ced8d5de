-- min_compatible: 11
-- Work that comes to 0 credits runs like any other, under a hold of nothing. That leases and charges are of something is for
-- the audit to see: every node of this expression is paid for by every statement (0005).

ALTER TABLE ledger.holds
  DROP CONSTRAINT hold_not_negative,
  ADD CONSTRAINT hold_not_negative CHECK (least(amount, held, forfeited, released - forfeited, refunded, captured - refunded) >= 0)
    NOT VALID; -- weaker than the one before, so every row holds it: no need to read them all while everybody waits

-- Generations are no history: what failed before this after something of it was captured is told as what it was, too.
UPDATE ledger.generations g SET status = 'partial'
  FROM ledger.holds h
 WHERE g.status = 'failed' AND g.hold_id IS NOT NULL AND h.account_id = g.account_id AND h.hold_id = g.hold_id AND (h.captured > 0 OR h.phases <> '{}');

-- What each phase took, as the rows that say so are archived; of phases that were archived before it is not known.
ALTER TABLE ledger.opening_holds ADD COLUMN phases_milli bigint[] NOT NULL DEFAULT '{}';
