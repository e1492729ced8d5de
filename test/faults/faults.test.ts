import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runAudit } from '../../db/audit';
import { openDatabase } from '../../db/connection/connection';
import { migrate } from '../../db/migrate/migrate';
import { type Engine, type Problem, startEngine } from '../support/processes/engine';
import { endProcess, freePort, startNode } from '../support/processes/processes';

/** What breaks in the middle of a generation, and what must be left when it is whole again. */

const slow = (account: string, delayMs: number) => ({
  account,
  action: 'video',
  provider: { type: 'simulated', delayMs },
});

async function accountOn(engine: Engine): Promise<string> {
  const account = engine.newId('fault');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
  return account;
}

async function inOrder(engine: Engine): Promise<void> {
  const report = await runAudit(engine.database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
}

const tryOnce = (engine: Engine, body: Record<string, unknown>, idempotencyKey: string) =>
  engine.call<Problem>('POST', '/v1/generations', { body, idempotencyKey });

describe('the worker', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await startEngine();
  });
  afterAll(() => engine.stop());

  test('killed with -9 between reserve and capture: the next worker captures, once', async () => {
    const account = await accountOn(engine);
    const { body } = await engine.generate(slow(account, 12_000));
    expect(await engine.balance(account)).toMatchObject({ available: 7_790, held: 210 });
    const worker = engine.worker();
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
    await engine.startWorker();
    const end = await engine.ended(body.id);
    expect(end).toMatchObject({ status: 'succeeded', credits: { captured: 210, held: 0 } });
    expect(await engine.balance(account)).toMatchObject({ available: 7_790, held: 0 });
    expect((await engine.journal(account)).map(({ kind }) => kind)).toEqual(['grant', 'reserve', 'capture']);
    await inOrder(engine);
  });

  test('cannot decide while somebody keeps the account locked: 503, nothing held, and the same key may try again', async () => {
    const account = await accountOn(engine);
    const key = randomBytes(6).toString('hex');
    const locker = await engine.database.owner.pool.connect();
    await locker.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0');
    await locker.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [account]);
    const refused = await tryOnce(engine, slow(account, 0), key);
    await locker.query('ROLLBACK');
    locker.release();
    expect([refused.status, refused.body.code, refused.body.retryable]).toEqual([503, 'unavailable', true]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);

    const again = await engine.generate(slow(account, 0), key);
    expect(again.status).toBe(201);
    const end = await engine.ended(again.body.id);
    expect(end).toMatchObject({ status: 'succeeded', credits: { captured: 210 } });
    expect(await engine.balance(account)).toMatchObject({ available: 7_790, held: 0 });
    await inOrder(engine);
  });
});

describe('Postgres', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-faults-'));
  chmodSync(directory, 0o755); // run as root, Postgres is another user and must get in
  let port: number;
  let server: ChildProcess;
  let engine: Engine;

  async function startServer(): Promise<string> {
    const script = path.join(__dirname, '..', 'support', 'global', 'postgresServer.mjs');
    const started = await startNode([script, directory, String(port)], {
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '' },
      ready: /^url (\S+)$/m,
    });
    server = started.child;
    return started.match[1] ?? '';
  }

  beforeAll(async () => {
    port = await freePort();
    const url = await startServer();
    await migrate({ url });
    const quiet = () => undefined; // that idle connections break is the point of this test
    const db = openDatabase({ url, onError: quiet });
    const owner = openDatabase({ url, role: null, max: 2, onError: quiet });
    const close = async () => {
      await Promise.all([db.close(), owner.close()]);
    };
    engine = await startEngine({ database: { db, owner, url, close } });
  });
  afterAll(async () => {
    await engine.stop();
    await endProcess(server);
    rmSync(directory, { recursive: true, force: true });
  });

  test('stopped for a minute between reserve and capture: everything ends as if it had not been', async () => {
    const account = await accountOn(engine);
    const [made, failed, silent] = await Promise.all([
      engine.generate(slow(account, 10_000)),
      engine.generate({
        account,
        action: 'image',
        provider: { type: 'simulated', delayMs: 10_000, fail: 'error' },
      }),
      engine.generate({ account, action: 'image', provider: { type: 'external', deadlineSeconds: 20 } }),
    ]);
    expect([made.status, failed.status, silent.status]).toEqual([201, 201, 201]);
    await endProcess(server);

    const meanwhile = await tryOnce(engine, slow(account, 0), 'meanwhile');
    expect([meanwhile.status, meanwhile.body.code]).toEqual([503, 'unavailable']);
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    await startServer();

    const ends = await Promise.all([made, failed, silent].map(({ body }) => engine.ended(body.id)));
    expect(ends.map(({ status, credits }) => [status, credits.captured])).toEqual([
      ['succeeded', 210],
      ['failed', 0],
      ['failed', 0],
    ]);
    expect(await engine.balance(account)).toMatchObject({ available: 7_790, held: 0 });
    await inOrder(engine);

    // The local activity gave up and a regular one, which may wait for hours, took its place (rule 12).
    const { events } = await engine.temporal.workflow.getHandle(silent.body.id).fetchHistory();
    const scheduled = (events ?? []).map(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name,
    );
    expect(scheduled).toContain('untilDeadline');
  }, 240_000);
});
