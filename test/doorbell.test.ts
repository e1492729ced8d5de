import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { runAudit } from '../db/audit';
import { publishCatalog, readCatalog } from '../db/catalogs';
import { createEngine } from '../db/engine';
import { putIntoInbox } from '../db/inbox';
import { accountWorkflowId } from '../domain/ids';
import { ringAccount } from '../workflows/connect';
import { MAIN_TASK_QUEUE, sweepScheduleId } from '../workflows/contract';
import { dataConverter } from '../workflows/payloads';
import { type TestDatabase, testDatabase } from './support/database';
import { eventually } from './support/engine';
import { endProcess, startNode } from './support/processes';

/**
 * The doorbell never loses work (rule 24): the worker is killed with -9 between every two steps of a purchase's way
 * from the mailbox into the ledger, and in each case it arrives, once. A row for which nobody rang is the sweep's.
 */

/** The steps in their order; the kill comes between one and the next. Null: no worker was there when the bell rang. */
const KILLS: Record<string, { when: 'before' | 'after'; sql: string } | null> = {
  'the bell rang, and no worker heard it': null,
  'a worker took it up, and had not read the row': {
    when: 'before',
    sql: '^select .* from "holdfast"."inbox"',
  },
  'the row was read, and nothing granted': { when: 'before', sql: 'ledger.apply.*sys:pack:' },
  'the ledger had granted, and the row was not marked': { when: 'after', sql: 'ledger.apply.*sys:pack:' },
  'the row was marked, and nobody was told': {
    when: 'after',
    sql: '^update "holdfast"."inbox" set "done_at"',
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

const ROOT = path.join(__dirname, '..');

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

/** An account with its row in the mailbox and the bell rung, a worker that died of it, and another one after it. */
async function arrival(kill: (typeof KILLS)[string]): Promise<string> {
  const account = `bell-${randomBytes(5).toString('hex')}`;
  const taskQueue = `${MAIN_TASK_QUEUE}-${account}`;
  const env = { HOLDFAST_TASK_QUEUE: taskQueue };
  const quiet = { ring: () => undefined, namespaceId: 'none', temporalUrl: () => null };
  const { ledger } = createEngine({ database: database.db, ...quiet });
  await ledger.open({ account, catalog: 'working-day', plan: 'free', planSource: 'free' });
  await ledger.balance(account);

  const victim =
    kill === null
      ? null
      : await start('test/support/dying-worker.mjs', { ...env, DIE: JSON.stringify(kill) });
  await putIntoInbox(database.db.knex, {
    account,
    key: 'bought',
    kind: 'pack_purchase',
    requestHash: 'bought',
    body: {
      purchase: 'bought',
      pack: 'tokens-1000',
      quantity: 1,
      creditsMilli: 1_000_000,
      rank: 3,
      graceSeconds: null,
      actor: 'test',
      reason: null,
    },
  });
  const gone = victim === null ? null : once(victim, 'exit');
  await ringAccount({ client, account, taskQueue });
  if (gone !== null) expect(await gone).toEqual([null, 'SIGKILL']);
  await start('dist/activities/worker.js', env);
  taskQueues.push(taskQueue);
  return account;
}

test.concurrent.each(Object.entries(KILLS))(
  '%s: the purchase arrives once',
  async (_, kill) => {
    const account = await arrival(kill);
    const { status } = await eventually(
      () => client.workflow.getHandle(accountWorkflowId(account)).describe(),
      ({ status: now }) => now.name !== 'RUNNING',
      120_000,
    );
    expect(status.name).toBe('COMPLETED');
    const { rows } = await database.owner.pool.query<{ kind: string; key: string; available_after: number }>(
      'SELECT kind, key, available_after FROM ledger.journal WHERE account_id = $1 ORDER BY seq',
      [account],
    );
    expect(rows).toEqual([
      { kind: 'grant', key: expect.stringContaining('sys:daily:'), available_after: 100_000 },
      { kind: 'grant', key: 'sys:pack:bought', available_after: 1_100_000 },
    ]);
    const report = await runAudit(database.owner.pool, { account });
    expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
  },
  240_000,
);
