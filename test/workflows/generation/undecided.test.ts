import { runAudit } from '../../../db/audit';
import { generationId } from '../../../domain/ids';
import { FAILURES, WORKFLOWS } from '../../../domain/contract';
import { testDatabase } from '../../support/database';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';
import { type Proxy, startProxy, targetOf } from '../../support/processes/proxy';

/** The worker's reservation commits, and the database goes away before the worker hears of it (rules 7 and 8). */

let engine: Engine;
let database: Proxy;
let account: string;

beforeAll(async () => {
  const own = await testDatabase();
  database = await startProxy(targetOf(own.url));
  engine = await startEngine({ database: own, workerEnv: { DATABASE_URL: database.through(own.url) } });
  account = engine.newId('undecided');
  await engine.call('POST', '/v1/accounts', {
    body: { id: account, catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(async () => {
  await engine.stop();
  await database.close();
});

const ORDER = { action: 'image', params: { outputs: 4 }, provider: { type: 'simulated', delayMs: 100 } };
const order = (key: string) =>
  engine.call<Generation & Problem>('POST', '/v1/generations', {
    idempotencyKey: key,
    body: { account, ...ORDER },
  });
const reservation = (sent: string) =>
  sent.includes('"op":"reserve"') || sent.includes('\\"op\\":\\"reserve\\"');

test('a reservation that came through though nobody heard of it is resumed', async () => {
  const lost = database.loseAnswerTo(reservation);
  const answered = order('lost');
  await lost;
  // Longer than the reservation may take; the caller has its answer by then, from the ledger or a 503.
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  database.mend();
  const first = await answered;
  expect([201, 503]).toContain(first.status);
  const { body } = await eventually(
    () => order('lost'),
    ({ status }) => status === 201,
  );
  expect(await engine.ended(body.id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
}, 180_000);

/** The time that passes is what matters, and not that it is waited for: the row of the hold grows old instead. */
async function twoMinutesLater(): Promise<void> {
  const { owner } = engine.database;
  await owner.pool.query(`BEGIN; ALTER TABLE ledger.journal DISABLE TRIGGER journal_is_append_only;
    UPDATE ledger.journal SET recorded_at = recorded_at - interval '2 minutes'
     WHERE account_id = '${account}' AND seq = (SELECT max(seq) FROM ledger.journal WHERE account_id = '${account}');
    ALTER TABLE ledger.journal ENABLE TRIGGER journal_is_append_only; COMMIT`);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
}

test('one that its caller was told of is resumed, however long the database was away', async () => {
  const lost = database.loseAnswerTo(reservation);
  const answered = order('told');
  await lost;
  const { status, body } = await answered;
  expect([status, body.status]).toEqual([201, 'running']);
  await twoMinutesLater();
  database.mend();
  expect(await engine.ended(body.id)).toMatchObject({ status: 'succeeded', credits: { captured: 96 } });
}, 180_000);

test('one of more than a minute ago that nobody heard of is undone, and its key says so instead of that it runs', async () => {
  const lost = database.loseAnswerTo(reservation);
  const started = await engine.temporal.workflow.start(WORKFLOWS.generation, {
    workflowId: generationId(account, 'gone'),
    taskQueue: engine.taskQueue,
    args: [{ account, key: 'gone', request: ORDER, mayChooseProvider: true }],
  });
  await lost;
  await twoMinutesLater();
  database.mend();
  await expect(started.result()).rejects.toMatchObject({ cause: { type: FAILURES.undecided } });
  const undone = await order('gone');
  expect([undone.status, undone.body]).toMatchObject([
    409,
    { code: 'reservation_undone', retryWithNewKey: true, detail: expect.stringContaining('nothing is held') },
  ]);
  expect(await engine.balance(account)).toMatchObject({ held: 0, available: 8000 - 2 * 96 });
  expect((await order('again')).status).toBe(201);
}, 180_000);

test('after all of it the books are in order', async () => {
  const { checks } = await runAudit(engine.database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
