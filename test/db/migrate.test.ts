import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openDatabase } from '../../db/connection';
import { assertCompatible, IncompatibleSchema, migrate, migrationsDirectory } from '../../db/migrate';
import { patiently, testDatabase } from '../support/database';
import { eventually } from '../support/engine';

/** Tiny migrations of the test's own, on databases that start empty. */

let url: string;
let directory: string;
let name: string;

beforeEach(async () => {
  name = `empty_${randomBytes(6).toString('hex')}`;
  await query(adminUrl(), `CREATE DATABASE ${name}`);
  url = Object.assign(new URL(adminUrl()), { pathname: `/${name}` }).toString();
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-migrations-'));
});
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await query(adminUrl(), `DROP DATABASE ${name} WITH (FORCE)`);
});

test('migrations are applied in the order of their numbers, each once', async () => {
  file('0001_first.sql', 'CREATE TABLE steps (n int)');
  file('0002_second.sql', 'INSERT INTO steps VALUES (2)');
  expect(await migrate({ url, directory })).toEqual(['0001_first.sql', '0002_second.sql']);
  file('0003_third.sql', 'INSERT INTO steps VALUES (3)');
  expect(await migrate({ url, directory })).toEqual(['0003_third.sql']);
  expect(await migrate({ url, directory })).toEqual([]);
  expect(await query(url, 'SELECT n FROM steps ORDER BY n')).toEqual([{ n: 2 }, { n: 3 }]);
});

test('several processes that start at once do the work once', async () => {
  file('0001_first.sql', 'CREATE TABLE steps (n int); SELECT pg_sleep(0.3); INSERT INTO steps VALUES (1)');
  const applied = await Promise.all([1, 2, 3, 4, 5].map(() => migrate({ url, directory })));
  expect(applied.flat()).toEqual(['0001_first.sql']);
  expect(await query(url, 'SELECT n FROM steps')).toEqual([{ n: 1 }]);
});

test('a migration that fails leaves nothing of itself, keeps those before it, and can be mended', async () => {
  file('0001_good.sql', 'CREATE TABLE good (n int)');
  file('0002_bad.sql', 'CREATE TABLE half (n int); SELECT 1 / 0');
  await expect(migrate({ url, directory })).rejects.toThrow(/division by zero/);
  expect(await tables()).toEqual(['good']);
  file('0002_bad.sql', 'CREATE TABLE whole (n int)');
  expect(await migrate({ url, directory })).toEqual(['0002_bad.sql']);
  expect(await tables()).toEqual(['good', 'whole']);
});

test('a migration killed half-way does not block the next start', async () => {
  file('0001_slow.sql', 'CREATE TABLE slow (n int); SELECT pg_sleep(600)');
  const built = path.join(__dirname, '..', '..', 'dist', 'db', 'migrate.js');
  const script = 'require(process.argv[1]).migrate({ url: process.argv[2], directory: process.argv[3] })';
  const process_ = execFile(process.execPath, ['-e', script, built, url, directory]);
  await eventually(
    () =>
      query(
        url,
        "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'",
      ),
    (rows) => rows.length > 0,
  );
  process_.kill('SIGKILL');
  file('0001_slow.sql', 'CREATE TABLE slow (n int)');
  // The dead one's session may take a moment to let go of the lock.
  expect(await migrate({ url: patiently(url), directory })).toEqual(['0001_slow.sql']);
});

test('question marks in a migration are SQL, not places for values', async () => {
  file('0001_jsonb.sql', `CREATE TABLE found AS SELECT '{"a":1}'::jsonb ? 'a' AS yes, '?' AS mark`);
  await migrate({ url, directory });
  expect(await query(url, 'SELECT * FROM found')).toEqual([{ yes: true, mark: '?' }]);
});

