-- min_compatible: 11
-- What the quick audit remembers of an account's lots and counters, one row for each, so that a pass writes those that moved and no
-- others. They were two columns of JSON in ledger.audit_marks, with all there ever were.

CREATE TABLE ledger.audit_lots (LIKE ledger.lots, PRIMARY KEY (account_id, lot_no));
CREATE INDEX audit_lots_live ON ledger.audit_lots (account_id, lot_no) WHERE available + held + frozen > 0;
CREATE TABLE ledger.audit_counters (LIKE ledger.counters, PRIMARY KEY (account_id, counter, period));
GRANT INSERT, UPDATE ON ledger.audit_lots, ledger.audit_counters TO holdfast_app; -- what the audit has seen; no money is here

INSERT INTO ledger.audit_lots (account_id, lot_no, bucket, rank, effective_at, expires_at, ended_at, return_grace, parent_lot, source,
                               granted, available, held, frozen, spent, expired, revoked, open)
SELECT m.account_id, l.lot, l.bucket, l.rank, l."effectiveAt", coalesce(l."expiresAt", 'infinity'), l.ended, make_interval(secs => l."graceSeconds"),
       l.parent, l.source, l.granted, l.available, l.held, l.frozen, l.spent, l.expired, l.revoked, l.available > 0
  FROM ledger.audit_marks m
 CROSS JOIN LATERAL jsonb_to_recordset(m.lots) l (lot int, bucket text, rank smallint, "effectiveAt" timestamptz, "expiresAt" timestamptz,
   "graceSeconds" double precision, parent int, source text, ended timestamptz, granted bigint, available bigint, held bigint, frozen bigint,
   spent bigint, expired bigint, revoked bigint);
INSERT INTO ledger.audit_counters (account_id, counter, period, used)
SELECT m.account_id, c.counter, c.period, c.used
  FROM ledger.audit_marks m CROSS JOIN LATERAL jsonb_to_recordset(m.counters) c (counter text, period text, used bigint);
ALTER TABLE ledger.audit_marks ALTER COLUMN lots SET DEFAULT '[]', ALTER COLUMN counters SET DEFAULT '[]';
UPDATE ledger.audit_marks SET lots = DEFAULT, counters = DEFAULT;

-- What a balance shows beside lots that something is in: what this period granted. The end of a lot changes with nothing.
CREATE INDEX lots_by_end ON ledger.lots (account_id, expires_at) WHERE expires_at < 'infinity';

-- Nothing deletes these, but what ledger.forget_passing takes away.
REVOKE DELETE ON holdfast.quotes, holdfast.inbox, holdfast.provider_jobs, holdfast.reports, holdfast.operations_items FROM holdfast_app;
