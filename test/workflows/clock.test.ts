import { once } from 'node:events';
import { runAudit } from '../../db/audit';
import { createCatalogStore } from '../../db/catalogs/catalogs';
import { createLedger, type Ledger } from '../../db/ledger/ledger';
import { cycleStart } from '../../domain/time/calendar';
import { clockWorkflowId } from '../../domain/ids';
import { type Engine, eventually, type Problem, type Reply, startEngine } from '../support/processes/engine';
import { startSweeper } from '../support/processes/sweeper';
import { defined } from '../../domain/defined';

/** Test clocks as their users have them (rule 23): over HTTP, through the real workflows and the real Temporal server. */

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
    ...defined({ idempotencyKey }),
  });
const look = (clock: string) => engine.call<Clock>('GET', `/v1/test-clocks/${clock}`);
const ready = async (clock: string, withinMs = 120_000) =>
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

  const end = await advanced(clock, startOf(12));
  expect(end).toMatchObject({ now: startOf(12), progress: { accounts: 1, settled: 1, failing: [] } });

  const expected = [[T0, 'grant', 8_000]];
  for (let month = 1; month <= 12; month += 1)
    expected.push([startOf(month), 'expire', -8_000], [startOf(month), 'grant', 8_000]);
  const rows = await told(account);
  expect(rows.filter(([, kind]) => kind !== 'notice')).toEqual(expected);
  expect(await engine.balance(account)).toMatchObject({ asOf: startOf(12), available: 8_000 });
  await expectCleanBooks();
});

test('accounts of several products and plans each go by their own calendar, on one clock', async () => {
  const clock = await newClock();
  const free = await open(clock, { catalog: 'imagineart', timezone: 'Asia/Tokyo' });
  const anchored = await open(clock, {
    catalog: 'imagineart',
    plan: 'ultimate',
    anchor: '2027-01-15T00:00:00.000Z',
  });
  const draftly = await open(clock, { catalog: 'draftly', plan: 'pro' });
  const sites = await open(clock, { catalog: 'draftly' });
  await advanced(clock, '2027-04-02T00:00:00.000Z');

  const grants = async (account: string) =>
    (await told(account)).filter(([, kind]) => kind === 'grant').map(([at, , credits]) => [at, credits]);
  expect(await grants(anchored)).toEqual([
    ['2027-01-31T09:30:00.000Z', 16_000], // the slot had begun before the account was there
    ['2027-02-15T00:00:00.000Z', 16_000],
    ['2027-03-15T00:00:00.000Z', 16_000],
  ]);
  expect(await grants(draftly)).toEqual([
    [startOf(0), 6_000],
    [startOf(1), 6_000],
    [startOf(2), 6_000],
  ]);
  // Nobody was there: days and months that cost nothing have ended at their ends, and not granted again.
  expect(await told(free)).toEqual([
    [T0, 'grant', 100],
    ['2027-01-31T15:00:00.000Z', 'expire', -100],
  ]);
  expect(await grants(sites)).toEqual([[T0, 10]]);
  expect((await told(sites)).at(-1)).toEqual([startOf(1), 'expire', -10]);

  // Until somebody comes: then it is today that is granted.
  expect((await engine.balance(free)).available).toBe(100);
  expect(await grants(free)).toEqual([
    [T0, 100],
    ['2027-04-01T15:00:00.000Z', 100],
  ]);
  await expectCleanBooks();
});

test('what was waiting in the inbox, leases, notices and a change of plan come on their days', async () => {
  const clock = await newClock();
  const account = await open(clock, { catalog: 'imagineart', plan: 'standard' });
  await engine.call('POST', `/v1/accounts/${account}/adjustments`, {
    body: { bucket: 'promo', credits: 50, expiresAt: '2027-02-20T00:00:00.000Z', reason: 'a present' },
    idempotencyKey: 'present',
  });
  await engine.call('POST', '/v1/holds', {
    body: { account, credits: 40, ttlSeconds: 86_400 },
    idempotencyKey: 'lease',
  });
  await ledger.run(account, {
    op: 'rules',
    key: 'sys:test:downgrade',
    hash: 'downgrade',
    rules: { pending: { plan: 'free', source: 'free', interval: null, at: startOf(1) } },
  });
  await engine.database.db.knex('holdfast.inbox').insert({
    account_id: account,
    inbox_key: 'pur_lost',
    kind: 'pack_purchase',
    request_hash: 'hash',
    body: JSON.stringify({
      purchase: 'pur_lost',
      pack: 'tokens-1000',
      quantity: 1,
      creditsMilli: 1_000_000,
      rank: 3,
      graceSeconds: null,
      actor: 'test',
      reason: null,
    }),
  });
  await advanced(clock, '2027-03-10T00:00:00.000Z');

  expect(await told(account)).toEqual([
    [T0, 'grant', 8_000],
    [T0, 'adjust', 50],
    [T0, 'reserve', -40],
    [T0, 'plan', 0],
    [T0, 'grant', 1_000],
    ['2027-02-01T09:30:00.000Z', 'release', 40],
    ['2027-02-13T00:00:00.000Z', 'notice', 0],
    ['2027-02-20T00:00:00.000Z', 'expire', -50],
    ['2027-02-21T09:30:00.000Z', 'notice', 0],
    [startOf(1), 'expire', -8_000],
    [startOf(1), 'plan', 0],
  ]);
  await expectCleanBooks();
});

