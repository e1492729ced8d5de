import path from 'node:path';
import { accountRoutes } from '../../../../api/resources/accounts/accounts';
import { holdRoutes } from '../../../../api/resources/generations/holds';
import { memberRoutes } from '../../../../api/resources/accounts/members';
import { createQuoting } from '../../../../api/resources/generations/quotes';
import { runAudit } from '../../../../db/audit';
import { publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../../db/engine';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { startApp, type TestApp } from '../../app';

/** Quotas, members and their limits, decided under the account's lock (rules 9, 22). */

const T0 = '2026-03-10T10:00:00.000Z';

let database: TestDatabase;
let engine: Engine;
let app: TestApp;
let counter = 0;

beforeAll(async () => {
  database = await testDatabase();
  for (const name of ['draftly', 'intangible']) {
    const file = path.join(__dirname, '..', '..', '..', '..', 'catalogs', `${name}.json`);
    await publishCatalog(database.db.knex, { catalog: readCatalog(file) });
  }
  engine = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const { catalogs, ledger, leases } = engine;
  const quoting = createQuoting({ db: database.db, ledger, catalogs });
  const deps = { db: database.db, ledger, catalogs, leases, quoting };
  app = await startApp({
    db: database.db,
    routes: [...holdRoutes(deps), ...memberRoutes(deps), ...accountRoutes(deps)],
  });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

async function open(catalog: string, plan: string): Promise<string> {
  counter += 1;
  const account = `members-${counter}`;
  const planSource = plan === 'free' ? 'free' : 'admin';
  await engine.ledger.open({ account, catalog, plan, planSource, planInterval: 'month', clockAt: T0 });
  return account;
}

let keys = 0;
const post = (at: string, body: unknown) =>
  app.call('POST', at, { body, idempotencyKey: `key-${(keys += 1)}` });
const charge = (account: string, body: object) => post('/v1/charges', { account, ...body });
const member = (account: string, name: string) => `/v1/accounts/${account}/members/${name}`;
const put = (account: string, name: string, body: object) => app.call('PUT', member(account, name), { body });
const used = async (account: string, name: string) =>
  (await app.call('GET', member(account, name))).body['used'];

test('a member spends up to its monthly limit, and what comes back is not counted', async () => {
  const account = await open('intangible', 'business');
  await put(account, 'olga', { role: 'owner' });
  await put(account, 'max', { role: 'member', monthlyLimit: 50 });
  expect((await charge(account, { credits: 20.5, member: 'max' })).status).toBe(201);
  const held = await post('/v1/holds', { account, credits: 20, member: 'max', ttlSeconds: 60 });
  expect(await used(account, 'max')).toBe(40.5);
  const refused = await charge(account, { credits: 10, member: 'max' });
  expect([refused.status, refused.body]).toMatchObject([
    403,
    {
      code: 'member_limit_reached',
      limit: 50,
      used: 40.5,
      resetsAt: '2026-04-01T00:00:00.000Z',
      retryWithNewKey: true,
    },
  ]);
  expect(refused.body['paywall']).toMatchObject({ ways: ['ask_owner', 'wait'] });
  expect((await charge(account, { credits: 10, member: 'olga' })).status).toBe(201);
  await post(`/v1/holds/${String(held.body['id'])}/capture`, { credits: 5 });
  expect(await used(account, 'max')).toBe(25.5);
  expect((await charge(account, { credits: 10, member: 'max' })).status).toBe(201);
});

test('the month a reserve happened in is the one it is counted in, also when it ends in the next', async () => {
  const account = await open('intangible', 'business');
  await put(account, 'max', { role: 'member', monthlyLimit: 50 });
  const held = await post('/v1/holds', { account, credits: 50, member: 'max', ttlSeconds: 86_400 });
  await engine.ledger.moveClock(account, '2026-03-10T23:00:00Z');
  expect((await charge(account, { credits: 1, member: 'max' })).body['code']).toBe('member_limit_reached');
  await post(`/v1/holds/${String(held.body['id'])}/extend`, { ttlSeconds: 86_400 });
  const rows = () =>
    database.owner.knex('ledger.counters').where({ account_id: account }).select('period', 'used');
  expect(await rows()).toEqual([{ period: 'month:2026-03', used: 50_000 }]);
  await post(`/v1/holds/${String(held.body['id'])}/release`, {});
  expect(await rows()).toEqual([{ period: 'month:2026-03', used: 0 }]);
});

test('of members racing for the last of a limit, together they never pass it', async () => {
  const account = await open('intangible', 'business');
  await put(account, 'max', { role: 'member', monthlyLimit: 10 });
  const replies = await Promise.all(
    Array.from({ length: 40 }, () => charge(account, { credits: 1, member: 'max' })),
  );
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(10);
  expect(await used(account, 'max')).toBe(10);
});

test('a deleted member keeps its counter', async () => {
  const account = await open('intangible', 'business');
  await put(account, 'olga', { role: 'owner' });
  await put(account, 'max', { role: 'member', monthlyLimit: 5 });
  await charge(account, { credits: 5, member: 'max' });
  expect((await app.call('DELETE', member(account, 'max'))).body).toMatchObject({ used: 5 });
  expect((await app.call('GET', member(account, 'max'))).body['code']).toBe('unknown_member');
  await put(account, 'max', { role: 'member', monthlyLimit: 5 });
  expect((await charge(account, { credits: 1, member: 'max' })).status).toBe(403);
});

test('a team keeps an owner, and has as many seats as its plan', async () => {
  const account = await open('draftly', 'pro');
  expect((await put(account, 'olga', { role: 'owner' })).status).toBe(200);
  expect((await put(account, 'olga', { role: 'member' })).body['code']).toBe('last_owner');
  const { rows } = await database.owner.pool.query<{ seats: number | null }>(
    `SELECT (p.value ->> 'seats')::int AS seats FROM holdfast.catalogs c, jsonb_array_elements(c.body -> 'plans') p
      WHERE c.catalog = 'draftly' AND p.value ->> 'plan' = 'pro'`,
  );
  const seats = rows[0]?.seats ?? 1;
  for (let taken = 1; taken < seats; taken += 1)
    expect((await put(account, `m${taken}`, { role: 'member' })).status).toBe(200);
  expect((await put(account, 'one-too-many', { role: 'member' })).body['code']).toBe('seat_limit_reached');
  expect((await put(account, 'olga', { role: 'owner', monthlyLimit: 1 })).status).toBe(200);
});

test('members are listed page by page, with what they use now: an expired lease does not count', async () => {
  const account = await open('intangible', 'business');
  for (const name of ['ana', 'ben', 'cid']) await put(account, name, { role: 'owner' });
  const held = { account, credits: 7, member: 'ben', ttlSeconds: 60 };
  expect((await post('/v1/holds', held)).status).toBe(201);
  const list = async (query: string) =>
    (await app.call('GET', `/v1/accounts/${account}/members?${query}`)).body;
  const names = ({ data }: Record<string, unknown>) =>
    (data as { member: string; used: number }[]).map((row) => [row.member, row.used]);
  const first = await list('limit=2');
  expect(names(first)).toEqual([
    ['ana', 0],
    ['ben', 7],
  ]);
  await engine.ledger.moveClock(account, '2026-03-10T10:01:00Z');
  expect(names(await list('limit=2'))).toEqual([
    ['ana', 0],
    ['ben', 0],
  ]);
  const rest = await list(`limit=2&cursor=${String(first['nextCursor'])}`);
  expect([names(rest), rest['nextCursor']]).toEqual([[['cid', 0]], null]);
});

test('a quota is counted per output, refused with what a higher plan allows, and shown in the balance', async () => {
  const account = await open('draftly', 'free');
  const edit = () => charge(account, { action: 'chat-edit' });
  for (let n = 0; n < 20; n += 1) expect((await edit()).status).toBe(201);
  const refused = await edit();
  expect([refused.status, refused.body]).toMatchObject([
    429,
    { code: 'quota_reached', quota: 'chat-edits', limit: 20, used: 20, retryWithNewKey: true },
  ]);
  expect(refused.body['paywall']).toMatchObject({
    ways: ['upgrade', 'wait'],
    requiredPlan: 'basic',
    packs: [],
  });
  const { body } = await app.call('GET', `/v1/accounts/${account}/balance?member=max`);
  expect(body['quotas']).toContainEqual({
    quota: 'chat-edits',
    label: expect.any(String),
    limit: 20,
    used: 20,
    resetsAt: '2026-04-10T10:00:00.000Z',
  });
  expect(body['member']).toEqual({ limit: null, used: 0, left: null, resetsAt: '2026-04-01T00:00:00.000Z' });
  await engine.ledger.moveClock(account, '2026-04-10T10:00:00Z');
  expect((await edit()).status).toBe(201);
});

test('after all of it the audit finds nothing', async () => {
  const report = await runAudit(database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});

test('where a plan sets no number of seats a team is of a thousand at most, since each request reads who they are', async () => {
  const account = await open('intangible', 'enterprise');
  await put(account, 'owner', { role: 'owner' });
  await database.owner.pool.query(
    `INSERT INTO ledger.members (account_id, member, role, added_at) SELECT $1, 'm' || n, 'member', now() FROM generate_series(1, 998) n`,
    [account],
  );
  expect((await put(account, 'the-thousandth', { role: 'member' })).status).toBe(200);
  expect((await put(account, 'one-too-many', { role: 'member' })).body['code']).toBe('seat_limit_reached');
  expect((await put(account, 'm7', { role: 'owner' })).status).toBe(200);
});
