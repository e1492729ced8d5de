import { testDatabase } from '../../../support/database';
import { eventually } from '../../../support/processes/engine';
import { startApp, type TestApp } from '../../app';

let database: Awaited<ReturnType<typeof testDatabase>>;
let app: TestApp;
let temporal: () => Promise<unknown> = () => Promise.resolve();
let skew: () => Promise<unknown> = () => Promise.resolve();

beforeAll(async () => {
  database = await testDatabase();
  const readiness = [
    { name: 'database', check: () => database.db.knex.raw('SELECT 1') },
    { name: 'temporal', check: () => temporal() },
    { name: 'skew', check: () => skew(), degrades: true as const },
  ];
  const skews = () => [
    { kind: 'api' as const, process: 'api here:1', seconds: 0.25 },
    { kind: 'worker' as const, process: 'worker there:2', seconds: -61.5 },
  ];
  app = await startApp({ db: database.db, routes: [], readiness, skews });
});

afterAll(async () => {
  await app.close();
  await database.close();
});

const get = (path: string) => app.call('GET', path, { key: null });

test('healthz answers as long as the process lives', async () => {
  expect((await get('/healthz')).body).toEqual({ status: 'ok' });
});

test('readyz names what it checked', async () => {
  temporal = () => Promise.resolve();
  const reply = await eventually(
    () => get('/readyz'),
    ({ status }) => status === 200,
  );
  expect(reply.body).toEqual({ status: 'ready', checks: { database: 'ok', temporal: 'ok', skew: 'ok' } });
});

test('readyz is degraded, and requests are still served, while a clock is off', async () => {
  skew = () => Promise.reject(new Error('clocks are off: worker there:2 by -61.500 s'));
  const reply = await eventually(
    () => get('/readyz'),
    ({ text }) => text.includes('"database":"ok"'),
  );
  expect([reply.status, reply.body]).toEqual([
    200,
    { status: 'degraded', checks: { database: 'ok', temporal: 'ok', skew: 'failing' } },
  ]);
  expect(reply.text).not.toContain('there:2');
  expect(JSON.stringify(app.logLines)).toContain('worker there:2 by -61.500 s');
});

test('readyz is 503 when Temporal is away, and keeps the reason for the log', async () => {
  temporal = () => Promise.reject(new Error('connect to 10.1.2.3 failed'));
  const reply = await eventually(
    () => get('/readyz'),
    ({ text }) => text.includes('"database":"ok"'),
  );
  expect(reply.status).toBe(503);
  expect(reply.body).toMatchObject({ code: 'unavailable', checks: { database: 'ok', temporal: 'failing' } });
  expect(reply.text).not.toContain('10.1.2.3');
  expect(JSON.stringify(app.logLines)).toContain('10.1.2.3');
});

test('readyz does not wait for a check that hangs', async () => {
  temporal = () => new Promise(() => {});
  expect((await get('/readyz')).status).toBe(503);
});

test('metrics count requests by route, not by path, and show the pool', async () => {
  await get('/healthz');
  const reply = await get('/metrics');
  expect(reply.headers.get('content-type')).toContain('text/plain');
  expect(reply.text).toMatch(
    /holdfast_http_request_duration_seconds_count\{method="GET",route="\/healthz",status="200"\} [1-9]/,
  );
  expect(reply.text).toMatch(/holdfast_pg_pool_connections\{pool="points",state="idle"\} \d/);
});

test('metrics have the skew of every process’ clock', async () => {
  const { text } = await get('/metrics');
  expect(text).toMatch(/^holdfast_clock_skew_seconds\{kind="api",process="api here:1"\} 0\.25$/m);
  expect(text).toMatch(/^holdfast_clock_skew_seconds\{kind="worker",process="worker there:2"\} -61\.5$/m);
});

test('metrics say how many months of the journal there are', async () => {
  expect((await get('/metrics')).text).toMatch(/^holdfast_journal_months_ahead 12$/m);
});
