import { milli } from '../../../../domain/credits';
import { startWhole, type Whole } from '../../whole';

/** What an account has stays far below 2^53 millicredits, where JSON would begin to round it. */

const LIMIT = 1_000_000_000_000_000;

let whole: Whole;

beforeAll(async () => {
  whole = await startWhole();
});
afterAll(() => whole.close());

let counter = 0;

/** An account that may have so much more; on a clock that stands in March, where its plan is `standard`. */
async function filled({ room, plan = 'free' }: { room: number; plan?: string }): Promise<string> {
  counter += 1;
  const account = `full-${counter}`;
  const paid = { planSource: 'admin', planInterval: 'month' } as const;
  await whole.engine.ledger.open({
    account,
    catalog: 'working-day',
    plan,
    clockAt: '2026-03-10T10:00:00Z',
    ...(plan === 'free' ? { planSource: 'free' } : paid),
  });
  const balance = await whole.engine.ledger.balance(account);
  await add(account, LIMIT - room - (balance?.available ?? 0));
  return account;
}

async function add(account: string, amount: number) {
  return whole.engine.ledger.run(account, {
    op: 'adjust',
    key: `req:add-${counter}-${amount}`,
    hash: 'added',
    bucket: 'pack',
    rank: 3,
    amount: milli(amount),
    expiresAt: null,
    graceSeconds: null,
    source: 'adjustment',
    actor: 'test',
    reason: 'to be full',
  });
}

const post = (at: string, body: object, idempotencyKey?: string) =>
  whole.app.call('POST', at, { body, idempotencyKey: idempotencyKey ?? `key-${at}-${JSON.stringify(body)}` });
const adjust = (account: string, credits: number, key?: string) =>
  post(`/v1/accounts/${account}/adjustments`, { bucket: 'pack', credits, reason: 'more' }, key);

test('an adjustment up to the limit is made, one above it is refused, and its key stays free', async () => {
  const account = await filled({ room: 2_000 });
  const refused = await adjust(account, 2.001, 'again');
  expect([refused.status, refused.body['code']]).toEqual([409, 'balance_limit_reached']);
  expect((await adjust(account, 2)).body['available']).toBe(LIMIT / 1000);
  expect((await adjust(account, 0.001)).status).toBe(409);
  expect((await adjust(account, -5)).status).toBe(201);
  expect((await adjust(account, 2.001, 'again')).status).toBe(201);
});

test('a purchase is refused before it is kept', async () => {
  const account = await filled({ room: 999_999 });
  const buy = (body: object) => post(`/v1/accounts/${account}/purchases`, body);
  expect((await buy({ pack: 'tokens-1000' })).body['code']).toBe('balance_limit_reached');
  const list = await whole.app.call('GET', `/v1/accounts/${account}/purchases`);
  expect(list.body['data']).toEqual([]);
});

test('a refund is refused while what it gives back has no room', async () => {
  const account = await filled({ room: 0 });
  const charge = await post('/v1/charges', { account, credits: 10 });
  expect(charge.status).toBe(201);
  await add(account, 10_000);
  const refund = () => post(`/v1/charges/${String(charge.body['id'])}/refund`, { reason: 'sorry' });
  expect((await refund()).body['code']).toBe('balance_limit_reached');
  await adjust(account, -10);
  expect((await refund()).status).toBe(200);
});

test('a renewal is granted above the limit too, and the account continues', async () => {
  const account = await filled({ room: 0, plan: 'standard' });
  const charge = (credits: number) => post('/v1/charges', { account, credits });
  await charge(100); // of the plan’s 8,000
  await adjust(account, 100);
  await whole.engine.ledger.moveClock(account, '2026-04-12T10:00:00Z');
  const balance = await whole.app.call('GET', `/v1/accounts/${account}/balance`);
  expect(balance.body['available']).toBe(LIMIT / 1000 + 100);
  expect((await charge(1)).status).toBe(201);
});
