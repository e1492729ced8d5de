import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { ProblemError } from '../../../api/problems/problem';
import { apiKeyRoutes } from '../../../api/resources/operations/apiKeys';
import { UsageUnderWay } from '../../../db/books/usageSums';
import { requestHash } from '../../../domain/ids';
import { testDatabase } from '../../support/database';
import { ADMIN_KEY, startApp, type TestApp } from '../app';
import { testRoutes } from './testRoutes';

let failure: unknown = null;

let database: Awaited<ReturnType<typeof testDatabase>>;
let app: TestApp;
const keys: Record<string, string> = {};

beforeAll(async () => {
  database = await testDatabase();
  app = await startApp({
    db: database.db,
    routes: testRoutes(() => failure),
    corsOrigins: ['https://app.example'],
  });
  const admin = await startApp({ db: database.db, routes: apiKeyRoutes({ db: database.db }) });
  await database.owner.knex.raw(
    "INSERT INTO ledger.accounts (account_id) VALUES ('a1'), ('b1'), ('b2'), ('c1'), ('d1'), ('e1')",
  );
  for (const [name, body] of Object.entries({
    read: { scopes: ['read'] },
    generate: { scopes: ['generate'] },
    bound: { scopes: ['generate'], account: 'a1' },
  })) {
    const made = await admin.call('POST', '/v1/api-keys', { body });
    keys[name] = String(made.body['secret']);
  }
  await admin.close();
});

afterAll(async () => {
  await app.close();
  await database.close();
});

const good = { account: 'a1', credits: 1.5 };

