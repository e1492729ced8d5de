import { publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { generationHash } from '../../../../db/reserve/generation';
import { startWhole, type Whole } from '../../whole';

/** A refusal that can be known beforehand starts no workflow, so that a loop of refused calls does not flood Temporal (rule 10). */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
  await publishCatalog(whole.database.db.knex, { catalog: readCatalog('catalogs/draftly.json') });
});
afterAll(() => whole.close());

let counter = 0;
async function open(body: object = {}): Promise<string> {
  counter += 1;
  const id = `loop-${counter}`;
  const reply = await whole.app.call('POST', '/v1/accounts', {
    body: { id, catalog: 'working-day', plan: 'standard', ...body },
  });
  if (reply.status !== 201) throw new Error(reply.text);
  return id;
}

const generate = (account: string, more: object = {}) => {
  counter += 1;
  return whole.app.call('POST', '/v1/generations', {
    idempotencyKey: `g-${counter}`,
    body: { account, action: 'image', model: 'example', ...more },
  });
};

/** The code of three refused calls, and how many workflows they started. */
async function refusedThrice(account: string, more: object = {}): Promise<[unknown[], number]> {
  const before = whole.started.length;
  const codes: unknown[] = [];
  for (let n = 0; n < 3; n += 1) codes.push((await generate(account, more)).body['code']);
  return [codes, whole.started.length - before];
}

const thrice = (code: string) => [[code, code, code], 0];
const put = (account: string, path: string, body: object) =>
  whole.app.call('PUT', `/v1/accounts/${account}/${path}`, { body });

test('what can be held does start one', async () => {
  const account = await open();
  await generate(account);
  expect(whole.started.at(-1)).toMatchObject({ account });
});

test('too few credits', async () => {
  const poor = await open({ plan: 'free' });
  await whole.app.call('GET', `/v1/accounts/${poor}/balance`);
  expect(await refusedThrice(poor, { action: 'site', confirm: true })).toEqual(
    thrice('insufficient_credits'),
  );
});

test('too many open generations', async () => {
  const account = await open();
  await put(account, 'limits', { openGenerations: 1 });
  await whole.running(account, 1);
  expect(await refusedThrice(account)).toEqual(thrice('too_many_open_generations'));
});

test('the account’s limit of a day', async () => {
  const account = await open();
  await put(account, 'limits', { creditsPerDay: 1 });
  expect(await refusedThrice(account)).toEqual(thrice('account_limit_reached'));
});

test('a member’s limit', async () => {
  const account = await open();
  await put(account, 'members/olga', { role: 'owner', monthlyLimit: null });
  await put(account, 'members/max', { role: 'member', monthlyLimit: 1 });
  expect(await refusedThrice(account, { member: 'max' })).toEqual(thrice('member_limit_reached'));
});

test('a quota', async () => {
  const account = await open({ catalog: 'draftly', plan: 'free' });
  const clip = { account, action: 'video', params: { seconds: 4 } };
  await whole.app.call('POST', `/v1/accounts/${account}/adjustments`, {
    idempotencyKey: `credits-${account}`,
    body: { bucket: 'pack', credits: 100_000, reason: 'test' },
  });
  const first = await whole.app.call('POST', '/v1/charges', { idempotencyKey: `q-${account}`, body: clip });
  expect(first.status).toBe(201);
  expect(await refusedThrice(account, { ...clip, model: undefined })).toEqual(thrice('quota_reached'));
});

test('credits that lie in a bucket which this work may not use', async () => {
  const account = await open();
  const { body } = await whole.app.call('GET', `/v1/accounts/${account}/balance`);
  const adjust = async (bucket: string, credits: number) => {
    counter += 1;
    const reply = await whole.app.call('POST', `/v1/accounts/${account}/adjustments`, {
      idempotencyKey: `a-${counter}`,
      body: { bucket, credits, reason: 'test' },
    });
    expect(reply.status).toBe(201);
  };
  await adjust('plan', -Number(body['available']));
  await adjust('daily', 100);
  await generate(account);
  expect(whole.started.at(-1)).toMatchObject({ account }); // the daily credits pay for it
  expect(await refusedThrice(account, { model: 'example-pro' })).toEqual(thrice('insufficient_credits'));
});

