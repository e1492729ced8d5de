import { startWhole, type Whole } from '../whole';

/** What other people's tools sent and was taken though it cannot have been meant (116,000 requests of six fuzzers). */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
  await whole.app.call('POST', '/v1/accounts', {
    body: { id: 'ada', catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => whole.close());

const told = ({ status, body }: { status: number; body: Record<string, unknown> }) => [status, body['code']];
const errors = (body: Record<string, unknown>) => body['errors'] as { path: string; message: string }[];
let keys = 0;
const send = (path: string, rawBody: string) =>
  whole.app.call('POST', path, { rawBody, idempotencyKey: `k${(keys += 1)}` });
const get = (path: string) => whole.app.call('GET', path);

test.each([
  ['two amounts', '{"account":"ada","credits":0.001,"credits":0.002}', '"credits"'],
  ['deep inside', '{"account":"ada","credits":1,"params":{"a":[{"x":1,"y":{},"x":2}]}}', '"x"'],
  ['written with an escape', '{"account":"ada","cr\\u0065dits":1,"credits":2}', '"credits"'],
])('a name that an object has twice is 400, and nothing is charged: %s', async (_what, body, name) => {
  const reply = await send('/v1/charges', body);
  expect(told(reply)).toEqual([400, 'invalid_json']);
  expect(reply.body['detail']).toContain(`${name} twice`);
});

test('two objects may have a field of the same name, and a text may look as if it had two', async () => {
  const body =
    '{"account":"ada","credits":1,"description":"{\\"credits\\":1,\\"credits\\":2}","metadata":{"a":{"credits":1},"b":[{"credits":1},{"credits":2}]}}';
  const reply = await send('/v1/charges', body);
  expect([reply.status, errors(reply.body)?.map(({ path }) => path)]).toEqual([422, ['description']]); // which it has not; but it was read
});

test.each([
  ['65 characters before the @', `${'a'.repeat(65)}@mail.example`],
  ['64 between two dots', `a@${'b'.repeat(64)}.example`],
  ['a name that ends in a hyphen', 'a@mail-.example'],
  ['255 in all', `a@${'abcdefg.'.repeat(32)}example`],
])('an e-mail address that no mail server takes is 422: %s', async (_what, email) => {
  const patched = await whole.app.call('PATCH', '/v1/accounts/ada', { body: { email } });
  expect([...told(patched), errors(patched.body).map(({ path }) => path)]).toEqual([
    422,
    'invalid_request',
    ['email'],
  ]);
});

test('and the longest that they take is taken', async () => {
  const email = `${'a'.repeat(64)}@${'b'.repeat(63)}.example`;
  const patched = await whole.app.call('PATCH', '/v1/accounts/ada', { body: { email } });
  expect([patched.status, patched.body['email']]).toEqual([200, email]);
});

test('a body of text that does not end kept the only thread for a minute: it is 400 at once', async () => {
  for (const body of [
    `"${'\\"'.repeat(131_000)}`,
    `{"a":"${'\\"'.repeat(131_000)}`,
    `["${'"'.repeat(262_000)}`,
  ])
    expect(told(await send('/v1/charges', body))).toEqual([400, 'invalid_json']);
}, 10_000);

test('a body of null is refused, and not taken for one without fields', async () => {
  const { id } = await whole.running('ada', 1);
  expect(told(await send(`/v1/generations/${id}/cancel`, 'null'))).toEqual([422, 'invalid_request']);
  expect((await get(`/v1/generations/${id}`)).body['status']).toBe('running');
});

test.each(['0x10', '0b11', '1e2', '%205', '%2B5', '', '1_0', '٣'])(
  'a number in a query is in plain decimal digits: %s',
  async (text) => {
    expect(told(await get(`/v1/generations?limit=${text}`))).toEqual([422, 'invalid_request']);
    const { id } = await whole.running('ada', 1);
    expect(told(await get(`/v1/generations/${id}?wait=${text}`))).toEqual([422, 'invalid_request']);
  },
);

test('and is taken where it is', async () => {
  expect((await get('/v1/generations?limit=10')).status).toBe(200);
  const { id } = await whole.running('ada', 1);
  expect((await get(`/v1/generations/${id}?wait=0.05`)).status).toBe(200);
});

test.each([
  'javascript:alert(1)',
  ' JavaScript:alert(1)',
  'java\tscript:alert(1)',
  'data:text/html,x',
  'vbscript:x',
  '',
])('an output is not a script: %j', async (url) => {
  const { id } = await whole.running('ada', 1);
  const reply = await send(`/v1/generations/${id}/complete`, JSON.stringify({ outputs: [{ url }] }));
  expect([...told(reply), errors(reply.body)[0]?.path]).toEqual([422, 'invalid_request', 'outputs.0.url']);
});

test('a 422 says what to send, in words of the interface', async () => {
  const many = Array.from({ length: 101 }, () => ({ action: 'image', perMonth: 1 }));
  const replies = await Promise.all([
    get('/v1/generations?limit=0'),
    get('/v1/generations?limit=101'),
    get('/v1/accounts?q='),
    get('/v1/operations/items?open=perhaps'),
    send('/v1/estimates', JSON.stringify({ catalog: 'working-day', items: many })),
    send('/v1/accounts', JSON.stringify({ id: 'not an id', catalog: 'working-day' })),
    send('/v1/api-keys', JSON.stringify({ name: 'k', scopes: ['read', 'everything'] })),
    send('/v1/charges', JSON.stringify({ account: 'ada', credits: '5' })),
  ]);
  expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 422));
  const messages = replies.flatMap(({ body }) => errors(body).map(({ message }) => message));
  expect(messages.filter((message) => /expected|received|Too small|Too big|Invalid/.test(message))).toEqual(
    [],
  );
  expect(messages).toEqual(
    expect.arrayContaining([
      'This must be at least 1.',
      'This must be at most 100.',
      'This must not be empty.',
    ]),
  );
});

