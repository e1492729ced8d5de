import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestDatabase, testDatabase } from '../../support/database';
import { describeSchema, readRelations, type Relation } from './describeSchema';

/** db/schema.sql is the schema as it is, and says of every table and column what it is and in which unit. */

const FILE = path.join(__dirname, '..', '..', '..', 'db', 'schema.sql');
let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('db/schema.sql is what a migrated database has', async () => {
  const found = await describeSchema(database.owner.pool);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(FILE, found);
  expect(readFileSync(FILE, 'utf8')).toBe(found);
});

/** Tables and columns that nothing is said of, and amounts whose unit is not. */
function unsaid(relations: readonly Relation[]): string[] {
  return relations.flatMap(({ name, comment, columns }) => [
    ...(comment === null ? [name] : []),
    ...columns
      .filter(
        (column) => column.comment === null || (isAmount(column) && !/millicredits/.test(column.comment)),
      )
      .map((column) => `${name}.${column.name}`),
  ]);
}

/** Numbers of rows and versions, and what is counted. */
const NO_AMOUNTS = /^(seq|rules_version|settle_version|keys|rows|works|leads|works_outputs|leads_outputs)$/;
const isAmount = ({ name, type }: { name: string; type: string }) =>
  /^bigint/.test(type) && !NO_AMOUNTS.test(name);

test('every table and column says what it is, and every amount that it is millicredits', async () => {
  const relations = await readRelations(database.owner.pool);
  expect(relations.length).toBeGreaterThan(30);
  expect(unsaid(relations)).toEqual([]);
});

test('a table, a column and a unit that nothing is said of are found', async () => {
  const other = await testDatabase();
  const { owner } = other;
  await owner.pool.query(
    `CREATE TABLE ledger.bare (cost bigint, what text); COMMENT ON COLUMN ledger.bare.cost IS 'What it costs'`,
  );
  const relations = await readRelations(owner.pool);
  expect(unsaid(relations)).toEqual(['ledger.bare', 'ledger.bare.cost', 'ledger.bare.what']);
  await expect(describeSchema(owner.pool)).rejects.toThrow('ledger.bare');
  await other.close();
});
