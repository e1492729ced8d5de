import type { Knex } from 'knex';

/** What a range of an account's journal says of its usage: the rows that usage is the sum of. */

/** Rows of the journal by their numbers. */
export interface SeqRange {
  account: string;
  /** Exclusive. */
  after: number;
  until: number;
}

/** What work is told apart by, day and time aside; a column of the facts and of the stored sums each. */
export const FACT_KEYS = 'action, model, member, feature, project, resolution, provider, bucket';

/** What can be added up, likewise. */
export const FACT_SUMS = ['credits', 'works', 'leads', 'works_outputs', 'leads_outputs'] as const;

/**
 * A row for each lot that a row of the journal spent from or gave back to, for each generation that was free, and for each
 * that delivered something and ended without a credit taken.
 *   works     1 where the work is counted: by its first capture, its charge, its being free or its end, once in each bucket
 *   leads     likewise, but only in the first of these buckets, so that over all of them it is counted once
 * What captures and charges spend are the first of their moves. A capture that took all the hold ever gave was the first;
 * only that of a phase must be looked up. Hold and generation are looked up by key whatever the planner expects of the
 * range: it cannot know how account and number go together, and would read whole tables.
 */
const FACTS = `
  SELECT x.at, x.action, x.model, x.member, x.feature, x.project, x.resolution, x.provider, x.bucket, x.credits,
         (x.counted AND x.again)::int AS works, (x.counted AND x.first)::int AS leads,
         CASE WHEN x.counted AND x.again THEN x.made ELSE 0 END AS works_outputs, CASE WHEN x.counted AND x.first THEN x.made ELSE 0 END AS leads_outputs
    FROM (
      SELECT j.at, coalesce(g.action, h.work ->> 'action') AS action, coalesce(g.model, h.work ->> 'model') AS model,
             coalesce(g.member, h.work ->> 'member') AS member, coalesce(g.feature, h.work ->> 'feature') AS feature,
             coalesce(g.project, h.work ->> 'project') AS project, coalesce(g.params, h.work -> 'params') ->> 'resolution' AS resolution,
             g.provider ->> 'type' AS provider, l.bucket, CASE m.source WHEN 'spent' THEN -m.milli ELSE coalesce(m.milli, 0) END AS credits,
             CASE WHEN j.kind = 'refund' THEN false
                  WHEN j.kind <> 'capture' OR m.milli = h.captured THEN true
                  WHEN (SELECT sum(s.milli) FROM unnest(j.moves) s WHERE s.target = 'spent') = h.captured THEN true
                  ELSE NOT EXISTS (SELECT FROM ledger.journal p CROSS JOIN LATERAL unnest(p.moves) s
                                    WHERE p.account_id = :account AND p.hold_id = j.hold_id AND p.seq < j.seq AND s.target = 'spent')
                   AND NOT EXISTS (SELECT FROM ledger.opening_holds b WHERE b.account_id = :account AND b.hold_id = j.hold_id AND b.captured > 0)
             END AS counted,
             coalesce(m.n, 1) = 1 AS first,
             coalesce(m.n, 1) = 1 OR NOT EXISTS (SELECT FROM unnest(j.moves[1:m.n - 1]) s JOIN ledger.lots o ON o.account_id = :account AND o.lot_no = s.lot
                                                  WHERE o.bucket = l.bucket) AS again,
             CASE WHEN g.outputs IS NULL THEN coalesce((h.work #>> '{params,outputs}')::int, 1)
                  ELSE (SELECT count(*) FROM jsonb_array_elements(g.outputs) o WHERE o ->> 'status' = 'succeeded') END AS made
        FROM ledger.journal j
        LEFT JOIN LATERAL unnest(j.moves) WITH ORDINALITY m (lot, source, target, milli, n) ON m.source = 'spent' OR m.target = 'spent'
        LEFT JOIN ledger.lots l ON l.account_id = :account AND l.lot_no = m.lot
        LEFT JOIN LATERAL (SELECT * FROM ledger.holds WHERE account_id = :account AND hold_id = j.hold_id OFFSET 0) h ON true
        LEFT JOIN LATERAL (SELECT * FROM ledger.generations
                            WHERE account_id = :account AND generation_id = coalesce(h.generation_id, j.detail ->> 'generation') OFFSET 0) g ON true
       WHERE j.account_id = :account AND j.seq > :after AND j.seq <= :until
         AND (j.kind IN ('capture', 'charge', 'refund') AND m.lot IS NOT NULL
              OR j.kind = 'reserve' AND j.hold_id IS NULL AND j.status = 'applied'
              OR (j.kind = 'release' OR j.kind = 'capture' AND (j.detail ->> 'final')::boolean)
                  AND h.captured = 0 AND g.status IN ('succeeded', 'partial'))
      OFFSET 0) x`;

export function usageFacts(knex: Knex, { account, after, until }: SeqRange): Knex.Raw {
  return knex.raw(FACTS, { account, after, until });
}

/** Until the end of a transaction that reads facts: by index, as above, and without compiling what has ended in a moment. */
export async function readByIndex(transaction: Knex): Promise<void> {
  await transaction.raw("SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)");
}

/** The numbers of the last rows before each of these instants. */
export async function seqsBefore(
  transaction: Knex,
  { account, instants }: { account: string; instants: readonly Date[] },
): Promise<number[]> {
  const { rows } = await transaction.raw<{ rows: { seq: number }[] }>(
    'SELECT ledger.seq_before(:account, i.at) AS seq FROM unnest(:instants::timestamptz[]) WITH ORDINALITY i (at, n) ORDER BY i.n',
    { account, instants },
  );
  return rows.map(({ seq }) => seq);
}
