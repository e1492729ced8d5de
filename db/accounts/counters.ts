import type { Knex } from 'knex';

/** How much of each of these counters is used in its period; one that nobody moved is not there. */
export async function readCounters(
  knex: Knex,
  account: string,
  asked: readonly { counter: string; period: string }[],
): Promise<Map<string, number>> {
  if (asked.length === 0) return new Map();
  const rows: { counter: string; used: number }[] = await knex('ledger.counters')
    .where({ account_id: account })
    .whereIn(
      ['counter', 'period'],
      asked.map(({ counter, period }) => [counter, period]),
    )
    .select('counter', 'used');
  return new Map(rows.map(({ counter, used }) => [counter, used]));
}
