import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type TestDatabase, testDatabase } from '../support/database';

/** docs/growth.md says of every table what leaves a row in it and when the row goes. */

const page = readFileSync(path.join(__dirname, '..', '..', 'docs', 'growth.md'), 'utf8');
const [, table = ''] = /(\| table \|[^]*?)\n\n/.exec(page) ?? [];
const told = table
  .split('\n')
  .slice(2)
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .flatMap(([, names = '', , bytes = '', goes = '']) =>
    names.split(', ').map((name) => ({ name: name.replaceAll('`', ''), bytes, goes })),
  );

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('every table there is has its line, its bytes, and says when its rows go', async () => {
  const { rows } = await database.owner.pool.query<{ name: string }>(
    `SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('ledger', 'holdfast') AND c.relkind IN ('r', 'p') AND NOT c.relispartition`,
  );
  expect(told.map(({ name }) => name).toSorted()).toEqual(rows.map(({ name }) => name).toSorted());
  for (const { bytes, goes } of told) {
    expect(bytes).toMatch(/\d/);
    expect(goes).not.toBe('');
  }
});

test('where rows go “never”, the application may not delete them', async () => {
  const { rows } = await database.owner.pool.query<{ name: string }>(
    `SELECT table_schema || '.' || table_name AS name FROM information_schema.role_table_grants
      WHERE grantee = 'holdfast_app' AND privilege_type IN ('DELETE', 'TRUNCATE')`,
  );
  const may = new Set(rows.map(({ name }) => name));
  expect(told.filter(({ name, goes }) => goes.startsWith('never') && may.has(name))).toEqual([]);
});
