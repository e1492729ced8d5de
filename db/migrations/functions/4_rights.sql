-- The application may call these functions of the ledger and no others; what they call in turn runs as the owner, or reads.
GRANT SELECT ON ledger.lines, ledger.events TO holdfast_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  ledger.apply(jsonb), ledger.open_account(text, jsonb, timestamptz), ledger.move_clock(text, timestamptz), ledger.move_clocks(jsonb),
  ledger.assert_hold_open(text, text),
  ledger.claim_key(text, text, text), ledger.keep_answer(text, text, text, int, bytea), ledger.free_key(text, text),
  ledger.snapshot(text), ledger.balance(text),
  ledger.ensure_partitions(int), ledger.months_ahead(),
  ledger.due_moves(text), ledger.seq_before(text, timestamptz), ledger.lots_before(text, timestamptz), ledger.totals_before(text, timestamptz),
  ledger.statement(text, timestamptz, timestamptz),
  ledger.opening_moves(ledger.openings), ledger.opening_now(ledger.accounts), ledger.key_digest(ledger.op_keys)
  TO holdfast_app;
