import { startWhole, type Whole } from '../../whole';

/** What operators look at, and how it answers what they mistype. */

let whole: Whole;

beforeAll(async () => {
  whole = await startWhole();
});
afterAll(() => whole.close());

test('a lease that has ended is not an open hold, by the clock of its account, also before it is written down', async () => {
  const { app, engine } = whole;
  const account = 'leased';
  const clockAt = '2026-03-10T10:00:00.000Z';
  const plan = { plan: 'standard', planSource: 'admin' } as const;
  await engine.ledger.open({ account, catalog: 'working-day', ...plan, clockAt });
  const held = { account, credits: 5, ttlSeconds: 60 };
  const hold = await app.call('POST', '/v1/holds', { body: held, idempotencyKey: 'h' });
  const open = async () => {
    const { body } = await app.call('GET', '/v1/holds');
    return (body['data'] as { id: string }[]).map(({ id }) => id);
  };
  await engine.ledger.moveClock(account, '2026-03-10T10:00:59.999Z');
  expect(await open()).toEqual([hold.body['id']]);
  await engine.ledger.moveClock(account, '2026-03-10T10:01:00.000Z');
  expect(await open()).toEqual([]);
});

test('a key that is bound to one account publishes no catalog for all of them, and resolves nothing', async () => {
  const { app } = whole;
  const bound = { name: 'bound', scopes: ['admin'], account: 'leased' };
  const made = await app.call('POST', '/v1/api-keys', { body: bound });
  const key = String(made.body['secret']);
  for (const [at, body] of [
    ['/v1/catalogs', { catalog: 'working-day' }],
    ['/v1/operations/items/resolve', { account: 'leased', kind: 'hold_overdue', subject: 'x' }],
  ] as const)
    expect((await app.call('POST', at, { key, body })).body).toMatchObject({ code: 'scope_missing' });
  expect((await app.call('GET', '/v1/catalogs', { key })).status).toBe(200);
});

test('an item is resolved once under its key', async () => {
  const resolve = (subject: string) =>
    whole.app.call('POST', '/v1/operations/items/resolve', {
      body: { account: 'leased', kind: 'hold_overdue', subject },
      idempotencyKey: 'seen',
    });
  const first = await resolve('x');
  const again = await resolve('x');
  expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([first.text, 'true']);
  expect((await resolve('y')).status).toBe(409);
});

test('a test clock stays where the ends of what is granted can be written down', async () => {
  const make = (frozenAt: string) => whole.app.call('POST', '/v1/test-clocks', { body: { frozenAt } });
  const refused = await make('9000-01-01T00:00:00.001Z');
  expect([refused.status, refused.body['errors']]).toMatchObject([422, [{ path: 'frozenAt' }]]);
  const last = await make('9000-01-01T00:00:00.000Z');
  const opened = await whole.app.call('POST', '/v1/accounts', {
    body: { catalog: 'working-day', plan: 'standard', testClock: last.body['id'] },
  });
  expect(opened.status).toBe(201);
  const on = `/v1/test-clocks/${String(last.body['id'])}/advance`;
  const further = await whole.app.call('POST', on, { body: { to: '9000-01-02T00:00:00Z' } });
  expect([further.status, further.body['errors']]).toMatchObject([422, [{ path: 'to' }]]);
});

test.each([
  ['GET', '/v1/accounts?limit=abc', undefined, 'limit', 'This must be a number.'],
  ['POST', '/v1/test-clocks', {}, 'frozenAt', 'This is missing, and must be text.'],
  [
    'POST',
    '/v1/test-clocks',
    { frozenAt: 'soon' },
    'frozenAt',
    'This is not an instant by RFC 3339, such as ',
  ],
  ['POST', '/v1/accounts', { catalog: 5 }, 'catalog', 'This must be text.'],
  ['POST', '/v1/accounts', { catalog: 'working-day', colour: 1 }, 'colour', 'There is no such field.'],
] as const)('%s %s of %j says of %s: %s', async (method, at, body, field, message) => {
  const reply = await whole.app.call(method, at, { body });
  expect([reply.status, reply.body['errors']]).toMatchObject([
    422,
    [{ path: field, message: expect.stringContaining(message) }],
  ]);
});