test('Allow names HEAD wherever GET is taken, on the pages too', async () => {
  const replies = await Promise.all([
    whole.app.call('DELETE', '/v1/generations'),
    whole.app.call('POST', '/docs'),
    whole.app.call('POST', '/docs/swagger-ui.css'),
    whole.app.call('PUT', '/v1/charges'),
  ]);
  expect(replies.map(({ status, headers }) => [status, headers.get('allow')])).toEqual([
    [405, 'POST, GET, HEAD'],
    [405, 'GET, HEAD'],
    [405, 'GET, HEAD'],
    [405, 'POST'],
  ]);
});

test('headers that a client may need are described where they are sent', async () => {
  const document = (await get('/openapi.json')).body as {
    paths: Record<string, Record<string, { responses: Record<string, { headers?: object }> }>>;
  };
  const described = (path: string, method: string, status: number) =>
    Object.keys(document.paths[path]?.[method]?.responses[status]?.headers ?? {}).map((name) =>
      name.toLowerCase(),
    );
  await whole.database.owner.pool.query(
    "UPDATE ledger.accounts SET refused_from = clock_timestamp(), refused = ledger.refusals_a_minute() WHERE account_id = 'ada'",
  );
  const charge = (credits: number, key: string) =>
    whole.app.call('POST', '/v1/charges', { body: { account: 'ada', credits }, idempotencyKey: key });
  await charge(1, 'headers');
  const replies: [Awaited<ReturnType<typeof charge>>, string][] = [
    [await whole.app.call('POST', '/v1/charges', { body: {}, key: null }), 'www-authenticate'],
    [await charge(900_000, 'too much'), 'retry-after'],
    [await charge(1, 'headers'), 'idempotent-replayed'],
  ];
  expect(replies.map(([{ status }]) => status)).toEqual([401, 429, 201]);
  for (const [{ status, headers }, name] of replies) {
    expect([...headers.keys()]).toEqual(expect.arrayContaining([name, 'x-request-id']));
    expect(described('/v1/charges', 'post', status)).toEqual(expect.arrayContaining([name, 'x-request-id']));
  }
});
