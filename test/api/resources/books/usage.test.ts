import { apiKeyRoutes } from '../../../../api/resources/operations/apiKeys';
import { usageRoutes } from '../../../../api/resources/books/usage';
import { createCatalogStore } from '../../../../db/catalogs/catalogs';
import { createLedger } from '../../../../db/ledger/ledger';
import type { HeldWork } from '../../../../db/ledger/operations';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../../support/ledger/ledger';
import { type Call, startApp, type TestApp } from '../../app';

const T0 = '2026-03-01T10:00:00Z';

let database: TestDatabase;
let raw: TestLedger;
let app: TestApp;
let account: string;

beforeAll(async () => {
  database = await testDatabase();
  const { db } = database;
  raw = ledgerOf(db, database.owner);
  const ledger = createLedger({ pool: db.pool, catalogs: createCatalogStore(db), ring: () => undefined });
  app = await startApp({ db, routes: [...usageRoutes({ db, ledger }), ...apiKeyRoutes({ db })] });
});
beforeEach(async () => {
  account = await raw.open({ clockAt: T0 });
  await raw.grant(account, { amount: 1_000_000 });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

/** The query as it is written, for the account of the test. */
const ask = (query: string, call: Call = {}) =>
  app.call('GET', `/v1/usage?account=${account}&${query}`, call);

/** The answer's rows as [key, credits, generations, outputs]. */
async function rowsOf(query: string): Promise<unknown[][]> {
  const reply = await ask(query);
  expect([query, reply.status]).toEqual([query, 200]);
  const data = reply.body['data'] as Record<string, unknown>[]; // the schema of a 200
  return data.map(({ key, credits, generations, outputs }) => [key, credits, generations, outputs]);
}

const totalOf = async (query: string) => (await ask(query)).body['total'];

type Made = Partial<ReturnType<typeof reservation>['generation']>;

/** A generation that was begun; the id of its hold. */
async function begin(amount: number, made: Made = {}): Promise<string> {
  const { generation } = reservation(account, { amount });
  const reply = await raw.reserve(account, {
    amount,
    ...(amount === 0 ? { workflowId: null } : {}),
    generation: { ...generation, ...made },
  });
  return reply.hold?.holdId ?? '';
}

const succeeded = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ index, status: 'succeeded' }));

/** A generation that delivered `outputs`, for credits × 1000. */
async function generate(amount: number, made: Made = {}, delivered = 1): Promise<string> {
  const holdId = await begin(amount, made);
  await raw.capture(account, holdId, { generation: { status: 'succeeded', outputs: succeeded(delivered) } });
  return holdId;
}

const charge = (amount: number, work: HeldWork = {}) => raw.charge(account, { amount, work });

