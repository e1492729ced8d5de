import path from 'node:path';
import { runAudit } from '../../../db/audit';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { whileReadOnly } from '../../support/ledger/readOnly';
import type { Reply } from '../app';
import { startWhole, type Whole } from '../whole';
import { defined } from '../../../domain/defined';

/** Rules 1 and 2 on every route that has an effect on an account: one key, one effect, one answer. */

const T0 = '2026-03-10T10:00:00.000Z';
const CATALOG = path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json');

let whole: Whole;
let account: string;
let counter = 0;

beforeAll(async () => {
  whole = await startWhole();
  // From April on one pack and one bucket are no longer there.
  const catalog = readCatalog(CATALOG);
  const packs = catalog.packs.filter(({ pack }) => pack !== 'tokens-1000');
  const buckets = catalog.buckets.filter(({ bucket }) => bucket !== 'promo');
  const less = { ...catalog, packs, buckets };
  await publishCatalog(whole.database.db.knex, { catalog: less, effectiveAt: '2026-04-01T00:00:00.000Z' });
});
afterAll(() => whole.close());
beforeEach(async () => {
  counter += 1;
  account = `keys-${counter}`;
  await whole.engine.ledger.open({
    account,
    catalog: 'working-day',
    plan: 'standard',
    planSource: 'admin',
    planInterval: 'month',
    clockAt: T0,
  });
  whole.listen(true);
});

const post = (at: string, body: unknown, idempotencyKey?: string) =>
  whole.app.call('POST', at, { body, ...defined({ idempotencyKey }) });
const ofAccount = (what: string, body: unknown, key?: string) =>
  post(`/v1/accounts/${account}/${what}`, body, key);
const adjust = (body: object, key: string) => ofAccount('adjustments', { reason: 'a test', ...body }, key);
const available = async () => (await whole.engine.ledger.balance(account))?.available;
const suspended = async () => (await whole.engine.ledger.snapshot(account))?.rules.suspended;
const code = (reply: Reply) => [reply.status, reply.body['code']];
const CONFLICT = [409, 'idempotency_conflict'];

function expectReplay(again: Reply, first: Reply): void {
  expect([again.status, again.text]).toEqual([first.status, first.text]);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
}

/** As after a crash between the effect and its answer: the text of it is not there. */
async function forgetAnswer(key: string): Promise<void> {
  const rows = whole.database.owner
    .knex('ledger.kept_answers')
    .where({ key: `req:${key}`, account_id: account });
  await rows.clone().update({ status: null, answer: null, claims: 1 });
  expect(await rows).toHaveLength(1);
}

test('one key is one request, whatever route it is sent to', async () => {
  const first = await adjust({ bucket: 'pack', credits: 1 }, 'mine');
  expect(first.status).toBe(201);
  const purchase = () => ofAccount('purchases', { pack: 'tokens-1000' }, 'mine');
  expect(code(await purchase())).toEqual(CONFLICT);
  expect(code(await ofAccount('suspend', { reason: 'x' }, 'mine'))).toEqual(CONFLICT);
  expect(code(await post('/v1/generations', { account, action: 'image' }, 'mine'))).toEqual(CONFLICT);
  expect(code(await post('/v1/charges', { account, credits: 1 }, 'mine'))).toEqual(CONFLICT);
  expect((await ofAccount('purchases', { pack: 'tokens-1000' }, 'bought')).status).toBe(201);
  expect(code(await adjust({ bucket: 'pack', credits: 1 }, 'bought'))).toEqual(CONFLICT);
  expect(code(await post('/v1/generations', { account, action: 'rename' }, 'bought'))).toEqual(CONFLICT);
  expect(code(await post('/v1/charges', { account, credits: 1 }, 'bought'))).toEqual(CONFLICT);
  expect(code(await post('/v1/holds', { account, credits: 1, ttlSeconds: 60 }, 'bought'))).toEqual(CONFLICT);
  expect((await ofAccount('suspend', { reason: 'x' }, 'stopped')).status).toBe(200);
  expect((await ofAccount('unsuspend', {}, 'free')).status).toBe(200);
  expect(code(await post('/v1/charges', { account, credits: 1 }, 'stopped'))).toEqual(CONFLICT);
  expect(code(await post('/v1/holds', { account, credits: 1, ttlSeconds: 60 }, 'free'))).toEqual(CONFLICT);
});

