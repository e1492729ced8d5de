-- min_compatible: 1
-- What an account was before a change of zone that is not over yet, and who opened it.

ALTER TABLE ledger.account_rules
  ADD COLUMN zone_change jsonb, -- {was, dayFrom, from}: until `from` it is still the day that began at `dayFrom` (rule 21)
  ADD COLUMN opened_by   text;  -- the request: sent again, it finds its own account
