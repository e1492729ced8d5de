import { type Engine, startEngine } from '../support/processes/engine';
import { type Proxy, startProxy, targetOf } from '../support/processes/proxy';
import { defined } from '../../domain/defined';

/** The API starts without Temporal and serves what needs none; when Temporal comes, it continues with the rest (rule 36). */

let engine: Engine;
let proxy: Proxy;
beforeAll(async () => {
  proxy = await startProxy(targetOf(process.env['HOLDFAST_TEST_TEMPORAL'] ?? ''));
  proxy.cut();
  engine = await startEngine({ apiEnv: { TEMPORAL_ADDRESS: proxy.address } });
}, 120_000);
afterAll(async () => {
  await engine.stop();
  await proxy.close();
});

const account = 'without-temporal';
const post = (path: string, body: object, idempotencyKey?: string) =>
  engine.call<Record<string, unknown>>('POST', path, {
    body,
    ...defined({ idempotencyKey }),
  });
const get = (path: string) => engine.call<Record<string, unknown>>('GET', path);
const image = { action: 'image', model: 'nano-banana-2' };

test('accounts, charges, leases, balances, statements and quotes are served', async () => {
  const opened = await post('/v1/accounts', { id: account, catalog: 'imagineart', plan: 'standard' });
  const charged = await post('/v1/charges', { account, credits: 5 }, 'c');
  const held = await post('/v1/holds', { account, credits: 5, ttlSeconds: 600 }, 'h');
  const captured = await post(`/v1/holds/${String(held.body['id'])}/capture`, { credits: 5 });
  const quoted = await post('/v1/quotes', { account, ...image });
  const read = await Promise.all(
    ['/balance', '/statement', '/journal', ''].map((path) => get(`/v1/accounts/${account}${path}`)),
  );
  const all = [opened, charged, held, captured, quoted, ...read];
  expect(all.map(({ status }) => status)).toEqual([201, 201, 201, 200, 200, 200, 200, 200, 200]);
});

test('it is degraded and not unready, and open holds are listed without saying whose workflow is gone', async () => {
  const ready = await get('/readyz');
  expect([ready.status, ready.body]).toMatchObject([
    200,
    { status: 'degraded', checks: { database: 'ok', temporal: 'failing' } },
  ]);
  await post('/v1/holds', { account, credits: 5, ttlSeconds: 600 }, 'open');
  const holds = await get('/v1/holds');
  expect(holds.body['data']).toMatchObject([{ account, orphaned: false }]); // a lease needs no workflow
});

test('a generation is refused with what is true of the credits, and one under a new key runs once Temporal has come', async () => {
  const refused = await post('/v1/generations', { account, ...image }, 'g1');
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, expect.any(String)]);
  expect(String(refused.body['detail'])).toMatch(/held/);
  proxy.mend();
  const done = await engine.generate({ account, ...image, provider: { type: 'simulated', delayMs: 0 } });
  expect(done.status).toBe(201);
  expect(await engine.ended(done.body.id)).toMatchObject({ status: 'succeeded' });
  expect((await get('/readyz')).body).toMatchObject({ checks: { temporal: 'ok' } });
}, 120_000);
