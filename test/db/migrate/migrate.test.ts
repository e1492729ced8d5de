import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openDatabase } from '../../../db/connection/connection';
import { migrate } from '../../../db/migrate/migrate';
import { migrationsDirectory, readFunctions, readNumbers } from '../../../db/migrate/files';
import { assertCompatible, IncompatibleSchema } from '../../../db/migrate/version';
import { type EmptyDatabase, emptyDatabase, patiently, query, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';

/** Tiny migrations of the test's own, on databases that start empty. */

let url: string;
let directory: string;
let empty: EmptyDatabase;

beforeEach(async () => {
  empty = await emptyDatabase();
  ({ url } = empty);
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-migrations-'));
});
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await empty.close();
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

test('a migration that fails leaves nothing of itself nor of those before it, and can be mended', async () => {
  file('0001_good.sql', 'CREATE TABLE good (n int)');
  await migrate({ url, directory });
  file('0002_also_good.sql', 'CREATE TABLE also_good (n int)');
  file('0003_bad.sql', 'CREATE TABLE half (n int); SELECT 1 / 0');
  await expect(migrate({ url, directory })).rejects.toThrow(/division by zero/);
  expect(await tables()).toEqual(['good']);
  file('0003_bad.sql', 'CREATE TABLE whole (n int)');
  expect(await migrate({ url, directory })).toEqual(['0002_also_good.sql', '0003_bad.sql']);
  expect(await tables()).toEqual(['also_good', 'good', 'whole']);
});

test('what the database refuses is told with file, line and reason, and without the file’s text', async () => {
  file(
    '0001_bad.sql',
    "CREATE TABLE t (n int);\nINSERT INTO t VALUES (1);\nSELECT 'what nobody wants to read' FROM nowhere",
  );
  const error: unknown = await migrate({ url, directory }).catch((caught: unknown) => caught);
  expect(String(error)).toBe(
    'MigrationFailed: 0001_bad.sql, line 4: relation "nowhere" does not exist\n  Nothing was changed.',
  );
});

test('a migration that was changed after it was applied is refused, by name, and one whose name changed too', async () => {
  file('0001_first.sql', 'CREATE TABLE steps (n int)');
  await migrate({ url, directory });
  file('0001_first.sql', 'CREATE TABLE steps (n bigint)');
  await expect(migrate({ url, directory })).rejects.toThrow(/0001_first\.sql is not what was applied/);
  rmSync(path.join(directory, '0001_first.sql'));
  file('0001_other.sql', 'CREATE TABLE steps (n int)');
  await expect(migrate({ url, directory })).rejects.toThrow(
    /0001_other\.sql is not what was applied .* as 0001_first\.sql/,
  );
});

test('a checkout with other line ends has the same digests', async () => {
  file('0001_first.sql', 'CREATE TABLE steps\n(n int)');
  await migrate({ url, directory });
  const text = readFileSync(path.join(directory, '0001_first.sql'), 'utf8');
  writeFileSync(path.join(directory, '0001_first.sql'), text.replaceAll('\n', '\r\n'));
  expect(await migrate({ url, directory })).toEqual([]);
});

test('a database from before digests were kept gets those of today’s files, once', async () => {
  file('0001_first.sql', 'CREATE TABLE steps (n int)');
  await migrate({ url, directory });
  await query(url, 'ALTER TABLE holdfast.schema_compatibility DROP COLUMN sha256');
  await query(url, 'ALTER TABLE holdfast.schema_functions DROP COLUMN number');
  await migrate({ url, directory });
  file('0001_first.sql', 'CREATE TABLE steps (n bigint)');
  await expect(migrate({ url, directory })).rejects.toThrow(/is not what was applied/);
});

test('a migration killed half-way does not block the next start', async () => {
  file('0001_slow.sql', 'CREATE TABLE slow (n int); SELECT pg_sleep(600)');
  const built = path.join(__dirname, '..', '..', '..', 'dist', 'db', 'migrate', 'migrate.js');
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
  const answer = (number: number, text: string) => {
    const place = path.join(directory, 'functions');
    mkdirSync(place, { recursive: true });
    const numbers = Array.from({ length: number }, (_, n) => [String(n + 1), 'a digest']);
    writeFileSync(path.join(place, 'numbers.json'), JSON.stringify(Object.fromEntries(numbers)));
    const sql = `DROP FUNCTION IF EXISTS answer; CREATE FUNCTION answer() RETURNS text LANGUAGE sql AS $$ SELECT '${text}' $$;`;
    writeFileSync(path.join(place, '1_answer.sql'), sql);
  };
  const answered = () => query(url, 'SELECT answer() AS text');

  test('are put in after them, and again whenever their number is higher', async () => {
    file('0001_first.sql', 'CREATE TABLE steps (n int)');
    answer(1, 'first');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'first' }]);
    answer(2, 'second');
    expect(await migrate({ url, directory })).toEqual([]);
    expect(await answered()).toEqual([{ text: 'second' }]);
    const lines: string[] = [];
    await migrate({ url, directory, log: (line) => lines.push(line) });
    expect(lines).toEqual([]);
  });

  test('of a newer binary are never put back by an older one, though both know the same migrations', async () => {
    file('0001_first.sql', 'SELECT 1');
    answer(2, 'newer');
    await migrate({ url, directory });
    answer(1, 'older');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'newer' }]);
  });

  test('that are others under the same number are refused, and it is said what to do', async () => {
    file('0001_first.sql', 'SELECT 1');
    answer(1, 'one');
    await migrate({ url, directory });
    answer(1, 'other');
    await expect(migrate({ url, directory })).rejects.toThrow(/both have number 1.*numberFunctions/);
    expect(await answered()).toEqual([{ text: 'one' }]);
  });

  test('that fail leave the ones before, and the tables too: both go in together or not at all', async () => {
    file('0001_first.sql', 'SELECT 1');
    answer(1, 'good');
    await migrate({ url, directory });
    file('0002_second.sql', 'CREATE TABLE newer (n int)');
    answer(2, "half' $$; SELECT 1 / 0; --");
    await expect(migrate({ url, directory })).rejects.toThrow(/functions\/1_answer\.sql: division by zero/);
    expect(await answered()).toEqual([{ text: 'good' }]);
    expect(await tables()).toEqual([]);
    answer(2, 'mended');
    await migrate({ url, directory });
    expect(await answered()).toEqual([{ text: 'mended' }]);
    expect(await tables()).toEqual(['newer']);
  });

  test('of this release bear the last of the numbers that were given', () => {
    const numbers = readNumbers(path.join(migrationsDirectory(), 'functions'));
    const functions = readFunctions(migrationsDirectory());
    // If this fails, the functions were changed: `node dev/numberFunctions.mjs` gives them the next number.
    expect(functions?.digest).toBe(numbers[functions?.number ?? 0]);
  });
});

