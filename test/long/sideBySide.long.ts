import { type ChildProcess, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { runAudit } from '../../db/audit';
import { sweepScheduleId } from '../../domain/contract';
import { ADMIN_KEY } from '../api/app';
import { connected, emptyDatabase, type TestDatabase } from '../support/database';
import { eventually } from '../support/processes/engine';
import { endProcess, freePort, startNode } from '../support/processes/processes';

/**
 * A deploy as it happens: the release before runs, the new one is set up on its database under load, both run side by side, and
 * the one before ends. Clients do what clients should: what was not answered for good is sent again under its key, to either.
 */

/** The release before this one numbered its functions; a clone without its history cannot build it. */
const BEFORE = 'b1ebdc5';
const MIGRATIONS_BEFORE = 11;
const ROOT = path.join(__dirname, '..', '..');
const ACCOUNTS = ['ada', 'ben', 'cleo', 'dan', 'eve', 'flo'];
const PHASE_MS = 15_000;

const history = spawnSync('git', ['cat-file', '-e', `${BEFORE}^{commit}`], { cwd: ROOT });
const withHistory = history.status === 0 ? describe : describe.skip;

let work: string;
let database: TestDatabase;
const processes: ChildProcess[] = [];
const taskQueue = `side-by-side-${randomBytes(4).toString('hex')}`;
const temporalAddress = process.env['HOLDFAST_TEST_TEMPORAL'] ?? '';

afterAll(async () => {
  if (history.status !== 0) return;
  await Promise.all(processes.map(endProcess));
  const connection = await Connection.connect({ address: temporalAddress });
  await new Client({ connection }).schedule.getHandle(sweepScheduleId(taskQueue)).delete();
  await connection.close();
  await database.close();
  rmSync(work, { recursive: true });
});

/** Both releases with the same two catalogs, which are all that is needed here. */
function install(name: string, from: string): string {
  const place = path.join(work, name);
  for (const part of ['dist', 'db/migrations', 'package.json'])
    cpSync(path.join(from, part), path.join(place, part), { recursive: true });
  cpSync(
    path.join(ROOT, 'test/support/catalogs/working-day.json'),
    path.join(place, 'catalogs/working-day.json'),
  );
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(place, 'node_modules'));
  return place;
}

function built(): string {
  const place = path.join(work, 'sources');
  const done = (command: string, args: string[], cwd: string, input?: Buffer) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, input, maxBuffer: 100_000_000 });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.toString()}`);
    return stdout;
  };
  const archive = done('git', ['archive', BEFORE], ROOT);
  done('mkdir', [place], work);
  done('tar', ['-x'], place, archive);
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(place, 'node_modules'));
  done('npm', ['run', '--silent', 'build'], place);
  return place;
}

function environment(port: number): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: temporalAddress,
    PORT: String(port),
    HOLDFAST_ADMIN_KEY: ADMIN_KEY,
    HOLDFAST_TASK_QUEUE: taskQueue,
    HOLDFAST_TIMER_JITTER_SECONDS: '0',
    HOLDFAST_SCHEMA_CHECK_SECONDS: '1',
    LOG_LEVEL: 'warn',
  };
}

/** What setup said, and whether it went well. */
function setUp(place: string): { ok: boolean; said: string } {
  const script = path.join(place, 'dist', 'db', 'setup.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], {
    env: environment(1),
    encoding: 'utf8',
  });
  return { ok: status === 0, said: stdout + stderr };
}

interface Running {
  url: string;
  worker: ChildProcess;
  api: ChildProcess;
}

async function start(place: string): Promise<Running> {
  const port = await freePort();
  const env = environment(port);
  const run = async (entry: string, ready: RegExp) => {
    const { child } = await startNode([path.join(place, 'dist', entry)], { env, ready });
    processes.push(child);
    return child;
  };
  const worker = await run('activities/worker.js', /worker is running/);
  const url = `http://127.0.0.1:${port}`;
  const api = startNode([path.join(place, 'dist', 'api/main.js')], {
    env: { ...env, LOG_LEVEL: 'info' },
    ready: /api is listening/,
  });
  const { child } = await api;
  processes.push(child);
  return { url, worker, api: child };
}

interface Answer {
  status: number;
  text: string;
}

