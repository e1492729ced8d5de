import path from 'node:path';
import { accountRoutes } from '../../../../api/resources/accounts/accounts';
import { apiKeyRoutes } from '../../../../api/resources/operations/apiKeys';
import { ledgerRoutes } from '../../../../api/resources/books/journal';
import { statementRoutes } from '../../../../api/resources/books/statement';
import { createCatalogStore, publishCatalog, readCatalog } from '../../../../db/catalogs/catalogs';
import { journalPages } from '../../../../db/books/journal';
import { createLedger, type Ledger } from '../../../../db/ledger/ledger';
import { milli } from '../../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../../support/database';
import { ledgerOf, type TestLedger } from '../../../support/ledger/ledger';
import { type Call, startApp, type TestApp } from '../../app';

/** How the past is asked for over HTTP: the journal, the statement, and the balance at an instant. */

let database: TestDatabase;
let ledger: Ledger;
let raw: TestLedger;
let app: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  const { db } = database;
  const file = path.join(__dirname, '..', '..', '..', '..', 'catalogs', 'imagineart.json');
  await publishCatalog(db.knex, { catalog: readCatalog(file) });
  const catalogs = createCatalogStore(db);
  ledger = createLedger({ pool: db.pool, catalogs, ring: () => undefined });
  raw = ledgerOf(db, database.owner);
  const deps = { db, ledger, catalogs };
  const routes = [accountRoutes, ledgerRoutes, statementRoutes, apiKeyRoutes].flatMap((make) => make(deps));
  app = await startApp({ db, routes });
});
afterAll(async () => {
  await app.close();
  await database.close();
});

let counter = 0;
async function open(rules: { plan?: string; timezone?: string; clockAt: string }): Promise<string> {
  counter += 1;
  const account = `past-${counter}`;
  const plan = rules.plan ?? 'free';
  const planSource = plan === 'free' ? 'free' : 'admin';
  await ledger.open({ account, catalog: 'imagineart', ...rules, plan, planSource });
  return account;
}

/** On a free plan, touched at ten in the morning of the first of March: 100 daily credits until midnight. */
async function freeAccount(): Promise<string> {
  const account = await open({ clockAt: '2026-03-01T10:00:00Z' });
  await ledger.balance(account);
  return account;
}

const gift = (account: string, more: { amount?: number; reason?: string; key?: string } = {}) =>
  ledger.run(account, {
    op: 'adjust',
    key: `req:${more.key ?? counter++}`,
    hash: 'h',
    bucket: 'pack',
    rank: 3,
    source: 'adjustment',
    actor: 'support',
    reason: more.reason ?? 'a gift',
    amount: milli(more.amount ?? 1_000),
  });

const get = (account: string, rest: string, call: Call = {}) =>
  app.call('GET', `/v1/accounts/${account}/${rest}`, call);
const messages = (reply: { body: Record<string, unknown> }) =>
  (reply.body['errors'] as { path: string; message: string }[] | undefined) ?? [];
/** A list in the body, as far as a test looks at it. */
const rowsOf = (reply: { body: Record<string, unknown> }, name: string) =>
  reply.body[name] as Record<string, unknown>[];

describe('the balance at an instant', () => {
  test('is what it was, and at the instant of expiry the credits are gone', async () => {
    const account = await freeAccount();
    await raw.charge(account, { amount: 30_000 });
    await ledger.moveClock(account, '2026-03-05T12:00:00Z');
    const available = async (at: string) => (await get(account, `balance?at=${at}`)).body['available'];
    expect(await available('2026-03-01T09:59:59.999Z')).toBe(0);
    expect(await available('2026-03-01T10:00:00Z')).toBe(70);
    expect(await available('2026-03-01T23:59:59.999Z')).toBe(70);
    expect(await available('2026-03-02T00:00:00Z')).toBe(0);
    expect(await available('2026-03-02T01:00:00%2B02:00')).toBe(70);
  });

  test('has the whole body, and says null where nothing is kept', async () => {
    const account = await freeAccount();
    const now = (await get(account, 'balance?lots=true')).body;
    await ledger.moveClock(account, '2026-03-05T12:00:00Z');
    const past = await get(account, 'balance?lots=true&at=2026-03-01T10:00:00.000Z');
    expect(past.status).toBe(200);
    const buckets = rowsOf({ body: now }, 'buckets').map(
      (one): Record<string, unknown> => ({ ...one, nextRefresh: null }),
    );
    const unknown = { canGenerate: null, ways: [], nextRefreshAt: null, quotas: [], member: null };
    expect(past.body).toEqual({ ...now, buckets, ...unknown });
    expect(buckets.find((one) => one['bucket'] === 'daily')).toMatchObject({
      percentLeft: 100,
      granted: 100,
    });
  });

  test('books plan credits that are due first, and does not count as somebody being there', async () => {
    const paid = await open({ plan: 'basic', clockAt: '2026-01-10T00:00:00Z' });
    await ledger.balance(paid);
    await ledger.moveClock(paid, '2026-03-15T00:00:00Z');
    expect((await get(paid, 'balance?at=2026-02-10T00:00:00Z')).body['available']).toBe(3_000);
    const free = await freeAccount();
    await ledger.moveClock(free, '2026-03-05T12:00:00Z');
    expect((await get(free, 'balance?at=2026-03-05T12:00:00Z')).body['available']).toBe(0);
    expect((await get(free, 'statement')).body['closing']).toBe(0);
    expect((await get(free, 'balance')).body['available']).toBe(100);
  });

  test.each(['2026-03-01T10:00:00.001Z', '9999-12-31T23:59:59Z'])(
    'in the future is refused: %s',
    async (at) => {
      const reply = await get(await freeAccount(), `balance?at=${at}`);
      expect(reply.status).toBe(422);
      expect(messages(reply)).toMatchObject([{ path: 'at' }]);
    },
  );
});

