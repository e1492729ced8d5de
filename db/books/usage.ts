import type { Knex } from 'knex';
import { dayStart } from '../../domain/time/calendar';
import { milli } from '../../domain/credits';
import {
  type Dimension,
  spansOf,
  type UsageDay,
  type UsageRange,
  type UsageRow,
  type UsageSums,
} from '../../domain/books/usage';
import { reading } from './snapshotRead';
import { FACT_SUMS, readByIndex, type SeqRange, seqsBefore, usageFacts } from './usageFacts';
import { storedFacts, storeSums } from './usageSums';

/** What an account used, added up by the database from its journal (docs/accounting.md). */

export interface UsageQuestion {
  account: string;
  from: Date;
  /** Exclusive. */
  to: Date;
  zone: string;
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

/** From this number of journal rows on, what has ended is added up once and kept: reading fewer takes a tenth of a second. */
const MANY_ROWS = 4_000;

/** For tests, which have few rows. */
interface Limits {
  manyRows?: number;
  patienceMs?: number;
  rowsAtOnce?: number;
}

/** Throws UsageUnderWay where there is more to add up than a request has time for, and is quicker the next time. */
export async function readUsage(
  knex: Knex,
  question: UsageQuestion,
  { manyRows = MANY_ROWS, ...limits }: Limits = {},
): Promise<Usage> {
  const { account, from, to } = question;
  const first = await reading(knex, async (snapshot) => {
    const [after = 0, until = 0] = await seqsBefore(snapshot, { account, instants: [from, to] });
    if (until - after > manyRows)
      return { usage: null, settled: await settledRange(snapshot, { account, after }) };
    return { usage: await summed(snapshot, question, [{ account, after, until }]), settled: null };
  });
  if (first.usage !== null) return first.usage;
  const days = spansOf(
    {
      fromMs: Math.max(from.getTime(), dayStart(first.settled.fromMs, question.zone)),
      toMs: Math.min(to.getTime(), first.settled.toMs),
    },
    question.zone,
  );
  await storeSums(knex, { account, days }, limits);
  const spans = days.flat();
  const [begin, end] = [spans[0]?.fromMs, spans.at(-1)?.toMs];
  return reading(knex, async (snapshot) => {
    const middle = begin === undefined || end === undefined ? [from, from] : [new Date(begin), new Date(end)];
    const instants = [from, ...middle, to];
    const [after = 0, head = 0, tail = 0, until = 0] = await seqsBefore(snapshot, { account, instants });
    const ends = [
      { account, after, until: head },
      { account, after: tail, until },
    ];
    return summed(snapshot, question, ends, spans);
  });
}

/**
 * From the first row after a number until where nothing can be added or changed any more: before the account's last row,
 * because journal time never runs backwards, and before work began that was paid in part and still has outputs to come.
 */
async function settledRange(
  snapshot: Knex,
  { account, after }: { account: string; after: number },
): Promise<UsageRange> {
  const { rows } = await snapshot.raw<{ rows: { starts: Date; ends: Date }[] }>(
    `SELECT (SELECT j.at FROM ledger.journal j WHERE j.account_id = :account AND j.seq > :after ORDER BY j.seq LIMIT 1) AS starts,
            least(a.journal_at, (SELECT min(h.opened_at) FROM ledger.holds h
                                  WHERE h.account_id = :account AND h.open AND h.captured > 0 AND h.generation_id IS NOT NULL)) AS ends
       FROM ledger.accounts a WHERE a.account_id = :account`,
    { account, after },
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`account ${account} has rows in the journal and none of its own`);
  return { fromMs: row.starts.getTime(), toMs: row.ends.getTime() };
}

interface Row {
  keys: (string | number | null)[];
  whole: number;
  credits: number;
  works: number;
  leads: number;
  works_outputs: number;
  leads_outputs: number;
}

/** The sums of these rows of the journal and of these stored spans. */
async function summed(
  snapshot: Knex,
  question: UsageQuestion,
  ranges: readonly SeqRange[],
  spans: readonly UsageRange[] = [],
): Promise<Usage> {
  const { account, groupBy, only, days, limit } = question;
  await readByIndex(snapshot);
  const facts = [
    ...ranges.map((range) => usageFacts(snapshot, range)),
    ...(spans.length === 0 ? [] : [storedFacts(snapshot, { account, spans })]),
  ];
  const keys = groupBy.map((dimension) => `f.${dimension}`);
  const query = snapshot.from(
    snapshot.raw(
      `(SELECT width_bucket(u.at, ?::timestamptz[]) - 1 AS day, u.* FROM (${facts.map(() => '?').join(' UNION ALL ')}) u) f`,
      [days.map(({ startMs }) => new Date(startMs)), ...facts],
    ),
  );
  for (const { dimension, value } of only)
    void query.whereRaw(`f.${dimension} IS NOT DISTINCT FROM ?`, [value]);
  const rows: Row[] = await query
    .select(
      snapshot.raw(`json_build_array(${keys.join(', ')}) AS keys, GROUPING(${keys[0]}) AS whole`),
      ...FACT_SUMS.map((sum) => snapshot.raw(`coalesce(sum(f.${sum}), 0)::bigint AS ${sum}`)),
    )
    .groupByRaw(`GROUPING SETS ((${keys.join(', ')}), ())`)
    .orderBy('whole', 'desc')
    .limit(limit + 1);
  return usageOf(rows, question);
}

/** The total comes first. Over several buckets a work is counted in the one that it drew from first. */
function usageOf([total, ...rows]: Row[], { groupBy, only, days }: UsageQuestion): Usage {
  if (total === undefined) throw new Error('a total comes back also of nothing');
  const oneBucket = only.some(({ dimension }) => dimension === 'bucket');
  const sums = (row: Row, byBucket: boolean): UsageSums => ({
    creditsMilli: milli(row.credits),
    generations: byBucket ? row.works : row.leads,
    outputs: byBucket ? row.works_outputs : row.leads_outputs,
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
