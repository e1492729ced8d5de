import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { PoolClient } from 'pg';
import { createGate, type Gate, inTurns } from '../../../api/routing/gate';
import { databaseChecks } from '../../../api/resources/operations/health';
import { createSamples, shared } from '../../../api/observe/shared';
import { runAudit } from '../../../db/audit';
import { openDatabase, REPORTS } from '../../../db/connection/connection';
import { assertNotFenced } from '../../../db/migrate/version';
import { startApp } from '../app';
import { startWhole, type Whole } from '../whole';

/** One slow class of use delays itself: it has connections of its own, and no others (rule 36). */

let whole: Whole;
let readKey: string;
beforeAll(async () => {
  whole = await startWhole();
  await whole.app.call('POST', '/v1/accounts', {
    body: { id: 'ada', catalog: 'working-day', plan: 'standard' },
  });
  const made = await whole.app.call('POST', '/v1/api-keys', { body: { name: 'reader', scopes: ['read'] } });
  readKey = String(made.body['secret']);
});
afterAll(() => whole.close());

const { signal } = new AbortController();

/** Takes every connection of a pool until it is told to give them back. */
async function takeAll(pool: { connect: () => Promise<PoolClient>; options: { max?: number } }) {
  const taken = await Promise.all(Array.from({ length: pool.options.max ?? 10 }, () => pool.connect()));
  return () => {
    for (const client of taken) client.release();
  };
}

/** The same of knex's, which does not type its pool. */
async function takeAllOf(knex: Knex) {
  const client = knex.client as {
    pool: { max: number };
    acquireConnection: () => Promise<unknown>;
    releaseConnection: (c: unknown) => Promise<void>;
  };
  const taken = await Promise.all(Array.from({ length: client.pool.max }, () => client.acquireConnection()));
  return async () => {
    await Promise.all(taken.map((connection) => client.releaseConnection(connection)));
  };
}

test('while the ledger has no connection left, keys are known, points are read, and health and numbers are told', async () => {
  const { id } = await whole.running('ada', 1);
  const giveBack = await takeAll(whole.database.db.pool);
  try {
    for (const path of [`/v1/generations/${id}`, '/v1/catalogs', '/v1/generations?limit=1']) {
      const reply = await whole.app.call('GET', path, path.includes('?') ? {} : { key: readKey });
      expect([path, reply.status]).toEqual([path, 200]);
    }
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect((await whole.app.call('GET', path, { key: null })).status).toBe(200);
  } finally {
    giveBack();
  }
});

test('while reports have no connection left, credits are reserved and captured', async () => {
  const giveBack = await takeAllOf(whole.database.db.reports);
  try {
    const reply = await whole.app.call('POST', '/v1/charges', {
      idempotencyKey: 'beside reports',
      body: { account: 'ada', credits: 1 },
    });
    expect(reply.status).toBe(201);
  } finally {
    await giveBack();
  }
});

test.each(['/v1/accounts/ada/members', '/v1/operations/lost-namespaces', '/v1/accounts/ada/balance?at='])(
  '%s waits for a place among the reports, and the balance of now does not',
  async (path) => {
    const asked = path.endsWith('at=') ? path + new Date().toISOString() : path;
    const giveBack = await takeAllOf(whole.database.db.reports);
    const get = (at: string) => whole.app.call('GET', at);
    const lists = Array.from({ length: REPORTS - 1 }, () => get('/v1/generations?limit=1'));
    await sleep(200); // they are at work: the places of the key are taken
    let answered = false;
    const waiting = get(asked).finally(() => {
      answered = true;
    });
    expect((await get('/v1/accounts/ada/balance')).status).toBe(200);
    await sleep(200);
    expect([answered, whole.database.db.uses().find(({ pool }) => pool === 'reports')?.waiting]).toEqual([
      false,
      REPORTS - 1,
    ]);
    await giveBack();
    const replies = await Promise.all([...lists, waiting]);
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  },
);

test('a statement of a report may take longer than others', async () => {
  const { knex, reports } = whole.database.db;
  const timeOuts = [knex, reports].map((each) => each.raw<{ rows: object[] }>('SHOW statement_timeout'));
  expect((await Promise.all(timeOuts)).map(({ rows }) => rows[0])).toEqual([
    { statement_timeout: '15s' },
    { statement_timeout: '30s' },
  ]);
});

