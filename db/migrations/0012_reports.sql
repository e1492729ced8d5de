-- min_compatible: 11
-- Reports are acted upon by the ledger, whoever drives them: what is pending, and what a workflow was not told of, is found by
-- an index. A late one can be charged for by hand, once.

ALTER TABLE holdfast.reports
  ADD COLUMN untold boolean NOT NULL DEFAULT false, -- it was acted upon beside its workflow, which is yet to be told
  ADD COLUMN charge jsonb,                          -- {id, milli, at, by, reason}: what was charged for it by hand
  DROP CONSTRAINT reports_outcome_check,
  ADD CONSTRAINT reports_outcome_check CHECK (outcome IN ('pending', 'applied', 'rejected', 'late', 'charged')),
  ADD CONSTRAINT reports_charged CHECK ((outcome = 'charged') = (charge IS NOT NULL));
CREATE INDEX reports_unseen ON holdfast.reports (received_at, account_id, generation_id, report_id) WHERE untold OR outcome = 'pending';
-- Late reports are those that nobody was charged for, or was by hand.
DROP INDEX holdfast.reports_late;
CREATE INDEX reports_late ON holdfast.reports (account_id, generation_id) WHERE outcome IN ('late', 'charged');
