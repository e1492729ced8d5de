import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { migrate } from '../../../db/migrate/migrate';
import { migrationsDirectory, readNumbers } from '../../../db/migrate/files';
import { type EmptyDatabase, emptyDatabase, query } from '../../support/database';

/** Databases of earlier releases, brought to this one. */

let empty: EmptyDatabase;
let url: string;
let directory: string;

beforeEach(async () => {
  empty = await emptyDatabase();
  ({ url } = empty);
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-migrations-'));
});
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await empty.close();
});

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

test('a database that had 0011 as it first was is mended: keys are claimed and kept, and none that an operation had', async () => {
  const from = migrationsDirectory();
  for (const one of readdirSync(from).filter((name) => /^00(0|10)/.test(name)))
    cpSync(path.join(from, one), path.join(directory, one));
  const first = path.join(__dirname, '..', '..', 'support', 'fixtures', '0011_as_it_first_was.sql');
  cpSync(first, path.join(directory, '0011_kept_answers.sql'));
  await migrate({ url, directory });
  await query(url, 'ALTER TABLE holdfast.schema_compatibility DROP COLUMN sha256');
  await query(url, 'ALTER TABLE holdfast.schema_functions DROP COLUMN number'); // that release kept no digests
  await query(url, `INSERT INTO ledger.op_keys VALUES ('a1', 'req:two', repeat('b', 64), 1, '{}')`);
  await query(
    url,
    `INSERT INTO ledger.kept_answers (account_id, key, request_hash, status, answer)
     SELECT 'a1', key, repeat('a', 64), 200, 'said' FROM (VALUES ('req:one'), ('req:two')) v (key)`,
  );
  await query(
    url,
    "INSERT INTO holdfast.request_keys (api_key, key, request_hash, status, answer) VALUES ('account:a1', 'old', repeat('a', 64), 200, 'said')",
  );
  await migrate({ url });
  expect(await query(url, 'SELECT key FROM ledger.kept_answers ORDER BY key')).toEqual([
    { key: 'req:old' },
    { key: 'req:one' },
  ]);
  await query(url, "INSERT INTO ledger.accounts (account_id) VALUES ('a1')");
  expect(await query(url, "SELECT known FROM ledger.claim_key('a1', 'req:new', repeat('a', 64))")).toEqual([
    { known: 'claimed' },
  ]);
  expect(await query(url, "SELECT known FROM ledger.claim_key('a1', 'req:one', repeat('a', 64))")).toEqual([
    { known: 'answered' },
  ]);
});

test('views that others built on the ledger’s, and what other roles were granted, outlast a release', async () => {
  await migrate({ url });
  const numbered = await query(url, 'SELECT number FROM holdfast.schema_functions');
  await query(url, 'CREATE SCHEMA reports');
  await query(url, 'CREATE VIEW reports.revenue AS SELECT sum(credit_milli) AS milli FROM ledger.lines');
  await query(
    url,
    "CREATE VIEW reports.told AS SELECT e.type, s.credits FROM ledger.events e, ledger.statement(e.account_id, '-infinity', 'infinity') s",
  );
  const role = `reader_${randomBytes(6).toString('hex')}`;
  await query(url, `CREATE ROLE ${role}`);
  try {
    await query(url, `GRANT SELECT ON ledger.lines TO ${role}`);
    await query(url, `GRANT EXECUTE ON FUNCTION ledger.statement TO ${role}`);
    cpSync(migrationsDirectory(), directory, { recursive: true });
    const place = path.join(directory, 'functions');
    const next = Number(numbered[0]?.['number']) + 1;
    writeFileSync(
      path.join(place, 'numbers.json'),
      JSON.stringify({ ...readNumbers(place), [next]: 'a digest' }),
    );
    await migrate({ url, directory });
    expect(await query(url, 'SELECT number FROM holdfast.schema_functions')).toEqual([{ number: next }]);
    expect(await query(url, 'SELECT * FROM reports.revenue, reports.told')).toEqual([]);
    expect(
      await query(
        url,
        `SELECT has_table_privilege('${role}', 'ledger.lines', 'SELECT') AS lines,
                has_function_privilege('${role}', 'ledger.statement(text, timestamptz, timestamptz)', 'EXECUTE') AS statement`,
      ),
    ).toEqual([{ lines: true, statement: true }]);
  } finally {
    await query(url, `DROP OWNED BY ${role}`);
    await query(url, `DROP ROLE ${role}`);
  }
});