describe('locks that others hold', () => {
  let reader: Client;
  beforeEach(async () => {
    file('0001_first.sql', 'CREATE TABLE steps (n int)');
    await migrate({ url, directory });
    file('0002_second.sql', 'ALTER TABLE steps ADD COLUMN m int');
    reader = new Client({ connectionString: url, application_name: 'monthly report' });
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM steps');
  });
  afterEach(() => reader.end());

  test('are waited for: a reader that takes its time makes nothing fail', async () => {
    const lines: string[] = [];
    const migrated = migrate({ url, directory, log: (line) => lines.push(line) });
    await eventually(
      () => Promise.resolve(lines),
      (said) => said.length > 0,
    );
    await reader.query('COMMIT');
    expect(await migrated).toEqual(['0002_second.sql']);
    expect(lines[0]).toMatch(
      /^waiting for pid \d+ \(application monthly report, query started .*SELECT \* FROM steps\)$/,
    );
  });

  test('are told with their holder when it takes too long, and nothing was changed', async () => {
    const migrated = migrate({ url, directory, lockWaitMs: 1 });
    await expect(migrated).rejects.toThrow(
      /It is held by pid \d+ \(application monthly report, .*pg_terminate_backend/,
    );
    await reader.query('COMMIT');
    expect(await migrate({ url, directory })).toEqual(['0002_second.sql']);
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
    await expect(assertCompatible(database.points)).rejects.toThrow(/npm run migrate/);
  } finally {
    await database.close();
  }
});

test('worker and API accept the schema of their own migrations, and refuse one that needs more', async () => {
  const database = await testDatabase();
  const { db, owner } = database;
  try {
    await assertCompatible(db.points);
    await owner
      .knex('holdfast.schema_compatibility')
      .insert({ number: 9999, name: 'x', min_compatible: 9999 });
    await expect(assertCompatible(db.points)).rejects.toThrow(/newer Holdfast/);
  } finally {
    await database.close();
  }
});

test('worker and API refuse functions older than their own, and others under the same number', async () => {
  const database = await testDatabase();
  const { db, owner } = database;
  try {
    await owner.knex('holdfast.schema_functions').update({ digest: 'another' });
    await expect(assertCompatible(db.points)).rejects.toThrow(/not this build's, though both have number/);
    await owner.knex('holdfast.schema_functions').update({ number: 1 });
    await expect(assertCompatible(db.points)).rejects.toThrow(
      /older than this release's: number 1 of \d+\. Run `npm run migrate`/,
    );
    await owner.knex('holdfast.schema_functions').update({ number: 9999 });
    await assertCompatible(db.points);
  } finally {
    await database.close();
  }
});

test('the migrations are found from the sources', () => {
  expect(migrationsDirectory()).toBe(path.join(__dirname, '..', '..', '..', 'db', 'migrations'));
});

function file(name: string, sql: string, minCompatible = 1): void {
  writeFileSync(path.join(directory, name), `-- min_compatible: ${minCompatible}\n${sql};\n`);
}

async function tables(): Promise<string[]> {
  const rows = await query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");
  return rows.map(({ tablename }) => String(tablename));
}

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
