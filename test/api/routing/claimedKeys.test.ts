import { createAccountKeys } from '../../../db/idempotency/accountKeys';
import { openDatabase } from '../../../db/connection/connection';
import { eventually } from '../../support/processes/engine';
import { ledgerOf } from '../../support/ledger/ledger';
import type { Reply } from '../app';
import { startWhole, type Whole } from '../whole';

/** Rule 1 where requests meet: the key is compared under the account's lock, whoever comes with it and whenever. */

let whole: Whole;
let account: string;
let counter = 0;

beforeAll(async () => {
  whole = await startWhole({ patient: true });
});
afterAll(() => whole.close());
beforeEach(async () => {
  counter += 1;
  account = `claimed-${counter}`;
  await whole.engine.ledger.open({ account, catalog: 'working-day', plan: 'standard', planSource: 'admin' });
});

const post = (at: string, body: unknown, idempotencyKey: string) =>
  whole.app.call('POST', at, { body, idempotencyKey });
const sql = async (text: string, values: unknown[]) => {
  const { rows } = await whole.database.owner.pool.query<Record<string, unknown>>(text, values);
  return rows[0];
};
const claim = (hash: string) => sql('SELECT * FROM ledger.claim_key($1, $2, $3)', [account, 'req:k', hash]);
const keep = (text: string) =>
  sql(
    "SELECT convert_from(answer, 'UTF8') AS answer FROM ledger.keep_answer($1, 'req:k', 'a', 200, convert_to($2, 'UTF8'))",
    [account, text],
  );
const free = () => sql("SELECT ledger.free_key($1, 'req:k')", [account]);
const claims = async () =>
  (await sql("SELECT claims FROM ledger.kept_answers WHERE account_id = $1 AND key = 'req:k'", [account]))?.[
    'claims'
  ];
const chargeOf = (hash: string) =>
  JSON.stringify([
    {
      account,
      ops: [{ op: 'adjust', key: 'req:k', hash, bucket: 'pack', rank: 3, amount: 1_000, source: 'x' }],
      settle: null,
    },
  ]);

/** Until somebody waits for a lock. */
const waiting = () =>
  eventually(
    () =>
      sql(
        "SELECT count(*) AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        [],
      ),
    (row) => Number(row?.['waiting']) > 0,
  );

test('of different requests that race under one key, one is carried out', async () => {
  const { id } = await whole.running(account, 1);
  const lease = await post('/v1/holds', { account, credits: 10, ttlSeconds: 600 }, 'lease');
  const hold = `/v1/holds/${String(lease.body['id'])}`;
  const at = `/v1/accounts/${account}`;
  const requests: [string, object][] = [
    ['/v1/charges', { account, credits: 1 }],
    [`${at}/purchases`, { pack: 'tokens-1000' }],
    ['/v1/holds', { account, credits: 1, ttlSeconds: 60 }],
    [`${at}/adjustments`, { bucket: 'pack', credits: 1, reason: 'x' }],
    [`${at}/suspend`, { reason: 'x' }],
    [`${at}/unsuspend`, {}],
    [`${at}/plan`, { plan: 'ultimate' }],
    [`${at}/plan/preview`, { plan: 'free' }],
    ['/v1/quotes', { account, action: 'image' }],
    ['/v1/generations', { account, action: 'rename' }],
    [`/v1/generations/${id}/heartbeat`, { extendSeconds: 60 }],
    [`${hold}/capture`, { credits: 1, final: false }],
    [`${hold}/extend`, { ttlSeconds: 600 }],
  ];
  for (let round = 0; round < requests.length; round += 1) {
    // Each of them is the first once.
    const turned = [...requests.slice(round), ...requests.slice(0, round)];
    const replies = await Promise.all(turned.map(([path, body]) => post(path, body, `race-${round}`)));
    const done = replies.filter(({ status }) => status < 300);
    expect([round, done.length, ...others(replies)]).toEqual([round, 1]);
    await post(`${at}/unsuspend`, {}, `free-${round}`);
  }
});

/** What is neither an effect nor a conflict. */
const others = (replies: Reply[]) =>
  replies
    .filter(({ status }) => status >= 300 && status !== 409)
    .map(({ status, body }) => [status, body['code']]);

