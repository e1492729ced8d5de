import type { GenerationStarter } from '../../../api/workflows/starter';
import { operationRoutes } from '../../../api/resources/operations/operations';
import { holdIdOf } from '../../../domain/ids';
import { raiseItem } from '../../../db/support/items';
import { startApp, type TestApp } from '../app';
import { startWhole, type Whole } from '../whole';

/** Lists answer what was asked: filters, ranges of days, and pages that are short only at the end. */

let whole: Whole;
let counter = 0;

beforeAll(async () => {
  whole = await startWhole({ patient: true });
});
afterAll(() => whole.close());

async function open(more: { clockAt?: string; timezone?: string } = {}): Promise<string> {
  counter += 1;
  const account = `listed-${counter}`;
  const rules = { catalog: 'working-day', plan: 'standard', planSource: 'admin' } as const;
  await whole.engine.ledger.open({ account, ...rules, ...more });
  await whole.engine.ledger.settle(account, { touch: true });
  return account;
}

interface Page<T> {
  data: T[];
  nextCursor: string | null;
  cutShort?: boolean;
}

async function list<T = { id: string }>(at: string, app: TestApp = whole.app): Promise<Page<T>> {
  const { status, body } = await app.call('GET', at);
  expect([at, status]).toEqual([at, 200]);
  return body as unknown as Page<T>; // a wrong shape fails the test that reads it
}

/** Every page of a list, from the first to the last. */
async function pages<T extends { id: string }>(at: string, app: TestApp = whole.app): Promise<Page<T>[]> {
  const all: Page<T>[] = [];
  for (let cursor: string | null = ''; cursor !== null && all.length < 50; ) {
    const page: Page<T> = await list(cursor === '' ? at : `${at}&cursor=${cursor}`, app);
    all.push(page);
    cursor = page.nextCursor;
  }
  return all;
}

test('generations without late reports are listed without those that have some', async () => {
  const account = await open();
  const late = await whole.running(account, 1);
  const plain = await whole.running(account, 1);
  await whole.database.db.knex('holdfast.reports').insert({
    account_id: account,
    generation_id: late.id,
    report_id: 'r',
    body: '{}',
    outcome: 'late',
  });
  const at = `/v1/accounts/${account}/generations`;
  const ids = async (query: string) => (await list(`${at}${query}`)).data.map(({ id }) => id);
  expect(await ids('?late=true')).toEqual([late.id]);
  expect(await ids('?late=false')).toEqual([plain.id]);
  expect(await ids('')).toEqual([plain.id, late.id]);
  expect((await list(`/v1/generations?late=false&key=run-${counter}`)).data).not.toContainEqual(
    expect.objectContaining({ id: late.id }),
  );
});

test('limits are read as they were set', async () => {
  const account = await open();
  const at = `/v1/accounts/${account}/limits`;
  const read = async () => (await whole.app.call('GET', at)).body;
  expect(await read()).toEqual({ openGenerations: null, creditsPerDay: null });
  const set = await whole.app.call('PUT', at, { body: { openGenerations: 2, creditsPerDay: 12.5 } });
  expect(set.body).toEqual({ openGenerations: 2, creditsPerDay: 12.5 });
  expect(await read()).toEqual(set.body);
  await whole.app.call('PUT', at, { body: { creditsPerDay: null } });
  expect(await read()).toEqual({ openGenerations: 2, creditsPerDay: null });
  expect((await whole.app.call('GET', '/v1/accounts/nobody/limits')).status).toBe(404);
});

describe('a day in `from` and `to`', () => {
  // In Tokyo the 10th of March begins at three in the afternoon of the 9th, UTC.
  const zone = { timezone: 'Asia/Tokyo' };
  const EVENING = '2026-03-09T15:30:00.000Z';
  let account: string;

  beforeAll(async () => {
    account = await open({ ...zone, clockAt: EVENING });
    await whole.running(account, 1);
  });

  test.each([
    ['generations', 1],
    ['journal', 2],
    ['events', 1],
  ])('is the account’s in a list of its own: %s', async (what, rows) => {
    const at = `/v1/accounts/${account}/${what}`;
    const count = async (query: string) => (await list(`${at}?${query}`)).data.length;
    expect(await count('from=2026-03-10&to=2026-03-11')).toBe(rows);
    expect(await count('from=2026-03-09&to=2026-03-10')).toBe(0);
    expect(await count(`from=${EVENING}`)).toBe(rows);
    expect(await count(`to=${EVENING}`)).toBe(0);
  });

  test('is one of UTC in a list of all accounts', async () => {
    const count = async (query: string) =>
      (await list<{ account: string }>(`/v1/generations?${query}`)).data.filter(
        (one) => one.account === account,
      ).length;
    expect(await count('from=2026-03-09&to=2026-03-10')).toBe(1);
    expect(await count('from=2026-03-10&to=2026-03-11')).toBe(0);
    expect(await count('from=2026-03-09T15:30:00Z&to=2026-03-10')).toBe(1);
  });

  test('counts for items by when they were raised', async () => {
    const { knex } = whole.database.db;
    await raiseItem(knex, { account, kind: 'hold_overdue', subject: 'old', detail: {} });
    await knex('holdfast.operations_items').where({ subject: 'old' }).update({ raised_at: EVENING });
    const count = async (query: string) => (await list(`/v1/operations/items?${query}`)).data.length;
    expect(await count('from=2026-03-09&to=2026-03-10')).toBe(1);
    expect(await count('from=2026-03-10&to=2026-03-11')).toBe(0);
  });

  test('counts for purchases by when they were accepted', async () => {
    const { knex } = whole.database.db;
    const at = `/v1/accounts/${account}/purchases`;
    await whole.app.call('POST', at, { body: { pack: 'tokens-1000' }, idempotencyKey: 'p' });
    await knex('holdfast.inbox').where({ account_id: account }).update({ received_at: EVENING });
    const count = async (query: string) => (await list(`${at}?${query}`)).data.length;
    expect(await count('from=2026-03-10&to=2026-03-11')).toBe(1);
    expect(await count('from=2026-03-09&to=2026-03-10')).toBe(0);
  });

  test.each(['generations', 'journal', 'events', 'purchases'])(
    'that is none is refused: %s',
    async (what) => {
      const at = `/v1/accounts/${account}/${what}?from=2026-02-30`;
      expect((await whole.app.call('GET', at)).status).toBe(422);
    },
  );
});