test('a request that crashed at its work keeps its key for its own repetition', async () => {
  const purchase = () => ofAccount('purchases', { pack: 'tokens-1000' }, 'mine');
  await purchase();
  await forgetAnswer('mine');
  expect(code(await post('/v1/charges', { account, credits: 1 }, 'mine'))).toEqual(CONFLICT);
  expect(code(await ofAccount('suspend', { reason: 'x' }, 'mine'))).toEqual(CONFLICT);
  expect((await purchase()).status).toBe(201);
});

test('a purchase is answered with its first answer, also where it had not been granted yet, and once', async () => {
  await available();
  const first = await whileReadOnly(whole.database, () =>
    ofAccount('purchases', { pack: 'tokens-1000' }, 'buy'),
  );
  expect(first.body).toMatchObject({ status: 'paid', credits: 1000 });
  const again = await ofAccount('purchases', { pack: 'tokens-1000' }, 'buy');
  expectReplay(again, first);
  expect(code(await ofAccount('purchases', { pack: 7 }, 'buy'))).toEqual(CONFLICT);
});

test('a purchase and an adjustment are answered again when pack and bucket are gone from the catalog', async () => {
  const bought = await ofAccount('purchases', { pack: 'tokens-1000' }, 'buy');
  const given = await adjust({ bucket: 'promo', credits: 5 }, 'give');
  const taken = await adjust({ bucket: 'promo', credits: -2 }, 'take');
  expect([bought.status, given.status, taken.status]).toEqual([201, 201, 201]);
  await whole.engine.ledger.moveClock(account, '2026-04-02T10:00:00Z');
  const before = await available();
  expectReplay(await ofAccount('purchases', { pack: 'tokens-1000' }, 'buy'), bought);
  expectReplay(await adjust({ bucket: 'promo', credits: 5 }, 'give'), given);
  expectReplay(await adjust({ bucket: 'promo', credits: -2 }, 'take'), taken);
  expect(code(await adjust({ bucket: 'promo', credits: 5 }, 'new'))).toEqual([422, 'unknown_bucket']);
  await forgetAnswer('buy');
  expect((await ofAccount('purchases', { pack: 'tokens-1000' }, 'buy')).text).toBe(bought.text);
  expect(await available()).toBe(before);
});

test('a key that came with another request is a conflict, however malformed this one is', async () => {
  const hold = await post('/v1/holds', { account, credits: 10, ttlSeconds: 60 }, 'hold');
  const at = `/v1/holds/${String(hold.body['id'])}`;
  for (const [what, body] of [
    ['extend', { ttlSeconds: 90 }],
    ['capture', { credits: 1, final: false }],
    ['release', {}],
  ] as const) {
    const first = await post(`${at}/${what}`, body, what);
    expect(first.status).toBe(200);
    expect(code(await post(`${at}/${what}`, { no: 'such field' }, what))).toEqual(CONFLICT);
    expectReplay(await post(`${at}/${what}`, body, what), first);
  }
  await adjust({ bucket: 'pack', credits: 1 }, 'adjust');
  expect(code(await adjust({ bucket: 'pack', credits: 'one' }, 'adjust'))).toEqual(CONFLICT);
});

