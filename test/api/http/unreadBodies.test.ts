import { connect } from 'node:net';
import { startWhole, type Whole } from '../whole';
import { ADMIN_KEY } from '../app';

/** Nothing is read of a body that nobody may send, or that is too large by its own account. */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
});
afterAll(() => whole.close());

/** Sends the text as it is and answers what comes back until the server closes, or the whole answer is there. */
function raw(text: string | Buffer): Promise<{ answer: string; closed: boolean }> {
  const { hostname, port } = new URL(whole.app.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let answer = '';
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      answer += chunk.toString('utf8');
    });
    socket.on('close', () => resolve({ answer, closed: true }));
    socket.setTimeout(3_000, () => {
      socket.destroy();
      resolve({ answer, closed: false });
    });
    socket.write(text);
  });
}

const head = (lines: readonly string[]) =>
  `${['POST /v1/charges HTTP/1.1', 'Host: x', ...lines].join('\r\n')}\r\n\r\n`;

test('a body without a key is refused before any of it has come, and its connection is closed', async () => {
  const request = head(['Content-Type: application/json', 'Content-Length: 200000']);
  const { answer, closed } = await raw(`${request}{"a`);
  expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  expect([answer.toLowerCase().includes('connection: close'), closed]).toEqual([true, true]);
});

test('what follows a body that was not read is not a request of its own', async () => {
  const inside = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
  const { answer } = await raw(
    `${head(['Content-Type: application/json', 'Transfer-Encoding: chunked'])}ffff\r\n${inside}`,
  );
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401']);
});

test('without a key it is not looked at what kind of body it is, or whether it is JSON', async () => {
  for (const contentType of ['text/plain', 'application/json']) {
    const reply = await whole.app.call('POST', '/v1/charges', {
      key: null,
      rawBody: '{{{',
      headers: { 'content-type': contentType },
    });
    expect(reply.body['code']).toBe('unauthorized');
  }
});

test('a key that is too small is told so before its body is read', async () => {
  const made = await whole.app.call('POST', '/v1/api-keys', { body: { name: 'r', scopes: ['read'] } });
  const reply = await whole.app.call('POST', '/v1/charges', {
    key: String(made.body['secret']),
    rawBody: '{{{',
  });
  expect(reply.body['code']).toBe('scope_missing');
});

test('a body that is too large by its own account is refused before any of it has come', async () => {
  const request = head([
    `Authorization: Bearer ${ADMIN_KEY}`,
    'Content-Type: application/json',
    'Content-Length: 300000',
  ]);
  const { answer, closed } = await raw(request);
  expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  expect(closed).toBe(true);
});

test('two bodies that differ only in bytes that are not UTF-8 are two that are refused', async () => {
  for (const byte of [0xff, 0xfe]) {
    const body = Buffer.concat([
      Buffer.from('{"account":"ada","credits":1,"feature":"a'),
      Buffer.from([byte]),
      Buffer.from('"}'),
    ]);
    const request = head([
      `Authorization: Bearer ${ADMIN_KEY}`,
      'Content-Type: application/json',
      'Idempotency-Key: one',
      'Connection: close',
      `Content-Length: ${body.length}`,
    ]);
    const { answer } = await raw(Buffer.concat([Buffer.from(request), body]));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('invalid_json');
  }
});

test('a body in UTF-16 is refused, as the docs say', async () => {
  const response = await fetch(`${whole.app.url}/v1/charges`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json; charset=utf-16le' },
    body: Buffer.from('{"account":"ada"}', 'utf16le'),
  });
  expect(response.status).toBe(415);
});

test('a static page asked for in part, or only if it is another one, is not a failure of ours', async () => {
  const url = `${whole.app.url}/docs/swagger-ui.css`;
  const part = await fetch(url, { headers: { range: 'bytes=999999999-' } });
  const other = await fetch(url, { headers: { 'if-match': '"x"' } });
  const older = await fetch(url, { headers: { 'if-unmodified-since': 'Mon, 01 Jan 1990 00:00:00 GMT' } });
  expect([part.status, other.status, older.status]).toEqual([200, 412, 412]);
  expect(whole.app.logLines.filter(({ level }) => Number(level) >= 50)).toEqual([]);
});

test('probes and scrapers may add parameters of their own', async () => {
  for (const path of ['/healthz?x=1', '/readyz?x=1', '/metrics?x=1'])
    expect((await whole.app.call('GET', path, { key: null })).status).toBe(200);
});

test('what cannot be read is answered as every other problem is, and logged', async () => {
  const refused = await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n');
  expect(refused.answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
  expect(refused.answer).toContain('"code":"bad_request"');
  const long = await raw(`GET /healthz?q=${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`);
  expect(long.answer).toContain('"code":"headers_too_large"');
  expect(long.answer).toMatch(/^HTTP\/1\.1 431 /);
  const odd = await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n');
  expect(odd.answer).toContain('"code":"expectation_failed"');
  expect(JSON.stringify(whole.app.logLines)).toContain('a request that could not be read');
});

test('who asks whether to continue is told so only if the body would be read', async () => {
  const lines = [
    'Content-Type: application/json',
    'Expect: 100-continue',
    'Content-Length: 2',
    'Connection: close',
  ];
  expect((await raw(head(lines))).answer).toMatch(/^HTTP\/1\.1 401 /);
  const known = await raw(`${head([`Authorization: Bearer ${ADMIN_KEY}`, ...lines])}{}`);
  expect(known.answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 /); // it has no Idempotency-Key
});
