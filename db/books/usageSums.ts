import type { Knex } from 'knex';
import type { UsageRange } from '../../domain/books/usage';
import { keepingMonths } from './snapshotRead';
import { FACT_KEYS, FACT_SUMS, readByIndex, seqsBefore, usageFacts } from './usageFacts';

/**
 * Usage of hours and days that have ended, added up when somebody first asks for it and kept. It never changes, so nothing has to
 * keep it up to date: rows of the journal are only added at its end, and what is added up lies before its last row (see `closedAt`
 * in usage.ts).
 */

const MISSING = `
  SELECT s.starts, s.ends FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends)
   WHERE NOT EXISTS (SELECT FROM holdfast.usage_spans o WHERE o.account_id = :account AND o.starts = s.starts AND o.ends = s.ends)`;

// Another process may be at the same spans: then this waits for it, and adds up the others.
const CLAIM = `
  INSERT INTO holdfast.usage_spans (account_id, starts, ends)
  SELECT :account, s.starts, s.ends FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends)
  ON CONFLICT DO NOTHING RETURNING starts, ends`;

const FOLD = `
  INSERT INTO holdfast.usage_sums (account_id, starts, ends, ${FACT_KEYS}, ${FACT_SUMS.join(', ')})
  SELECT :account, s.starts, s.ends, ${FACT_KEYS}, ${FACT_SUMS.map((name) => `sum(${name})`).join(', ')}
    FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends) JOIN (:facts) f ON f.at >= s.starts AND f.at < s.ends
   GROUP BY s.starts, s.ends, ${FACT_KEYS}`;

/** Rows of the journal for one statement, which must not take longer than statements may. */
const ROWS_AT_ONCE = 50_000;

/** After this a request is answered that it must come again; what was added up by then stays. */
const PATIENCE_MS = 10_000;

/** There is more to add up than one request has time for. */
export class UsageUnderWay extends Error {
  override readonly name = 'UsageUnderWay';
}

interface Fold {
  account: string;
  /** A list for each day, each stored in one transaction. */
  days: readonly (readonly UsageRange[])[];
}

/** Adds up what of these spans is not stored yet; throws UsageUnderWay if that takes too long. */
export async function storeSums(
  knex: Knex,
  { account, days }: Fold,
  { patienceMs = PATIENCE_MS, rowsAtOnce = ROWS_AT_ONCE }: { patienceMs?: number; rowsAtOnce?: number } = {},
): Promise<void> {
  const startedMs = performance.now();
  const { rows: missing } = await knex.raw<{ rows: Span[] }>(MISSING, { account, ...arraysOf(days.flat()) });
  const isMissing = new Set(missing.map(({ starts, ends }) => `${starts.getTime()} ${ends.getTime()}`));
  const left = days
    .map((day) => day.filter(({ fromMs, toMs }) => isMissing.has(`${fromMs} ${toMs}`)))
    .filter((day) => day.length > 0);
  for (const [done, spans] of left.entries()) {
    if (done > 0 && performance.now() - startedMs >= patienceMs)
      throw new UsageUnderWay(`${done} of ${left.length} days of account ${account} are added up.`);
    await fold(knex, { account, spans, rowsAtOnce });
  }
}

interface Span {
  starts: Date;
  ends: Date;
}

async function fold(
  knex: Knex,
  { account, spans, rowsAtOnce }: { account: string; spans: readonly UsageRange[]; rowsAtOnce: number },
): Promise<void> {
  await keepingMonths(knex, {}, async (transaction) => {
    await readByIndex(transaction);
    const { rows: claimed } = await transaction.raw<{ rows: Span[] }>(CLAIM, { account, ...arraysOf(spans) });
    if (claimed.length === 0) return;
    const starts = claimed.map((span) => span.starts);
    const ends = claimed.map((span) => span.ends);
    const [first = 0, last = 0] = await seqsBefore(transaction, {
      account,
      instants: [Math.min(...starts.map(Number)), Math.max(...ends.map(Number))].map((ms) => new Date(ms)),
    });
    for (let after = first; after < last; after += rowsAtOnce) {
      const until = Math.min(after + rowsAtOnce, last);
      const facts = usageFacts(transaction, { account, after, until });
      await transaction.raw(FOLD, { account, starts, ends, facts });
    }
  });
}

/** Stored sums as facts, each at the beginning of its span. */
export function storedFacts(
  knex: Knex,
  { account, spans }: { account: string; spans: readonly UsageRange[] },
): Knex.Raw {
  return knex.raw(
    `SELECT u.starts AS at, ${FACT_KEYS}, ${FACT_SUMS.join(', ')}
       FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends)
       JOIN holdfast.usage_sums u ON u.account_id = :account AND u.starts = s.starts AND u.ends = s.ends`,
    { account, ...arraysOf(spans) },
  );
}

function arraysOf(spans: readonly UsageRange[]): { starts: Date[]; ends: Date[] } {
  return {
    starts: spans.map(({ fromMs }) => new Date(fromMs)),
    ends: spans.map(({ toMs }) => new Date(toMs)),
  };
}
