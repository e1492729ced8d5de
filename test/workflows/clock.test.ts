import { once } from 'node:events';
import { runAudit } from '../../db/audit';
import { createCatalogStore } from '../../db/catalogs';
import { createLedger, type Ledger } from '../../db/ledger';
import { cycleStart } from '../../domain/calendar';
import { clockWorkflowId } from '../../domain/ids';
import { type Engine, eventually, type Problem, type Reply, startEngine } from '../support/engine';

/** Test clocks as their users have them: over HTTP, through the real workflows and the real Temporal server. */

let engine: Engine;
/** For what no route does yet, and to look closely. */
let ledger: Ledger;

beforeAll(async () => {
  engine = await startEngine();
  const { db } = engine.database;
  ledger = createLedger({ pool: db.pool, catalogs: createCatalogStore(db), ring: () => undefined });
});
afterAll(() => engine.stop());

interface Clock {
  id: string;
  now: string;
  status: string;
  target: string;
  progress: { accounts: number; settled: number; failing: { account: string; error: string }[] };
}

const T0 = '2027-01-31T09:30:00.000Z';
const startOf = (n: number) => new Date(cycleStart(Date.parse(T0), n)).toISOString();

async function newClock(frozenAt = T0): Promise<string> {
  const reply = await engine.call<Clock>('POST', '/v1/test-clocks', { body: { frozenAt } });
  expect(reply.status).toBe(201);
  return reply.body.id;
}

async function open(testClock: string, more: Record<string, unknown>): Promise<string> {
  const id = engine.newId('clocked');
  const reply = await engine.call('POST', '/v1/accounts', { body: { id, testClock, ...more } });
  expect([reply.status, reply.text]).toEqual([201, expect.stringContaining(testClock)]);
  return id;
}

const advance = <T = Clock>(clock: string, to: string, idempotencyKey?: string): Promise<Reply<T>> =>
  engine.call<T>('POST', `/v1/test-clocks/${clock}/advance`, {
    body: { to },
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  });
const look = (clock: string) => engine.call<Clock>('GET', `/v1/test-clocks/${clock}`);
const ready = async (clock: string, withinMs = 30_000) =>
  (
    await eventually(
      () => look(clock),
      ({ body }) => body.status === 'ready',
      withinMs,
    )
  ).body;

async function advanced(clock: string, to: string): Promise<Clock> {
  const reply = await advance(clock, to);
  expect([reply.status, reply.body.status, reply.body.target]).toEqual([202, 'advancing', to]);
  return ready(clock);
}

const told = async (account: string) =>
  (await engine.journal(account)).map(({ at, kind, credits }) => [at, kind, credits]);

async function expectCleanBooks(): Promise<void> {
  const report = await runAudit(engine.database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
}

test('a year of a monthly plan advances in seconds, every month at its own boundary and in order', async () => {
  const clock = await newClock();
  const account = await open(clock, { catalog: 'imagineart', plan: 'standard' });
  const opened = await engine.call<{ testClock: string; now: string; cycle: { end: string } }>(
    'GET',
    `/v1/accounts/${account}`,
  );
  expect(opened.body).toMatchObject({ testClock: clock, now: T0, cycle: { end: startOf(1) } });

  const began = Date.now();
  const end = await advanced(clock, startOf(12));
  expect(Date.now() - began).toBeLessThan(20_000);
  expect(end).toMatchObject({ now: startOf(12), progress: { accounts: 1, settled: 1, failing: [] } });

  const expected = [[T0, 'grant', 8_000]];
  for (let month = 1; month <= 12; month += 1)
    expected.push([startOf(month), 'expire', -8_000], [startOf(month), 'grant', 8_000]);
  const rows = await told(account);
  expect(rows.filter(([, kind]) => kind !== 'notice')).toEqual(expected);
  expect(await engine.balance(account)).toMatchObject({ asOf: startOf(12), available: 8_000 });
  await expectCleanBooks();
});
