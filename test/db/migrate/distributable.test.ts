import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type TestDatabase, testDatabase } from '../../support/database';

/** What a database that is spread over servers by account could not keep is not in the schema (docs/growth.md). */

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

/** Tables that belong to no account: few rows, rarely written, the same everywhere. */
const NOT_BY_ACCOUNT = [
  'holdfast.api_keys',
  'holdfast.catalogs',
  'holdfast.lost_namespaces',
  'holdfast.migrations',
  'holdfast.schema_functions',
  'holdfast.migrations_lock',
  'holdfast.passes',
  'holdfast.processes',
  'holdfast.request_keys',
  'holdfast.schema_compatibility',
  'holdfast.test_clocks',
  'ledger.archives',
];

async function found(sql: string): Promise<string[]> {
  const { rows } = await database.owner.pool.query<{ found: string }>(sql);
  return rows.map((row) => row.found);
}

test('every primary and unique key begins with the account, but for tables that belong to none', async () => {
  const without = await found(
    `SELECT DISTINCT c.relnamespace::regnamespace || '.' || c.relname AS found
       FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
      WHERE c.relnamespace::regnamespace::text IN ('ledger', 'holdfast') AND i.indisunique AND a.attname <> 'account_id' ORDER BY 1`,
  );
  expect(without.filter((table) => !NOT_BY_ACCOUNT.includes(table))).toEqual([]);
});

test('every foreign key begins with the account', async () => {
  const without = await found(
    `SELECT conrelid::regclass || ' ' || conname AS found FROM pg_constraint k
      WHERE k.contype = 'f' AND k.connamespace::regnamespace::text IN ('ledger', 'holdfast')
        AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND a.attname = 'account_id')`,
  );
  expect(without).toEqual([]);
});

test('there are no sequences, exclusion constraints or deferred ones', async () => {
  const constraints = await found(
    `SELECT conrelid::regclass || ' ' || conname AS found FROM pg_constraint
      WHERE connamespace::regnamespace::text IN ('ledger', 'holdfast') AND (contype = 'x' OR condeferrable)`,
  );
  const sequences = await found(
    "SELECT relname::text AS found FROM pg_class WHERE relkind = 'S' AND relnamespace::regnamespace::text IN ('ledger', 'holdfast') AND relname NOT LIKE 'migrations%'",
  );
  const triggers = await found(
    `SELECT tgrelid::regclass || ' ' || tgname AS found FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      WHERE c.relnamespace::regnamespace::text IN ('ledger', 'holdfast') AND tgdeferrable`,
  );
  expect([...constraints, ...sequences, ...triggers]).toEqual([]);
});

test('what only one Postgres has, partitions and fill factors, is in the two files that the page names', () => {
  const directory = path.join(__dirname, '..', '..', '..', 'db', 'migrations');
  const page = readFileSync(path.join(__dirname, '..', '..', '..', 'docs', 'growth.md'), 'utf8');
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.sql'),
  );
  const withThem = files
    .toSorted()
    .filter((name) =>
      /fillfactor|PARTITION BY RANGE|(ATTACH|DETACH) PARTITION|PARTITION OF/.test(
        readFileSync(path.join(directory, name), 'utf8').replaceAll(/--.*$/gm, ''),
      ),
    );
  expect(withThem).toEqual(['0001_ledger.sql', 'functions/12_growth.sql']);
  for (const name of withThem) expect(page).toContain(name);
});

test('the function that writes notifies nobody, takes no advisory lock and catches no exception', async () => {
  const [body] = await found(
    "SELECT prosrc AS found FROM pg_proc WHERE oid = 'ledger.apply(jsonb, boolean)'::regprocedure",
  );
  expect(body).not.toMatch(/advisory|notify|EXCEPTION\s+WHEN|nextval|TEMP TABLE/i);
});
