import type { Request } from 'express';
import { createHoldBack } from '../../../api/http/holdBack';
import { startWhole, type Whole } from '../whole';

/** Whoever has no key delays itself, and nobody who has one. */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
});
afterAll(() => whole.close());

const from = (remoteAddress: string) => ({ socket: { remoteAddress } }) as Request;

test('one address is answered up to its bound at once and the rest later; another address is not concerned', async () => {
  const holdBack = createHoldBack({ perSecond: 2, holdMs: 50 });
  const order: string[] = [];
  const all = ['a', 'a', 'a', 'b'].map(async (address, n) => {
    await holdBack.hold(from(address));
    order.push(`${address}${n}`);
  });
  await Promise.all(all);
  expect(order.slice(0, 3).toSorted()).toEqual(['a0', 'a1', 'b3']);
  expect(order[3]).toBe('a2');
});

test('while a flood without a key is held back, probes and requests with a key are answered', async () => {
  const flood = Array.from({ length: 300 }, (_, n) =>
    whole.app.call('POST', n % 3 === 0 ? '/v1/charges' : n % 3 === 1 ? '/v1/accounts' : '/nothing', {
      key: null,
      body: {},
    }),
  );
  const answered: number[] = [];
  for (const each of flood) void each.then(({ status }) => answered.push(status));
  while (answered.length < 90) await new Promise((resolve) => setTimeout(resolve, 5));
  const beside = await Promise.all([
    whole.app.call('GET', '/healthz', { key: null }),
    whole.app.call('GET', '/readyz', { key: null }),
    whole.app.call('GET', '/v1/catalogs'),
  ]);
  expect([beside.map(({ status }) => status), answered.length < 300]).toEqual([[200, 200, 200], true]);
  const statuses = new Set((await Promise.all(flood)).map(({ status }) => status));
  expect(statuses).toEqual(new Set([401, 404]));
});
