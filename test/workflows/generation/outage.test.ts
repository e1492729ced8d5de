import { runAudit } from '../../../db/audit';
import { generationId } from '../../../domain/ids';
import { testDatabase } from '../../support/database';
import {
  type Engine,
  eventually,
  type Generation,
  type Problem,
  startEngine,
} from '../../support/processes/engine';
import { endProcess } from '../../support/processes/processes';
import { type Proxy, startProxy, targetOf } from '../../support/processes/proxy';

/** The workers are away for longer than a reservation may take, and come back to what was started meanwhile (finding 9). */

let engine: Engine;
let database: Proxy;
const accounts: string[] = [];

beforeAll(async () => {
  const own = await testDatabase();
  database = await startProxy(targetOf(own.url));
  engine = await startEngine({ database: own, workerEnv: { DATABASE_URL: database.through(own.url) } });
  for (let n = 0; n < 7; n += 1) {
    const id = engine.newId('outage');
    accounts.push(id);
    await engine.call('POST', '/v1/accounts', { body: { id, catalog: 'working-day', plan: 'standard' } });
  }
});
afterAll(async () => {
  await engine.stop();
  await database.close();
});

const order = (account: string, key: string) =>
  engine.call<Generation & Problem>('POST', '/v1/generations', {
    idempotencyKey: key,
    body: { account, action: 'image', provider: { type: 'simulated', delayMs: 100 } },
  });
const away = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How the first run under a key went, and how many activities it made. */
async function runOf(id: string): Promise<{ status: string; activities: number }> {
  const handle = engine.temporal.workflow.getHandle(id);
  const { status } = await handle.describe();
  const { events } = await handle.fetchHistory();
  const activities = (events ?? []).filter(
    ({ markerRecordedEventAttributes: marker, activityTaskScheduledEventAttributes: task }) =>
      task || marker?.markerName === 'core_local_activity',
  );
  return { status: status.name, activities: activities.length };
}

test('what nobody took up in time ends without asking the ledger, and new orders are not begun meanwhile but one a second', async () => {
  await endProcess(engine.worker());
  const [first = '', ...others] = accounts;
  const last = others.pop() ?? '';
  const answers = await Promise.all([first, ...others].map((account) => order(account, 'while-away')));
  expect(answers.map(({ status, body }) => [status, body.code])).toEqual(
    answers.map(() => [503, 'unavailable']),
  );

  const probe = await Promise.race([order(last, 'probe'), away(2_000).then(() => null)]);
  const told = await Promise.all(['a', 'b', 'c'].map((key) => order(last, key)));
  const begun = told.filter(({ body }) => !body.detail.includes('was not begun'));
  expect(begun.length).toBeLessThanOrEqual(1);
  expect(told.length - begun.length + (probe === null ? 0 : 1)).toBeGreaterThanOrEqual(2);

  await engine.startWorker();
  const doomed = await eventually(
    () => runOf(generationId(first, 'while-away')),
    ({ status }) => status !== 'RUNNING',
  );
  expect(doomed).toEqual({ status: 'FAILED', activities: 0 });
  const { body } = await eventually(
    () => order(first, 'while-away'),
    ({ status }) => status === 201,
  );
  expect(await engine.ended(body.id)).toMatchObject({ status: 'succeeded', credits: { captured: 24 } });
  expect(await engine.balance(first)).toMatchObject({ held: 0, available: 8000 - 24 });
}, 120_000);

test('a worker that died with the reservation under way held it all the same: the next one continues, however late', async () => {
  const [account = ''] = accounts.slice(1);
  const lost = database.loseAnswerTo(
    (sent) => sent.includes('"op":"reserve"') || sent.includes('\\"op\\":\\"reserve\\"'),
  );
  const answered = order(account, 'died');
  await lost;
  engine.worker().kill('SIGKILL');
  await away(9_000);
  database.mend();
  await engine.startWorker();
  expect([201, 503]).toContain((await answered).status);
  const { body } = await eventually(
    () => order(account, 'died'),
    ({ status }) => status === 201,
  );
  expect(await engine.ended(body.id)).toMatchObject({ status: 'succeeded', credits: { captured: 24 } });
}, 120_000);

test('after all of it the books are in order', async () => {
  const { checks } = await runAudit(engine.database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
