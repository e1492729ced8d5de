-- Nobody may call a function here who is not named below. The application may call these of the ledger and no others; what
-- they call in turn runs as the owner, or reads.
GRANT SELECT ON ledger.lines, ledger.events TO holdfast_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  ledger.apply(jsonb, boolean), ledger.open_account(text, jsonb, timestamptz),
  ledger.move_clock(text, timestamptz), ledger.move_clocks(jsonb, boolean),
  ledger.assert_hold_open(text, text, text, text, boolean), ledger.nothing_held(text, text, timestamptz),
  ledger.claim_key(text, text, text, boolean, boolean), ledger.keep_answer(text, text, text, int, bytea),
  ledger.free_key(text, text), ledger.forget_passing(int),
  ledger.snapshot(text), ledger.balance(text),
  ledger.ensure_partitions(int), ledger.months_ahead(),
  ledger.due_moves(text), ledger.seq_before(text, timestamptz), ledger.lots_before(text, timestamptz),
  ledger.totals_before(text, timestamptz), ledger.statement(text, timestamptz, timestamptz),
  ledger.opening_moves(ledger.openings), ledger.mark_now(ledger.accounts), ledger.lot_marked(ledger.audit_lots),
  ledger.key_digest(ledger.op_keys)
  TO holdfast_app;

-- Readers see all but secrets: the digests of API keys, and answers that are kept as they were sent. Each table is named, so
-- that a new one is seen by nobody until somebody has thought about it (test/db/migrate/rights.test.ts).
GRANT SELECT ON
  ledger.accounts, ledger.account_rules, ledger.lots, ledger.holds, ledger.generations, ledger.journal, ledger.op_keys,
  ledger.debts, ledger.freezes, ledger.members, ledger.counters, ledger.openings, ledger.opening_holds,
  ledger.audit_marks, ledger.audit_lots, ledger.audit_counters, ledger.archives,
  ledger.lines, ledger.events,
  holdfast.catalogs, holdfast.quotes, holdfast.inbox, holdfast.provider_jobs, holdfast.reports, holdfast.operations_items,
  holdfast.test_clocks, holdfast.usage_spans, holdfast.usage_sums, holdfast.processes, holdfast.passes,
  holdfast.lost_namespaces
  TO holdfast_read;
GRANT SELECT (account_id, key, request_hash, claims, claimed_at, status, passing) ON ledger.kept_answers TO holdfast_read;
GRANT SELECT (api_key, key, request_hash, status, created_at, passing) ON holdfast.request_keys TO holdfast_read;
GRANT SELECT (id, name, scopes, account_id, created_at, created_by, revoked_at) ON holdfast.api_keys TO holdfast_read;
GRANT EXECUTE ON FUNCTION
  ledger.due_moves(text), ledger.seq_before(text, timestamptz), ledger.lots_before(text, timestamptz),
  ledger.totals_before(text, timestamptz), ledger.statement(text, timestamptz, timestamptz), ledger.opening_moves(ledger.openings)
  TO holdfast_read;
