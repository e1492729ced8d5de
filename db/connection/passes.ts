import type { Knex } from 'knex';
import type { Pool } from 'pg';

/** When a periodic pass last did all it had to do: what tells that the backstop itself is gone. */

export const PASSES = ['sweep', 'audit'] as const;
export type Pass = (typeof PASSES)[number];

/** Notes that a pass came to its end with nothing left out, by the database's clock. */
export async function notePass(knex: Knex, pass: Pass): Promise<void> {
  await knex('holdfast.passes')
    .insert({ kind: pass, whole_at: knex.raw('clock_timestamp()') })
    .onConflict('kind')
    .merge();
}

/** Seconds since the last whole pass of each kind; before the first, since the database knows of such passes. */
export async function passAges(pool: Pool): Promise<Partial<Record<Pass, number>>> {
  const { rows } = await pool.query<{ kind: Pass; seconds: number }>({
    name: 'pass_ages',
    text: `SELECT kind, extract(epoch FROM clock_timestamp() - whole_at)::float8 AS seconds
             FROM holdfast.passes WHERE kind = ANY ($1)`,
    values: [PASSES],
  });
  return Object.fromEntries(rows.map(({ kind, seconds }) => [kind, seconds]));
}
