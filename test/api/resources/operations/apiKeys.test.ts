import { apiKeyRoutes } from '../../../../api/resources/operations/apiKeys';
import { testDatabase } from '../../../support/database';
import { ADMIN_KEY, startApp, type TestApp } from '../../app';
import { defined } from '../../../../domain/defined';

let database: Awaited<ReturnType<typeof testDatabase>>;
let app: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  app = await startApp({ db: database.db, routes: apiKeyRoutes({ db: database.db }) });
});

afterAll(async () => {
  await app.close();
  await database.close();
});

const make = (body: object, idempotencyKey?: string) =>
  app.call('POST', '/v1/api-keys', { body, ...defined({ idempotencyKey }) });

test('a key is shown once, works, and is stored only as a hash', async () => {
  const made = await make({ name: 'ops', scopes: ['admin'] });
  expect(made.status).toBe(201);
  const secret = String(made.body['secret']);
  expect(secret).toMatch(/^hf_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);

  const shown = await app.call('GET', `/v1/api-keys/${String(made.body['id'])}`, { key: secret });
  expect(shown.status).toBe(200);
  expect(shown.body).toMatchObject({ name: 'ops', scopes: ['admin'], account: null, createdBy: 'admin' });
  expect(shown.text).not.toContain(secret);

  const stored = await database.owner.knex.raw('SELECT k::text FROM holdfast.api_keys k');
  expect(JSON.stringify(stored.rows)).not.toContain(secret.slice(20));
});

test('a deleted key is refused from the next request on, and deleting it again changes nothing', async () => {
  const made = await make({ scopes: ['admin'] });
  const path = `/v1/api-keys/${String(made.body['id'])}`;
  const key = String(made.body['secret']);
  expect((await app.call('GET', path, { key })).status).toBe(200);
  const deleted = await app.call('DELETE', path);
  expect(deleted.body['revokedAt']).toEqual(expect.any(String));
  expect((await app.call('GET', path, { key })).status).toBe(401);
  expect((await app.call('DELETE', path)).text).toBe(deleted.text);
  const list = await app.call('GET', '/v1/api-keys?limit=100');
  expect(list.text).not.toContain(String(made.body['id']));
});

test('an unknown id is 404 and an unknown account is 404', async () => {
  expect((await app.call('GET', '/v1/api-keys/0123456789abcdef')).body['code']).toBe('not_found');
  expect((await app.call('DELETE', '/v1/api-keys/no-such-key')).body['code']).toBe('not_found');
  expect((await make({ scopes: ['read'], account: 'nobody' })).body['code']).toBe('unknown_account');
});

test('a key without admin cannot make keys', async () => {
  const made = await make({ scopes: ['generate', 'billing'] });
  const reply = await app.call('POST', '/v1/api-keys', {
    key: String(made.body['secret']),
    body: { scopes: ['admin'] },
  });
  expect(reply.body).toMatchObject({ code: 'scope_missing', requiredScope: 'admin' });
});

test('scopes are from the list and at least one', async () => {
  expect((await make({ scopes: [] })).status).toBe(422);
  expect((await make({ scopes: ['root'] })).status).toBe(422);
});

test('pages go through all keys once, newest first', async () => {
  for (let count = 0; count < 3; count += 1) await make({ scopes: ['read'] });
  const all = await app.call('GET', '/v1/api-keys?limit=100');
  const expected = (all.body['data'] as { id: string }[]).map(({ id }) => id);
  const seen: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const reply = await app.call('GET', `/v1/api-keys?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
    seen.push(...(reply.body['data'] as { id: string }[]).map(({ id }) => id));
    cursor = reply.body['nextCursor'] as string | null;
  }
  expect(seen).toEqual(expected);
  expect(new Set(seen).size).toBe(seen.length);
});

test.each(['limit=0', 'limit=101', 'limit=x', 'cursor=nonsense', 'cursor=e30'])(
  '?%s is 422',
  async (query) => {
    expect((await app.call('GET', `/v1/api-keys?${query}`)).status).toBe(422);
  },
);

describe('a repeated POST', () => {
  const count = async () =>
    Number((await database.owner.knex('holdfast.api_keys').count('* as n'))[0]?.['n']);

  test('with the same key and body gets the same bytes and makes nothing', async () => {
    const first = await make({ scopes: ['read'], name: 'once' }, 'same');
    const before = await count();
    const second = await make({ name: 'once', scopes: ['read'] }, 'same');
    expect(second.status).toBe(201);
    expect(second.text).toBe(first.text);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(await count()).toBe(before);
  });

  test('with another body is 409, also when that body has a wrong shape', async () => {
    await make({ scopes: ['read'] }, 'conflict');
    expect((await make({ scopes: ['admin'] }, 'conflict')).body['code']).toBe('idempotency_conflict');
    expect((await make({ scopes: 'admin' }, 'conflict')).body['code']).toBe('idempotency_conflict');
  });

  test('by another caller is another request', async () => {
    const other = String((await make({ scopes: ['admin'] })).body['secret']);
    const first = await make({ scopes: ['read'] }, 'shared');
    const body = { scopes: ['read'] };
    const second = await app.call('POST', '/v1/api-keys', { key: other, idempotencyKey: 'shared', body });
    expect(second.body['id']).not.toBe(first.body['id']);
  });

  test('after a problem runs again: a problem does not use the key up', async () => {
    expect((await make({ scopes: ['read'], account: 'later' }, 'retry')).status).toBe(404);
    await database.owner.knex.raw("INSERT INTO ledger.accounts (account_id) VALUES ('later')");
    expect((await make({ scopes: ['read'], account: 'later' }, 'retry')).status).toBe(201);
  });

  test('at the same time waits for the first: ten callers, one key, ten equal answers', async () => {
    const before = await count();
    const replies = await Promise.all(Array.from({ length: 10 }, () => make({ scopes: ['read'] }, 'race')));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    expect(replies.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
    expect(await count()).toBe(before + 1);
  });

  test('leaves no secret in the table of kept answers', async () => {
    const made = await make({ scopes: ['read'] }, 'sealed');
    const kept = await database.owner.knex('holdfast.request_keys').where({ key: 'sealed' }).first('answer');
    const answer = kept?.answer as Buffer;
    expect(answer.includes(Buffer.from(String(made.body['secret'])))).toBe(false);
    expect(answer.includes(Buffer.from(ADMIN_KEY))).toBe(false);
  });
});