test('whoever gets no connection in time is told of as that, and not as a connection that broke', async () => {
  const told: string[] = [];
  const db = openDatabase({ url: whole.database.url, max: 1, onError: (_error, what) => told.push(what) });
  const giveBack = await takeAllOf(db.knex);
  try {
    Object.assign((db.knex.client as { pool: object }).pool, { acquireTimeoutMillis: 50 });
    await expect(db.knex.raw('SELECT 1')).rejects.toThrow(/Timeout acquiring/);
    expect(told).toEqual(['no database connection came free in time: all of the pool are at work']);
  } finally {
    await giveBack();
    await db.close();
  }
});

test('one audit is at work at a time, and a second one is told so at once', async () => {
  const replies = await Promise.all(Array.from({ length: 5 }, () => whole.app.call('GET', '/v1/audit')));
  const ok = replies.filter(({ status }) => status === 200);
  const refused = replies.filter(({ status }) => status === 429);
  expect([ok.length, refused.length]).toEqual([1, 4]);
  expect(refused[0]?.body).toMatchObject({ code: 'overloaded' });
  expect((await whole.app.call('GET', '/v1/audit')).body).toMatchObject({ ok: true });
});

test('an audit of another process, which has the lock, refuses this one', async () => {
  const client = await whole.database.owner.pool.connect();
  await client.query("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('holdfast audit', 0))");
  expect((await whole.app.call('GET', '/v1/audit')).status).toBe(429);
  await client.query('ROLLBACK');
  client.release();
  expect((await whole.app.call('GET', '/v1/audit')).status).toBe(200);
});

describe('the gate', () => {
  const limits = { atWork: { inAll: 2, perHolder: 1 }, atRest: { inAll: 2, perHolder: 2 } };
  /** Work that ends when it is told to. */
  function work(gate: Gate, holder: string, gone = signal) {
    const begun: { end: () => void } = { end: () => undefined };
    const started = { yes: false };
    const done = gate.through(
      { holder, signal: gone },
      () =>
        new Promise<string>((resolve) => {
          started.yes = true;
          begun.end = () => resolve(holder);
        }),
    );
    return { done, started, end: () => begun.end() };
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  test('lets one key take its share only, and others pass it by', async () => {
    const gate = createGate(limits);
    const [first, second, other] = [work(gate, 'a'), work(gate, 'a'), work(gate, 'b')];
    await settle();
    expect([first, second, other].map(({ started }) => started.yes)).toEqual([true, false, true]);
    first.end();
    expect(await first.done).toBe('a');
    await settle();
    expect(second.started.yes).toBe(true);
    second.end();
    other.end();
    expect(await Promise.all([second.done, other.done])).toEqual(['a', 'b']);
  });

  test('refuses whoever comes when enough wait, and gives up the place of a client that has left', async () => {
    const gate = createGate(limits);
    const leaving = new AbortController();
    const all = [work(gate, 'a'), work(gate, 'b'), work(gate, 'c', leaving.signal), work(gate, 'd')];
    await settle();
    await expect(work(gate, 'e').done).rejects.toMatchObject({ code: 'overloaded' });
    leaving.abort();
    await expect(all[2]?.done).rejects.toMatchObject({ code: 'overloaded' });
    const late = work(gate, 'f');
    all[0]?.end();
    all[1]?.end();
    await settle();
    expect([all[3]?.started.yes, late.started.yes]).toEqual([true, true]);
    all[3]?.end();
    late.end();
    await Promise.all([all[3]?.done, late.done]);
  });
});

describe('the gate, where much waits', () => {
  const until = () => {
    let end: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      end = resolve;
    });
    return { end, done };
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  test('refuses the key that floods it, and not another that can begin at once', async () => {
    const gate = createGate({ atWork: { inAll: 2, perHolder: 1 }, atRest: { inAll: 8, perHolder: 1 } });
    const slow = until();
    const first = gate.through({ holder: 'a', signal }, () => slow.done);
    const second = gate.through({ holder: 'a', signal }, () => Promise.resolve());
    await expect(gate.through({ holder: 'a', signal }, () => slow.done)).rejects.toMatchObject({
      code: 'overloaded',
    });
    expect(await gate.through({ holder: 'b', signal }, () => Promise.resolve('b'))).toBe('b');
    slow.end();
    await Promise.all([first, second]);
  });

  test('has no place for a client that left before it came', async () => {
    const gate = createGate({ atWork: { inAll: 1, perHolder: 1 }, atRest: { inAll: 1, perHolder: 1 } });
    const gone = AbortSignal.abort();
    await expect(gate.through({ holder: 'a', signal: gone }, () => Promise.resolve())).rejects.toMatchObject({
      code: 'overloaded',
    });
    expect(await gate.through({ holder: 'a', signal }, () => Promise.resolve(1))).toBe(1);
  });

  test('a long answer takes its turn for each of its parts, and is not sent away in the middle', async () => {
    const gate = createGate({ atWork: { inAll: 1, perHolder: 1 }, atRest: { inAll: 0, perHolder: 0 } });
    const read: number[] = [];
    async function* pages() {
      for (let n = 1; n <= 3; n += 1) {
        await settle();
        read.push(n);
        yield String(n);
      }
    }
    const parts = inTurns(pages(), gate, { holder: 'a', signal });
    expect((await parts.next()).value).toBe('1');
    const slow = until();
    const other = gate.through({ holder: 'b', signal }, () => slow.done); // the place is free while the client reads
    const next = parts.next();
    await settle();
    await settle();
    expect(read).toEqual([1]);
    slow.end();
    await other;
    expect((await next).value).toBe('2');
    expect([(await parts.next()).value, (await parts.next()).done]).toEqual(['3', true]);
  });
});