test('an account to which nothing comes on its own', async () => {
  const account = await open({ plan: 'free' });
  await whole.app.call('GET', `/v1/accounts/${account}/balance`);
  await whole.database.owner
    .knex('ledger.accounts')
    .where({ account_id: account })
    .update({ next_due_at: 'infinity' });
  expect(await refusedThrice(account, { action: 'site', confirm: true })).toEqual(
    thrice('insufficient_credits'),
  );
});

test('an account that nobody has settled yet, and which has nothing coming that would do', async () => {
  expect(await refusedThrice(await open({ plan: 'free' }), { action: 'site', confirm: true })).toEqual(
    thrice('insufficient_credits'),
  );
});

test('credits that the total still counts, and that have expired', async () => {
  const account = await open({ plan: 'free' });
  const expiresAt = new Date(Date.now() + 700).toISOString();
  await whole.app.call('POST', `/v1/accounts/${account}/adjustments`, {
    idempotencyKey: `moment-${account}`,
    body: { bucket: 'pack', credits: 1_000, expiresAt, reason: 'for a moment' },
  });
  await new Promise((resolve) => setTimeout(resolve, Date.parse(expiresAt) - Date.now() + 300));
  expect(await refusedThrice(account, { action: 'site', confirm: true })).toEqual(
    thrice('insufficient_credits'),
  );
});

test('what only looks as if it would be refused does start one: the lease that has its credits has ended', async () => {
  const account = await open({ plan: 'free' });
  const { body } = await whole.app.call('GET', `/v1/accounts/${account}/balance`);
  const lease = { account, credits: body['available'], ttlSeconds: 1 };
  await whole.app.call('POST', '/v1/holds', { idempotencyKey: `lease-${account}`, body: lease });
  await new Promise((resolve) => setTimeout(resolve, 1_300));
  await generate(account);
  expect(whole.started.at(-1)).toMatchObject({ account });
});

test('what limits nothing is not looked up: a plain request costs no read for this', async () => {
  const account = await open();
  const asked: string[] = [];
  const hear = ({ sql }: { sql: string }) => asked.push(sql);
  whole.database.db.knex.on('query', hear);
  await generate(account);
  whole.database.db.knex.off('query', hear);
  expect(asked.filter((sql) => /counters|lots/.test(sql))).toEqual([]);
});

test('a suspended account', async () => {
  const account = await open();
  await whole.app.call('POST', `/v1/accounts/${account}/suspend`, { body: { reason: 'test' } });
  expect(await refusedThrice(account)).toEqual(thrice('account_suspended'));
});

test('the API and a worker know a request by the same hash', async () => {
  const account = await open({ plan: 'free' });
  await generate(account, { action: 'site', confirm: true });
  const { rows } = await whole.database.db.pool.query<{ request_hash: string }>(
    "SELECT request_hash FROM ledger.op_keys WHERE account_id = $1 AND key LIKE 'req:g-%'",
    [account],
  );
  const request = { action: 'site', model: 'example', confirm: true };
  expect(rows).toEqual([{ request_hash: generationHash({ account, request }) }]);
});

test('the answer of a run that another request began is given only if the ledger knows of it', async () => {
  const account = await open();
  const answer = (receivedAt: string | undefined) => {
    whole.answerFrom((input) => {
      const generation = {
        id: 'gen_x.y',
        account,
        member: null,
        project: null,
        feature: null,
        parent: null,
        action: 'image',
        model: 'example',
        params: {},
        ordered: 1,
        metadata: null,
        deadlineAt: null,
        provider: { type: 'simulated' },
        workflowId: null,
        temporalUrl: null,
        catalogVersion: 1,
      };
      const facts = { v: 1, free: true, generation };
      const text = JSON.stringify({
        status: 'applied',
        at: '2026-03-01T00:00:00Z',
        amount: 0,
        draws: [],
        facts,
      });
      const reply = { answer: text, replayed: false, hash: generationHash(input) };
      return Promise.resolve({
        kind: 'answered',
        reply: { ...reply, receivedAt: receivedAt ?? String(input.receivedAt) },
      });
    });
    return generate(account);
  };
  expect((await answer(undefined)).status).toBe(201);
  expect((await answer('2026-01-01T00:00:00.000Z')).body).toMatchObject({ code: 'answer_lost' });
});
