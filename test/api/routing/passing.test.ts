import { forgetPassing } from '../../../db/idempotency/passing';
import { startWhole, type Whole } from '../whole';

/** Rule 38: what moved no credits does not stay for ever. */

let whole: Whole;
let account: string;
let counter = 0;

beforeAll(async () => {
  whole = await startWhole();
});
beforeEach(async () => {
  counter += 1;
  await sql('TRUNCATE holdfast.quotes, ledger.kept_answers');
  account = `passing-${counter}`;
  await whole.engine.ledger.open({ account, catalog: 'working-day', plan: 'standard', planSource: 'admin' });
});
afterAll(() => whole.close());

const sql = async <Row>(text: string, values: unknown[] = []) =>
  (await whole.database.owner.pool.query(text, values)).rows as Row[];
const post = (path: string, body: unknown, idempotencyKey: string) =>
  whole.app.call('POST', path, { body, idempotencyKey });
const forget = (most = 100) => forgetPassing(whole.database.db.knex, most);

/** As if it had all been there for `days` days. */
async function age(days: number): Promise<void> {
  const by = `${days} days`;
  await sql('UPDATE holdfast.quotes SET created_at = created_at - $1::interval', [by]);
  await sql('UPDATE ledger.kept_answers SET claimed_at = claimed_at - $1::interval', [by]);
  await sql('UPDATE holdfast.request_keys SET created_at = created_at - $1::interval', [by]);
}

const order = { action: 'image' };
const kept = async () =>
  (
    await sql<{ key: string }>(
      `SELECT key FROM ledger.kept_answers WHERE account_id = $1
        UNION ALL SELECT key FROM holdfast.request_keys WHERE key LIKE $1 || '%' ORDER BY key`,
      [account],
    )
  ).map(({ key }) => key);

test('after thirty days quotes go, and what estimates, cancels, heartbeats and quotes were answered; a purchase’s answer stays', async () => {
  const run = await whole.running(account, 1);
  await post('/v1/quotes', { account, ...order }, 'q');
  await post(`/v1/generations/${run.id}/heartbeat`, { progress: 0.5 }, 'h');
  await post(`/v1/generations/${run.id}/cancel`, {}, 'c');
  const estimated = await post(
    '/v1/estimates',
    { catalog: 'working-day', items: [{ ...order, perMonth: 3 }] },
    `${account}-e`,
  );
  expect(estimated.status).toBe(200);
  const bought = await post(`/v1/accounts/${account}/purchases`, { pack: 'tokens-1000' }, 'p');
  expect([bought.status, bought.body['code']]).toEqual([201, undefined]);
  expect(await kept()).toEqual(['req:c', 'req:h', 'req:p', 'req:q', `${account}-e`].toSorted());

  await age(29);
  expect(await forget()).toEqual({ quotes: 0, answers: 0, more: false });
  await age(2);
  expect(await forget()).toEqual({ quotes: 1, answers: 4, more: false });
  expect(await kept()).toEqual(['req:p']);
  expect(await sql('SELECT FROM holdfast.quotes WHERE account_id = $1', [account])).toEqual([]);

  // The purchase is answered as it was; the key of a quote is new again.
  expect((await post(`/v1/accounts/${account}/purchases`, { pack: 'tokens-1000' }, 'p')).text).toBe(
    bought.text,
  );
  const again = await post('/v1/quotes', { account, ...order }, 'q');
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, null]);
});

test('a pass takes no more at once than its bound, page after page', async () => {
  for (let n = 0; n < 7; n += 1) await post('/v1/quotes', { account, ...order }, `q${n}`);
  await age(31);
  expect(await forget(3)).toEqual({ quotes: 3, answers: 3, more: true });
  expect(await forget(3)).toEqual({ quotes: 3, answers: 3, more: true });
  expect(await forget(3)).toEqual({ quotes: 1, answers: 1, more: false });
});

test('what was reserved by a quote is answered as ever when the quote has gone', async () => {
  const quoted = await post('/v1/quotes', { account, ...order }, 'q');
  const charge = () => post('/v1/charges', { account, quote: quoted.body['id'] }, 'k');
  const first = await charge();
  expect(first.status).toBe(201);
  await age(31);
  await forget();
  const again = await charge();
  expect([again.status, again.body['id'], again.headers.get('idempotent-replayed')]).toEqual([
    201,
    first.body['id'],
    'true',
  ]);
  expect((await post('/v1/charges', { account, quote: quoted.body['id'] }, 'k2')).status).toBe(404);
});

test('after too many refusals in a minute the next is told to come later, which is not kept', async () => {
  await sql(
    'UPDATE ledger.accounts SET refused_from = clock_timestamp(), refused = ledger.refusals_a_minute() WHERE account_id = $1',
    [account],
  );
  const charge = () => post('/v1/charges', { account, credits: 90_000 }, 'much');
  const told = await charge();
  expect([told.status, told.body['code'], told.headers.get('retry-after')]).toEqual([
    429,
    'overloaded',
    '60',
  ]);
  await sql("UPDATE ledger.accounts SET refused_from = '-infinity' WHERE account_id = $1", [account]);
  const refused = await charge();
  expect([refused.status, refused.body['code'], refused.headers.get('idempotent-replayed')]).toEqual([
    402,
    'insufficient_credits',
    null,
  ]);
});
