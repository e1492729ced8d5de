import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { runAudit } from '../../db/audit';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { createEngine } from '../../db/engine';
import { putIntoInbox } from '../../db/generations/inbox';
import { accountWorkflowId } from '../../domain/ids';
import { ringAccount } from '../../activities/temporal/connect';
import { MAIN_TASK_QUEUE, sweepScheduleId } from '../../domain/contract';
import { dataConverter } from '../../activities/temporal/payloads';
import { type TestDatabase, testDatabase } from '../support/database';
import { eventually } from '../support/processes/engine';
import { endProcess, startNode } from '../support/processes/processes';

/**
 * A wake-up never loses work (rule 24): the worker is killed with -9 between every two steps of a purchase's way
 * from the inbox into the ledger, and in each case it arrives, once. A row for which nobody rang is the sweep's.
 */

/** The steps in their order; the kill comes between one and the next. */
const KILLS: Record<string, { when: 'before' | 'after'; sql: string }> = {
  'a worker took it up, and had not read the row': {
    when: 'before',
    sql: '^select .* from "holdfast"."inbox"',
  },
  'the row was read, and nothing granted': { when: 'before', sql: 'ledger.apply.*sys:pack:' },
  'the ledger had granted, and the row was not marked': { when: 'after', sql: 'ledger.apply.*sys:pack:' },
  'the row was marked, and that was not committed': { when: 'before', sql: '^COMMIT' },
  'the row was marked, and nobody was told': {
    when: 'before',
    sql: '^select .* from "holdfast"."inbox" .*"done_at" is null order by date_trunc',
  },
  'the inbox was empty, and the account not settled': {
    when: 'before',
    sql: String.raw`ledger.apply.*"ops\\":\[\]`,
  },
  'the account was settled, and nobody was told': {
    when: 'after',
    sql: String.raw`ledger.apply.*"ops\\":\[\]`,
  },
};

const ROOT = path.join(__dirname, '../..');

let database: TestDatabase;
let client: Client;
let address: string;
const children: ChildProcess[] = [];
const taskQueues: string[] = [];

beforeAll(async () => {
  address = process.env['HOLDFAST_TEST_TEMPORAL'] ?? '';
  database = await testDatabase();
  const catalog = readCatalog(path.join(ROOT, 'test/support/catalogs/working-day.json'));
  await publishCatalog(database.db.knex, { catalog });
  client = new Client({ connection: await Connection.connect({ address }), dataConverter });
});
afterAll(async () => {
  await Promise.all(children.map(endProcess));
  for (const taskQueue of taskQueues) await client.schedule.getHandle(sweepScheduleId(taskQueue)).delete();
  await client.connection.close();
  await database.close();
});

async function start(script: string, env: Record<string, string>): Promise<ChildProcess> {
  const { child } = await startNode([path.join(ROOT, script)], {
    env: {
      PATH: process.env['PATH'] ?? '',
      DATABASE_URL: database.url,
      TEMPORAL_ADDRESS: address,
      HOLDFAST_TIMER_JITTER_SECONDS: '0',
      HOLDFAST_QUIET_SECONDS: '1',
      HOLDFAST_SWEEP_SECONDS: '86400',
      LOG_LEVEL: 'warn',
      ...env,
    },
    ready: /worker is running/,
  });
  children.push(child);
  return child;
}

async function openAccount(): Promise<Visited> {
  const account = `bell-${randomBytes(5).toString('hex')}`;
  const taskQueue = `${MAIN_TASK_QUEUE}-${account}`;
  taskQueues.push(taskQueue);
  const quiet = { ring: () => undefined, namespaceId: 'none', temporalUrl: () => null };
  const { ledger } = createEngine({ database: database.db, ...quiet });
  await ledger.open({ account, catalog: 'working-day', plan: 'free', planSource: 'free' });
  await ledger.balance(account);
  return { account, taskQueue, env: { HOLDFAST_TASK_QUEUE: taskQueue } };
}

interface Visited {
  account: string;
  taskQueue: string;
  env: Record<string, string>;
}

/** 1,000 credits, as the API puts them into the inbox. */
async function buy({ account, taskQueue }: Visited, purchase = 'bought'): Promise<void> {
  await putIntoInbox(database.db.knex, {
    account,
    key: purchase,
    kind: 'pack_purchase',
    requestHash: purchase,
    body: {
      purchase,
      pack: 'tokens-1000',
      quantity: 1,
      creditsMilli: 1_000_000,
      rank: 3,
      graceSeconds: null,
      actor: 'test',
      reason: null,
    },
  });
  await ringAccount({ client, account, taskQueue });
}

/** The account's workflow has come to its end: the inbox is empty, nothing lies ahead. */
async function closed(account: string): Promise<void> {
  const { status } = await eventually(
    () => client.workflow.getHandle(accountWorkflowId(account)).describe(),
    ({ status: now }) => now.name !== 'RUNNING',
    120_000,
  );
  expect(status.name).toBe('COMPLETED');
}

async function granted(account: string): Promise<string[]> {
  const { rows } = await database.owner.pool.query<{ key: string }>(
    'SELECT key FROM ledger.journal WHERE account_id = $1 ORDER BY seq',
    [account],
  );
  const report = await runAudit(database.owner.pool, { account });
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
  return rows.map(({ key }) => key).filter((key) => key.startsWith('sys:pack:'));
}

test.concurrent.each(Object.entries(KILLS))(
  '%s: the purchase arrives once',
  async (_, kill) => {
    const visited = await openAccount();
    const { account, env } = visited;
    const victim = await start('test/support/processes/dyingWorker.mjs', {
      ...env,
      DIE: JSON.stringify(kill),
    });
    const gone = once(victim, 'exit');
    await buy(visited);
    expect(await gone).toEqual([null, 'SIGKILL']);
    await start('dist/activities/worker.js', env);
    await closed(account);
    expect(await granted(account)).toEqual(['sys:pack:bought']);
  },
  240_000,
);

test.concurrent('the bell rang, and no worker heard it: the purchase arrives once', async () => {
  const visited = await openAccount();
  await buy(visited);
  await start('dist/activities/worker.js', visited.env);
  await closed(visited.account);
  expect(await granted(visited.account)).toEqual(['sys:pack:bought']);
}, 240_000);

test.concurrent('all was told, and the workflow had not closed: the purchase arrives once', async () => {
  const visited = await openAccount();
  const { account, env } = visited;
  const victim = await start('dist/activities/worker.js', { ...env, HOLDFAST_QUIET_SECONDS: '5' });
  await buy(visited);
  await eventually(
    () => client.workflow.getHandle(accountWorkflowId(account)).describe(),
    ({ raw, historyLength }) => historyLength > 10 && (raw.pendingActivities ?? []).length === 0,
  );
  victim.kill('SIGKILL');
  await start('dist/activities/worker.js', env);
  await closed(account);
  expect(await granted(account)).toEqual(['sys:pack:bought']);
}, 240_000);

test.concurrent('bells that ring at the very moment of closing are heard', async () => {
  const visited = await openAccount();
  const { account, env } = visited;
  await start('dist/activities/worker.js', env);
  const names = Array.from({ length: 15 }, (_, n) => `bought-${n}`);
  for (const [n, name] of names.entries()) {
    await buy(visited, name);
    await new Promise((resolve) => setTimeout(resolve, 1_000 + n * 20)); // around the quiet time and what comes before it
  }
  await closed(account);
  expect(await granted(account)).toEqual(names.map((name) => `sys:pack:${name}`));
}, 240_000);