describe('what was used', () => {
  test('is told by every dimension there is, of generations, holds and charges alike', async () => {
    const image: Made = {
      action: 'image',
      model: 'flux',
      params: { resolution: '2K' },
      member: 'ada',
      project: 'spring',
      feature: 'editor',
      provider: { type: 'external' },
    };
    await generate(6_000, image, 4);
    await charge(1_500, {
      action: 'edit',
      model: 'flux',
      params: { resolution: '1K', outputs: 2 },
      member: 'bob',
    });
    const lease = await raw.lease(account, { amount: 5_000, work: { action: 'video', project: 'spring' } });
    await raw.capture(account, lease, { amount: 2_500 });
    const expected = {
      action: [
        ['image', 6, 1, 4],
        ['video', 2.5, 1, 1],
        ['edit', 1.5, 1, 2],
      ],
      model: [
        ['flux', 7.5, 2, 6],
        [null, 2.5, 1, 1],
      ],
      member: [
        ['ada', 6, 1, 4],
        [null, 2.5, 1, 1],
        ['bob', 1.5, 1, 2],
      ],
      feature: [
        ['editor', 6, 1, 4],
        [null, 4, 2, 3],
      ],
      project: [
        ['spring', 8.5, 2, 5],
        [null, 1.5, 1, 2],
      ],
      resolution: [
        ['2K', 6, 1, 4],
        [null, 2.5, 1, 1],
        ['1K', 1.5, 1, 2],
      ],
      provider: [
        ['external', 6, 1, 4],
        [null, 4, 2, 3],
      ],
      bucket: [['pack', 10, 3, 7]],
      day: [['2026-03-01', 10, 3, 7]],
    };
    for (const [dimension, rows] of Object.entries(expected))
      expect((await rowsOf(`groupBy=${dimension}`)).slice(0, rows.length)).toEqual(rows);
    expect(await totalOf('groupBy=action')).toEqual({ credits: 10, generations: 3, outputs: 7 });
    const { data } = (await ask('groupBy=action')).body as { data: { percent: number }[] };
    expect(data.map(({ percent }) => percent)).toEqual([60, 25, 15]);
  });

  test('is told by two dimensions, the key an array of both', async () => {
    await generate(1_000, { action: 'image', member: 'ada' });
    await generate(2_000, { action: 'image', member: 'bob' });
    await generate(4_000, { action: 'video', member: 'ada' });
    expect(await rowsOf('groupBy=member,action')).toEqual([
      [['ada', 'video'], 4, 1, 1],
      [['bob', 'image'], 2, 1, 1],
      [['ada', 'image'], 1, 1, 1],
    ]);
  });

  test('is nothing while it is held, and what was given back is not part of it', async () => {
    const held = await begin(3_000);
    const half = await begin(8_000);
    await raw.release(account, await begin(1_000));
    await raw.capture(account, half, {
      delivered: 1,
      ordered: 2,
      generation: { status: 'partial', outputs: [...succeeded(1), { index: 1, status: 'failed' }] },
    });
    expect(await rowsOf('groupBy=action')).toEqual([['image', 4, 1, 1]]);
    await raw.capture(account, held);
    expect(await totalOf('groupBy=action')).toEqual({ credits: 7, generations: 2, outputs: 1 });
  });

  test('counts free generations when they are made, and no refused ones', async () => {
    await begin(0, { action: 'enhance', id: `gen_${account}.free` });
    await raw.reserve(account, { amount: 10_000_000 });
    expect(await rowsOf('groupBy=action')).toEqual([['enhance', 0, 1, 0]]);
    expect(await rowsOf('groupBy=bucket')).toEqual([[null, 0, 1, 0]]);
  });

  test('counts what several buckets paid in each of them, and once in all', async () => {
    await raw.grant(account, { amount: 4_000, bucket: 'daily', rank: 1 });
    await generate(10_000, {}, 2);
    await charge(1_000);
    expect(await rowsOf('groupBy=bucket')).toEqual([
      ['pack', 7, 2, 3],
      ['daily', 4, 1, 2],
    ]);
    const total = { credits: 11, generations: 2, outputs: 3 };
    expect(await totalOf('groupBy=bucket')).toEqual(total);
    expect(await rowsOf('groupBy=action')).toEqual([
      ['image', 10, 1, 2],
      [null, 1, 1, 1],
    ]);
    expect(await totalOf('groupBy=action&bucket=pack')).toEqual({ credits: 7, generations: 2, outputs: 3 });
    expect(await totalOf('groupBy=action&bucket=daily')).toEqual({ credits: 4, generations: 1, outputs: 2 });
  });

  test('takes refunds off when they are made, also those of an earlier day', async () => {
    const holdId = await generate(5_000, { model: 'flux' });
    await raw.moveClock(account, '2026-03-02T10:00:00Z');
    await raw.one(account, {
      op: 'refund',
      key: 'req:refund',
      hash: 'refund',
      holdId,
      amount: null,
      spendableSeconds: 60,
      actor: 'support',
      reason: 'dark',
    } as never);
    expect((await rowsOf('groupBy=day')).slice(0, 3)).toEqual([
      ['2026-03-01', 5, 1, 1],
      ['2026-03-02', -5, 0, 0],
      ['2026-03-03', 0, 0, 0],
    ]);
    expect(await totalOf('groupBy=model')).toEqual({ credits: 0, generations: 1, outputs: 1 });
  });

  test('counts work that is paid in phases once, when the first is paid', async () => {
    const holdId = await begin(10_000);
    const phase = (name: string, amount: number, final: boolean) =>
      raw.capture(account, holdId, { amount, phase: name, final });
    await phase('nothing', 0, false);
    await phase('draft', 2_000, false);
    await raw.moveClock(account, '2026-03-02T10:00:00Z');
    await phase('final', 3_000, true);
    expect((await rowsOf('groupBy=day')).slice(0, 2).map((row) => row.slice(0, 3))).toEqual([
      ['2026-03-01', 2, 1],
      ['2026-03-02', 3, 0],
    ]);
  });

  test('is in all what the ledger has as spent', async () => {
    for (let n = 1; n <= 12; n += 1) await (n % 3 === 0 ? charge(n * 100) : generate(n * 1_000));
    const lots = await raw.lots(account);
    const spent = lots.reduce((sum, lot) => sum + lot.spent, 0);
    expect(await totalOf('groupBy=day&from=2026-01-01&to=2027-01-01')).toMatchObject({
      credits: spent / 1000,
      generations: 12,
    });
  });

  test('is of this account alone', async () => {
    await generate(1_000);
    const other = await raw.open({ clockAt: T0 });
    await raw.grant(other, { amount: 9_000 });
    await raw.charge(other, { amount: 9_000 });
    expect(await totalOf('groupBy=action')).toMatchObject({ credits: 1, generations: 1 });
  });
});

