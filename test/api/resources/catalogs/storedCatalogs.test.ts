import { LIST_TTL_MS } from '../../../../db/catalogs/catalogs';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { runAudit } from '../../../../db/audit';
import { parseCatalog } from '../../../../domain/publish/parse';
import { startWhole, type Whole } from '../../whole';
import { defined } from '../../../../domain/defined';

/** What an earlier release published serves its accounts for ever, whatever is refused today (rule 33). */

let whole: Whole;

/** Tunesmith as a laxer binary would have stored it: a setting its provider has no longer, a rate of 0, a field, a long name. */
function laxer(): Record<string, unknown> {
  const file = path.join(__dirname, '..', '..', '..', 'support', 'catalogs', 'tunesmith.json');
  const text = readFileSync(file, 'utf8').replace(
    '"defaultProvider": { "type": "simulated", "delayMs": 0 }',
    '"defaultProvider": { "type": "external", "deadlineSeconds": 600, "queue": "gpu" }, "surcharge": 5',
  );
  const catalog = JSON.parse(
    text.replace(
      '{ "params": { "voice": false }, "credits": 0.125',
      '{ "params": { "voice": false, "seconds": 60 }, "credits": 0, "per": "second" }, { "params": { "voice": false, "seconds": 30 }, "credits": 0.125',
    ),
  ) as Record<string, unknown>;
  return { ...catalog, catalog: 'laxer', label: 'long '.repeat(40) };
}

beforeAll(async () => {
  whole = await startWhole();
  const insert = (catalog: string, body: unknown) =>
    whole.database.db.knex('holdfast.catalogs').insert({
      catalog,
      version: 1,
      hash: 'as it was',
      effective_at: '-infinity',
      body: JSON.stringify(body),
    });
  await insert('laxer', laxer());
  await insert('broken', { catalog: 'broken' });
  await whole.engine.ledger.open({
    account: 'cust',
    catalog: 'laxer',
    plan: 'composer',
    planSource: 'admin',
  });
});
afterAll(() => whole.close());

const get = (at: string) => whole.app.call('GET', at);
const post = (at: string, body: unknown, idempotencyKey?: string) =>
  whole.app.call('POST', at, { body, ...defined({ idempotencyKey }) });

test('publishing would refuse it today, for each of its faults', () => {
  const parsed = parseCatalog(laxer());
  const said = parsed.ok ? '' : JSON.stringify(parsed.errors);
  for (const fault of ['surcharge', 'label', 'rates.0.credits']) expect(said).toContain(fault);
});

test('its accounts have their balance, prices, journal and plans', async () => {
  for (const what of ['', '/balance', '/prices', '/journal', '/statement', '/events']) {
    const { status, text } = await get(`/v1/accounts/cust${what}`);
    expect([what, status, status === 200 ? '' : text]).toEqual([what, 200, '']);
  }
  expect((await get('/v1/accounts/cust/balance')).body).toMatchObject({ available: 652 });
  expect((await get('/v1/usage?account=cust')).status).toBe(200);
});

test('is quoted, charged and reserved from, and a refusal of then is answered byte for byte', async () => {
  const quoted = await post('/v1/quotes', { account: 'cust', action: 'song' });
  expect([quoted.status, quoted.body['credits']]).toEqual([200, 3.75]);
  const song = { account: 'cust', action: 'song' };
  expect((await post('/v1/charges', song, 'k1')).status).toBe(201);
  const refused = await post('/v1/charges', { account: 'cust', credits: 5_000 }, 'k2');
  expect([refused.status, refused.body['code']]).toEqual([402, 'insufficient_credits']);
  expect((await post('/v1/charges', { account: 'cust', credits: 5_000 }, 'k2')).text).toBe(refused.text);

  const input = {
    account: 'cust',
    key: 'k3',
    receivedAt: new Date().toISOString(),
    request: { action: 'song', params: {} },
  };
  const reserved = await whole.engine.reservations.reserve({
    input,
    arrivedMs: performance.now(),
    workflowId: 'w',
  });
  expect(reserved).toMatchObject({ kind: 'answered', holdOpen: true });
});

test('is settled by, slot after slot', async () => {
  const { ledger } = whole.engine;
  await ledger.open({
    account: 'later',
    catalog: 'laxer',
    plan: 'composer',
    planSource: 'admin',
    clockAt: '2026-01-01T00:00:00Z',
  });
  await ledger.balance('later');
  await ledger.moveClock('later', '2026-02-15T00:00:00Z');
  await ledger.settle('later', { touch: true });
  expect((await get('/v1/accounts/later/balance')).body).toMatchObject({ available: 652 });
});

test('is listed, and a version that cannot be read is left out, counted, and takes no other with it', async () => {
  const { status, body } = await get('/v1/catalogs');
  const ids = (body['data'] as { catalog: string }[]).map(({ catalog }) => catalog);
  expect([status, ids]).toEqual([200, ['laxer', 'working-day']]);
  expect((await get('/v1/catalogs/working-day')).status).toBe(200);
  expect((await post('/v1/accounts', { id: 'new', catalog: 'working-day' }, 'k4')).status).toBe(201);
  const { text } = await get('/metrics');
  expect(text).toContain('holdfast_refused_catalog_versions{readable="true"} 1');
  expect(text).toContain('holdfast_refused_catalog_versions{readable="false"} 1');
});

test('is replaced by publishing a repaired version, as is one that cannot be read, and it is kept who did', async () => {
  const rest = laxer();
  const repaired = {
    ...rest,
    label: 'Laxer',
    actions: (rest['actions'] as object[]).filter(
      (one) => Reflect.get(one, 'action') !== 'song' && Reflect.get(one, 'action') !== 'album',
    ),
    rules: { packsFor: 'everyone', defaultProvider: { type: 'external', deadlineSeconds: 600 } },
    assertions: [],
  };
  for (const catalog of ['laxer', 'broken']) {
    const { status, body, text } = await post('/v1/catalogs', { ...repaired, catalog });
    expect([status, status === 201 ? '' : text]).toEqual([201, '']);
    expect(body).toMatchObject({ version: 2, changed: true });
    expect((await get(`/v1/catalogs/${catalog}`)).body).toMatchObject({ version: 2, publishedBy: 'admin' });
  }
});

test('and the audit finds nothing', async () => {
  const { checks } = await runAudit(whole.database.db.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});

test('a version that begins later, and that only a newer release can read, stops nobody before it begins', async () => {
  const { database, engine } = whole;
  const account = 'before';
  await engine.ledger.open({ account, catalog: 'working-day', plan: 'standard', planSource: 'admin' });
  await database.owner.pool.query(
    `INSERT INTO holdfast.catalogs (catalog, version, body, hash, effective_at)
     SELECT catalog, 99, jsonb_set(body, '{buckets,0,refresh}', '"week"'), 'newer', clock_timestamp() + interval '30 days'
       FROM holdfast.catalogs WHERE catalog = 'working-day' AND version = 1`,
  );
  await new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS + 100));
  expect((await post('/v1/charges', { account, credits: 1 }, 'before-1')).status).toBe(201);
  expect((await get(`/v1/accounts/${account}/balance`)).status).toBe(200);
  expect(await engine.ledger.settle(account, { touch: true })).not.toBeNull();
});
