import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { z } from 'zod';
import { csvPages, type Page } from '../../../api/routing/csv';
import { type Route, route } from '../../../api/routing/route';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ADMIN_KEY, startApp, type TestApp } from '../app';

/** Tables longer than one page: read as fast as they are taken, and never cut short without a sign of it. */

const ENDLESS = 100_000;

let database: TestDatabase;
let app: TestApp;
/** Pages that were read for the last request, and what is called when their reading was ended. */
let read = 0;
let atEnd = () => undefined as void;

async function* pagesOf({ count, failsAt }: { count: number; failsAt: number | undefined }) {
  try {
    for (let n = 1; n <= count; n += 1) {
      if (n === failsAt) throw new Error('the database is gone');
      read += 1;
      const page: Page<number> = { rows: Array.from({ length: 2_000 }, (_, row) => row), last: n === count };
      yield await Promise.resolve(page);
    }
  } finally {
    atEnd();
  }
}

function tables(): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/table',
      summary: 'A table of many pages',
      tag: 'Test',
      scope: 'admin',
      account: 'shared',
      csv: true,
      errors: [],
      query: z.strictObject({
        pages: z.coerce.number().default(ENDLESS),
        failsAt: z.coerce.number().optional(),
      }),
      responses: { 200: z.object({}) },
    }).handle(({ query: { pages: count, failsAt } }) => {
      read = 0;
      const pages = pagesOf({ count, failsAt });
      return csvPages({ filename: 'table', columns: { row: (row: number) => row }, pages });
    }),
  ];
}

beforeAll(async () => {
  database = await testDatabase();
  app = await startApp({ db: database.db, routes: tables() });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

const get = (query: string) => app.call('GET', `/v1/table?${query}`);

test('one page is sent whole, and says how long it is', async () => {
  const reply = await get('pages=1');
  expect(Number(reply.headers.get('content-length'))).toBe(Buffer.byteLength(reply.text));
});

test('several pages have one header line, and all of their rows', async () => {
  const { text } = await get('pages=5');
  expect(text.trimEnd().split('\r\n')).toHaveLength(1 + 5 * 2_000);
  expect(text.match(/row/g)).toHaveLength(1);
});

test('who asks for the headers only has no more read than the first page', async () => {
  const reply = await app.call('HEAD', '/v1/table');
  expect([reply.status, reply.text, read]).toEqual([200, '', 1]);
});

test('what fails on the first page is a problem like any other', async () => {
  const reply = await get('failsAt=1');
  expect([reply.status, reply.body['code']]).toEqual([500, 'internal']);
});

test('what fails later cuts the connection: no client takes what it has for the whole', async () => {
  await expect(get('failsAt=4')).rejects.toThrow(/terminated|aborted|socket|failed/i);
  expect(JSON.stringify(app.logLines)).toContain('the database is gone');
});

test('a client that takes nothing has only so much read for it, and once it has left nothing more', async () => {
  const ended = new Promise<void>((resolve) => {
    atEnd = resolve;
  });
  const errors = app.logLines.filter(({ level }) => level === 50).length;
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const asked = request(`${app.url}/v1/table`, { headers }).on('error', () => undefined);
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage]; // as node:http documents it
  response.on('error', () => undefined).pause();
  // It is full when nothing more was read between two looks; without backpressure it would continue to the end.
  for (let before = -1; before < read; ) {
    before = read;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  expect(read).toBeLessThan(ENDLESS / 10);
  asked.destroy();
  await ended;
  expect(app.logLines.filter(({ level }) => level === 50)).toHaveLength(errors);
});
