import { openDatabase } from '../../../db/connection/connection';
import { eventually } from '../../support/processes/engine';
import { type TestDatabase, testDatabase } from '../../support/database';

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('a bigint arrives as a number, from the pool and from knex', async () => {
  const sql = 'SELECT 9007199254740991::int8 AS value';
  expect((await database.db.pool.query(sql)).rows).toEqual([{ value: Number.MAX_SAFE_INTEGER }]);
  expect((await database.db.knex.raw<{ rows: unknown[] }>(sql)).rows).toEqual([
    { value: Number.MAX_SAFE_INTEGER },
  ]);
});

test('a bigint that a number cannot hold is an error, never a rounded amount', async () => {
  const sql = 'SELECT 9007199254740992::int8 AS value';
  await expect(database.db.pool.query(sql)).rejects.toThrow(/no JSON number can hold/);
  await expect(database.db.knex.raw(sql)).rejects.toThrow(/no JSON number can hold/);
});

test('an instant arrives as a Date, and the session speaks UTC', async () => {
  const { rows } = await database.db.pool.query(
    "SELECT '2026-03-01T12:00:00.123Z'::timestamptz AS at, current_setting('TimeZone') AS zone",
  );
  expect(rows).toEqual([{ at: new Date('2026-03-01T12:00:00.123Z'), zone: 'UTC' }]);
});

test('the application acts as its own role, the owner as itself', async () => {
  const role = async ({ pool }: TestDatabase['db']) =>
    (await pool.query<{ role: string }>('SELECT current_user AS role')).rows[0]?.role;
  expect(await role(database.db)).toBe('holdfast_app');
  expect(await role(database.owner)).toBe('postgres');
});

test('connections that Postgres ended while idle are reported and replaced', async () => {
  const errors: Error[] = [];
  const db = openDatabase({
    url: database.url,
    max: 2,
    applicationName: 'to be cut',
    onError: (e) => errors.push(e),
  });
  try {
    await Promise.all([db.pool.query('SELECT 1'), db.knex.raw('SELECT 1')]);
    await database.owner.pool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'to be cut'",
    );
    await eventually(
      async () => errors.length,
      (count) => count > 0,
    );
    await eventually(
      async () => db.pool.totalCount,
      (count) => count === 0,
    );
    // Knex is told by its connection alone, and says nothing: once the server has none, it has been told.
    await eventually(
      async () =>
        (await database.owner.pool.query("SELECT FROM pg_stat_activity WHERE application_name = 'to be cut'"))
          .rowCount,
      (count) => count === 0,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await db.pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    expect((await db.knex.raw<{ rows: unknown[] }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  } finally {
    await db.close();
  }
});

test('a connection whose role or time-outs a pooler has dropped is refused, with what to do', async () => {
  const dropping = new URL(database.url);
  dropping.searchParams.set('options', '-c timezone=UTC'); // instead of what the connection was to be started with
  const unbounded = new URL(database.url);
  unbounded.searchParams.set('lock_timeout', '0');
  for (const url of [dropping, unbounded]) {
    const db = openDatabase({ url: url.toString(), onError: () => undefined });
    await expect(db.pool.query('SELECT 1')).rejects.toThrow('a pooler dropped what it was started with');
    await expect(db.points.query('SELECT 1')).rejects.toThrow('ALTER ROLE');
    await db.close();
  }
});

test('the same is said by what knex connects', async () => {
  const dropping = new URL(database.url);
  dropping.searchParams.set('options', '-c timezone=UTC');
  const db = openDatabase({ url: dropping.toString(), onError: () => undefined });
  await expect(db.knex.raw('SELECT 1')).rejects.toThrow('a pooler dropped what it was started with');
  await db.close();
});
