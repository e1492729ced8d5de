import { startWhole, type Whole } from '../whole';

/** What a caller is told of the credits when Temporal did not answer in time (rule 35). */

let whole: Whole;

beforeAll(async () => {
  whole = await startWhole();
  const rules = {
    catalog: 'working-day',
    plan: 'standard',
    planSource: 'admin',
    planInterval: 'month',
  } as const;
  await whole.engine.ledger.open({ account: 'ada', ...rules });
  await whole.engine.ledger.balance('ada');
});
afterAll(() => whole.close());

const order = (idempotencyKey: string) =>
  whole.app.call('POST', '/v1/generations', { body: { account: 'ada', action: 'image' }, idempotencyKey });

test('while the reservation may still be decided, the 503 says that the credits may be held', async () => {
  const { status, body } = await order('one');
  expect([status, body['code'], body['retryable']]).toEqual([503, 'unavailable', true]);
  expect(body['detail']).toContain('may be held: send the same request again');
});

test('where the account is locked nobody can tell, and the 503 says so too', async () => {
  await whole.database.owner.knex.transaction(async (trx) => {
    await trx.raw("SELECT FROM ledger.accounts WHERE account_id = 'ada' FOR UPDATE");
    const { status, body } = await order('two');
    expect([status, body['code']]).toEqual([503, 'unavailable']);
    expect(body['detail']).toContain('may be held');
  });
});

test('a key whose answer a restored database has forgotten is told so, and not to try again for ever', async () => {
  whole.answerFrom(() => Promise.resolve({ kind: 'answered', reply: { answer: '{}', replayed: true } }));
  const { status, body } = await order('forgotten');
  expect([status, body]).toMatchObject([
    409,
    { code: 'answer_lost', retryWithNewKey: true, retryable: false },
  ]);
  expect(body['detail']).toMatch(/gen_ada\..*use a new key/);
});