test('an operation that is not committed yet has the key before a claim that waits for it', async () => {
  await whole.engine.ledger.balance(account);
  const other = await whole.database.db.pool.connect();
  await other.query('BEGIN');
  await other.query('SELECT ledger.apply($1)', [chargeOf('a')]);
  const claimed = claim('b');
  await waiting();
  await other.query('COMMIT');
  other.release();
  expect(await claimed).toMatchObject({ known: 'conflict' });
});

test('a claim that is not committed yet has it before an operation', async () => {
  await whole.engine.ledger.balance(account);
  const other = await whole.database.db.pool.connect();
  await other.query('BEGIN');
  await other.query("SELECT ledger.claim_key($1, 'req:k', 'a')", [account]);
  const applied = sql('SELECT ledger.apply($1) AS results', [chargeOf('b')]);
  await waiting();
  await other.query('COMMIT');
  other.release();
  expect((await applied)?.['results']).toMatchObject([{ replies: [{ status: 'idempotency_conflict' }] }]);
});

test('the first answer is kept, and every later one is that', async () => {
  for (let n = 0; n < 3; n += 1) expect(await claim('a')).toMatchObject({ known: 'claimed' });
  expect([await keep('one'), await keep('two')]).toEqual([{ answer: 'one' }, { answer: 'one' }]);
  await free(); // by the third, which was refused
  expect(await claim('a')).toMatchObject({ known: 'answered', status: 200 });
  expect(await claim('b')).toMatchObject({ known: 'conflict' });
});

test('a refusal frees the key only when nobody else is at work under it', async () => {
  await claim('a');
  await claim('a');
  await free();
  expect(await claim('b')).toMatchObject({ known: 'conflict' });
  await free();
  expect(await claim('b')).toMatchObject({ known: 'claimed' });
});

test('a claim of one that failed long ago is taken over by the request itself, and then freed', async () => {
  await claim('a');
  await sql(
    "UPDATE ledger.kept_answers SET claimed_at = now() - interval '11 minutes' WHERE account_id = $1",
    [account],
  );
  expect(await claim('b')).toMatchObject({ known: 'conflict' });
  expect([await claim('a'), await claims()]).toMatchObject([{ known: 'claimed' }, 1]);
  await free();
  expect(await claim('b')).toMatchObject({ known: 'claimed' });
});

test('while somebody holds the account’s lock one claim waits for it in the database, the others here', async () => {
  const keys = createAccountKeys(whole.database.db.knex, { maxWaiting: 64 });
  const opened = await ledgerOf(whole.database.db).open();
  const locker = await whole.database.owner.pool.connect();
  await locker.query('BEGIN');
  await locker.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [account]);
  const all = Array.from({ length: 30 }, (_, n) =>
    keys.claim({ account, key: `k${n}`, hash: 'a', passing: false }),
  );
  const settled = Promise.allSettled(all);
  await waiting();
  expect(await keys.claim({ account: opened, key: 'k', hash: 'a', passing: false })).toEqual({
    known: 'claimed',
  });
  const { rows } = await locker.query(
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%claim_key%' AND wait_event_type = 'Lock'",
  );
  expect(rows).toHaveLength(1);
  const more = Array.from({ length: 40 }, (_, n) =>
    keys.claim({ account, key: `more${n}`, hash: 'a', passing: false }),
  );
  const rest = Promise.allSettled(more);
  await expect(more.at(-1)).rejects.toThrow('try again later');
  await locker.query('ROLLBACK');
  locker.release();
  expect(new Set((await settled).map(({ status }) => status))).toEqual(new Set(['fulfilled']));
  await rest;
});

test('who waited behind a claim that could not get the lock fails with it', async () => {
  const impatient = openDatabase({ url: whole.database.url });
  const keys = createAccountKeys(impatient.knex);
  const locker = await whole.database.owner.pool.connect();
  await locker.query('BEGIN');
  await locker.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [account]);
  const all = Array.from({ length: 10 }, (_, n) =>
    keys.claim({ account, key: `k${n}`, hash: 'a', passing: false }),
  );
  const failed = await Promise.allSettled(all);
  await locker.query('ROLLBACK');
  locker.release();
  expect(
    failed.map((one) => one.status === 'rejected' && String(one.reason).includes('lock timeout')),
  ).toEqual(all.map(() => true));
  expect(await keys.claim({ account, key: 'k', hash: 'a', passing: false })).toEqual({ known: 'claimed' });
  await impatient.close();
});
