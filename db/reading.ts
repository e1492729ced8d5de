import type { Knex } from 'knex';

/** Several queries on one snapshot of the database: what is written between them is seen by none. */
export async function reading<T>(knex: Knex, queries: (snapshot: Knex) => Promise<T>): Promise<T> {
  return knex.transaction(queries, { isolationLevel: 'repeatable read', readOnly: true });
}
