import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestDatabase, testDatabase } from '../support/database';
import { ledgerOf, type TestLedger } from '../support/ledger/ledger';
import { tamper } from '../support/ledger/livelyLedger';
import { becomesPast, monthAgo } from '../support/ledger/past';

/** The operator's commands as they are run: arguments in, exit code and words out. */

const MONTH = monthAgo(1);

let database: TestDatabase;
let ledger: TestLedger;
let account: string;
let directory: string;

beforeEach(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
  account = await ledger.open();
  await ledger.grant(account, { amount: 9_000 });
  await ledger.charge(account, { amount: 500 });
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
});
afterEach(() => database.close());

function run(command: 'audit' | 'archive', ...rest: string[]): { code: number | null; said: string } {
  const script = path.join(__dirname, '..', '..', 'dist', 'db', command, 'cli.js');
  const env = { ...process.env, DATABASE_URL: database.url };
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...rest], {
    env,
    encoding: 'utf8',
  });
  return { code: status, said: stdout + stderr };
}
const breakIt = () =>
  tamper(database, "UPDATE ledger.lots SET spent = spent + 1 WHERE account_id = '$a'", { account });

test('an archive tells its steps and its digest, can be asked for again, and can be looked into', async () => {
  await becomesPast(database.owner, MONTH);
  const first = run('archive', '--month', MONTH, '--to', directory);
  expect(first).toMatchObject({
    code: 0,
    said: expect.stringMatching(/written\ncompared\ndetached\ncommitted\n2 rows/),
  });
  const digest = /sha256 ([0-9a-f]{64})/.exec(first.said)?.[1];
  const again = run('archive', '--month', MONTH, '--to', directory);
  expect(again).toMatchObject({ code: 0, said: expect.stringContaining('archived before') });
  expect(again.said).toContain(digest);
  const file = path.join(directory, readdirSync(directory)[0] ?? '');
  const loaded = run('archive', '--load', file, '--into', 'looked_into');
  expect(loaded).toMatchObject({ code: 0, said: expect.stringContaining(`sha256 ${digest}`) });
});

test('a ledger that is not in order is not archived', async () => {
  await becomesPast(database.owner, MONTH);
  await breakIt();
  const { code, said } = run('archive', '--month', MONTH, '--to', directory);
  expect(code).toBe(1);
  expect(said).toMatch(/Not done: the audit finds .*lot-conservation/);
  expect(readdirSync(directory)).toEqual([]);
});

test('an archive may have a copy of this very database audited, and takes no other’s verdict', async () => {
  await becomesPast(database.owner, MONTH);
  const another = await testDatabase();
  const asked = ['--month', MONTH, '--to', directory, '--audit-on'];
  expect(run('archive', ...asked, another.url)).toMatchObject({
    code: 1,
    said: expect.stringContaining('names another database than DATABASE_URL'),
  });
  await another.close();
  expect(readdirSync(directory)).toEqual([]);
  const copy = new URL(database.url);
  copy.searchParams.set('connect_timeout', '7'); // to this test, the copy is the database itself by another URL
  expect(run('archive', ...asked, copy.href)).toMatchObject({
    code: 0,
    said: expect.stringContaining('committed'),
  });
});

test('an archive without its arguments says which it wants', () => {
  expect(run('archive', '--month', MONTH)).toMatchObject({
    code: 1,
    said: expect.stringContaining('--to <directory>'),
  });
});

test('the audit ends with 0 and how long a million rows take, with 1 and the rows, or with 2 and why not', async () => {
  expect(run('audit')).toMatchObject({
    code: 0,
    said: expect.stringMatching(/2 journal rows, [\d,.]+ s per million/),
  });
  expect(run('audit', '--quick')).toMatchObject({
    code: 0,
    said: expect.stringContaining('1 account(s) moved'),
  });
  expect(run('audit', '--account', 'nobody')).toMatchObject({
    code: 2,
    said: expect.stringContaining('there is no account nobody'),
  });
  await breakIt();
  for (const how of [[], ['--account', account]]) {
    const { code, said } = run('audit', ...how);
    expect(code).toBe(1);
    expect(said).toMatch(/FAIL {2}lot-conservation.*\n.*"lot_no":1/);
  }
});