describe('filters', () => {
  test('take the names of the dimensions, and an empty one means what has none', async () => {
    await generate(1_000, { model: 'flux', member: 'ada' });
    await generate(2_000, { model: 'flux' });
    await generate(4_000, { model: 'kling' });
    expect(await totalOf('groupBy=action&model=flux')).toMatchObject({ credits: 3 });
    expect(await totalOf('groupBy=action&model=flux&member=')).toMatchObject({ credits: 2 });
    expect(await totalOf('groupBy=action&member=ada&model=kling')).toMatchObject({ credits: 0 });
    expect(await rowsOf('groupBy=model&provider=simulated&action=image')).toHaveLength(2);
    expect(await rowsOf('groupBy=action&resolution=4K')).toEqual([]);
  });

  test('cut the range to a day', async () => {
    await generate(1_000);
    await raw.moveClock(account, '2026-03-02T10:00:00Z');
    await generate(2_000);
    expect(await rowsOf('groupBy=day&day=2026-03-02')).toEqual([['2026-03-02', 2, 1, 1]]);
    expect(await totalOf('groupBy=model&day=2026-03-01')).toMatchObject({ credits: 1 });
    expect(await totalOf('groupBy=model&day=2026-07-01')).toMatchObject({ credits: 0 });
  });
});

