import { JOURNAL_KINDS } from '../books/journal';
import { MOVES, OPENINGS, PARTS, parts, REBUILT_LOTS, TERMS } from './history';
import { WORK_CHECKS } from './workChecks';

/**
 * The ledger's invariants as queries: each returns the rows that break it, and none when all is well. What stands in
 * braces is filled in by db/audit/scope.ts: `{x.account_id}` by a condition on the accounts that are looked at, the
 * tables on their own or by what of them changed since the audit looked last, `{openings}` by what history begins with.
 */
export interface Check {
  id: string;
  title: string;
  /** For design section 2. */
  invariant: number;
  /** It reads all there is of an account, so it is left to the full audit. */
  wholeHistory?: true;
  sql: string;
}

export const CHECKS: readonly Check[] = [
  {
    id: 'lot-conservation',
    title: 'Every lot: granted = available + held + frozen + spent + expired + revoked, none negative',
    invariant: 1,
    sql: `SELECT account_id, lot_no, ${PARTS} FROM {lots} l
           WHERE (granted <> available + held + frozen + spent + expired + revoked
              OR least(available, held, frozen, spent, expired, revoked) < 0) AND {l.account_id}`,
  },
  {
    id: 'journal-gapless',
    title: 'The journal of an account is numbered from 1 without gaps, up to the account’s own number',
    invariant: 2,
    sql: `WITH ${OPENINGS}
          SELECT a.account_id, a.seq, coalesce(o.seq, 0) AS opening, count(j.seq) AS rows, min(j.seq) AS first, max(j.seq) AS last
            FROM ledger.accounts a LEFT JOIN openings o USING (account_id) LEFT JOIN {journal} j USING (account_id) WHERE {a.account_id}
           GROUP BY a.account_id, a.seq, o.seq
          HAVING count(j.seq) <> a.seq - coalesce(o.seq, 0) OR count(DISTINCT j.seq) <> count(j.seq)
              OR coalesce(max(j.seq), o.seq, 0) <> a.seq`,
  },
  {
    id: 'journal-refused-moves-nothing',
    title: 'A refused operation moves nothing, an applied one moves amounts above zero',
    invariant: 2,
    sql: `SELECT account_id, seq, kind, status, credits, moves::text FROM {journal} j
           WHERE ((status <> 'applied' AND (moves <> '{}' OR credits <> 0))
              OR EXISTS (SELECT FROM unnest(moves) m WHERE m.milli <= 0 OR m.source = m.target OR m.target = 'outside')) AND {account_id}`,
  },
  {
    id: 'journal-running-totals',
    title: 'Each row’s balance after it is the one before it plus what moved',
    invariant: 3,
    sql: `WITH ${MOVES}, ${OPENINGS}, sums AS (
            SELECT account_id, seq, sum(milli * ((target = 'available')::int - (source = 'available')::int)) AS available,
                   sum(milli * ((target = 'held')::int - (source = 'held')::int)) AS held FROM moves GROUP BY account_id, seq),
          running AS (
            SELECT j.account_id, j.seq, j.kind, j.credits, coalesce(s.available, 0) AS moved, j.available_after, j.held_after,
                   coalesce(o.available, 0) + sum(coalesce(s.available, 0)) OVER w AS available,
                   coalesce(o.held, 0) + sum(coalesce(s.held, 0)) OVER w AS held
              FROM {journal} j LEFT JOIN sums s USING (account_id, seq) LEFT JOIN openings o USING (account_id) WHERE {j.account_id}
            WINDOW w AS (PARTITION BY j.account_id ORDER BY j.seq))
          SELECT * FROM running WHERE credits <> moved OR available_after <> available OR held_after <> held`,
  },
  {
    id: 'totals-equal-lots',
    title: 'An account’s totals equal the sums of its lots',
    invariant: 3,
    sql: `SELECT a.account_id, a.available, a.held, coalesce(sum(l.available), 0) + coalesce(u.available, 0) AS lots_available,
                 coalesce(sum(l.held), 0) + coalesce(u.held, 0) AS lots_held
            FROM ledger.accounts a LEFT JOIN {lots} l USING (account_id) LEFT JOIN {other_lots} u USING (account_id) WHERE {a.account_id}
           GROUP BY a.account_id, a.available, a.held, u.available, u.held
          HAVING a.available <> coalesce(sum(l.available), 0) + coalesce(u.available, 0) OR a.held <> coalesce(sum(l.held), 0) + coalesce(u.held, 0)`,
  },
  {
    id: 'totals-equal-holds',
    title: 'What an account holds, and how many holds are open, equals its open holds',
    invariant: 3,
    sql: `SELECT a.account_id, a.held, a.open_holds, coalesce(sum(h.held), 0) AS holds_held, count(h.hold_id) AS holds_open
            FROM ledger.accounts a LEFT JOIN ledger.holds h ON h.account_id = a.account_id AND h.open WHERE {a.account_id}
           GROUP BY a.account_id, a.held, a.open_holds
          HAVING a.held <> coalesce(sum(h.held), 0) OR a.open_holds <> count(h.hold_id)`,
  },
  {
    id: 'totals-equal-journal',
    title: 'An account’s totals equal those of its last journal row',
    invariant: 3,
    sql: `WITH ${OPENINGS}
          SELECT a.account_id, a.available, a.held, a.debt, coalesce(j.available_after, o.available) AS available_after,
                 coalesce(j.held_after, o.held) AS held_after, coalesce(j.debt_after, o.debt) AS debt_after
            FROM ledger.accounts a LEFT JOIN {journal} j ON j.account_id = a.account_id AND j.seq = a.seq
            LEFT JOIN openings o ON o.account_id = a.account_id AND o.seq = a.seq
           WHERE (a.available, a.held, a.debt) IS DISTINCT FROM (coalesce(j.available_after, o.available, 0), coalesce(j.held_after, o.held, 0),
                                                                 coalesce(j.debt_after, o.debt, 0)) AND {a.account_id}`,
  },
  {
    id: 'rebuild-lots',
    title: 'Lots rebuilt from the journal alone differ in nothing',
    invariant: 3,
    sql: `WITH ${MOVES}, ${REBUILT_LOTS}
          SELECT coalesce(l.account_id, r.account_id) AS account_id, coalesce(l.lot_no, r.lot_no) AS lot_no,
                 row(${parts('l')})::text AS stored, row(${parts('r')})::text AS rebuilt
            FROM (SELECT * FROM {lots} q WHERE {q.account_id}) l FULL JOIN rebuilt r USING (account_id, lot_no)
           WHERE (${parts('l')}) IS DISTINCT FROM (${parts('r')})`,
  },
  {
    id: 'rebuild-lot-terms',
    title: 'Each lot’s bucket, rank, expiry and return policy are those it was granted with',
    invariant: 3,
    // The row that granted a lot carried by an opening is in an archive.
    sql: `WITH ${OPENINGS}, granted AS (
            SELECT j.account_id, n.* FROM {journal} j CROSS JOIN LATERAL jsonb_to_recordset(j.detail -> 'lots') n ${TERMS}
             WHERE j.detail ? 'lots' AND {j.account_id}
             UNION ALL
            SELECT o.account_id, n.* FROM openings o CROSS JOIN LATERAL jsonb_to_recordset(o.lots) n ${TERMS}),
          ended AS (
            SELECT j.account_id, e.value::int AS lot, j.at, j.detail ? 'forGood' AS for_good FROM {journal} j
             CROSS JOIN LATERAL jsonb_array_elements(j.detail -> 'ended') e WHERE j.detail ? 'ended' AND {j.account_id})
          SELECT coalesce(l.account_id, g.account_id) AS account_id, coalesce(l.lot_no, g.lot) AS lot_no, l.bucket, g.bucket AS granted_as
            FROM (SELECT * FROM {lots} q WHERE {q.account_id}) l FULL JOIN granted g ON g.account_id = l.account_id AND g.lot = l.lot_no
            LEFT JOIN ended e ON e.account_id = l.account_id AND e.lot = l.lot_no
           WHERE l.ended_at IS DISTINCT FROM coalesce(e.at, g.ended)
              OR (l.bucket, l.rank, l.effective_at, l.expires_at, l.return_grace, l.parent_lot, l.source) IS DISTINCT FROM
                 (g.bucket, g.rank, g."effectiveAt", coalesce(g."expiresAt", 'infinity'), CASE WHEN e.for_good THEN NULL ELSE make_interval(secs => g."graceSeconds") END, g.parent, g.source)`,
  },
  {
    id: 'rebuild-holds',
    title: 'Holds rebuilt from the journal alone differ in nothing',
    invariant: 3,
    // A hold is rebuilt from all its rows, also those that were audited before: there are few, and they have an index.
    sql: `WITH parts AS (
            SELECT j.account_id, j.hold_id,
                   coalesce(sum(milli) FILTER (WHERE source = 'available' AND target IN ('held', 'spent')), 0) AS amount,
                   coalesce(sum(milli * ((target = 'held')::int - (source = 'held')::int)), 0) AS held,
                   coalesce(sum(milli) FILTER (WHERE target = 'spent'), 0) AS captured,
                   coalesce(sum(milli) FILTER (WHERE source = 'held' AND target <> 'spent'), 0) AS released,
                   coalesce(sum(milli) FILTER (WHERE source = 'spent'), 0) AS refunded,
                   coalesce(sum(milli) FILTER (WHERE source = 'held' AND target = 'expired'), 0)
                     - coalesce(sum(milli) FILTER (WHERE source = 'outside' AND kind <> 'refund'), 0) AS forfeited
              FROM {hold_journal} j LEFT JOIN LATERAL unnest(j.moves) m ON true
             WHERE j.hold_id IS NOT NULL AND {j.account_id} GROUP BY j.account_id, j.hold_id
             UNION ALL
            SELECT b.account_id, b.hold_id, b.amount, b.held, b.captured, b.released, b.refunded, b.forfeited
              FROM {opening_holds} b WHERE {b.account_id}),
          rebuilt AS (
            SELECT account_id, hold_id, sum(amount) AS amount, sum(held) AS held, sum(captured) AS captured, sum(released) AS released,
                   sum(refunded) AS refunded, sum(forfeited) AS forfeited FROM parts GROUP BY account_id, hold_id)
          SELECT coalesce(h.account_id, r.account_id) AS account_id, coalesce(h.hold_id, r.hold_id) AS hold_id,
                 row(h.amount, h.held, h.captured, h.released, h.forfeited, h.refunded)::text AS stored,
                 row(r.amount, r.held, r.captured, r.released, r.forfeited, r.refunded)::text AS rebuilt
            FROM (SELECT * FROM {holds} q WHERE {q.account_id}) h FULL JOIN rebuilt r USING (account_id, hold_id)
           WHERE (h.amount, h.held, h.captured, h.released, h.forfeited, h.refunded) IS DISTINCT FROM
                 (r.amount, r.held, r.captured, r.released, r.forfeited, r.refunded)`,
  },
  {
    id: 'hold-conservation',
    title: 'Every hold: amount = captured + released + held, by lot as in sum; a closed one holds nothing',
    invariant: 4,
    sql: `SELECT account_id, hold_id, amount, captured, released, held, open FROM {holds} h
           WHERE (amount <> captured + released + held OR (NOT open AND held > 0) OR cardinality(lots) <> cardinality(lots_held)
              OR held <> (SELECT coalesce(sum(u), 0) FROM unnest(lots_held) u)
              OR captured - refunded <> (SELECT coalesce(sum(u), 0) FROM unnest(lots_captured) u)) AND {account_id}`,
  },
  {
    id: 'one-hold-per-generation',
    title: 'A generation has at most one hold, and its hold is its own',
    invariant: 5,
    sql: `SELECT account_id, generation_id, count(*) AS holds FROM {holds} h WHERE generation_id IS NOT NULL AND {account_id}
           GROUP BY account_id, generation_id HAVING count(*) > 1
           UNION ALL
          SELECT h.account_id, h.generation_id, 0 FROM {holds} h
            LEFT JOIN ledger.generations g ON g.account_id = h.account_id AND g.generation_id = h.generation_id AND g.hold_id = h.hold_id
           WHERE h.generation_id IS NOT NULL AND g.account_id IS NULL AND {h.account_id}`,
  },
  {
    id: 'one-capture-per-phase',
    title: 'Each phase of a hold is captured at most once, and a hold closes once',
    invariant: 5,
    sql: `WITH captures AS (
            SELECT account_id, hold_id, detail ->> 'phase' AS phase FROM {hold_journal} j WHERE kind = 'capture' AND detail ? 'phase' AND {account_id}
             UNION ALL
            SELECT b.account_id, b.hold_id, p FROM {opening_holds} b CROSS JOIN LATERAL unnest(b.phases) p WHERE {b.account_id}),
          closings AS (
            SELECT account_id, hold_id, 1 AS n FROM {hold_journal} j
             WHERE status = 'applied' AND (kind IN ('release', 'charge') OR (kind = 'capture' AND (detail ->> 'final')::boolean))
               AND hold_id IS NOT NULL AND {account_id}
             UNION ALL
            SELECT b.account_id, b.hold_id, b.closings FROM {opening_holds} b WHERE {b.account_id})
          SELECT account_id, hold_id, phase, count(*) AS times FROM captures GROUP BY account_id, hold_id, phase HAVING count(*) > 1
           UNION ALL
          SELECT account_id, hold_id, 'closing', sum(n) FROM closings GROUP BY account_id, hold_id HAVING sum(n) > 1`,
  },
  {
    id: 'keys-equal-journal',
    title: 'Every key names the one journal row that bears it',
    invariant: 6,
    sql: `WITH ${OPENINGS}
          SELECT coalesce(k.account_id, j.account_id) AS account_id, coalesce(k.key, j.key) AS key, k.seq AS of_key, j.seq AS of_journal
            FROM (SELECT * FROM {op_keys} q WHERE {q.account_id}) k
            FULL JOIN (SELECT * FROM {journal} q WHERE key IS NOT NULL AND {q.account_id}) j
              ON j.account_id = k.account_id AND j.key = k.key AND j.seq = k.seq
            LEFT JOIN openings o ON o.account_id = k.account_id
           WHERE k.key IS NULL OR (j.key IS NULL AND k.seq > coalesce(o.seq, 0))`,
  },
  {
    id: 'one-request-per-key',
    title: 'A key whose answer is kept as text is not another request’s operation',
    invariant: 6,
    sql: `SELECT k.account_id, k.key, k.seq, k.request_hash, a.request_hash AS answered FROM {op_keys} k
            JOIN ledger.kept_answers a ON a.account_id = k.account_id AND a.key = k.key
           WHERE a.request_hash <> k.request_hash AND {k.account_id}`,
  },
  {
    id: 'archived-keys',
    title: 'The keys of archived rows are those that were archived, with the answers they had',
    invariant: 6,
    wholeHistory: true,
    sql: `WITH kept AS (
            SELECT o.account_id, count(k.key) AS keys, coalesce(sum(ledger.key_digest(ROW(k.*)::ledger.op_keys)) FILTER (WHERE k.key IS NOT NULL), 0) AS digest
              FROM ledger.openings o LEFT JOIN ledger.op_keys k ON k.account_id = o.account_id AND k.seq <= o.seq
             WHERE {o.account_id} GROUP BY o.account_id)
          SELECT o.account_id, o.keys AS archived, k.keys AS kept FROM ledger.openings o JOIN kept k USING (account_id)
           WHERE (o.keys, o.keys_digest) IS DISTINCT FROM (k.keys, k.digest)`,
  },
  {
    id: 'nothing-taken-after-expiry',
    title: 'No credit is taken from a lot that has expired, nor before it was granted',
    invariant: 7,
    // A lot that a grant ended has ended from that row on: others may bear the same instant before it.
    sql: `WITH ${MOVES}, ended AS (
            SELECT j.account_id, e.value::int AS lot, j.seq FROM {journal} j
             CROSS JOIN LATERAL jsonb_array_elements(j.detail -> 'ended') e WHERE j.detail ? 'ended' AND {j.account_id})
          SELECT m.account_id, m.seq, m.lot, m.at, l.effective_at, l.expires_at, l.ended_at FROM moves m
            JOIN {lots} l ON l.account_id = m.account_id AND l.lot_no = m.lot
            LEFT JOIN ended e ON e.account_id = m.account_id AND e.lot = m.lot
           WHERE m.kind <> 'opening' AND ((m.source = 'available' AND m.target IN ('held', 'spent', 'frozen')
                  AND (m.at >= l.expires_at OR m.seq >= e.seq OR m.at < l.effective_at))
              OR (m.target = 'available' AND m.source <> 'outside' AND (m.at >= l.expires_at OR m.seq >= e.seq))
              OR (m.source = 'available' AND m.target = 'expired' AND m.at < l.expires_at AND m.seq IS DISTINCT FROM e.seq))`,
  },
  {
    id: 'nothing-available-after-expiry',
    title: 'No lot is open that an operation after its end should have expired',
    invariant: 7,
    sql: `SELECT l.account_id, l.lot_no, l.expires_at, a.journal_at, l.available FROM ledger.lots l JOIN ledger.accounts a USING (account_id)
           WHERE l.open AND (l.ended_at IS NOT NULL OR l.expires_at <= a.journal_at OR l.expires_at < a.lots_due_at) AND {l.account_id}`,
  },
  {
    id: 'open-holds-have-owners',
    title:
      'Every open hold has a workflow and a generation that runs, or a lease; a generation runs only with one',
    invariant: 8,
    sql: `SELECT coalesce(h.account_id, g.account_id) AS account_id, h.hold_id, h.workflow_id, g.generation_id, g.status
            FROM (SELECT * FROM ledger.holds WHERE open AND expires_at IS NULL AND {account_id}) h
            FULL JOIN (SELECT * FROM {generations} q WHERE status = 'running' AND {q.account_id}) g
              ON g.account_id = h.account_id AND g.hold_id = h.hold_id
           WHERE h.hold_id IS NULL OR g.generation_id IS NULL OR h.workflow_id IS NULL OR h.namespace_id IS NULL`,
  },
  ...WORK_CHECKS,
  {
    id: 'leases-end',
    title:
      'No lease is open that an operation after its end should have ended, and the account knows when the next one ends',
    invariant: 8,
    sql: `SELECT h.account_id, h.hold_id, h.expires_at, a.journal_at, a.leases_due_at FROM ledger.holds h JOIN ledger.accounts a USING (account_id)
           WHERE h.open AND (h.expires_at <= a.journal_at OR h.expires_at < a.leases_due_at OR h.expires_at <> h.overdue_at) AND {h.account_id}`,
  },
  {
    id: 'spend-order',
    title:
      'A reservation takes by rank, then earliest expiry, then oldest, and passes over only excluded buckets',
    invariant: 9,
    // A lot that comes earlier and was passed over although it had something left. What a lot had is put together into spells,
    // from the row that filled it to the one that emptied it: row by row, it would be the square of an account's rows.
    sql: `WITH ${MOVES}, taken AS (
            SELECT m.account_id, m.seq, m.lot, l.rank, l.expires_at,
                   lag((l.rank, l.expires_at, l.lot_no)) OVER (PARTITION BY m.account_id, m.seq ORDER BY m.n) > (l.rank, l.expires_at, l.lot_no) AS backwards
              FROM moves m JOIN {lots} l ON l.account_id = m.account_id AND l.lot_no = m.lot
             WHERE m.kind IN ('reserve', 'charge')),
          last_taken AS (
            SELECT DISTINCT ON (t.account_id, t.seq) t.account_id, t.seq, t.rank, t.expires_at, t.lot,
                   coalesce(k.answer::jsonb #> '{facts,excluded}', '[]') AS excluded
              FROM taken t JOIN {journal} j ON j.account_id = t.account_id AND j.seq = t.seq
              LEFT JOIN ledger.op_keys k ON k.account_id = j.account_id AND k.key = j.key
             ORDER BY t.account_id, t.seq, t.rank DESC, t.expires_at DESC, t.lot DESC),
          history AS (
            SELECT account_id, lot, seq, sum(sum(milli * ((target = 'available')::int - (source = 'available')::int)))
                     OVER (PARTITION BY account_id, lot ORDER BY seq) > 0 AS available
              FROM moves GROUP BY account_id, lot, seq),
          spells AS (
            SELECT account_id, lot, seq, available, lead(seq) OVER (PARTITION BY account_id, lot ORDER BY seq) AS until_seq
              FROM (SELECT *, lag(available, 1, false) OVER (PARTITION BY account_id, lot ORDER BY seq) AS before FROM history) h
             WHERE available <> before)
          SELECT account_id, seq, lot, 'out of order' AS what FROM taken WHERE backwards
           UNION ALL
          SELECT r.account_id, r.seq, l.lot_no, 'passed over' FROM last_taken r
            JOIN {lots} l ON l.account_id = r.account_id AND (l.rank, l.expires_at, l.lot_no) < (r.rank, r.expires_at, r.lot)
                              AND NOT r.excluded ? l.bucket
            JOIN spells h ON h.account_id = l.account_id AND h.lot = l.lot_no AND h.available AND h.seq <= r.seq
                         AND coalesce(h.until_seq, r.seq + 1) > r.seq`,
  },
  {
    id: 'journal-time',
    title: 'Journal time never runs backwards within an account',
    invariant: 10,
    sql: `WITH ${OPENINGS}
          SELECT * FROM (SELECT j.account_id, j.seq, j.at, coalesce(lag(j.at) OVER w, o.at) AS at_before, j.recorded_at
            FROM {journal} j LEFT JOIN openings o USING (account_id) WHERE {j.account_id} WINDOW w AS (PARTITION BY j.account_id ORDER BY j.seq)) t
           WHERE at < at_before`,
  },
  {
    id: 'issued-equals-parts',
    title:
      'What was issued equals what is available, held, frozen, spent, expired and revoked, per account and over all',
    invariant: 11,
    sql: `WITH ${MOVES}, issued AS (
            SELECT account_id, sum(milli) AS issued FROM moves WHERE source = 'outside' GROUP BY account_id),
          lots AS (
            SELECT account_id, sum(available + held + frozen + spent + expired + revoked) AS parts FROM {lots} q WHERE {q.account_id} GROUP BY account_id),
          sides AS (SELECT account_id, coalesce(issued, 0) AS issued, coalesce(parts, 0) AS parts FROM issued FULL JOIN lots USING (account_id))
          SELECT * FROM sides WHERE issued <> parts
           UNION ALL
          SELECT 'all accounts', sum(issued), sum(parts) FROM sides HAVING sum(issued) <> sum(parts)`,
  },
  {
    id: 'debt-equals-causes',
    title: 'An account’s debt is what its causes owe and have not repaid, and what the journal says of both',
    invariant: 3,
    sql: `WITH ${OPENINGS}, told AS (
            SELECT account_id, sum(owed) AS owed, sum(repaid) AS repaid FROM (
              SELECT account_id, coalesce((detail ->> 'owed')::bigint, 0) AS owed, coalesce((detail ->> 'repaid')::bigint, 0) AS repaid
                FROM {journal} j WHERE detail ?| ARRAY['owed', 'repaid'] AND {j.account_id}
               UNION ALL
              SELECT account_id, owed, repaid FROM openings) t GROUP BY account_id),
          causes AS (
            SELECT account_id, sum(owed) AS owed, sum(repaid) AS repaid FROM ledger.debts WHERE {account_id} GROUP BY account_id)
          SELECT a.account_id, a.debt, c.owed, c.repaid, t.owed AS owed_told, t.repaid AS repaid_told
            FROM ledger.accounts a LEFT JOIN causes c USING (account_id) LEFT JOIN told t USING (account_id)
           WHERE (a.debt <> coalesce(c.owed - c.repaid, 0) OR coalesce(t.owed, 0) <> coalesce(c.owed, 0)
              OR coalesce(t.repaid, 0) <> coalesce(c.repaid, 0)) AND {a.account_id}`,
  },
  {
    id: 'counters-equal-journal',
    title: 'Quotas and members have used what the journal counted',
    invariant: 3,
    sql: `WITH ${OPENINGS}, told AS (
            SELECT account_id, counter, period, sum(units) AS used FROM (
              SELECT j.account_id, c.counter, c.period, c.units FROM {journal} j
               CROSS JOIN LATERAL jsonb_to_recordset(j.detail -> 'counts') c (counter text, period text, units bigint)
               WHERE j.detail ? 'counts' AND {j.account_id}
               UNION ALL
              SELECT o.account_id, c.counter, c.period, c.used FROM openings o
               CROSS JOIN LATERAL jsonb_to_recordset(o.counters) c (counter text, period text, used bigint)) t
             GROUP BY account_id, counter, period)
          SELECT coalesce(c.account_id, t.account_id) AS account_id, coalesce(c.counter, t.counter) AS counter, coalesce(c.period, t.period) AS period,
                 c.used, t.used AS by_journal
            FROM (SELECT * FROM {counters} q WHERE {q.account_id}) c FULL JOIN told t USING (account_id, counter, period)
           WHERE coalesce(c.used, 0) <> coalesce(t.used, 0)`,
  },
  {
    id: 'frozen-equals-freezes',
    title: 'What lots have frozen is what open freezes froze',
    invariant: 1,
    sql: `WITH causes AS (
            SELECT f.account_id, u.lot AS lot_no, sum(u.milli) AS frozen
              FROM ledger.freezes f CROSS JOIN LATERAL unnest(f.lots, f.amounts) u (lot, milli) WHERE f.open AND {f.account_id}
             GROUP BY f.account_id, u.lot)
          SELECT coalesce(l.account_id, c.account_id) AS account_id, coalesce(l.lot_no, c.lot_no) AS lot_no, l.frozen, c.frozen AS by_causes
            FROM (SELECT * FROM {lots} q WHERE {q.account_id}) l FULL JOIN causes c USING (account_id, lot_no)
           WHERE coalesce(l.frozen, 0) <> coalesce(c.frozen, 0)`,
  },
  {
    id: 'journal-speaks-its-language',
    title: 'Kinds and account ids are those there are',
    invariant: 2,
    sql: `SELECT account_id, seq, kind FROM {journal} j
           WHERE (kind NOT IN (${JOURNAL_KINDS.map((kind) => `'${kind}'`).join(', ')}) OR account_id !~ '^[A-Za-z0-9_-]{1,64}$') AND {account_id}`,
  },
  {
    id: 'sleepers-sleep',
    title:
      'A free account wakes up only for credits that last longer than its day or its month, when they end',
    invariant: 8,
    sql: `SELECT a.account_id, a.wake_at FROM ledger.accounts a JOIN ledger.account_rules r USING (account_id)
           WHERE r.plan_source = 'free' AND a.wake_at < 'infinity' AND a.wake_at > a.journal_at AND {a.account_id}
             AND NOT EXISTS (SELECT FROM ledger.lots l WHERE l.account_id = a.account_id AND l.expires_at >= a.wake_at AND l.expires_at < 'infinity'
                                AND split_part(l.source, ':', 1) NOT IN ('daily', 'plan'))`,
  },
];