test('while ledger and requests have no connection left, an API says that it is ready, as it is', async () => {
  const { db } = whole.database;
  const app = await startApp({ db, routes: [], readiness: databaseChecks(db) });
  const giveBack = await takeAll(db.pool);
  const giveBackToo = await takeAllOf(db.knex);
  try {
    const { status, body } = await app.call('GET', '/readyz', { key: null });
    expect([status, body]).toEqual([200, { status: 'ready', checks: { database: 'ok', schema: 'ok' } }]);
    const { text } = await app.call('GET', '/metrics', { key: null });
    expect(text).toContain('holdfast_pg_pool_connections{pool="requests",state="busy"} 10');
    await assertNotFenced(db.points);
  } finally {
    giveBack();
    await giveBackToo();
    await app.close();
  }
});

test('numbers that do not come are asked for one after the other, and what failed not before its time', async () => {
  const sampled = createSamples({ everyMs: 60_000, withinMs: 50 });
  let [asked, also] = [0, 0];
  const hangs = sampled(() => {
    asked += 1;
    return new Promise<number>(() => {});
  });
  const behind = sampled(() => Promise.resolve((also += 1)));
  for (let n = 0; n < 3; n += 1) await expect(hangs()).rejects.toThrow('no answer');
  await expect(behind()).rejects.toThrow('no answer');
  expect([asked, also]).toEqual([1, 0]);

  let failed = 0;
  const fails = createSamples({ everyMs: 60_000, withinMs: 50 })(() =>
    Promise.reject(new Error(String((failed += 1)))),
  );
  for (let n = 0; n < 3; n += 1) await expect(fails()).rejects.toThrow('1');
});

test('an audit whose client has left ends in the middle of its check', async () => {
  const { db, owner } = whole.database;
  const leaving = new AbortController();
  const slow = { id: 'slow', title: '', invariant: 0, sql: 'SELECT pg_sleep(60)::text AS account_id' };
  const audit = runAudit(db.audits, { signal: leaving.signal, checks: [slow] });
  const atWork = async () =>
    (
      await owner.pool.query(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()",
      )
    ).rows.length;
  while ((await atWork()) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  leaving.abort();
  await expect(audit).rejects.toThrow('aborted');
  while ((await atWork()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await runAudit(db.audits)).toMatchObject({ ok: true });
});

test('what is shared is made once for all who ask while it is fresh, and a failure is made again', async () => {
  let made = 0;
  const text = shared(() => {
    made += 1;
    return made === 2 ? Promise.reject(new Error('no')) : Promise.resolve(made);
  }, 60_000);
  expect(await Promise.all(Array.from({ length: 50 }, text))).toEqual(Array.from({ length: 50 }, () => 1));
  let failing = 0;
  const fails = shared(() => Promise.reject(new Error(String((failing += 1)))), 60_000);
  await expect(fails()).rejects.toThrow('1');
  await expect(fails()).rejects.toThrow('2');
});
