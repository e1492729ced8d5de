import type { TestDatabase } from '../support/database';

/** Bugs sown into the ledger's functions by changes of their text, each in a database that is thrown away. */

export interface Bug {
  name: string;
  /** Which kind of check has to find it. */
  check: 'runs' | 'histories';
  /** In whatever function of the ledger has the text; `of` names one where several have it. */
  changes: readonly {
    of?: string;
    from: string;
    to: string;
  }[];
}

const runs = (name: string, from: string, to: string): Bug => ({
  name,
  check: 'runs',
  changes: [{ from, to }],
});

export const BUGS: readonly Bug[] = [
  runs(
    'a single operation does not write the last lot it moves',
    'IN ARRAY p_lots LOOP',
    'IN ARRAY p_lots[2:] LOOP',
  ),
  runs('a batch leaves out what was frozen', 'frozen = v.frozen, ', ''),
  runs('a known key is treated as new', "x := array_position(keys, op ->> 'key');", 'x := NULL;'),
  runs(
    'an altered request is answered as the first',
    "coalesce(k.request_hash = op ->> 'hash', false)",
    'k.key IS NOT NULL',
  ),
  runs('a key that is claimed is taken by an operation', '(cardinality(c.claims) > 0 AND', '(false AND'),
  {
    name: 'a claim does not look at operations',
    check: 'runs',
    changes: [{ of: 'claim_key', from: 'key = p_key AND request_hash <> p_hash) THEN', to: 'false) THEN' }],
  },
  {
    name: 'a refusal frees a key that others are at work under',
    check: 'runs',
    changes: [{ of: 'free_key', from: ' AND claims = 0 AND answer IS NULL', to: ' AND answer IS NULL' }],
  },
  runs(
    "a replay answers with today's totals",
    "ledger.replay(answers[x], holds[array_position(hold_ids, op ->> 'holdId')], op);",
    "ledger.replay(answers[x], holds[array_position(hold_ids, op ->> 'holdId')], op); IF r.reply ? 'available' THEN r.reply := r.reply || jsonb_build_object('available', a.available); END IF;",
  ),
  runs(
    'a run that continues with a hold does not become its owner',
    "AND op ->> 'workflowId' IS NOT NULL;",
    'AND false;',
  ),
  runs(
    'a hold that has a new owner looks untouched to the sweep',
    'SET workflow_id = h.workflow_id, namespace_id = h.namespace_id, epoch = h.epoch',
    'SET workflow_id = h.workflow_id, namespace_id = h.namespace_id',
  ),
  runs(
    'a refused request does not use its key up',
    "status NOT IN ('too_many_open_generations', 'would_hold')",
    "status NOT IN ('too_many_open_generations', 'would_hold', 'insufficient_credits')",
  ),
  runs(
    'rules that moved since are not noticed',
    "IF (op ->> 'rulesVersion')::bigint <> a.rules_version OR at >=",
    'IF at >=',
  ),
  runs(
    'nothing is ended before an operation',
    'IF least(a.lots_due_at, a.leases_due_at) <= at AND NOT c.only_replays THEN',
    'IF false THEN',
  ),
  runs(
    'a lot’s end makes the account forget its leases',
    'c.next_lease := was.leases_due_at;',
    "c.next_lease := 'infinity';",
  ),
  runs(
    'a lease ends a microsecond late',
    "due := at + make_interval(secs => (op ->> 'ttlSeconds')::int);",
    "due := at + make_interval(secs => (op ->> 'ttlSeconds')::int) + interval '1 microsecond';",
  ),
  runs(
    'what falls due at this very instant is not settled',
    'WHEN c.now >= was.next_due_at AND',
    'WHEN c.now > was.next_due_at AND',
  ),
  runs(
    'lots are spent by expiry before rank',
    'ORDER BY o.rank, o.expires_at, o.lot_no),',
    'ORDER BY o.expires_at, o.rank, o.lot_no),',
  ),
  runs(
    'captures take the last lot first',
    'FOR i IN 1..cardinality(h.lots) LOOP -- the order',
    'FOR i IN REVERSE cardinality(h.lots)..1 LOOP -- the order',
  ),
  runs(
    'refunds return the first lot first',
    'FOR i IN REVERSE cardinality(h.lots)..1 LOOP\n    part := least(wanted, h.lots_captured[i]);',
    'FOR i IN 1..cardinality(h.lots) LOOP\n    part := least(wanted, h.lots_captured[i]);',
  ),
  runs(
    'a share is rounded and not floored',
    "div(coalesce((op ->> 'price')::bigint, h.amount)::numeric\n                     * (op ->> 'delivered')::int, (op ->> 'ordered')::int)::bigint",
    "round(coalesce((op ->> 'price')::bigint, h.amount)::numeric\n                     * (op ->> 'delivered')::int / (op ->> 'ordered')::int)::bigint",
  ),
  runs('a share forgets what phases took', '::bigint - h.captured)', '::bigint)'),
  runs('a phase is captured again', "CASE WHEN op ->> 'phase' = ANY (h.phases) THEN", 'CASE WHEN false THEN'),
  runs(
    'a closed hold is closed again',
    "WHEN NOT h.open THEN 'hold_closed' END",
    "WHEN false THEN 'hold_closed' END",
  ),
  runs(
    'a release does not look at the sign of life',
    "CASE WHEN h.epoch <> (op ->> 'epoch')::int THEN",
    'CASE WHEN false THEN',
  ),
  runs(
    'work that comes to nothing ends at once',
    "boolean := amount > 0 OR coalesce((op ->> 'runs')::boolean, false);",
    'boolean := amount > 0;',
  ),
  runs(
    'a phase that took nothing is forgotten',
    "IF op ? 'phase' THEN",
    "IF op ? 'phase' AND wanted > 0 THEN",
  ),
  runs(
    'what failed after a part of it was captured ends as failed',
    "AND (h.captured > 0 OR h.phases <> '{}') THEN",
    'AND false THEN',
  ),
  runs(
    'what failed after a phase landed for nothing ends as failed',
    "AND (h.captured > 0 OR h.phases <> '{}') THEN",
    'AND h.captured > 0 THEN',
  ),
  runs('what a release forfeits is not counted', 'h.forfeited := h.forfeited + back.forfeited;', ''),
  runs(
    'a hold may be refunded more than it cost',
    'WHEN wanted > h.captured - h.refunded OR',
    'WHEN wanted > h.captured OR',
  ),
  runs('a refund is spendable until an instant that has ended', 'WHEN due <= at THEN', 'WHEN false THEN'),
  runs(
    'a refund forgets the instant that was named for it',
    "timestamptz := coalesce((op ->> 'expiresAt')::timestamptz,",
    "timestamptz := coalesce(CASE WHEN op ? 'expiresAt' THEN at + interval '1 hour' END,",
  ),
  runs(
    'a refund with an instant of its own goes to lots that have another',
    "IF op ? 'expiresAt' AND EXISTS (SELECT FROM unnest(back.moves) o WHERE o.source = 'spent' AND o.target = 'available') THEN",
    'IF false THEN',
  ),
  runs(
    'a generation is refunded as if it were a lease',
    "CASE WHEN closed IN ('unknown_hold', 'not_leased') THEN closed",
    "CASE WHEN closed IN ('unknown_hold') THEN closed",
  ),
  runs('credits of yesterday are added to those of today', 'lots[i].ended_at := at;', 'NULL;'),
  runs('debt is not repaid', '(a.debt > 0 AND e.kind', '(a.debt < 0 AND e.kind'),
  runs('the newest debt is repaid first', '(ORDER BY o.seq ROWS', '(ORDER BY o.seq DESC ROWS'),
  runs('daily credits repay debt', "m.lot)].source LIKE 'daily:%'", "m.lot)].source LIKE 'never:%'"),
  runs(
    'a renewal ends what other buckets have of the schedule',
    "(l.bucket <> op ->> 'bucket' OR l.expires_at = at)",
    'l.expires_at = at',
  ),
  runs(
    'leases end in the order of their names',
    'ORDER BY o.expires_at, o.hold_id COLLATE',
    'ORDER BY o.hold_id COLLATE',
  ),
  runs('what a lost dispute took stays frozen', 'frozen.amounts[i] := frozen.amounts[i] - part;', ''),
  runs(
    'an operation leaves no journal row',
    'journal := journal || e;',
    "IF kind <> 'extend' THEN journal := journal || e; END IF;",
  ),
  runs(
    'an operation takes no number',
    'a.seq := a.seq + 1;',
    "a.seq := a.seq + CASE kind WHEN 'extend' THEN 0 ELSE 1 END;",
  ),
  runs(
    'a batch settles although all its keys are known',
    "AND NOT c.only_replays THEN 'settle_required'",
    "THEN 'settle_required'",
  ),
  runs(
    'what no limit stops is not counted',
    'counts := counts\n      || jsonb_build_object',
    "CONTINUE WHEN r ->> 'limit' IS NULL;\n    counts := counts\n      || jsonb_build_object",
  ),
  runs(
    'a refusal tells of credits that may not pay for it',
    " AND NOT coalesce(op -> 'excluded' ? o.bucket, false)",
    '',
  ),
  runs(
    'a full counter lets one more through',
    "> (r ->> 'limit')::bigint THEN",
    "> (r ->> 'limit')::bigint + 1 THEN",
  ),
  runs(
    'a use comes back though something was captured',
    'WHEN p_closes AND NOT delivered THEN',
    'WHEN p_closes THEN',
  ),
  {
    name: 'credits return to the wrong lot',
    check: 'runs',
    changes: [
      {
        of: 'give_back',
        from: 'l := p_lots[array_position(p_numbers, p_from_lots[i])];',
        to: 'l := p_lots[1];',
      },
    ],
  },
  {
    name: 'a lot still lives at the instant of its end',
    check: 'runs',
    changes: [{ of: 'give_back', from: 'l.expires_at > p_at THEN', to: 'l.expires_at >= p_at THEN' }],
  },
  {
    name: 'a customer’s own cancel is graced',
    check: 'runs',
    changes: [{ of: 'give_back', from: "p_cause <> 'customer' AND ", to: '' }],
  },
  {
    name: 'lots that come back into a batch stand in the order of their numbers',
    check: 'runs',
    changes: [
      {
        of: 'in_spend_order',
        from: 'array_agg(o ORDER BY rank, expires_at, lot_no)',
        to: 'array_agg(o ORDER BY lot_no)',
      },
      {
        of: 'in_spend_order',
        from: 'array_agg(lot_no ORDER BY rank, expires_at, lot_no)',
        to: 'array_agg(lot_no ORDER BY lot_no)',
      },
    ],
  },
  {
    name: 'time is when waiting for the lock began',
    check: 'histories',
    changes: [
      {
        from: 'greatest(coalesce(c.clock_at, clock_timestamp()), was.journal_at)',
        to: 'coalesce(c.clock_at, now())',
      },
    ],
  },
  {
    name: 'time is when waiting for the lock began, but never runs backwards',
    check: 'histories',
    changes: [
      {
        from: 'greatest(coalesce(c.clock_at, clock_timestamp()), was.journal_at)',
        to: 'greatest(coalesce(c.clock_at, now()), was.journal_at)',
      },
    ],
  },
  {
    name: 'one statement locks the account and reads its lots as they were before',
    check: 'histories',
    changes: [
      {
        of: 'lock_accounts',
        from: 'ORDER BY account_id FOR NO KEY UPDATE);',
        to: 'ORDER BY account_id);',
      },
      { of: 'read_calls', from: ' STABLE', to: ' VOLATILE' },
      { from: 'q.account_id OFFSET 0) a ON true', to: 'q.account_id OFFSET 0 FOR NO KEY UPDATE) a ON true' },
    ],
  },
  {
    name: 'nothing is locked',
    check: 'histories',
    changes: [
      {
        of: 'lock_accounts',
        from: 'ORDER BY account_id FOR NO KEY UPDATE);',
        to: 'ORDER BY account_id);',
      },
    ],
  },
];

/** Changes the functions as the bug wants it. Throws if what is to be changed is not there exactly once. */
export async function sow({ owner }: TestDatabase, { changes }: Bug): Promise<void> {
  for (const { of = null, from, to } of changes) {
    const { rows } = await owner.pool.query<{ name: string; source: string }>(
      `SELECT proname AS name, pg_get_functiondef(oid) AS source FROM pg_proc
        WHERE pronamespace = 'ledger'::regnamespace AND prokind = 'f' AND ($1::text IS NULL OR proname = $1)`,
      [of],
    );
    const found = rows.filter(({ source }) => source.includes(from));
    const [only] = found;
    if (only === undefined || found.length > 1)
      throw new Error(`${found.length} functions of the ledger have it: ${from}`);
    const parts = only.source.split(from);
    if (parts.length !== 2) throw new Error(`ledger.${only.name} has it ${parts.length - 1} times: ${from}`);
    await owner.pool.query(parts.join(to));
  }
}
