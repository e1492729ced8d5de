import type { TestDatabase } from './database';

/** The plan of every statement that `run` sends to the database, as Postgres would carry it out with the very same values. */
export async function plansOf({ owner, db }: TestDatabase, run: () => Promise<unknown>): Promise<string[]> {
  const sent: { sql: string; bindings?: unknown[] }[] = [];
  const note = (query: { sql: string; bindings?: unknown[] }) => sent.push(query);
  const spies = [db.pool, db.points].map((pool) => jest.spyOn(pool, 'query'));
  for (const knex of [db.knex, db.reports]) knex.on('query', note);
  try {
    await run();
    for (const [query] of spies.flatMap((spy): unknown[][] => spy.mock.calls)) {
      const { text, values } = query as { text: string; values?: unknown[] }; // as every query of ours through a raw pool
      sent.push({ sql: text, bindings: values ?? [] });
    }
  } finally {
    for (const knex of [db.knex, db.reports]) knex.removeListener('query', note);
    for (const spy of spies) spy.mockRestore();
  }
  return Promise.all(
    sent.map(async ({ sql, bindings = [] }) => {
      const { rows } = await owner.pool.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, bindings);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    }),
  );
}