describe('open holds', () => {
  let app: TestApp;
  let account: string;
  /** The workflows that run, and how often one was asked for. */
  const running = new Set<string>();
  let asked = 0;
  const holds: { id: string; holdId: string }[] = [];

  beforeAll(async () => {
    const starter: GenerationStarter = {
      start: () => Promise.resolve({ kind: 'undecided' }),
      cancel: () => Promise.resolve(false),
      tell: () => Promise.resolve(),
      isRunning(workflowId) {
        asked += 1;
        return Promise.resolve(running.has(workflowId));
      },
    };
    app = await startApp({
      db: whole.database.db,
      routes: operationRoutes({ db: whole.database.db, starter, watch: whole.watch }),
    });
    const { knex } = whole.database.owner;
    await knex('ledger.holds').delete(); // of the tests before
    account = await open();
    for (let n = 0; n < 230; n += 1) holds.push(await whole.running(account, 1));
    await knex('ledger.holds')
      .where({ account_id: account })
      .update({
        workflow_id: knex.ref('generation_id'),
      });
  }, 120_000);
  afterAll(() => app.close());
  beforeEach(() => {
    asked = 0;
    running.clear();
  });

  /** All but these run. */
  const orphans = (...of: number[]) => {
    for (const [n, { id }] of holds.entries()) if (!of.includes(n)) running.add(id);
    return of.map((n) => holds[n]?.holdId);
  };
  const ids = (all: Page<{ id: string }>[]) => all.map(({ data }) => data.map(({ id }) => id));

  test('whose workflow is gone fill their pages, however far they lie apart', async () => {
    const gone = orphans(3, 90, 150, 151, 229);
    expect(ids(await pages('/v1/holds?orphaned=true&limit=2', app))).toEqual([
      gone.slice(0, 2),
      gone.slice(2, 4),
      gone.slice(4),
    ]);
    expect(ids(await pages('/v1/holds?orphaned=true&limit=5', app))).toEqual([gone]);
  });

  test('whose workflow runs fill theirs', async () => {
    orphans(0, 1, 2, 5);
    const all = await pages('/v1/holds?orphaned=false&limit=100', app);
    expect(all.map(({ data }) => data.length)).toEqual([100, 100, 26]);
    expect(new Set(ids(all).flat()).size).toBe(226);
  });

  test('are shown with both kinds where neither was asked for, and only they are asked after', async () => {
    const [first] = orphans(0);
    const page = await list<{ id: string; orphaned: boolean }>('/v1/holds?limit=3', app);
    expect(page.data.map(({ id, orphaned }) => [id, orphaned])).toEqual([
      [first, true],
      [holds[1]?.holdId, false],
      [holds[2]?.holdId, false],
    ]);
    expect(page.cutShort).toBe(false);
    expect(asked).toBeLessThanOrEqual(4);
  });

  test('are as old as their account’s clock says', async () => {
    const clockAt = '2030-01-01T00:00:00.000Z';
    const onClock = await open({ clockAt });
    const { id } = await whole.running(onClock, 1);
    const older = async (seconds: number) =>
      (await pages(`/v1/holds?olderThan=${seconds}&limit=100`, app))
        .flatMap(({ data }) => data)
        .filter((one) => one.id === holdIdOf(id)).length;
    expect(await older(3_600)).toBe(0);
    await whole.engine.ledger.moveClock(onClock, '2030-01-01T02:00:00.000Z');
    expect(await older(3_600)).toBe(1);
    expect(await older(3 * 3_600)).toBe(0);
  });

  test('are looked through a thousand at a time, and the page says where it was cut short', async () => {
    const { knex } = whole.database.owner;
    // Copies of one, which nobody acts upon: a thousand reservations would take long.
    await knex.raw(
      `INSERT INTO ledger.holds SELECT (jsonb_populate_record(h, jsonb_build_object('hold_id', h.hold_id || n, 'opened_at', h.opened_at + interval '1 day'))).*
         FROM ledger.holds h, generate_series(1, 1100) n WHERE h.hold_id = ?`,
      [holds[0]?.holdId ?? ''],
    );
    const [gone] = orphans(229);
    running.add('workflow'); // of the hold of the test before
    const [first, second] = await pages<{ id: string }>('/v1/holds?orphaned=true&limit=10', app);
    expect(first).toMatchObject({ data: [{ id: gone }], nextCursor: expect.any(String), cutShort: true });
    expect(second).toEqual({ data: [], nextCursor: null, cutShort: false });
  });
});
