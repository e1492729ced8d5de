import { createConnection } from 'node:net';
import { ADMIN_KEY } from '../app';
import { startWhole, type Whole } from '../whole';

/** Clients that are slow, or say nothing: what they are told is true, and their connections end. */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
  await whole.app.call('POST', '/v1/accounts', {
    body: { id: 'ada', catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => whole.close());

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A client that keeps its side open whatever the server does. */
function connected() {
  const { hostname, port } = new URL(whole.app.url);
  const socket = createConnection({ host: hostname, port: Number(port), allowHalfOpen: true });
  const seen = { text: '', ended: false, broken: false };
  socket.on('data', (bytes) => (seen.text += bytes.toString('utf8')));
  socket.on('end', () => (seen.ended = true));
  socket.on('error', () => (seen.broken = true));
  return { socket, seen };
}

const REST = `Host: x\r\nAuthorization: Bearer ${ADMIN_KEY}\r\nContent-Type: application/json\r\n`;
const charge = JSON.stringify({ account: 'ada', credits: 1 });

test('what came after its client was told that it had not come in time was carried out', async () => {
  const late = connected();
  late.socket.write('POST /v1/charges HTTP/1.1\r\nIdempotency-Key: late\r\n');
  const silent = connected();
  silent.socket.write('GET /healthz HT');
  const { id } = await whole.running('ada', 1);
  const busy = connected();
  busy.socket.write(`GET /v1/generations/${id}?wait=20 HTTP/1.1\r\n${REST}\r\nGET /healthz HT`);

  for (let tries = 0; late.seen.text === '' && tries < 150; tries += 1) await wait(100);
  late.socket.write(`${REST}Content-Length: ${charge.length}\r\n\r\n${charge}`);
  await wait(2_500);
  expect(late.seen.text).toMatch(/^HTTP\/1\.1 408 /);
  expect(late.seen.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  const journal = await whole.app.call('GET', '/v1/accounts/ada/journal');
  expect(JSON.stringify(journal.body)).not.toContain('"charge');

  // Its descriptor is free again, though it never closed its side: what it writes comes to nobody.
  expect(silent.seen).toMatchObject({
    text: expect.stringMatching(/^HTTP\/1\.1 408 /) as string,
    ended: true,
  });
  for (let tries = 0; !silent.seen.broken && tries < 20; tries += 1) {
    silent.socket.write('TP/1.1\r\n');
    await wait(100);
  }
  expect(silent.seen.broken).toBe(true);

  // A request that is at work was not told that it was not looked at.
  for (let tries = 0; !busy.seen.ended && !busy.seen.broken && tries < 150; tries += 1) await wait(100);
  expect(busy.seen.text).not.toContain('408');
  for (const { socket } of [late, silent, busy]) socket.destroy();
}, 60_000);
