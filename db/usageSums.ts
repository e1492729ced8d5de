import type { Knex } from 'knex';
import type { UsageRange } from '../domain/usage';
import { keepingMonths } from './reading';
import { FACT_KEYS, FACT_SUMS, readByIndex, usageFacts } from './usageFacts';

/**
 * Usage of hours and days that are over, added up when somebody first asks for it and kept. It never changes, so nothing has to
 * keep it up to date: rows of the journal are only added at its end, and what is added up lies before its last row (see `closedAt`
 * in usage.ts).
 */

const MISSING = `
  SELECT s.starts, s.ends FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends)
   WHERE NOT EXISTS (SELECT FROM holdfast.usage_spans o WHERE o.account_id = :account AND o.starts = s.starts AND o.ends = s.ends)`;

// Another process may be at the same spans: then this waits for it, and adds up the others.
const FOLD = `
  WITH spans AS (
    INSERT INTO holdfast.usage_spans (account_id, starts, ends)
    SELECT :account, s.starts, s.ends FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) s (starts, ends)
    ON CONFLICT DO NOTHING RETURNING starts, ends)
  INSERT INTO holdfast.usage_sums (account_id, starts, ends, ${FACT_KEYS}, ${FACT_SUMS.join(', ')})
  SELECT :account, s.starts, s.ends, ${FACT_KEYS}, ${FACT_SUMS.map((name) => `sum(${name})`).join(', ')}
    FROM spans s JOIN (:facts) f ON f.at >= s.starts AND f.at < s.ends
   GROUP BY s.starts, s.ends, ${FACT_KEYS}`;

/** Adds up what of these spans is not stored yet, day by day, so that what was done stays done. */
export async function storeSums(
  knex: Knex,
  { account, days }: { account: string; days: readonly (readonly UsageRange[])[] },
): Promise<void> {
  const spans = arraysOf(days.flat());
  const { rows: missing } = await knex.raw<{ rows: { starts: Date; ends: Date }[] }>(MISSING, {
    account,
    ...spans,
  });
  const isMissing = new Set(missing.map(({ starts, ends }) => `${starts.getTime()} ${ends.getTime()}`));
  for (const day of days) {
    const left = day.filter(({ fromMs, toMs }) => isMissing.has(`${fromMs} ${toMs}`));
    if (left.length > 0) await fold(knex, { account, spans: left });
  }
}

async function fold(
  knex: Knex,
  { account, spans }: { account: string; spans: readonly UsageRange[] },
): Promise<void> {
  const { starts, ends } = arraysOf(spans);
  await keepingMonths(knex, {}, async (transaction) => {
    await readByIndex(transaction);
    const { rows } = await transaction.raw<{ rows: { after: number; until: number }[] }>(
      'SELECT ledger.seq_before(:account, :from) AS after, ledger.seq_before(:account, :to) AS until',
      { account, from: starts[0], to: ends.at(-1) },
    );
    for (const { after, until } of rows) {
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
