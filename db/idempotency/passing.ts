import type { Knex } from 'knex';

/** What moved no credits, and goes thirty days after it came (rule 38): quotes, and kept answers of routes that are `passing`. */

export interface Forgotten {
  quotes: number;
  answers: number;
  /** There may be more that is as old. */
  more: boolean;
}

/** Deletes at most `most` of each. */
export async function forgetPassing(knex: Knex, most: number): Promise<Forgotten> {
  const { rows } = await knex.raw<{ rows: Forgotten[] }>('SELECT * FROM ledger.forget_passing(:most)', {
    most,
  });
  const [forgotten] = rows;
  if (forgotten === undefined) throw new Error('ledger.forget_passing answered nothing');
  return forgotten;
}
