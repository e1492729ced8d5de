import type { TestDatabase } from './database';

/** The plan of every statement that `run` sends through knex, as Postgres would carry it out with the very same values. */
export async function plansOf({ owner, db }: TestDatabase, run: () => Promise<unknown>): Promise<string[]> {
  const sent: { sql: string; bindings?: unknown[] }[] = [];
  const note = (query: { sql: string; bindings?: unknown[] }) => sent.push(query);
  db.knex.on('query', note);
  try {
    await run();
  } finally {
    db.knex.removeListener('query', note);
  }
  return Promise.all(
    sent.map(async ({ sql, bindings = [] }) => {
      const { rows } = await owner.pool.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, bindings);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    }),
  );
}