test('a generation that runs meanwhile keeps its hold, and ends on the clock as it then stands', async () => {
  const clock = await newClock();
  const account = await open(clock, { catalog: 'working-day', plan: 'basic' });
  const { body: generation } = await engine.generate({
    account,
    action: 'video',
    provider: { type: 'external', deadlineSeconds: 600 },
  });
  await advanced(clock, startOf(2));
  const end = await engine.call('POST', `/v1/generations/${generation.id}/complete`, {
    body: { outputs: [{ url: 'https://cdn.test/video' }] },
  });
  expect(end.body).toMatchObject({ status: 'succeeded', credits: { captured: 210, held: 0 } });
  const rows = await engine.journal(account);
  expect(rows.map(({ at }) => at)).toEqual(rows.map(({ at }) => at).toSorted());
  expect(rows.find(({ kind }) => kind === 'expire')).toMatchObject({ at: startOf(1), credits: -2_790 });
  expect(rows.find(({ kind }) => kind === 'capture')?.at).toBe(startOf(2));
  await expectCleanBooks();
});

test('a quote ends fifteen minutes later by the clock, and not before', async () => {
  const clock = await newClock();
  const account = await open(clock, { catalog: 'working-day', plan: 'basic' });
  const request = { account, action: 'image' };
  const quote = await engine.call<{ id: string; expiresAt: string }>('POST', '/v1/quotes', { body: request });
  expect(quote.body.expiresAt).toBe('2027-01-31T09:45:00.000Z');
  await advanced(clock, '2027-01-31T09:44:59.999Z');
  expect((await engine.generate({ ...request, quote: quote.body.id })).status).toBe(201);
  await advanced(clock, '2027-01-31T09:45:00.000Z');
  const late = await engine.generate<Problem>({ ...request, quote: quote.body.id });
  expect([late.status, late.body.code]).toEqual([410, 'quote_expired']);
});

test('a clock does not go back, and not farther than five years at a time', async () => {
  const clock = await newClock();
  const back = await advance<Problem>(clock, '2027-01-31T09:29:59.999Z');
  expect([back.status, back.body.errors?.[0]?.path]).toEqual([422, 'to']);
  const far = await advance<Problem>(clock, '2032-01-31T09:30:00.001Z');
  expect([far.status, far.body.errors?.[0]?.path]).toEqual([422, 'to']);
  expect((await look(clock)).body).toMatchObject({ now: T0, status: 'ready' });
  expect((await advance(clock, '2032-01-31T09:30:00.000Z')).status).toBe(202);
  expect((await ready(clock)).now).toBe('2032-01-31T09:30:00.000Z');
});

test('who names no clock that exists, or is not an administrator, is told so', async () => {
  const unknown = 'tc_000000000000000000000000';
  const body = { catalog: 'imagineart', testClock: unknown };
  const account = await engine.call<Problem>('POST', '/v1/accounts', { body });
  expect([account.status, account.body.errors?.[0]?.path]).toEqual([422, 'testClock']);
  expect([(await look(unknown)).status, (await advance(unknown, T0)).status]).toEqual([404, 404]);

  const key = await engine.call<{ secret: string }>('POST', '/v1/api-keys', {
    body: { scopes: ['billing'] },
  });
  const apiKey = key.body.secret;
  const clock = await newClock();
  const attach = { body: { catalog: 'imagineart', testClock: clock }, apiKey };
  expect((await engine.call('POST', '/v1/accounts', attach)).status).toBe(403);
  expect((await engine.call('GET', `/v1/test-clocks/${clock}`, { apiKey })).status).toBe(403);
});

test('the same key moves a clock once', async () => {
  const clock = await newClock();
  const first = await advance(clock, startOf(1), 'one-month');
  await ready(clock);
  const again = await advance(clock, startOf(1), 'one-month');
  expect([again.status, again.text]).toEqual([202, first.text]);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect((await advance(clock, startOf(2), 'one-month')).status).toBe(409);
  expect((await look(clock)).body).toMatchObject({ now: startOf(1), status: 'ready' });
});