describe('what a request meets, in order', () => {
  test('without a key it is 401 and told how to send one', async () => {
    const reply = await app.call('POST', '/v1/orders', { key: null, body: good });
    expect(reply.status).toBe(401);
    expect(reply.body['code']).toBe('unauthorized');
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="holdfast"');
  });

  test.each(['nonsense', 'hf_0123456789abcdef_short', `hf_0123456789abcdef_${'x'.repeat(43)}`])(
    'with the wrong key %s it is 401',
    async (key) => {
      expect((await app.call('POST', '/v1/orders', { key, body: good })).status).toBe(401);
    },
  );

  test('a wrong secret behind a real key id is 401', async () => {
    const key = `${keys['read']?.slice(0, -43)}${'x'.repeat(43)}`;
    expect((await app.call('GET', '/v1/failing', { key })).status).toBe(401);
  });

  test('a key with too small a scope is 403 and learns which scope is needed', async () => {
    const reply = await app.call('POST', '/v1/orders', { key: keys['read'] ?? '', body: good });
    expect(reply.status).toBe(403);
    expect(reply.body).toMatchObject({ code: 'scope_missing', requiredScope: 'generate' });
  });

  test('generate includes read', async () => {
    const reply = await app.call('GET', '/v1/everything', { key: keys['generate'] ?? '' });
    expect(reply.status).toBe(200);
  });

  test('a key bound to an account reaches that account only', async () => {
    const key = keys['bound'] ?? '';
    const idempotencyKey = 'k';
    expect((await app.call('POST', '/v1/orders', { key, idempotencyKey, body: good })).status).toBe(201);
    const other = await app.call('POST', '/v1/orders', {
      key,
      idempotencyKey,
      body: { ...good, account: 'a2' },
    });
    expect(other.body['code']).toBe('scope_missing');
    expect((await app.call('GET', '/v1/things/gen_a1.abc', { key })).status).toBe(200);
    expect((await app.call('GET', '/v1/things/gen_a2.abc', { key })).status).toBe(403);
    expect((await app.call('GET', '/v1/everything', { key })).status).toBe(403);
  });

  test('a bound key that names no account is refused where an account is needed', async () => {
    const reply = await app.call('POST', '/v1/orders', {
      key: keys['bound'] ?? '',
      idempotencyKey: 'k',
      body: {},
    });
    expect(reply.body['code']).toBe('scope_missing');
  });

  test('a missing Idempotency-Key is 400 where one is required', async () => {
    const reply = await app.call('POST', '/v1/orders', { body: good });
    expect(reply.status).toBe(400);
    expect(reply.body['code']).toBe('idempotency_key_required');
  });

  test.each([
    ['as UTF-8', Buffer.from('Zahlung für März 日本', 'utf8').toString('latin1'), 'Zahlung für März 日本'],
    ['as Latin-1, where it is not UTF-8', 'Zahlung für März', 'Zahlung für März'],
  ])('an Idempotency-Key is read %s', async (_how, idempotencyKey, key) => {
    const reply = await app.call('POST', '/v1/orders', { idempotencyKey, body: good });
    expect(reply.body['key']).toBe(key);
  });

  test('two Idempotency-Keys are none', async () => {
    const sent = request(`${app.url}/v1/orders`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'idempotency-key': ['one', 'two'] },
    });
    sent.end();
    const [reply] = (await once(sent, 'response')) as [IncomingMessage];
    expect(reply.statusCode).toBe(400);
    reply.destroy();
  });

  test('an Idempotency-Key may have 255 characters and not 256', async () => {
    const most = await app.call('POST', '/v1/orders', { idempotencyKey: 'k'.repeat(255), body: good });
    expect(most.status).toBe(201);
    const more = await app.call('POST', '/v1/orders', { idempotencyKey: 'k'.repeat(256), body: good });
    expect(more.body['code']).toBe('idempotency_key_invalid');
  });

  test('a kept answer is sent byte for byte before the shape is looked at', async () => {
    const request = { method: 'POST', route: '/v1/orders', body: { account: 'a1', bad: 1 } };
    await database.owner.knex('ledger.op_keys').insert({
      account_id: 'a1',
      key: 'req:kept',
      request_hash: requestHash(request),
      seq: 1,
      answer: '{}',
    });
    const reply = await app.call('POST', '/v1/orders', {
      idempotencyKey: 'kept',
      body: { account: 'a1', bad: 1 },
    });
    expect(reply.status).toBe(402);
    expect(reply.text).toMatch(/^\{"of":"a1","hash":"[0-9a-f]{64}"\}$/);
    expect(reply.headers.get('idempotent-replayed')).toBe('true');
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  });

  test('a wrong shape is 422 with every place that is wrong', async () => {
    const body = { account: 'not an id', credits: 0.0001, params: { seconds: 'x', extra: 1 }, surplus: true };
    const reply = await app.call('POST', '/v1/orders', { idempotencyKey: 'k', body });
    expect(reply.status).toBe(422);
    expect(reply.body['code']).toBe('invalid_request');
    const paths = (reply.body['errors'] as { path: string }[]).map(({ path }) => path);
    expect(paths.toSorted()).toEqual(['account', 'credits', 'params.extra', 'params.seconds', 'surplus']);
  });

  test('an unknown query field is 422, not ignored', async () => {
    const reply = await app.call('GET', '/v1/everything?lmit=2');
    expect(reply.status).toBe(422);
    expect(reply.body['errors']).toEqual([{ path: 'lmit', message: 'There is no such field.' }]);
  });

  test('credits arrive as millicredits', async () => {
    const reply = await app.call('POST', '/v1/orders', { idempotencyKey: 'k', body: good });
    expect(reply.body).toEqual({ milli: 1500, key: 'k' });
    expect(reply.headers.get('content-type')).toBe('application/json');
  });
});

