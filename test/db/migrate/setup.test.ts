import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { openDatabase } from '../../../db/connection/connection';
import { type EmptyDatabase, emptyDatabase, query } from '../../support/database';

/** `node dist/db/setup.js` as a deploy runs it, in an installation whose files can be changed. */

const ROOT = path.join(__dirname, '..', '..', '..');

const EXTERNAL = { type: 'external', deadlineSeconds: 600 };

let empty: EmptyDatabase;
let place: string;

beforeEach(async () => {
  empty = await emptyDatabase();
  place = mkdtempSync(path.join(os.tmpdir(), 'holdfast-installed-'));
  for (const part of ['dist/db', 'dist/domain', 'db/migrations', 'catalogs'])
    cpSync(path.join(ROOT, part), path.join(place, part), { recursive: true });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(place, 'node_modules'));
});
afterEach(async () => {
  rmSync(place, { recursive: true });
  await empty.close();
});

function setUp(...rest: string[]): { code: number | null; said: string } {
  return setUpIn('development', ...rest);
}

function setUpIn(mode: string, ...rest: string[]): { code: number | null; said: string } {
  const script = path.join(place, 'dist', 'db', 'setup.js');
  const env = { ...process.env, DATABASE_URL: empty.url, HOLDFAST_MODE: mode };
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...rest], {
    env,
    encoding: 'utf8',
  });
  return { code: status, said: stdout + stderr };
}

/** A release with a note of its own in a catalog. */
function changeShipped(from: string, to: string): void {
  const file = path.join(place, 'catalogs', 'imagineart.json');
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
}

const versions = () =>
  query(
    empty.url,
    "SELECT version, published_by FROM holdfast.catalogs WHERE catalog = 'imagineart' ORDER BY version",
  );

test('live mode publishes no sample, also where it is asked for by name, and a catalog of one’s own', () => {
  const named = setUpIn('live', '--publish', 'imagineart');
  expect(named).toMatchObject({
    code: 1,
    said: expect.stringContaining('--publish imagineart: not in live mode: packs.0.price'),
  });
  const file = path.join(place, 'catalogs', 'draftly.json');
  const own = JSON.stringify(JSON.parse(readFileSync(file, 'utf8')), (key, value: unknown) =>
    key === 'illustrative' ? undefined : key === 'provider' || key === 'defaultProvider' ? EXTERNAL : value,
  );
  writeFileSync(file, own);
  const { code, said } = setUpIn('live');
  expect(code).toBe(0);
  expect(said).toContain('catalog draftly: version 1 published');
  expect(said).toContain('catalog imagineart: a sample, which live mode leaves out (packs.0.price)');
  expect(setUpIn('production')).toMatchObject({
    code: 1,
    said: expect.stringContaining('HOLDFAST_MODE must be development or live'),
  });
});

test('an administrator’s prices outlast a release with other ones, which are told with the command that publishes them', async () => {
  expect(setUp()).toMatchObject({
    code: 0,
    said: expect.stringContaining('catalog imagineart: version 1 published'),
  });
  const database = openDatabase({ url: empty.url, max: 1 });
  const own = readCatalog(path.join(place, 'catalogs', 'imagineart.json'));
  await publishCatalog(database.knex, {
    catalog: { ...own, label: 'Our own' },
    publishedBy: '0123456789abcdef',
  });
  await database.close();
  expect(setUp().said).toContain('catalog imagineart: version 2, unchanged');

  changeShipped('"label": "ImagineArt', '"label": "Newer ImagineArt');
  const told = setUp();
  expect(told.code).toBe(0);
  expect(told.said).toContain(
    'catalog imagineart: version 2 stays in force; catalogs/imagineart.json differs',
  );
  expect(told.said).toMatch(/ {2}label: "Our own" would be "Newer ImagineArt/);
  const command = /npm run migrate -- (--publish imagineart)/.exec(told.said)?.[1] ?? '';
  expect(await versions()).toEqual([
    { version: 1, published_by: 'shipped' },
    { version: 2, published_by: '0123456789abcdef' },
  ]);
  expect(setUp(...command.split(' ')).said).toContain('catalog imagineart: version 3 published');
  expect(await versions()).toHaveLength(3);
});

test('a wrong catalog file, or one that is not there, is told before anything is changed', async () => {
  expect(setUp('--publish', 'nowhere')).toMatchObject({
    code: 1,
    said: expect.stringMatching(
      /--publish nowhere: there is no such file; it can be one of: draftly, imagineart/,
    ),
  });
  changeShipped('"currency": "USD"', '"currency": "dollars"');
  expect(setUp()).toMatchObject({
    code: 1,
    said: expect.stringMatching(/imagineart\.json is not a valid catalog: currency/),
  });
  expect(await query(empty.url, "SELECT FROM pg_namespace WHERE nspname IN ('ledger', 'holdfast')")).toEqual(
    [],
  );
});

test('a stored version that no release can read is told, and stops no deploy', async () => {
  setUp();
  await query(empty.url, "INSERT INTO holdfast.catalogs VALUES ('mine', 1, '{}', 'h', '-infinity')");
  expect(setUp()).toMatchObject({
    code: 0,
    said: expect.stringContaining(
      'catalog mine version 1 cannot be read by this release: publish a repaired version',
    ),
  });
});