test.each([
  ['0002_gap.sql', '-- min_compatible: 1', /without gaps/],
  ['0001_No.sql', '-- min_compatible: 1', /without gaps/],
  ['0001_first.sql', 'SELECT 1', /min_compatible/],
])('a badly named or unmarked migration is refused before anything runs: %s', async (name, text, message) => {
  writeFileSync(path.join(directory, name), text);
  await expect(migrate({ url, directory })).rejects.toThrow(message);
});

describe('the functions beside the migrations', () => {
  const answer = (text: string) => {
    mkdirSync(path.join(directory, 'functions'), { recursive: true });
    const sql = `DROP FUNCTION IF EXISTS answer; CREATE FUNCTION answer() RETURNS text LANGUAGE sql AS $$ SELECT '${text}' $$;`;
    writeFileSync(path.join(directory, 'functions', '1_answer.sql'), sql);
  };
  const answered = () => query(url, 'SELECT answer() AS text');

  test('are put in after them, and again whenever they differ', async () => {
    file('0001_first.sql', 'CREATE TABLE steps (n int)');
    answer('first');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'first' }]);
    answer('second');
    expect(await migrate({ url, directory })).toEqual([]);
    expect(await answered()).toEqual([{ text: 'second' }]);
    const lines: string[] = [];
    await migrate({ url, directory, log: (line) => lines.push(line) });
    expect(lines).toEqual([]);
  });

  test('of a newer binary are left alone by an older one that may still run', async () => {
    file('0001_first.sql', 'SELECT 1');
    file('0002_second.sql', 'SELECT 1', 1);
    answer('newer');
    await migrate({ url, directory });
    rmSync(path.join(directory, '0002_second.sql'));
    answer('older');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'newer' }]);
  });

  test('that fail leave the ones before, and are tried again', async () => {
    file('0001_first.sql', 'SELECT 1');
    answer('good');
    await migrate({ url, directory });
    answer("half' $$; SELECT 1 / 0; --");
    await expect(migrate({ url, directory })).rejects.toThrow(/division by zero/);
    expect(await answered()).toEqual([{ text: 'good' }]);
    answer('mended');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'mended' }]);
  });
});

test('an older binary refuses a schema that needs a newer one, and accepts one that does not', async () => {
  file('0001_first.sql', 'SELECT 1');
  file('0002_added.sql', 'SELECT 1', 1);
  await migrate({ url, directory });
  rmSync(path.join(directory, '0002_added.sql'));
  expect(await migrate({ url, directory })).toEqual([]);

  file('0002_added.sql', 'SELECT 1', 1);
  file('0003_breaking.sql', 'SELECT 1', 3);
  await migrate({ url, directory });
  rmSync(path.join(directory, '0003_breaking.sql'));
  const refused = migrate({ url, directory });
  await expect(refused).rejects.toThrow(IncompatibleSchema);
  await expect(refused).rejects.toThrow(/newer Holdfast/);
});

test('worker and API refuse a database that is not set up, and say what to run', async () => {
  const database = openDatabase({ url, role: null });
  try {
    await expect(assertCompatible(database)).rejects.toThrow(/npm run migrate/);
  } finally {
    await database.close();
  }
});

test('worker and API accept the schema of their own migrations, and refuse one that needs more', async () => {
  const database = await testDatabase();
  const { db, owner } = database;
  try {
    await assertCompatible(db);
    await owner
      .knex('holdfast.schema_compatibility')
      .insert({ number: 9999, name: 'x', min_compatible: 9999 });
    await expect(assertCompatible(db)).rejects.toThrow(/newer Holdfast/);
  } finally {
    await database.close();
  }
});

test('the migrations are found from the sources', () => {
  expect(migrationsDirectory()).toBe(path.join(__dirname, '..', '..', 'db', 'migrations'));
});

function file(name: string, sql: string, minCompatible = 1): void {
  writeFileSync(path.join(directory, name), `-- min_compatible: ${minCompatible}\n${sql};\n`);
}