describe('the key of an account, where the ledger keeps no facts of the answer', () => {
  const roll = (account: string, idempotencyKey: string | null, more = {}) =>
    app.call('POST', '/v1/dice', {
      body: { account, ...more },
      ...(idempotencyKey === null ? {} : { idempotencyKey }),
    });

  test('gets its first answer again, byte for byte, and nothing is done a second time', async () => {
    const first = await roll('a1', 'die');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    const again = await roll('a1', 'die');
    expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
    expect((await roll('a1', null)).text).not.toBe(first.text);
  });

  test('is another key in another account', async () => {
    const [one, other] = [await roll('b1', 'die'), await roll('b2', 'die')];
    expect(one.text).not.toBe(other.text);
  });

  test('is a conflict with another body, or on another route', async () => {
    await roll('c1', 'die');
    expect((await roll('c1', 'die', { fail: 'refused' })).body['code']).toBe('idempotency_conflict');
    const order = await app.call('POST', '/v1/orders', { idempotencyKey: 'die', body: { account: 'c1' } });
    expect(order.body['code']).toBe('idempotency_conflict');
  });

  test.each([
    ['refused', 503],
    ['overloaded', 429],
  ])('is not used up where nothing was done: %s', async (fail, status) => {
    expect((await roll('d1', fail, { fail })).status).toBe(status);
    expect((await roll('d1', fail)).status).toBe(200);
  });

  test.each([
    ['begun', 503],
    ['crash', 500],
  ])('stays with a request that may have been carried out: %s', async (fail, status) => {
    expect((await roll('d1', fail, { fail })).status).toBe(status);
    expect((await roll('d1', fail)).body['code']).toBe('idempotency_conflict');
    expect((await roll('d1', fail, { fail })).status).toBe(status);
  });

  test('gets one answer for all that are sent at once', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => roll('e1', 'die')));
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
  });
});

describe('bodies', () => {
  const send = (rawBody: string, headers = {}) =>
    app.call('POST', '/v1/orders', { idempotencyKey: 'k', rawBody, headers });

  test('one that cannot be parsed is 400', async () => {
    const reply = await send('{"account":');
    expect(reply.status).toBe(400);
    expect(reply.body['code']).toBe('invalid_json');
  });

  test('one above 256 KiB is 413', async () => {
    const reply = await send(JSON.stringify({ ...good, padding: 'x'.repeat(1024 * 1024) }));
    expect(reply.status).toBe(413);
    expect(reply.body['code']).toBe('body_too_large');
  });

  test('one that is not declared as JSON is 415', async () => {
    const reply = await send('account=a1', { 'Content-Type': 'application/x-www-form-urlencoded' });
    expect(reply.body['code']).toBe('unsupported_media_type');
  });

  test('none at all needs no type: what is missing is told by the shape', async () => {
    const reply = await app.call('POST', '/v1/orders', { idempotencyKey: 'k' });
    expect([reply.status, reply.body['code']]).toEqual([422, 'invalid_request']);
  });

  test.each(['3', '"text"', 'null', '[]'])('the JSON value %s is a wrong shape: 422', async (text) => {
    expect((await send(text)).status).toBe(422);
  });

  test.each([
    ['NUL', '{"account":"a1","credits":1,"params":{"seconds":"\\u0000"}}'],
    ['half a surrogate pair', '{"account":"a1","credits":1,"params":{"seconds":"\\ud800"}}'],
    ['a thousand levels', `${'['.repeat(1000)}${']'.repeat(1000)}`],
  ])('one with %s is 422 before anything hashes or stores it', async (_what, text) => {
    expect((await send(text)).body['code']).toBe('invalid_request');
  });
});

describe('paths', () => {
  test('an unknown one is a 404 problem', async () => {
    const reply = await app.call('GET', '/v1/nothing', { key: null });
    expect(reply.status).toBe(404);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    expect(reply.body).toMatchObject({ code: 'not_found', status: 404, retryable: false });
  });

  test('an id that cannot be one is 404 by the code of the route', async () => {
    const reply = await app.call('GET', '/v1/things/xyz');
    expect(reply.body['code']).toBe('unknown_generation');
  });

  test('one with broken percent-encoding is 404', async () => {
    expect((await app.call('GET', '/v1/things/%zz')).status).toBe(404);
  });

  test('a wrong method is 405 and told the right ones', async () => {
    const reply = await app.call('DELETE', '/v1/orders');
    expect(reply.status).toBe(405);
    expect(reply.headers.get('allow')).toBe('POST');
  });
});

