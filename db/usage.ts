import type { Knex } from 'knex';
import { milli } from '../domain/credits';
import type { Dimension, UsageDay, UsageRow, UsageSums } from '../domain/usage';
import { reading } from './reading';

/** What an account used, added up by the database from its journal (docs/accounting.md). */

export interface UsageQuestion {
  account: string;
  from: Date;
  /** Exclusive. */
  to: Date;
  groupBy: readonly Dimension[];
  /** Null: only what has none. */
  only: { dimension: Exclude<Dimension, 'day'>; value: string | null }[];
  /** The days of the range in order, if they are grouped by. */
  days: readonly UsageDay[];
  limit: number;
}

export interface Usage {
  /** At most `limit`, in no order. */
  rows: UsageRow[];
  /** Counts a work once, also where it drew from several buckets. */
  total: UsageSums;
}

/**
 * A row for each bucket that a journal row took credits from or gave them back to, and for each generation that was free.
 *   works     1 where this is what the work is counted by: its first capture, its charge, or its being free
 *   leads     likewise, but in one bucket only, so that a work is counted once over all of them
 * Whether a capture was the first is plain where it took all that the hold ever gave; only phases must be looked up.
 */
const FACTS = `(
  SELECT width_bucket(j.at, :dayStarts::timestamptz[]) - 1 AS day, coalesce(g.action, h.work ->> 'action') AS action,
         coalesce(g.model, h.work ->> 'model') AS model, coalesce(g.member, h.work ->> 'member') AS member,
         coalesce(g.feature, h.work ->> 'feature') AS feature, coalesce(g.project, h.work ->> 'project') AS project,
         coalesce(g.params, h.work -> 'params') ->> 'resolution' AS resolution, g.provider ->> 'type' AS provider, m.bucket,
         m.credits, w.works, CASE m.place WHEN 1 THEN w.works ELSE 0 END AS leads,
         CASE w.works WHEN 1 THEN
           CASE WHEN g.outputs IS NOT NULL THEN (SELECT count(*) FROM jsonb_array_elements(g.outputs) o WHERE o ->> 'status' = 'succeeded')
                ELSE coalesce((h.work #>> '{params,outputs}')::int, 1) END
         ELSE 0 END AS outputs
    FROM ledger.journal j
    LEFT JOIN ledger.holds h ON h.account_id = j.account_id AND h.hold_id = j.hold_id
    LEFT JOIN ledger.generations g ON g.account_id = j.account_id AND g.generation_id = coalesce(h.generation_id, j.detail ->> 'generation')
   CROSS JOIN LATERAL (
     SELECT l.bucket, sum(CASE u.target WHEN 'spent' THEN u.milli ELSE -u.milli END) AS credits,
            sum(sum(u.milli)) OVER () AS moved, row_number() OVER (ORDER BY min(u.n)) AS place
       FROM unnest(j.moves) WITH ORDINALITY u (lot, source, target, milli, n)
       JOIN ledger.lots l ON l.account_id = j.account_id AND l.lot_no = u.lot
      WHERE 'spent' IN (u.source, u.target) GROUP BY l.bucket
      UNION ALL
     SELECT NULL, 0, 0, 1 WHERE j.hold_id IS NULL) m
   CROSS JOIN LATERAL (
     SELECT CASE WHEN j.kind = 'refund' THEN 0
                 WHEN j.kind <> 'capture' OR m.moved = h.captured THEN 1
                 WHEN EXISTS (SELECT FROM ledger.journal p WHERE p.account_id = j.account_id AND p.hold_id = j.hold_id AND p.kind = 'capture'
                                 AND p.seq < j.seq AND p.moves::text LIKE '%spent%')
                   OR EXISTS (SELECT FROM ledger.opening_holds b WHERE b.account_id = j.account_id AND b.hold_id = j.hold_id AND b.captured > 0) THEN 0
                 ELSE 1 END AS works) w
   WHERE j.account_id = :account AND j.seq > :after AND j.seq <= :until
     AND (j.kind IN ('capture', 'charge', 'refund') AND j.hold_id IS NOT NULL
          OR j.kind = 'reserve' AND j.hold_id IS NULL AND j.status = 'applied')) AS f`;

export async function readUsage(knex: Knex, question: UsageQuestion): Promise<Usage> {
  const { account, from, to, groupBy, only, days, limit } = question;
  return reading(knex, async (snapshot) => {
    // The numbers of the rows first, so that what is read is this account's and of this range, and the planner knows how much it is.
    const { rows: bounds } = await snapshot.raw<{ rows: { after: number; until: number }[] }>(
      'SELECT ledger.seq_before(:account, :from) AS after, ledger.seq_before(:account, :to) AS until',
      { account, from, to },
    );
    const [bound] = bounds;
    if (bound === undefined) throw new Error('no bounds came back');
    const keys = groupBy.map((dimension) => `f.${dimension}`);
    const query = snapshot.from(
      snapshot.raw(FACTS, { account, dayStarts: days.map(({ startMs }) => new Date(startMs)), ...bound }),
    );
    for (const { dimension, value } of only)
      void query.whereRaw(`f.${dimension} IS NOT DISTINCT FROM ?`, [value]);
    const found: Row[] = await query
      .select(
        snapshot.raw(`json_build_array(${keys.join(', ')}) AS keys, GROUPING(${keys[0]}) AS whole`),
        snapshot.raw('coalesce(sum(f.credits), 0)::bigint AS credits'),
        snapshot.raw('sum(f.works) AS works, sum(f.works * f.outputs)::bigint AS works_outputs'),
        snapshot.raw('sum(f.leads) AS leads, sum(f.leads * f.outputs)::bigint AS leads_outputs'),
      )
      .groupByRaw(`GROUPING SETS ((${keys.join(', ')}), ())`)
      .orderBy('whole', 'desc')
      .limit(limit + 1);
    return usageOf(found, question);
  });
}

interface Row {
  keys: (string | number | null)[];
  whole: number;
  credits: number;
  works: number | null;
  works_outputs: number | null;
  leads: number | null;
  leads_outputs: number | null;
}

/** The total comes first. Over several buckets a work is counted by the one that it drew from first. */
function usageOf([total, ...rows]: Row[], { groupBy, only, days }: UsageQuestion): Usage {
  const oneBucket = only.some(({ dimension }) => dimension === 'bucket');
  const sums = (row: Row | undefined, byBucket: boolean): UsageSums => ({
    credits: milli(row?.credits ?? 0),
    generations: (byBucket ? row?.works : row?.leads) ?? 0,
    outputs: (byBucket ? row?.works_outputs : row?.leads_outputs) ?? 0,
  });
  return {
    rows: rows.map((row) => ({
      // A day comes as its number.
      keys: row.keys.map((key) => (typeof key === 'number' ? (days[key]?.date ?? null) : key)),
      ...sums(row, oneBucket || groupBy.includes('bucket')),
    })),
    total: sums(total, oneBucket),
  };
}
