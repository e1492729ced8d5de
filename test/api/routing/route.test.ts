import { pino } from 'pino';
import { z } from 'zod';
import { ANONYMOUS } from '../../../api/routing/authenticate';
import { type BareContext, route } from '../../../api/routing/route';

const facts = {
  method: 'POST',
  path: '/v1/x',
  summary: 'For types',
  tag: 'Test',
  scope: 'read',
  account: 'shared',
  errors: [],
  responses: { 201: z.object({ id: z.string() }) },
} as const;

const context: BareContext = {
  requestId: 'r',
  arrivedMs: 0,
  caller: ANONYMOUS.caller,
  logger: pino({ level: 'silent' }),
  signal: new AbortController().signal,
  key: 'k',
  hash: 'h',
  prefersCsv: false,
  transaction: null,
};

test('a handler is held to the statuses and bodies that its route declares', () => {
  // @ts-expect-error 200 is not declared
  route(facts).handle(() => Promise.resolve({ status: 200, body: { id: 'x' } }));
  // @ts-expect-error the declared body has a string id
  route(facts).handle(() => Promise.resolve({ status: 201, body: { id: 3 } }));
  expect(route(facts).handle(() => Promise.resolve({ status: 201, body: { id: 'x' } })).body).toBeNull();
});

test('a key is a string where it is required, and may be null where it is optional', async () => {
  const required = route({ ...facts, idempotency: 'required' }).handle(({ key }) =>
    Promise.resolve({ status: 201, body: { id: key } }),
  );
  const answer = await required.accept({ params: {}, query: {}, body: {} })(context);
  expect(answer.text).toBe('{"id":"k"}');
  route({ ...facts, idempotency: 'optional' }).handle(({ key }) =>
    // @ts-expect-error the key may be null
    Promise.resolve({ status: 201, body: { id: key } }),
  );
});

test('a transaction is there exactly where the table of request keys keeps the answer', () => {
  const inTable = route({ ...facts, keptBy: 'api-key' }).handle(async ({ transaction }) => {
    await transaction.raw('SELECT 1');
    return { status: 201, body: { id: 'x' } };
  });
  expect(inTable.keptBy).toBe('api-key');
  route(facts).handle(async ({ transaction }) => {
    // @ts-expect-error there is none
    await transaction.raw('SELECT 1');
    return { status: 201, body: { id: 'x' } };
  });
});

test('a stored answer is passed on as the text that it is', async () => {
  const stored = { status: 402, text: '{ "odd":  "spacing" }', replayed: true };
  const passing = route(facts).handle(() => Promise.resolve(stored));
  expect(await passing.accept({ params: {}, query: {}, body: undefined })(context)).toBe(stored);
});