async function send(url: string, [at, body, key]: readonly [string, unknown, string]): Promise<Answer> {
  const response = await fetch(url + at, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      'content-type': 'application/json',
      'idempotency-key': key,
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

/** What was answered for good, by its key. */
const answered = new Map<string, Answer & { at: string; body: unknown; account: string }>();

async function insist(
  urls: () => readonly string[],
  request: readonly [string, unknown, string],
): Promise<Answer> {
  const until = Date.now() + 120_000;
  for (let attempt = 0; ; attempt += 1) {
    const open = urls();
    const url = open[attempt % open.length] ?? '';
    const answer = await send(url, request).catch((error: unknown) => ({ status: 0, text: String(error) }));
    if (answer.status >= 200 && answer.status < 500 && answer.status !== 409 && answer.status !== 429)
      return answer;
    if (Date.now() > until) throw new Error(`${request[0]} ${request[2]}: ${answer.status} ${answer.text}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** One after the other for one account, until told to stop. */
async function customer(account: string, urls: () => readonly string[], stop: AbortSignal): Promise<void> {
  const provider = { type: 'simulated', delayMs: 300 };
  const steps = [
    (): [string, unknown] => ['/v1/charges', { account, credits: 1.5 }],
    (): [string, unknown] => ['/v1/generations', { account, action: 'image', provider }],
    (): [string, unknown] => [
      '/v1/generations',
      { account, action: 'image', params: { outputs: 4 }, provider: { ...provider, deliver: 3 } },
    ],
    (): [string, unknown] => [`/v1/accounts/${account}/purchases`, { pack: 'tokens-1000' }],
    (): [string, unknown] => ['/v1/quotes', { account, action: 'image' }],
    (): [string, unknown] => ['/v1/charges', { account, credits: 500_000 }],
  ];
  for (let n = 0; !stop.aborted; n += 1) {
    const [at, body] = (steps[n % steps.length] ?? steps[0])?.() ?? ['', {}];
    const key = `${account}-${n}`;
    answered.set(key, { ...(await insist(urls, [at, body, key])), at, body, account });
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve, PHASE_MS));

withHistory(`with the history of ${BEFORE}`, () => {
  test('the release before and this one side by side lose nothing and do nothing twice', async () => {
    work = mkdtempSync(path.join(os.tmpdir(), 'holdfast-deploy-'));
    const empty = await emptyDatabase();
    database = connected({ url: empty.url, drop: () => empty.close() });
    const before = install('before', built());
    const now = install('now', ROOT);
    setUp(before);
    const old = await start(before);
    for (const id of ACCOUNTS)
      await insist(
        () => [old.url],
        ['/v1/accounts', { id, catalog: 'working-day', plan: 'ultimate' }, `open-${id}`],
      );

    let urls = [old.url];
    const stop = new AbortController();
    const customers = Promise.all(ACCOUNTS.map((account) => customer(account, () => urls, stop.signal)));
    customers.catch(() => undefined); // it is awaited below
    await pause();
    expect(setUp(now)).toMatchObject({ ok: true });
    await pause(); // the new functions under the old binary
    const young = await start(now);
    urls = [old.url, young.url];
    await pause();

    // A binary that is shut out is taken out of service by its readiness, as a deploy would do; else it serves to the end.
    const needed = await database.owner
      .knex('holdfast.schema_compatibility')
      .max('min_compatible as n')
      .first<{ n: number }>();
    const ready = async (url: string) => (await fetch(`${url}/readyz`)).status;
    expect(await ready(young.url)).toBe(200);
    const shutOut = needed.n > MIGRATIONS_BEFORE;
    expect(await ready(old.url)).toBe(shutOut ? 503 : 200);
    urls = [young.url];
    await Promise.all([endProcess(old.worker), endProcess(old.api)]);
    // A pod of the old release that starts late puts nothing back.
    expect(setUp(before)).toMatchObject({ ok: !shutOut, said: expect.not.stringContaining('put in') });
    await pause();
    stop.abort();
    await customers;

    const { knex } = database.owner;
    await eventually(
      () => knex('ledger.generations').where({ status: 'running' }),
      (rows) => rows.length === 0,
      120_000,
    );
    await eventually(
      () => knex('holdfast.inbox').whereNull('done_at'),
      (rows) => rows.length === 0,
      120_000,
    );
    expect(answered.size).toBeGreaterThan(100);
    for (const [key, { at, body, status, text }] of answered)
      expect([key, await send(young.url, [at, body, key])]).toEqual([key, { status, text }]);
    const done = (at: string) =>
      [...answered.values()].filter((one) => one.at.startsWith(at) && one.status === 201).length;
    const counted = async (kind: string) =>
      Number(
        (await knex('ledger.journal').where({ kind, status: 'applied' }).count('* as n').first())?.['n'],
      );
    expect(await counted('charge')).toBe(done('/v1/charges'));
    expect(await counted('reserve')).toBe(done('/v1/generations'));
    expect(Number((await knex('holdfast.inbox').count('* as n').first())?.['n'])).toBe(done('/v1/accounts/'));
    const { checks } = await runAudit(database.owner.pool);
    expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
  }, 900_000);
});