async function tables(): Promise<string[]> {
  const rows = await query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");
  return rows.map(({ tablename }) => String(tablename));
}

function adminUrl(): string {
  const found = process.env['HOLDFAST_TEST_DATABASE_URL'];
  if (found === undefined)
    throw new Error('HOLDFAST_TEST_DATABASE_URL is not set: jest runs without its global set-up');
  return found;
}

async function query(at: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: at });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test('answers that the versions before 0011 kept are moved, but for those whose key was an operation’s too', async () => {
  const from = migrationsDirectory();
  const before = readdirSync(from).filter((file) => /^00(0|10)/.test(file));
  for (const file of before) cpSync(path.join(from, file), path.join(directory, file));
  await migrate({ url, directory });
  await query(
    url,
    `INSERT INTO holdfast.request_keys (api_key, key, request_hash, status, answer)
     SELECT owner, key, repeat('a', 64), 200, 'said' FROM (VALUES ('account:a1', 'one'), ('account:a1', 'two'), ('ak_1', 'one')) v (owner, key)`,
  );
  await query(url, `INSERT INTO ledger.op_keys VALUES ('a1', 'req:two', repeat('b', 64), 1, '{}')`);
  cpSync(from, directory, { recursive: true });
  await migrate({ url, directory });
  expect(
    await query(
      url,
      "SELECT account_id, key, convert_from(answer, 'UTF8') AS answer FROM ledger.kept_answers",
    ),
  ).toEqual([{ account_id: 'a1', key: 'req:one', answer: 'said' }]);
  expect(await query(url, 'SELECT api_key FROM holdfast.request_keys')).toEqual([{ api_key: 'ak_1' }]);
  await expect(
    query(
      url,
      "INSERT INTO holdfast.request_keys (api_key, key, request_hash) VALUES ('account:a1', 'x', repeat('a', 64))",
    ),
  ).rejects.toThrow('check constraint');
});

test('what failed before work_without_credits though something of it was captured is partial from then on', async () => {
  const from = migrationsDirectory();
  const files = readdirSync(from).filter((file) => file.endsWith('.sql'));
  const before = files
    .toSorted()
    .filter((_, n, all) => n < all.findIndex((one) => one.endsWith('_work_without_credits.sql')));
  for (const file of before) cpSync(path.join(from, file), path.join(directory, file));
  await migrate({ url, directory });
  await query(url, "INSERT INTO ledger.accounts (account_id) VALUES ('a')");
  await query(
    url,
    `INSERT INTO ledger.holds (account_id, hold_id, generation_id, amount, held, captured, released, phases, lots, lots_held, lots_captured,
                               open, opened_at, overdue_at, closed_at)
     SELECT 'a', 'h-' || name, name, 10, 0, captured, 10 - captured, phases, '{}', '{}', '{}', false, now(), now(), now()
       FROM (VALUES ('nothing', 0, '{}'::text[]), ('shots', 4, '{shots}'), ('frames', 0, '{frames}'), ('gone', 4, '{shots}')) v (name, captured, phases)`,
  );
  await query(
    url,
    `INSERT INTO ledger.generations (account_id, generation_id, hold_id, key, status, action, params, ordered, provider, quoted, draws,
                                     catalog_version, created_at, finished_at)
     SELECT account_id, generation_id, hold_id, generation_id, CASE generation_id WHEN 'gone' THEN 'canceled' ELSE 'failed' END, 'film', '{}', 1,
            '{}', 10, '[]', 1, now(), now() FROM ledger.holds`,
  );
  cpSync(from, directory, { recursive: true });
  await migrate({ url, directory });
  expect(
    await query(url, 'SELECT generation_id AS id, status FROM ledger.generations ORDER BY generation_id'),
  ).toEqual([
    { id: 'frames', status: 'partial' },
    { id: 'gone', status: 'canceled' },
    { id: 'nothing', status: 'failed' },
    { id: 'shots', status: 'partial' },
  ]);
});