describe('the statement', () => {
  test('opens, lists and closes; days are the account’s, and the last one is not included', async () => {
    const account = await open({ plan: 'basic', clockAt: '2026-03-01T10:00:00Z', timezone: 'Asia/Tokyo' });
    await gift(account, { amount: 5_000 });
    await ledger.moveClock(account, '2026-03-02T15:30:00Z'); // already the third in Tokyo
    await gift(account, { amount: 2_500 });
    await ledger.moveClock(account, '2026-03-09T00:00:00Z');
    const reply = await get(account, 'statement?from=2026-03-03&to=2026-03-04');
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(reply.body).toMatchObject({
      account,
      from: '2026-03-02T15:00:00.000Z',
      to: '2026-03-03T15:00:00.000Z',
      opening: 3_005,
      lines: [{ kind: 'adjustment', credits: 2.5, at: '2026-03-02T15:30:00.000Z', reason: 'a gift' }],
      closing: 3_007.5,
    });
    const instants = 'from=2026-03-02T15:00:00Z&to=2026-03-02T15:30:00Z';
    expect((await get(account, `statement?${instants}`)).body).toMatchObject({
      opening: 3_005,
      lines: [],
      closing: 3_005,
    });
  });

  test('without dates is the current cycle until now, and never goes beyond', async () => {
    const account = await freeAccount();
    await ledger.moveClock(account, '2026-04-02T12:00:00Z');
    await gift(account);
    const cycle = { from: '2026-04-01T10:00:00.000Z', to: '2026-04-02T12:00:00.001Z' };
    expect((await get(account, 'statement')).body).toMatchObject({ ...cycle, opening: 0, closing: 101 });
    expect((await get(account, 'statement?from=2026-04-01&to=2026-05-01')).body).toMatchObject({
      to: cycle.to,
    });
  });

  test.each([
    ['from=2026-03-01&to=2026-02-28', 'to'],
    ['from=2026-04-01', 'from'],
    ['from=0000-01-01', 'from'],
    ['from=0000-01-01T00:00:00Z', 'from'],
    ['to=9999-12-31T23:59:59-14:00', 'to'],
    ['to=10000-01-01T00:00:00Z', 'to'],
    ['from=2026-02-30', 'from'],
    ['format=xml', 'format'],
  ])('refuses %s', async (query, field) => {
    const reply = await get(await freeAccount(), `statement?${query}`);
    expect(reply.status).toBe(422);
    expect(messages(reply)).toMatchObject([{ path: field }]);
  });

  test('is CSV to who asks for it, with the balances it begins and ends with, and nothing a spreadsheet would run', async () => {
    const account = await freeAccount();
    await gift(account, { amount: 1_500, reason: '=1+1, "quoted"', key: '+42' });
    const reply = await get(account, 'statement?from=2026-03-01', { headers: { Accept: 'text/csv' } });
    expect(reply.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(reply.headers.get('content-disposition')).toContain(`statement-${account}-2026-03-01`);
    expect(reply.headers.get('vary')).toMatch(/Accept/);
    const lines = reply.text.split('\r\n');
    expect(lines[0]).toBe(
      'at,kind,credits,held,balance,balanceHeld,generation,hold,action,model,member,lots,key,reason',
    );
    expect(lines[1]).toBe('2026-03-01T00:00:00.000Z,opening,,,0,0,,,,,,,,');
    expect(lines[2]).toMatch(/^2026-03-01T10:00:00.000Z,grant,100,0,/);
    expect(lines[3]).toBe(
      `2026-03-01T10:00:00.000Z,adjustment,1.5,0,,,,,,,,pack 2: 1.5,'+42,"'=1+1, ""quoted"""`,
    );
    expect(lines[4]).toBe('2026-03-01T10:00:00.001Z,closing,,,101.5,0,,,,,,,,');
    const byFormat = await get(account, 'statement?from=2026-03-01&format=csv');
    expect(byFormat.text).toBe(reply.text);
    const json = await get(account, 'statement?format=json', { headers: { Accept: 'text/csv' } });
    expect(json.body['closing']).toBe(101.5);
  });

  test('past its limit says so', async () => {
    const account = await freeAccount();
    await database.owner.pool.query(
      `INSERT INTO ledger.journal SELECT account_id, seq + n, at, recorded_at, 'adjust', status, NULL, NULL, credits, available_after + n * credits,
         0, 0, moves, NULL, NULL, NULL FROM ledger.journal j CROSS JOIN generate_series(1, 10000) n WHERE account_id = $1`,
      [account],
    );
    for (const path of ['statement', 'statement?format=csv']) {
      const reply = await get(account, path);
      expect([reply.status, reply.body['code']]).toEqual([422, 'too_many_rows']);
    }
    expect((await get(account, 'statement?from=2026-02-01&to=2026-03-01')).status).toBe(200);
  });
});

describe('the journal', () => {
  test('shows lots by the change of what they have available, and every move beside it', async () => {
    const account = await freeAccount();
    await gift(account, { amount: 50_000 });
    const reply = await raw.reserve(account, { amount: 120_000 });
    await raw.capture(account, reply.hold?.holdId ?? '', { delivered: 1, ordered: 2 });
    const [capture, reserve] = rowsOf(await get(account, 'journal'), 'data');
    expect(reserve).toMatchObject({
      kind: 'reserve',
      credits: -120,
      heldAfter: 120,
      hold: reply.hold?.holdId,
      lots: [
        { lot: '1', bucket: 'daily', credits: -100 },
        { lot: '2', bucket: 'pack', credits: -20 },
      ],
    });
    expect(capture).toMatchObject({
      kind: 'capture',
      credits: 60,
      lots: [
        { lot: '1', credits: 40 },
        { lot: '2', credits: 20 },
      ],
      moves: [
        { lot: '1', from: 'held', to: 'spent', credits: 60 },
        { lot: '1', from: 'held', to: 'available', credits: 40 },
        { lot: '2', from: 'held', to: 'available', credits: 20 },
      ],
    });
  });

  test('is filtered by kind, generation, lot, key and time', async () => {
    const account = await freeAccount();
    await gift(account, { key: 'mine' });
    await gift(account, { key: 'sys:mine' });
    const reply = await raw.reserve(account, { amount: 1_000 });
    const generation = (reply.hold?.holdId ?? '').replace(/^hold_/, 'gen_');
    await raw.capture(account, reply.hold?.holdId ?? '');
    await raw.reserve(account, {
      amount: 0,
      workflowId: null,
      generation: { id: `gen_${account}.free` } as never,
    });
    await ledger.moveClock(account, '2026-03-01T11:00:00Z');
    await gift(account);
    const seqs = async (query: string) =>
      rowsOf(await get(account, `journal?${query}`), 'data').map(({ seq }) => seq);
    expect(await seqs('kind=adjust')).toEqual([7, 3, 2]);
    expect(await seqs(`generation=${generation}`)).toEqual([5, 4]);
    expect(await seqs(`generation=gen_${account}.free`)).toEqual([6]);
    expect(await seqs('lot=1')).toEqual([5, 4, 1]);
    expect(await seqs('key=mine')).toEqual([2]);
    expect(await seqs('key=req:mine')).toEqual([]);
    expect(await seqs('key=sys:mine')).toEqual([3]);
    expect(await seqs(`key=sys:daily:${account}:2026-03-01`)).toEqual([1]);
    expect(await seqs('from=2026-03-01T10:30:00Z')).toEqual([7]);
    expect(await seqs('to=2026-03-01T10:30:00Z&limit=2')).toEqual([6, 5]);
    expect(await seqs('from=2026-03-01&to=2026-03-02')).toHaveLength(7);
    expect(await seqs('from=2026-03-02')).toEqual([]);
    const shown = rowsOf(await get(account, 'journal'), 'data').map(({ key, generation }) => [
      key,
      generation,
    ]);
    expect(shown).toContainEqual(['mine', null]);
    expect(shown[1]?.[1]).toBe(`gen_${account}.free`);
  });

  test.each([
    ['kind=gift', 'kind', /grant, reserve, .*unfreeze/],
    ['lot=99999999999', 'lot', /./],
    ['lot=1.5', 'lot', /./],
    ['key=%00', 'key', /NUL/],
    ['generation=a%00b', 'generation', /NUL/],
    ['cursor=%00', 'cursor', /./],
    ['cursor=eyJzZXEiOjFlMzB9', 'cursor', /./],
    ['from=0000-01-01T00:00:00Z', 'from', /./],
    ['from=10000-01-01', 'from', /./],
    ['to=9999-12-31T23:59:59-01:00', 'to', /./],
    ['format=csv&limit=5', 'limit', /./],
    ['format=csv&cursor=eyJzZXEiOjF9', 'cursor', /./],
  ])('refuses %s', async (query, field, message) => {
    const reply = await get(await freeAccount(), `journal?${query}`);
    expect(reply.status).toBe(422);
    expect(messages(reply)[0]).toMatchObject({
      path: field,
      message: expect.stringMatching(message) as string,
    });
  });

  test('is CSV to who asks for it, whole and under the same filters', async () => {
    const account = await freeAccount();
    for (let n = 0; n < 25; n += 1) await gift(account, { reason: `-${n}` });
    const reply = await get(account, 'journal?format=csv&kind=adjust');
    expect(reply.headers.get('content-length')).not.toBeNull();
    const lines = reply.text.trimEnd().split('\r\n');
    expect(lines).toHaveLength(26);
    expect(lines[0]).toBe(
      'seq,at,recordedAt,kind,status,credits,availableAfter,heldAfter,debtAfter,lots,generation,hold,key,actor,reason',
    );
    expect(lines[1]).toMatch(
      /^26,2026-03-01T10:00:00.000Z,[^,]+,adjust,applied,1,125,0,0,pack 26: 1,,,\d+,support,'-24$/,
    );
  });
});

describe('a journal of 25,000 rows as CSV', () => {
  const ROWS = 25_000;
  let account: string;
  /** How many rows each read of the journal may have had. */
  let reads: number[] = [];

  beforeAll(async () => {
    account = await freeAccount();
    await database.owner.pool.query(
      `INSERT INTO ledger.journal SELECT account_id, seq + n, at, recorded_at, 'adjust', status, NULL, NULL, credits, available_after + n * credits,
         0, 0, moves, NULL, NULL, NULL FROM ledger.journal j CROSS JOIN generate_series(1, $2::int) n WHERE account_id = $1`,
      [account, ROWS - 1],
    );
    database.db.reports.on('query', ({ sql, bindings }: { sql: string; bindings: unknown[] }) => {
      if (/from "ledger"\."journal" as "j"/.test(sql)) reads.push(Number(bindings.at(-1)));
    });
  });
  beforeEach(() => {
    reads = [];
  });

  test('has every row once, and is read in pages', async () => {
    const reply = await get(account, 'journal?format=csv');
    const [header, ...lines] = reply.text.trimEnd().split('\r\n');
    expect(header).toMatch(/^seq,at,/);
    expect(lines.map((line) => Number.parseInt(line, 10))).toEqual(
      Array.from({ length: ROWS }, (_, n) => ROWS - n),
    );
    expect(reads.length).toBeGreaterThan(10);
    expect(Math.max(...reads)).toBeLessThanOrEqual(2_000);
  });

  test('of which a part is archived while it is read, is cut off', async () => {
    const pages = journalPages(database.db.reports, { account });
    await pages.next();
    await database.owner.knex('ledger.openings').insert({
      account_id: account,
      seq: 1,
      at: new Date(0),
      recorded_at: new Date(0),
      available: 0,
      held: 0,
      debt: 0,
      owed: 0,
      repaid: 0,
      keys: 0,
      keys_digest: 0,
      lots: '[]',
      counters: '[]',
    });
    const rest = async () => {
      for await (const page of pages) expect(page.last).toBe(false);
    };
    await expect(rest()).rejects.toThrow(/archived while it was read/);
  });
});

test('a key bound to an account sees the past of that one only, and needs no more than `read`', async () => {
  const [mine, other] = [await freeAccount(), await freeAccount()];
  const made = await app.call('POST', '/v1/api-keys', {
    body: { name: 'web', scopes: ['read'], account: mine },
  });
  const key = String(made.body['key'] ?? made.body['secret']);
  for (const path of ['statement', 'statement?format=csv', 'journal', 'balance?at=2026-03-01T10:00:00Z']) {
    expect((await get(mine, path, { key })).status).toBe(200);
    expect((await get(other, path, { key })).status).toBe(403);
    expect((await get(mine, path, { key: null })).status).toBe(401);
    expect((await get('nobody', path)).body['code']).toBe('unknown_account');
  }
});