/** Nobody else can do anything to the account until what is returned is called. */
async function lock(account: string): Promise<() => Promise<void>> {
  const locker = await engine.database.owner.pool.connect();
  await locker.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0');
  await locker.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [account]);
  return async () => {
    await locker.query('ROLLBACK');
    locker.release();
  };
}

describe('while one account cannot be settled', () => {
  let clock: string;
  let accounts: string[];
  let stuck: string;
  let unlock: () => Promise<void>;

  beforeEach(async () => {
    clock = await newClock();
    accounts = [];
    for (let n = 0; n < 12; n += 1)
      accounts.push(await open(clock, { catalog: 'imagineart', plan: 'standard' }));
    [stuck = ''] = accounts;
    unlock = await lock(stuck);
    await advance(clock, startOf(6));
  });

  const othersThere = () =>
    eventually(
      () => look(clock),
      ({ body }) => body.progress.settled === 11 && body.progress.failing.length === 1,
    );
  const expectAllThere = async () => {
    const grants = [0, 1, 2, 3, 4, 5, 6].map((n) => [startOf(n), 'grant', 8_000]);
    for (const account of accounts)
      expect((await told(account)).filter(([, kind]) => kind === 'grant')).toEqual(grants);
    await expectCleanBooks();
  };

  test('the others are, its error is told, and it follows when it can', async () => {
    const { body } = await othersThere();
    expect(body).toMatchObject({ now: T0, status: 'advancing', target: startOf(6) });
    expect(body.progress).toMatchObject({ accounts: 12, failing: [{ account: stuck }] });
    expect(body.progress.failing[0]?.error).toMatch(/lock timeout/);
    await unlock();
    expect(await ready(clock)).toMatchObject({ now: startOf(6), progress: { settled: 12, failing: [] } });
    await expectAllThere();
  });

  test('the clock takes no other target and no new account, but may be told the same again', async () => {
    const other = await advance<Problem>(clock, startOf(7));
    expect([other.status, other.body.code]).toEqual([409, 'test_clock_advancing']);
    const late = await engine.call<Problem>('POST', '/v1/accounts', {
      body: { catalog: 'imagineart', testClock: clock },
    });
    expect([late.status, late.body.code]).toEqual([409, 'test_clock_advancing']);
    expect((await advance(clock, startOf(6))).status).toBe(202);
    await unlock();
    await ready(clock);
    await expectAllThere();
  });
});

test('an advance whose worker is killed on the way continues from where every account stands', async () => {
  const clock = await newClock();
  const accounts = Array.from({ length: 40 }, () => engine.newId('many'));
  for (const account of accounts) {
    const terms = { catalog: 'imagineart', plan: 'standard', planSource: 'admin' } as const;
    await ledger.open({ account, ...terms, clockAt: T0, testClock: clock });
  }
  const standing = async () => {
    const rows = await engine.database.owner.knex('ledger.accounts').whereIn('account_id', accounts);
    return rows.map(({ clock_at }: { clock_at: Date }) => clock_at.toISOString());
  };
  const unlock = await lock(accounts[0] ?? ''); // so that it cannot be over before the worker is killed
  await advance(clock, startOf(24));
  await eventually(standing, (hands) => hands.some((hand) => hand > T0));
  const worker = engine.worker();
  const gone = once(worker, 'exit');
  worker.kill('SIGKILL');
  await gone;
  expect((await standing()).filter((hand) => hand < startOf(24))).not.toEqual([]);
  expect((await look(clock)).body).toMatchObject({ now: T0, status: 'advancing' });

  await unlock();
  await engine.startWorker();
  expect((await ready(clock)).progress).toEqual({ accounts: 40, settled: 40, failing: [] });
  const every = Array.from({ length: 25 }, (_, n) => [startOf(n), 'grant', 8_000]);
  for (const account of accounts)
    expect((await told(account)).filter(([, kind]) => kind === 'grant')).toEqual(every);
  await expectCleanBooks();
  // Its workflow ends with it: a clock that stands has none.
  await eventually(
    () => engine.temporal.workflow.getHandle(clockWorkflowId(clock)).describe(),
    ({ status }) => status.name === 'COMPLETED',
  );
});

test('a clock that is to move and has no workflow is moved by the sweep', async () => {
  const sweeper = await startSweeper(engine);
  try {
    const clock = await newClock();
    const account = await open(clock, { catalog: 'imagineart', plan: 'standard' });
    // As if the process that took the request had died before it rang.
    await engine.database.owner
      .knex('holdfast.test_clocks')
      .where({ clock_id: clock })
      .update({ status: 'advancing', target_at: startOf(1) });
    expect((await sweeper.pass()).failures).toEqual([]);
    expect(await ready(clock)).toMatchObject({ now: startOf(1) });
    expect(await engine.balance(account)).toMatchObject({ asOf: startOf(1), available: 8_000 });
  } finally {
    await sweeper.stop();
  }
});
