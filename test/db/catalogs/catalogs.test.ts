import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  createCatalogStore,
  UnknownCatalog,
  publishCatalog,
  readCatalog,
  UnreadableCatalog,
} from '../../../db/catalogs/catalogs';
import { createLedger, type Ledger } from '../../../db/ledger/ledger';
import {
  publishShippedCatalogs,
  readShippedCatalogs,
  unreadableVersions,
} from '../../../db/catalogs/shipped';
import { toMilli } from '../../../domain/credits';
import { parseCatalog } from '../../../domain/publish/parse';
import { type TestDatabase, testDatabase } from '../../support/database';

/** Catalog files and their versions in the database. */

const FILES = path.join(__dirname, '..', '..', 'support', 'catalogs');
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

/** As setup does, at each start. */
const load = async (publish: string[] = []) =>
  publishShippedCatalogs(database.db.knex, { catalogs: readShippedCatalogs(folder), publish });

/** The file with one text put in the place of another. */
function edit(from: string, to: string): void {
  const file = path.join(folder, 'tunesmith.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
}

test('a fourth product is added by putting one file into the folder: accounts open on it and get its credits', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  expect(await load()).toEqual([{ catalog: 'tunesmith', version: 1, outcome: 'published', changes: [] }]);
  await ledger.open({ account: 'ada', catalog: 'tunesmith', plan: 'composer', planSource: 'admin' });
  const balance = await ledger.balance('ada');
  expect(balance?.lots.map(({ bucket, available }) => [bucket, available])).toEqual([
    ['daily', toMilli(12)],
    ['plan', toMilli(640)],
  ]);
});

test('a file is published where its id has no version; one that changed since is told of, and published when that is asked', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  await load();
  expect(await load()).toMatchObject([{ version: 1, outcome: 'unchanged', changes: [] }]);
  edit('"credits": 9.5', '"credits": 9.625');
  const rate = 'actions.song.models.fiddle.rates.{"seconds":30,"voice":true}.credits';
  expect(await load()).toEqual([
    {
      catalog: 'tunesmith',
      version: 1,
      outcome: 'differs',
      changes: [{ path: rate, before: 9.5, after: 9.625 }],
    },
  ]);
  expect(await load(['tunesmith'])).toMatchObject([{ version: 2, outcome: 'published' }]);
  const stored = await createCatalogStore(database.db).list(Date.now());
  expect(stored).toMatchObject([{ version: 2, publishedBy: 'shipped' }]);
});

test('what an administrator published stays in force, whether the file changes or not', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  await load();
  const own = { ...readCatalog(tunesmith), label: 'Tunesmith, repriced' };
  await publishCatalog(database.db.knex, { catalog: own, publishedBy: 'ak_1' });
  expect(await load()).toMatchObject([{ version: 2, outcome: 'unchanged' }]);
  edit('"credits": 9.5', '"credits": 9.625');
  expect(await load()).toMatchObject([{ version: 2, outcome: 'differs' }]);
  const stored = await createCatalogStore(database.db).list(Date.now());
  expect(stored).toMatchObject([
    { version: 2, publishedBy: 'ak_1', catalog: { label: 'Tunesmith, repriced' } },
  ]);
});

test('a shipped file without a plan that accounts are on stops no deploy', async () => {
  cpSync(tunesmith, path.join(folder, 'tunesmith.json'));
  await load();
  const catalog = readCatalog(tunesmith);
  const vip = {
    ...catalog,
    plans: [...catalog.plans, { ...catalog.plans[0], plan: 'vip', rank: 99, prices: null }],
  };
  const own = parseCatalog(JSON.parse(JSON.stringify(vip)));
  if (!own.ok) throw new Error(JSON.stringify(own.errors));
  await publishCatalog(database.db.knex, { catalog: own.catalog });
  await ledger.open({ account: 'ada', catalog: 'tunesmith', plan: 'vip', planSource: 'admin' });
  edit('"credits": 9.5', '"credits": 9.625');
  expect(await load()).toMatchObject([{ version: 2, outcome: 'differs' }]);
  await expect(load(['tunesmith'])).rejects.toThrow('keep plan vip: 1 account(s) are on it');
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

/** A body as it lies in the database, put there without any check. */
function store(catalog: string, version: number, body: unknown): Promise<unknown> {
  return database.db.knex('holdfast.catalogs').insert({
    catalog,
    version,
    hash: `as it was: ${version}`,
    effective_at: '-infinity',
    body: JSON.stringify(body),
  });
}

test('a version that was stored before the format grew can still be read', async () => {
  const body: unknown = JSON.parse(readFileSync(path.join(FILES, 'imagineart-1.json'), 'utf8'));
  await store('imagineart', 1, body);
  const stored = await createCatalogStore(database.db).version('imagineart', 1);
  expect(stored?.catalog).toMatchObject({ ...(body as object), assertions: [], quotas: [] });
});

test('a version without the shape of a catalog takes no other down, is told of, and is repaired by publishing', async () => {
  await publishCatalog(database.db.knex, { catalog: readCatalog(tunesmith) });
  await store('broken', 1, { catalog: 'broken', plans: 'none' });
  const store_ = createCatalogStore(database.db);
  expect((await store_.list(Date.now())).map(({ catalog }) => catalog.catalog)).toEqual(['tunesmith']);
  expect(await store_.refused(Date.now())).toEqual([
    { catalog: 'broken', version: 1, readable: false, message: 'it has not the shape of a catalog' },
  ]);
  expect(await unreadableVersions(database.db.knex)).toEqual(['broken version 1']);
  await expect(store_.inForce('broken', Date.now())).rejects.toThrow(UnreadableCatalog);
  const repaired = { ...readCatalog(tunesmith), catalog: 'broken' };
  expect(await publishCatalog(database.db.knex, { catalog: repaired })).toMatchObject({ version: 2 });
  const again = createCatalogStore(database.db);
  expect((await again.inForce('broken', Date.now())).version).toBe(2);
  expect(await again.refused(Date.now())).toEqual([]);
});

test('a catalog that another process had just published was an unexpected failure, and so was a version of it', async () => {
  const { knex } = database.db;
  const other = createCatalogStore(database.db);
  const nowMs = Date.now() + 60_000;
  const own = readCatalog(tunesmith);
  await expect(other.inForce('tunesmith', nowMs)).rejects.toThrow(UnknownCatalog);
  await publishCatalog(knex, { catalog: own });
  // The list was read a moment ago, before it was there.
  expect(await other.inForce('tunesmith', nowMs)).toMatchObject({ version: 1 });
  await publishCatalog(knex, { catalog: { ...own, label: 'Second' } });
  expect(await other.version('tunesmith', 2)).toMatchObject({ version: 2, catalog: { label: 'Second' } });
  expect(await other.inForceFrom('tunesmith', nowMs)).toMatchObject([{ version: 2 }]);
  expect(await other.version('tunesmith', 3)).toBeUndefined();
});

test('many that ask at once for what is not there read the list once more, and not once each', async () => {
  let reads = 0;
  const counting = createCatalogStore({
    points: {
      query: ((...query: Parameters<typeof database.db.points.query>) => {
        reads += 1;
        return database.db.points.query(...query);
      }) as typeof database.db.points.query,
    },
  });
  const asked = Array.from({ length: 50 }, (_, index) => counting.version(`none-${index}`, 1));
  expect(await Promise.all(asked)).toEqual(Array.from({ length: 50 }, () => undefined));
  expect(reads).toBe(2);
});