test('a suspension that is repeated after the account was unsuspended suspends nothing', async () => {
  const first = await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1');
  expect([first.body, await suspended()]).toEqual([{ account, suspended: true, canceled: 0 }, true]);
  expect((await ofAccount('unsuspend', {}, 'k2')).status).toBe(200);
  expectReplay(await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1'), first);
  expect(await suspended()).toBe(false);
  expect(code(await ofAccount('suspend', { reason: 'other' }, 'k1'))).toEqual(CONFLICT);
});

test('not even after a crash before it was answered, and it cancels nothing that began since', async () => {
  await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1');
  await forgetAnswer('k1');
  await ofAccount('unsuspend', {}, 'k2');
  const { id } = await whole.running(account, 1);
  const again = await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1');
  expect([again.status, await suspended()]).toEqual([200, false]);
  expect(whole.cancelled).not.toContain(id);
});

test('who suspended it, when and why is in its journal', async () => {
  await ofAccount('suspend', { reason: 'fraud' }, 'k1');
  await ofAccount('unsuspend', {});
  const { body } = await whole.app.call('GET', `/v1/accounts/${account}/journal?limit=2`);
  expect(body['data']).toMatchObject([
    { kind: 'unsuspend', credits: 0, reason: null },
    { kind: 'suspend', credits: 0, key: 'k1', reason: 'fraud', actor: expect.any(String) },
  ]);
});

test('while it is still suspended, a repetition after a crash keeps cancelling', async () => {
  const { id } = await whole.running(account, 1);
  await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1');
  await forgetAnswer('k1');
  whole.cancelled.length = 0;
  await ofAccount('suspend', { reason: 'fraud', cancelRunning: true }, 'k1');
  expect(whole.cancelled).toEqual([id]);
});

test('of a suspension that is sent twice at once, both get the same answer', async () => {
  const twice = [1, 2].map(() => ofAccount('suspend', { reason: 'fraud' }, 'k1'));
  const [one, other] = await Promise.all(twice);
  expect([one?.status, one?.text]).toEqual([200, other?.text]);
});

test('a heartbeat under a key moves the deadline once', async () => {
  const { id } = await whole.running(account, 1);
  const beat = (extendSeconds: number, key: string) =>
    post(`/v1/generations/${id}/heartbeat`, { extendSeconds }, key);
  const first = await beat(600, 'k1');
  expect(first.status).toBe(200);
  const later = await beat(60, 'k2');
  expectReplay(await beat(600, 'k1'), first);
  const now = await whole.app.call('GET', `/v1/generations/${id}`);
  expect(now.body['deadlineAt']).toBe(later.body['deadlineAt']);
  expect(code(await beat(601, 'k1'))).toEqual(CONFLICT);
});

test('a change of plan is answered with the account as it was right after', async () => {
  const first = await ofAccount('plan', { plan: 'ultimate' }, 'k1');
  expect(first.body['plan']).toBe('ultimate');
  await ofAccount('plan', { plan: 'free', when: 'now' }, 'k2');
  await whole.engine.ledger.moveClock(account, '2026-04-11T10:00:00Z');
  expectReplay(await ofAccount('plan', { plan: 'ultimate' }, 'k1'), first);
  expect((await whole.engine.ledger.snapshot(account))?.rules.plan).toBe('free');
});

test('nor does a crash change the answer that is then given', async () => {
  await ofAccount('plan', { plan: 'ultimate' }, 'k1');
  await forgetAnswer('k1');
  const first = await ofAccount('plan', { plan: 'ultimate' }, 'k1');
  expect(first.body['plan']).toBe('ultimate');
  await ofAccount('plan', { plan: 'free', when: 'now' }, 'k2');
  expectReplay(await ofAccount('plan', { plan: 'ultimate' }, 'k1'), first);
});

test('a cancellation that is sent three times at once is one, and all get its answer', async () => {
  const replies = await Promise.all([1, 2, 3].map(() => ofAccount('cancel', { when: 'now' }, 'k1')));
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
});

test('a report has its key, also where no workflow can be told of it', async () => {
  const { id } = await whole.running(account, 1);
  const complete = () => post(`/v1/generations/${id}/complete`, { outputs: [{}] }, 'k1');
  const first = await complete();
  expect(first.status).toBe(200);
  expect(code(await post('/v1/charges', { account, credits: 1 }, 'k1'))).toEqual(CONFLICT);
  expect((await complete()).text).toBe(first.text);
});

test('an account is opened once, also by a request that crashed before its answer', async () => {
  const body = { id: `${account}-opened`, catalog: 'working-day', plan: 'standard' };
  const first = await post('/v1/accounts', body, 'open');
  expect(first.status).toBe(201);
  await whole.database.owner.knex('holdfast.request_keys').where({ key: 'open' }).delete();
  const again = await post('/v1/accounts', body, 'open');
  expect([again.status, again.body['id']]).toEqual([201, body.id]);
  expect(code(await post('/v1/accounts', body, 'other'))).toEqual([409, 'account_exists']);
  expect(code(await post('/v1/accounts', { ...body, plan: 'free' }, 'open'))).toEqual(CONFLICT);
});

test('what was refused does not use its key up, also if it was sent twice at once', async () => {
  const refused = () => ofAccount('purchases', { pack: 'none' }, 'k1');
  const twice = await Promise.all([refused(), refused()]);
  expect(twice.map(code)).toEqual([1, 2].map(() => [422, 'unknown_pack']));
  expect((await ofAccount('purchases', { pack: 'tokens-1000' }, 'k1')).status).toBe(201);
});

describe('a refund', () => {
  async function captured(credits: number): Promise<string> {
    const { id, holdId } = await whole.running(account, credits);
    await whole.engine.ledger.run(account, {
      op: 'capture',
      key: `sys:capture:${holdId}:final`,
      hash: 'capture',
      holdId,
      final: true,
      cause: 'provider',
      generation: { status: 'succeeded' },
    });
    return id;
  }
  /** From the credits of a month that has ended since. */
  async function capturedLastMonth(credits: number): Promise<string> {
    const id = await captured(credits);
    await whole.engine.ledger.moveClock(account, '2026-04-11T10:00:00Z');
    return id;
  }
  const refund = (id: string, body: object, key: string) =>
    post(`/v1/generations/${id}/refund`, { reason: 'a gift', ...body }, key);

  test('is answered with its first answer when its `expiresAt` has passed and more was refunded', async () => {
    const id = await capturedLastMonth(10);
    const body = { credits: 1, expiresAt: '2026-04-12T00:00:00.000Z' };
    const first = await refund(id, body, 'k1');
    expect([first.status, first.body['credits']]).toMatchObject([200, { captured: 9, refunded: 1 }]);
    await refund(id, { credits: 2 }, 'k2');
    await whole.engine.ledger.moveClock(account, '2026-04-12T10:00:00Z');
    expectReplay(await refund(id, body, 'k1'), first);
  });

  test('is made once also when it crashed before its answer, and is tried again after its `expiresAt`', async () => {
    const id = await capturedLastMonth(10);
    const body = { credits: 1, expiresAt: '2026-04-12T00:00:00.000Z' };
    await refund(id, body, 'k1');
    await forgetAnswer('k1');
    await whole.engine.ledger.moveClock(account, '2026-04-12T10:00:00Z');
    const again = await refund(id, body, 'k1');
    expect([again.status, again.body['credits']]).toMatchObject([200, { captured: 9, refunded: 1 }]);
  });

  test('lasts until its `expiresAt` by the account’s own clock', async () => {
    // Daily credits that have ended by the time they are given back.
    await whole.engine.ledger.balance(account);
    const id = await captured(10);
    await whole.engine.ledger.moveClock(account, '2031-03-12T10:00:00Z');
    const past = await refund(id, { expiresAt: '2031-03-12T09:59:59.000Z' }, 'k1');
    expect(past.body['errors']).toMatchObject([{ path: 'expiresAt' }]);
    expect((await refund(id, { expiresAt: '2031-03-13T10:00:00.000Z' }, 'k2')).status).toBe(200);
    const lots = (await whole.engine.ledger.balance(account))?.lots ?? [];
    const back = lots.filter(({ source }) => source === 'return');
    expect(back.map(({ available, expiresAt }) => [available, Date.parse(expiresAt)])).toEqual([
      [10_000, Date.parse('2031-03-13T10:00:00.000Z')],
    ]);
  });
});

test('and after all of it the audit finds nothing', async () => {
  const report = await runAudit(whole.database.owner.pool);
  expect(report.checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
