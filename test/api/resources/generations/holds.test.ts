import path from 'node:path';
import { createQuoting } from '../../../../api/resources/generations/quotes';
import { holdRoutes } from '../../../../api/resources/generations/holds';
import { publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../../db/engine';
import { runAudit } from '../../../../db/audit';
import { generationId, holdIdOf } from '../../../../domain/ids';
import { milli } from '../../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { ledgerOf, reservation } from '../../../support/ledger/ledger';
import { type Reply, startApp, type TestApp } from '../../app';

const T0 = '2026-03-01T10:00:00.000Z';

let database: TestDatabase;
let engine: Engine;
let app: TestApp;
let account: string;
let counter = 0;

beforeAll(async () => {
  database = await testDatabase();
  const file = path.join(__dirname, '..', '..', '..', '..', 'catalogs', 'imagineart.json');
  await publishCatalog(database.db.knex, { catalog: readCatalog(file) });
  engine = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const { catalogs, ledger, leases } = engine;
  const quoting = createQuoting({ db: database.db, ledger, catalogs });
  app = await startApp({
    db: database.db,
    routes: holdRoutes({ db: database.db, ledger, catalogs, leases, quoting }),
  });
});
beforeEach(async () => {
  counter += 1;
  account = `holds-${counter}`;
  await engine.ledger.open({ account, catalog: 'imagineart', plan: 'free', planSource: 'free', clockAt: T0 });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

let keys = 0;
const post = (at: string, body: unknown, idempotencyKey: string | null = `key-${(keys += 1)}`) =>
  app.call('POST', at, { body, ...(idempotencyKey === null ? {} : { idempotencyKey }) });
const hold = (body: Record<string, unknown>, key?: string) =>
  post('/v1/holds', { account, ttlSeconds: 60, ...body }, key);
const charge = (body: Record<string, unknown>, key?: string) =>
  post('/v1/charges', { account, ...body }, key);
const held = async (credits: number) => String((await hold({ credits })).body['id']);
const at = (id: string, what = '') => `/v1/holds/${id}${what}`;
const credits = (reply: Reply) => reply.body['credits'];
const balance = (reply: Reply) => reply.body['balance'];

test('a hold is captured in parts, its rest goes back, and every answer carries the balance', async () => {
  const first = await hold({ credits: 60 }, 'one');
  expect(first.status).toBe(201);
  expect(first.body).toMatchObject({
    id: holdIdOf(generationId(account, 'one')),
    account,
    credits: { held: 60, captured: 0, released: 0 },
    draws: [{ bucket: 'daily', credits: 60 }],
    expiresAt: '2026-03-01T10:01:00.000Z',
    balance: { available: 40, held: 60, debt: 0 },
  });
  const id = String(first.body['id']);
  const part = await post(at(id, '/capture'), { credits: 12.5, final: false, phase: 'draft' }, null);
  expect([part.status, credits(part), balance(part)]).toEqual([
    200,
    { held: 47.5, captured: 12.5, released: 0, forfeited: 0 },
    { available: 40, held: 47.5, debt: 0 },
  ]);
  const last = await post(at(id, '/capture'), { credits: 20 }, null);
  expect([credits(last), balance(last)]).toEqual([
    { held: 0, captured: 32.5, released: 27.5, forfeited: 0 },
    { available: 67.5, held: 0, debt: 0 },
  ]);
  expect((await app.call('GET', at(id))).body).toEqual(last.body);
});

test('the same request under the same key is answered with the same bytes, also after more has happened', async () => {
  const first = await hold({ credits: 30 }, 'again');
  const id = String(first.body['id']);
  const captured = await post(at(id, '/capture'), { credits: 10 });
  await charge({ credits: 1 });
  const replayed = await hold({ credits: 30 }, 'again');
  expect([replayed.text, replayed.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
  const key = `key-${keys - 1}`;
  const again = await post(at(id, '/capture'), { credits: 10 }, key);
  expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([captured.text, 'true']);
});

test('another request under a known key is a conflict, whatever else is wrong with it', async () => {
  await hold({ credits: 1 }, 'mine');
  expect((await hold({ credits: 2 }, 'mine')).body['code']).toBe('idempotency_conflict');
  expect((await hold({ credits: -2 }, 'mine')).body['code']).toBe('idempotency_conflict');
  expect((await charge({ credits: 1 }, 'mine')).body['code']).toBe('idempotency_conflict');
});

test('a lease has ended at its instant, and what it held is back at that instant', async () => {
  const id = await held(25);
  await engine.ledger.moveClock(account, '2026-03-01T10:00:59.999999Z');
  const alive = await app.call('GET', at(id));
  expect(balance(alive)).toEqual({ available: 75, held: 25, debt: 0 });
  await engine.ledger.moveClock(account, '2026-03-01T10:01:00Z');
  const over = await app.call('GET', at(id));
  expect([credits(over), balance(over)]).toEqual([
    { held: 0, captured: 0, released: 25, forfeited: 0 },
    { available: 100, held: 0, debt: 0 },
  ]);
  for (const what of ['/capture', '/release', '/extend']) {
    const late = await post(at(id, what), what === '/extend' ? { ttlSeconds: 5 } : {});
    expect([late.status, late.body['code']]).toEqual([409, 'hold_expired']);
  }
});

test('extending counts from now and never shortens', async () => {
  const id = await held(5);
  await engine.ledger.moveClock(account, '2026-03-01T10:00:30Z');
  expect((await post(at(id, '/extend'), { ttlSeconds: 10 })).body['expiresAt']).toBe(
    '2026-03-01T10:01:00.000Z',
  );
  expect((await post(at(id, '/extend'), { ttlSeconds: 90 })).body['expiresAt']).toBe(
    '2026-03-01T10:02:00.000Z',
  );
  await engine.ledger.moveClock(account, '2026-03-01T10:01:59Z');
  expect((await post(at(id, '/release'), {})).status).toBe(200);
});

test('without a key each extension counts from its own now, whatever the client calls its requests', async () => {
  const id = await held(5);
  const extend = () =>
    app.call('POST', at(id, '/extend'), {
      body: { ttlSeconds: 600 },
      headers: { 'X-Request-Id': 'always-the-same' },
    });
  expect((await extend()).body['expiresAt']).toBe('2026-03-01T10:10:00.000Z');
  await engine.ledger.moveClock(account, '2026-03-01T10:09:00Z');
  expect((await extend()).body['expiresAt']).toBe('2026-03-01T10:19:00.000Z');
  expect((await post(at(id, '/release'), {})).status).toBe(200);
});

test('a charge takes half a credit in one operation', async () => {
  const reply = await charge({ credits: 0.5, metadata: { edit: 1 } });
  expect([reply.status, credits(reply), reply.body['expiresAt'], balance(reply)]).toEqual([
    201,
    { held: 0, captured: 0.5, released: 0, forfeited: 0 },
    null,
    { available: 99.5, held: 0, debt: 0 },
  ]);
  const journal = await ledgerOf(database.db, database.owner).journal(account);
  expect(journal.map(({ kind }) => kind)).toEqual(['grant', 'charge']);
});

test('a refusal under the lock is kept for its key, with the paywall; a new key is a new decision', async () => {
  const refused = await charge({ credits: 100.001 }, 'too-much');
  expect([refused.status, refused.body['code'], refused.body['shortfall']]).toEqual([
    402,
    'insufficient_credits',
    0.001,
  ]);
  expect(refused.body['paywall']).toMatchObject({
    shortfall: 0.001,
    nextRefreshAt: '2026-03-02T00:00:00.000Z',
  });
  await engine.ledger.run(account, {
    op: 'grant',
    key: 'sys:more',
    hash: 'more',
    bucket: 'pack',
    rank: 3,
    amount: milli(50_000),
    source: 'test',
  });
  expect((await charge({ credits: 100.001 }, 'too-much')).text).toBe(refused.text);
  expect((await charge({ credits: 100.001 })).status).toBe(201);
});

test('a priced action and a quote of it take the same', async () => {
  const { catalogs, ledger } = engine;
  const quoting = createQuoting({ db: database.db, ledger, catalogs });
  const { catalog } = await catalogs.inForce('imagineart', Date.parse(T0));
  const action = catalog.actions.find(({ free }) => !free)?.action ?? '';
  const quote = await quoting.quote({ account, action });
  const byQuote = await charge({ quote: quote.id });
  const byAction = await charge({ action });
  expect(credits(byQuote)).toMatchObject({ captured: quote.credits });
  expect(credits(byAction)).toEqual(credits(byQuote));
  const row = await database.owner
    .knex('ledger.holds')
    .where({ hold_id: String(byQuote.body['id']) })
    .first('work');
  expect(row).toMatchObject({ work: { action } });
});

test.each([
  [{ credits: 1, action: 'x' }, 422, 'invalid_request'],
  [{}, 422, 'invalid_request'],
  [{ credits: 0 }, 422, 'invalid_request'],
  [{ credits: 1, model: 'm' }, 422, 'invalid_request'],
  [{ credits: 1, ttlSeconds: 86_401 }, 422, 'invalid_request'],
  [{ action: 'no-such' }, 422, 'unknown_action'],
  [{ quote: 'qt_x.y' }, 404, 'unknown_quote'],
  [{ credits: 1, account: 'nobody' }, 404, 'unknown_account'],
])('%j is refused with %d %s, and takes nothing', async (body, status, code) => {
  const reply = await hold(body);
  expect([reply.status, reply.body['code']]).toEqual([status, code]);
  expect((await engine.ledger.balance(account))?.held).toBe(0);
});

test('a part needs a phase or a key, and a phase is captured once', async () => {
  const id = await held(10);
  const part = { credits: 1, final: false };
  expect((await post(at(id, '/capture'), part, null)).body['code']).toBe('idempotency_key_required');
  expect((await post(at(id, '/capture'), part, 'p')).status).toBe(200);
  expect((await post(at(id, '/capture'), part, 'p')).headers.get('idempotent-replayed')).toBe('true');
  const phase = { ...part, phase: 'a' };
  expect((await post(at(id, '/capture'), phase)).status).toBe(200);
  expect((await post(at(id, '/capture'), phase)).body['code']).toBe('phase_captured');
  expect((await post(at(id, '/capture'), { credits: 9 })).body['code']).toBe('exceeds_hold');
  expect(credits(await post(at(id, '/capture'), {}))).toMatchObject({ captured: 10 });
  expect((await post(at(id, '/release'), {})).body['code']).toBe('hold_closed');
});

test('the hold of a generation is its workflow’s', async () => {
  await engine.ledger.balance(account);
  const operation = reservation(account, { amount: 1_000 });
  await engine.ledger.run(account, operation);
  for (const what of ['/capture', '/release']) {
    expect((await post(at(operation.holdId, what), {})).body['code']).toBe('hold_has_workflow');
  }
  expect((await post(at(`hold_${account}.none`, '/release'), {})).status).toBe(404);
});

test('and after all of it the audit finds nothing', async () => {
  const report = await runAudit(database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