describe('failures', () => {
  test('an unexpected one is a 500 without its message, and is logged under the id in instance', async () => {
    failure = new Error('the secret inside');
    const reply = await app.call('GET', '/v1/failing');
    expect(reply.status).toBe(500);
    expect(reply.text).not.toContain('secret');
    expect(reply.text).not.toContain('at ');
    const id = String(reply.body['instance']).replace('urn:holdfast:request:', '');
    const line = app.logLines.find((each) => each['requestId'] === id && each['err'] !== undefined);
    expect(JSON.stringify(line)).toContain('the secret inside');
  });

  test('a database that is away is 503 with Retry-After', async () => {
    failure = Object.assign(new Error('terminating connection'), { code: '57P01' });
    const reply = await app.call('GET', '/v1/failing');
    expect(reply.status).toBe(503);
    expect(reply.body).toMatchObject({ code: 'unavailable', retryable: true });
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('usage that is still being added up is 503 with Retry-After, and says so', async () => {
    failure = new UsageUnderWay('1 of 5 days');
    const reply = await app.call('GET', '/v1/failing');
    expect([reply.status, reply.body['code']]).toEqual([503, 'unavailable']);
    expect(reply.body['detail']).toContain('added up');
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('a problem keeps its extensions', async () => {
    failure = new ProblemError('insufficient_credits', { detail: 'Too few.', extensions: { shortfall: 3 } });
    const reply = await app.call('GET', '/v1/failing');
    expect(reply.status).toBe(402);
    expect(reply.body).toMatchObject({ type: '/docs/problems#insufficient_credits', shortfall: 3 });
  });
});

describe('around every request', () => {
  test('the log line says route, status and key, and never the query or the key itself', async () => {
    await app.call('GET', '/v1/things/gen_a1.abc?access_token=hidden', {
      headers: { 'X-Request-Id': 'mine-1' },
    });
    const line = app.logLines.find((each) => each['requestId'] === 'mine-1' && each['msg'] === 'request');
    expect(line).toMatchObject({ route: '/v1/things/{id}', status: 422, keyId: 'admin', method: 'GET' });
    expect(JSON.stringify(app.logLines)).not.toContain('hidden');
    expect(JSON.stringify(app.logLines)).not.toContain('admin-key-of-the-tests');
  });

  test('listed origins may call, others are told nothing', async () => {
    const headers = { Origin: 'https://app.example', 'Access-Control-Request-Method': 'POST' };
    const listed = await app.call('OPTIONS', '/v1/orders', { headers });
    expect(listed.status).toBe(204);
    expect(listed.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(listed.headers.get('access-control-allow-headers')).toContain('Idempotency-Key');
    const other = await app.call('GET', '/healthz', { headers: { Origin: 'https://else.example' } });
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('a preflight is kept for ten minutes, answers differ by origin, and no credentials are allowed', async () => {
    const origin = { Origin: 'https://app.example' };
    const [preflight, real, unlisted, none] = await Promise.all([
      app.call('OPTIONS', '/v1/orders', { headers: { ...origin, 'Access-Control-Request-Method': 'POST' } }),
      app.call('GET', '/healthz', { headers: origin }),
      app.call('OPTIONS', '/v1/orders', { headers: { Origin: 'https://else.example' } }),
      app.call('GET', '/healthz'),
    ]);
    expect(preflight.headers.get('access-control-max-age')).toBe('600');
    expect(preflight.headers.get('access-control-allow-methods')).toMatch(
      /GET, ?POST, ?PUT, ?PATCH, ?DELETE/,
    );
    expect(real.headers.get('access-control-expose-headers')).toMatch(
      /Idempotent-Replayed, ?Retry-After, ?X-Request-Id/,
    );
    expect(unlisted.status).toBe(405);
    for (const { headers } of [preflight, real, unlisted, none]) {
      expect(headers.get('vary')).toMatch(/Origin/);
      expect(headers.get('access-control-allow-credentials')).toBeNull();
    }
    for (const { headers } of [unlisted, none])
      expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});
