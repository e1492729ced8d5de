import { ask } from '../../../db/connection/prepared';
import { type TestDatabase, testDatabase } from '../../support/database';

/** Prepared statements across a migration: a connection that has prepared one goes stale, and its caller must not see it. */

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

const LOOK = { name: 'look', text: 'SELECT * FROM public.things WHERE id = $1', values: [1] };

test('a statement whose columns a migration changed is prepared again, on each connection', async () => {
  const { pool } = database.owner;
  await pool.query('CREATE TABLE public.things (id int, cost int); INSERT INTO public.things VALUES (1, 5)');
  const migration = await pool.connect();
  const connection = await pool.connect();
  try {
    for (const one of [migration, connection])
      expect((await ask(one, LOOK)).rows).toEqual([{ id: 1, cost: 5 }]);
    await migration.query("ALTER TABLE public.things ADD COLUMN unit text DEFAULT 'milli'");
    for (const one of [migration, connection, connection])
      expect((await ask(one, LOOK)).rows).toEqual([{ id: 1, cost: 5, unit: 'milli' }]);
  } finally {
    migration.release();
    connection.release();
  }
});

test('another error of a prepared statement is the caller’s', async () => {
  const none = { name: 'none', text: 'SELECT * FROM public.nothing WHERE id = $1', values: [1] };
  await expect(ask(database.owner.pool, none)).rejects.toThrow(/public.nothing/);
});
