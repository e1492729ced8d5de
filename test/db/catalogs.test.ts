import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createCatalogStore, loadCatalogs, publishCatalog, readCatalog } from '../../db/catalogs';
import { createLedger, type Ledger } from '../../db/ledger';
import { toMilli } from '../../domain/credits';
import { parseCatalog } from '../../domain/parseCatalog';
import { type TestDatabase, testDatabase } from '../support/database';

/** Catalog files and their versions in the database. */

const FILES = path.join(__dirname, '..', 'support', 'catalogs');
const tunesmith = path.join(FILES, 'tunesmith.json');

let database: TestDatabase;
let ledger: Ledger;
let folder: string;

beforeEach(async () => {
  database = await testDatabase();
  const catalogs = createCatalogStore(database.db);
  ledger = createLedger({ pool: database.db.pool, catalogs, ring: () => undefined });
  folder = mkdtempSync(path.join(tmpdir(), 'catalogs-'));
});
afterEach(async () => {
  rmSync(folder, { recursive: true });
  await database.close();
});

const load = () => loadCatalogs(database.db, folder);

/** The file with one text put in the place of another. */
function edit(from: string, to: string): void {
  const file = path.join(folder, 'tunesmith.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
}

test('a fourth product is added by putting one file into the folder: accounts open on it and get its credits', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  expect(await load()).toEqual([{ catalog: 'tunesmith', version: 1, changed: true }]);
  await ledger.open({ account: 'ada', catalog: 'tunesmith', plan: 'composer', planSource: 'admin' });
  const balance = await ledger.balance('ada');
  expect(balance?.lots.map(({ bucket, available }) => [bucket, available])).toEqual([
    ['daily', toMilli(12)],
    ['plan', toMilli(640)],
  ]);
});

test('a file that says nothing new adds no version; one that does, adds one', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  await load();
  expect(await load()).toEqual([{ catalog: 'tunesmith', version: 1, changed: false }]);
  edit('"credits": 9.5', '"credits": 9.625');
  expect(await load()).toEqual([{ catalog: 'tunesmith', version: 2, changed: true }]);
});

test('a file does not undo at the next start what an administrator published since', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  await load();
  const own = { ...readCatalog(tunesmith), label: 'Tunesmith, repriced' };
  expect(await publishCatalog(database.db.knex, { catalog: own })).toMatchObject({
    version: 2,
    changed: true,
  });
  expect(await load()).toEqual([{ catalog: 'tunesmith', version: 2, changed: false }]);
});

test('an administrator may go back to what an older version said', async () => {
  const first = readCatalog(tunesmith);
  await publishCatalog(database.db.knex, { catalog: first });
  await publishCatalog(database.db.knex, { catalog: { ...first, label: 'Other' } });
  expect(await publishCatalog(database.db.knex, { catalog: first })).toMatchObject({
    version: 3,
    changed: true,
  });
});

test('an error names the file, the path inside it, and what must be there; nothing is published', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  cpSync(tunesmith, path.join(folder, 'aria.json'));
  edit('"minimumPlan": "composer"', '"minimumPlan": "compozer"');
  await expect(load()).rejects.toThrow(
    /tunesmith\.json is not a valid catalog: actions\.0\.models\.0\.rates\.1\.minimumPlan: there is no plan compozer/,
  );
  expect(await database.db.knex('holdfast.catalogs').select()).toEqual([]);
});

test('an assertion that no longer holds keeps the file out', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  edit('{ "credits": 2 }', '{ "credits": 3 }');
  await expect(load()).rejects.toThrow(
    'assertions.0: “An album is a single and a cover” does not hold: the parts make 6.75, and the whole is 5.75',
  );
});

test('a file that is not JSON is named', async () => {
  writeFileSync(path.join(folder, 'broken.json'), '{ "catalog": ');
  await expect(load()).rejects.toThrow(/broken\.json is not JSON: /);
});

test('a plan that accounts are on cannot be left out', async () => {
  const catalog = readCatalog(tunesmith);
  await publishCatalog(database.db.knex, { catalog });
  await ledger.open({ account: 'ada', catalog: 'tunesmith', plan: 'composer', planSource: 'admin' });
  const json = JSON.stringify(catalog).replaceAll('"composer"', '"maestro"');
  const renamed = parseCatalog(JSON.parse(json));
  if (!renamed.ok) throw new Error(JSON.stringify(renamed.errors));
  await expect(publishCatalog(database.db.knex, { catalog: renamed.catalog })).rejects.toThrow(
    'keep plan composer: 1 account(s) are on it, or will be',
  );
});

test('a version that was stored before the format grew can still be read', async () => {
  const body: unknown = JSON.parse(readFileSync(path.join(FILES, 'imagineart-1.json'), 'utf8'));
  await database.db.knex('holdfast.catalogs').insert({
    catalog: 'imagineart',
    version: 1,
    body: JSON.stringify(body),
    hash: 'as it was',
    effective_at: '-infinity',
  });
  const stored = await createCatalogStore(database.db).version('imagineart', 1);
  expect(stored?.catalog).toMatchObject({ ...(body as object), assertions: [], quotas: [] });
});
