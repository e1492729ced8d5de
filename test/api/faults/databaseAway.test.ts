import { type Proxy, startProxy, targetOf } from '../../support/processes/proxy';
import type { Reply } from '../app';
import { startWhole, type Whole } from '../whole';
import { defined } from '../../../domain/defined';

/** A database that does not answer: what callers are told, and what the log may have of it. */

const KEY = 'my-secret-key-of-this-very-order';
const EMAIL = 'somebody.private@example.com';
const hex = (text: string) => Buffer.from(text, 'utf8').toString('hex');

let proxy: Proxy;
let whole: Whole;

beforeAll(async () => {
  whole = await startWhole({
    async via(url) {
      proxy = await startProxy(targetOf(url));
      return proxy.through(url);
    },
  });
  whole.listen(false); // to bells, behind which the database is just as far away
  const account = {
    catalog: 'working-day',
    plan: 'standard',
    planSource: 'admin',
    planInterval: 'month',
  } as const;
  await whole.engine.ledger.open({ account: 'ada', ...account });
});
afterAll(async () => {
  await whole.close();
  await proxy.close();
});

const call = (method: string, at: string, body?: unknown, idempotencyKey?: string) =>
  whole.app.call(method, at, {
    ...defined({ body, idempotencyKey }),
  });

/** What the log got of the work, without the lines about requests. */
async function logged(work: () => Promise<Reply>): Promise<[Reply, string]> {
  const before = whole.app.logLines.length;
  const reply = await work();
  return [reply, JSON.stringify(whole.app.logLines.slice(before).filter(({ msg }) => msg !== 'request'))];
}

function isClean(text: string): void {
  expect(text).not.toContain(KEY);
  expect(text).not.toContain(hex(KEY));
  expect(text).not.toContain(EMAIL);
  expect(text).not.toContain(hex(EMAIL));
  expect(text).not.toMatch(/\b(SELECT|INSERT|UPDATE|DELETE)\b/i);
}

describe('while somebody keeps a lock', () => {
  const locked = (sql: string, work: () => Promise<Reply>) =>
    whole.database.owner.knex.transaction(async (trx) => {
      await trx.raw(sql);
      return logged(work);
    });
  const ACCOUNT = "SELECT FROM ledger.accounts WHERE account_id = 'ada' FOR UPDATE";

  test.each([
    ['a key is claimed', ACCOUNT, () => call('POST', '/v1/accounts/ada/cancel', { when: 'period_end' }, KEY)],
    ['an address is written', ACCOUNT, () => call('PATCH', '/v1/accounts/ada', { email: EMAIL })],
    ['a charge is taken', ACCOUNT, () => call('POST', '/v1/charges', { account: 'ada', credits: 1 }, KEY)],
    [
      'an address is looked for',
      'LOCK TABLE ledger.account_rules IN ACCESS EXCLUSIVE MODE',
      () => call('GET', `/v1/accounts?q=${encodeURIComponent(EMAIL)}`),
    ],
  ] as [string, string, () => Promise<Reply>][])(
    'and %s: 503, and the log has neither value nor statement',
    async (_what, sql, work) => {
      const [reply, log] = await locked(sql, work);
      expect([reply.status, reply.body['code']]).toEqual([503, 'unavailable']);
      expect(log).toContain('canceling statement due to lock timeout');
      expect(log).toContain('55P03');
      isClean(log);
    },
  );

  test('and credits are asked for: the 503 says that they may have been taken', async () => {
    const what = () => call('POST', '/v1/charges', { account: 'ada', credits: 1 }, 'taken');
    const [reply] = await locked(ACCOUNT, what);
    expect(reply.body['detail']).toContain('may have been taken: send the same request again');
  });
});

test('a rule that the database holds is named in the log, and the values that broke it are not', async () => {
  await whole.database.owner.pool.query(
    `ALTER TABLE ledger.kept_answers ADD CONSTRAINT never CHECK (key <> 'req:${KEY}')`,
  );
  const [reply, log] = await logged(() =>
    call('POST', '/v1/accounts/ada/cancel', { when: 'period_end' }, KEY),
  );
  expect([reply.status, reply.body['code']]).toEqual([500, 'internal']);
  expect(log).toContain('"constraint":"never"');
  isClean(log);
  await whole.database.owner.pool.query('ALTER TABLE ledger.kept_answers DROP CONSTRAINT never');
});

test('a connection that is cut in the middle of a query is 503, on every road, and the log stays clean', async () => {
  const before = whole.app.logLines.length;
  const statuses = new Map<string, number>();
  let n = 0;
  const until = { over: false };
  const audit = () => call('GET', '/v1/audit'); // one at a time, and a second one is told so
  const roads: (() => Promise<Reply>)[] = [
    () => call('GET', '/v1/accounts/ada/generations'),
    () => call('GET', '/v1/generations?limit=100'),
    () => call('GET', `/v1/accounts?q=${encodeURIComponent(EMAIL)}`),
    () => call('GET', '/v1/accounts/ada/journal?limit=100'),
    () => call('GET', '/v1/usage?account=ada&groupBy=day&from=2026-01-01&to=2026-02-01'),
    () => call('GET', '/v1/accounts/ada/statement'),
    audit,
    () => call('POST', '/v1/charges', { account: 'ada', credits: 0.001 }, `${KEY}-${(n += 1)}`),
    () => call('POST', '/v1/quotes', { account: 'ada', action: 'image' }, `${KEY}-${(n += 1)}`),
    () => call('POST', '/v1/test-clocks', { frozenAt: '2026-01-01T00:00:00Z' }, `${KEY}-${(n += 1)}`),
  ];
  const clients = roads.flatMap((road) =>
    (road === audit ? [1] : [1, 2]).map(async () => {
      while (!until.over) {
        const { status, text } = await road();
        const what = status === 500 ? `500 ${text}` : String(status);
        statuses.set(what, (statuses.get(what) ?? 0) + 1);
      }
    }),
  );
  for (let cuts = 0; cuts < 12; cuts += 1) {
    await new Promise((resolve) => setTimeout(resolve, 120 + 37 * cuts));
    proxy.cut();
    proxy.mend();
  }
  until.over = true;
  await Promise.all(clients);
  expect([...statuses.keys()].toSorted()).toEqual(['200', '201', '503']);
  const unexpected = whole.app.logLines.slice(before).filter(({ level }) => Number(level) >= 50);
  expect(unexpected).toEqual([]);
  isClean(JSON.stringify(whole.app.logLines.slice(before).filter(({ msg }) => msg !== 'request')));
});