describe('the range', () => {
  test('is in days of the account’s zone, each of them there, the last not included', async () => {
    await database.owner.pool.query(
      `UPDATE ledger.account_rules SET timezone = 'Asia/Tokyo' WHERE account_id = '${account}'`,
    );
    await generate(1_000); // 19:00 in Tokyo
    await raw.moveClock(account, '2026-03-01T15:00:00Z'); // midnight
    await generate(2_000);
    await raw.moveClock(account, '2026-03-03T15:00:00Z');
    await generate(4_000);
    expect(await rowsOf('groupBy=day&from=2026-03-01&to=2026-03-04')).toEqual([
      ['2026-03-01', 1, 1, 1],
      ['2026-03-02', 2, 1, 1],
      ['2026-03-03', 0, 0, 0],
    ]);
    expect((await ask('from=2026-03-01&to=2026-03-04')).body).toMatchObject({
      from: '2026-02-28T15:00:00.000Z',
      to: '2026-03-03T15:00:00.000Z',
      groupBy: ['day'],
    });
    expect(await totalOf('from=2026-03-01T10:00:00.001Z&to=2026-03-03T15:00:00.001Z')).toMatchObject({
      credits: 6,
    });
  });

  test('is the current cycle if nothing is said, or the period that is', async () => {
    await generate(1_000);
    await raw.moveClock(account, '2026-03-30T10:00:00Z');
    await generate(2_000);
    await raw.moveClock(account, '2026-04-03T09:00:00Z');
    await generate(4_000);
    const cycle = { from: '2026-04-01T10:00:00.000Z', to: '2026-05-01T10:00:00.000Z' };
    expect((await ask('groupBy=action')).body).toMatchObject({ ...cycle, total: { credits: 4 } });
    for (const [period, credits, days] of [
      ['cycle', 4, 31],
      ['previous-cycle', 3, 32],
      ['day', 4, 1],
      ['7d', 6, 7],
      ['30d', 6, 30],
    ] as const) {
      expect([period, await totalOf(`period=${period}`)]).toMatchObject([period, { credits }]);
      expect([period, (await rowsOf(`period=${period}`)).length]).toEqual([period, days]);
    }
  });

  test.each([
    ['groupBy=weekday', 'groupBy'],
    ['groupBy=day,day', 'groupBy'],
    ['groupBy=day,model,member', 'groupBy'],
    ['groupBy=', 'groupBy'],
    ['period=year', 'period'],
    ['period=7d&from=2026-03-01', 'period'],
    ['from=2026-03-02&to=2026-03-01', 'to'],
    ['from=yesterday', 'from'],
    ['day=today', 'day'],
    ['model=a%00b', 'model'],
    ['model=a&model=b', 'model'],
    ['colour=red', 'colour'],
  ])('or anything else that makes no sense is refused: %s', async (query, field) => {
    const reply = await ask(query);
    expect(reply.status).toBe(422);
    expect(reply.body['errors']).toMatchObject([{ path: field }]);
  });

  test.each(['groupBy=day&from=0001-01-01&to=9999-12-31', 'groupBy=day,model&from=2010-01-01&to=2027-01-01'])(
    'with more rows than an answer has is refused: %s',
    async (query) => {
      await generate(1_000, { model: 'a' });
      await generate(1_000, { model: 'b' });
      const reply = await ask(query);
      expect([reply.status, reply.body['code']]).toEqual([422, 'too_many_rows']);
    },
  );

  test('of any length is answered where its days are not asked for', async () => {
    await generate(1_000);
    expect(await totalOf('groupBy=model&from=0001-01-01&to=9999-12-31')).toMatchObject({ credits: 1 });
  });
});

test('it is CSV to who asks for it, a column for each dimension, and nothing a spreadsheet would run', async () => {
  await generate(1_000, { member: '=1+1', model: 'flux' });
  await generate(3_000, { model: 'flux' });
  const reply = await ask('groupBy=member,model', { headers: { Accept: 'text/csv' } });
  expect(reply.headers.get('content-type')).toMatch(/^text\/csv/);
  expect(reply.headers.get('content-disposition')).toContain(`usage-${account}-2026-03-01-2026-04-01.csv`);
  expect(reply.text).toBe(
    "member,model,credits,generations,outputs,percent\r\n,flux,3,1,1,75\r\n'=1+1,flux,1,1,1,25\r\n",
  );
  expect((await ask('groupBy=member,model&format=csv')).text).toBe(reply.text);
});

test('a key bound to an account sees the usage of that one only, and needs no more than `read`', async () => {
  const made = await app.call('POST', '/v1/api-keys', { body: { name: 'web', scopes: ['read'], account } });
  const key = String(made.body['secret']);
  expect((await ask('groupBy=day', { key })).status).toBe(200);
  expect((await ask('groupBy=day', { key: null })).status).toBe(401);
  const other = await raw.open({ clockAt: T0 });
  expect((await app.call('GET', `/v1/usage?account=${other}`, { key })).status).toBe(403);
  expect((await app.call('GET', '/v1/usage', { key })).status).toBe(403);
  expect((await app.call('GET', '/v1/usage')).status).toBe(422);
  expect((await app.call('GET', '/v1/usage?account=nobody')).body['code']).toBe('unknown_account');
});
