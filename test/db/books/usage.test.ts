import { readUsage, type UsageQuestion } from '../../../db/books/usage';
import { daysOf, type Dimension } from '../../../domain/books/usage';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

/** Usage of hours and days that have ended is added up once; nobody may be able to tell. */

let database: TestDatabase;
let raw: TestLedger;
let account: string;
/** The first charge. */
let charged: string;

beforeAll(async () => {
  database = await testDatabase({ patient: true });
  raw = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

const succeeded = [{ index: 0, status: 'succeeded' }];

function question(over: Partial<UsageQuestion> = {}): UsageQuestion {
  const asked = {
    account,
    from: new Date('2026-03-01T00:20:00Z'),
    to: new Date('2026-03-06T00:00:00Z'),
    zone: 'UTC',
    groupBy: ['model', 'day'] as Dimension[],
    only: [],
    limit: 1_000,
    ...over,
  };
  const days = daysOf({ fromMs: asked.from.getTime(), toMs: asked.to.getTime() }, asked.zone);
  return { ...asked, days };
}

/** The answer with everything that has ended added up and kept, or from the journal alone; rows in a fixed order. */
async function answer(how: 'kept' | 'journal', over: Partial<UsageQuestion> = {}) {
  const manyRows = how === 'kept' ? 0 : Number.POSITIVE_INFINITY;
  const { rows, total } = await readUsage(database.db.knex, question(over), {
    manyRows,
    patienceMs: Number.POSITIVE_INFINITY,
  });
  return { total, rows: rows.map((row) => JSON.stringify(row)).toSorted() };
}

async function spans(): Promise<string[]> {
  const { rows } = await database.owner.pool.query<{ starts: Date; ends: Date }>(
    'SELECT starts, ends FROM holdfast.usage_spans WHERE account_id = $1 ORDER BY starts',
    [account],
  );
  return rows.map(
    ({ starts, ends }) => `${starts.toISOString().slice(0, 16)} ${ends.toISOString().slice(0, 16)}`,
  );
}

async function begin(amount: number, model: string): Promise<string> {
  const { generation } = reservation(account, { amount });
  const reply = await raw.reserve(account, { amount, generation: { ...generation, model } });
  return reply.hold?.holdId ?? '';
}

const finish = (holdId: string) =>
  raw.capture(account, holdId, { generation: { status: 'succeeded', outputs: succeeded } });

const giveBack = (holdId: string) =>
  raw.one(account, {
    op: 'refund',
    key: `req:refund-${holdId}`,
    hash: 'refund',
    holdId,
    spendableSeconds: 3_600,
  });

/** Five days of it, some twenty minutes apart: generations, charges, free ones, some that cost nothing, refunds, from two buckets. */
beforeAll(async () => {
  account = await raw.open({ clockAt: '2026-03-01T00:00:00Z' });
  await raw.grant(account, { amount: 1_000_000 });
  for (let n = 0; n < 220; n += 1) {
    const at = new Date(Date.parse('2026-03-01T00:00:00Z') + n * 31 * 60_000).toISOString();
    await raw.moveClock(account, at);
    if (n % 10 === 0)
      await raw.grant(account, { amount: 2_500, bucket: n % 20 === 0 ? 'daily' : 'promo', rank: 1 });
    if (n % 7 === 0) {
      const { generation } = reservation(account, { amount: 0 });
      await raw.reserve(account, { amount: 0, workflowId: null, generation });
    }
    if (n % 11 === 0) {
      const reply = await raw.reserve(account, { amount: 0, runs: true });
      await finish(reply.hold?.holdId ?? '');
    }
    if (n % 3 === 0) {
      const charge = await raw.charge(account, { amount: 500 + n, work: { model: 'edit' } });
      if (n === 0) charged = charge.hold?.holdId ?? '';
      else if (n % 12 === 0) await giveBack(charge.hold?.holdId ?? '');
    }
    const holdId = await begin(1_000 + n, `model-${n % 4}`);
    await finish(holdId);
    if (n % 5 === 0) await giveBack(holdId);
  }
});

test.each([
  ['by model and day', {}],
  ['by day', { groupBy: ['day'] }],
  ['by bucket', { groupBy: ['bucket'] }],
  ['by bucket and day', { groupBy: ['bucket', 'day'] }],
  ['of one bucket', { only: [{ dimension: 'bucket', value: 'daily' }] }],
  ['of one model', { only: [{ dimension: 'model', value: 'model-2' }], groupBy: ['action'] }],
  ['from noon to noon', { from: new Date('2026-03-02T12:07:00Z'), to: new Date('2026-03-04T11:59:59.999Z') }],
  ['of minutes', { from: new Date('2026-03-02T12:07:00Z'), to: new Date('2026-03-02T12:50:00Z') }],
  ['of a range before and after everything', { from: new Date('2020-01-01'), to: new Date('2030-01-01') }],
  ['where a day has 23 hours', { zone: 'America/New_York' }],
  ['where midnight is at half past the hour', { zone: 'Asia/Kolkata', groupBy: ['day', 'bucket'] }],
] as [string, Partial<UsageQuestion>][])('what is kept says what the journal says: %s', async (_, over) => {
  const expected = await answer('journal', over);
  expect(expected.total.generations).toBeGreaterThan(0);
  expect(await answer('kept', over)).toEqual(expected);
  expect(await answer('kept', over)).toEqual(expected); // now from what was kept
});

test('whole days are kept, and hours where the range begins or ends within one, as far as they have ended', async () => {
  await database.owner.pool.query('DELETE FROM holdfast.usage_spans');
  await answer('kept', { from: new Date('2026-03-03T21:30:00Z') });
  expect(await spans()).toEqual([
    '2026-03-03T22:00 2026-03-03T23:00',
    '2026-03-03T23:00 2026-03-04T00:00',
    '2026-03-04T00:00 2026-03-05T00:00',
    // The last row is of 17:09.
    ...Array.from({ length: 17 }, (_, hour) => {
      const at = (n: number) => `2026-03-05T${String(n).padStart(2, '0')}:00`;
      return `${at(hour)} ${at(hour + 1)}`;
    }),
  ]);
});

test('what is kept is not read again', async () => {
  const before = (await answer('kept', { groupBy: ['action'] })).total;
  await database.owner.pool.query(
    'UPDATE holdfast.usage_sums SET credits = credits + 1 WHERE account_id = $1',
    [account],
  );
  expect((await answer('kept', { groupBy: ['action'] })).total.creditsMilli).toBeGreaterThan(
    before.creditsMilli,
  );
  await database.owner.pool.query('DELETE FROM holdfast.usage_spans');
  expect((await answer('kept', { groupBy: ['action'] })).total).toEqual(before);
});

test('several who ask at once get the same answer, and it is added up once', async () => {
  await database.owner.pool.query('DELETE FROM holdfast.usage_spans');
  const expected = await answer('journal');
  const answers = await Promise.all(Array.from({ length: 4 }, () => answer('kept')));
  for (const one of answers) expect(one).toEqual(expected);
  expect(await answer('kept')).toEqual(expected);
});

test('who asks for more than there is time for is told to come again, and finds what was added up by then', async () => {
  await database.owner.pool.query('DELETE FROM holdfast.usage_spans');
  const ask = () => readUsage(database.db.knex, question(), { manyRows: 0, patienceMs: 0 });
  await expect(ask()).rejects.toThrow('1 of 5 days');
  await expect(ask()).rejects.toThrow('1 of 4 days');
  expect(await spans()).toHaveLength(24); // hours of the first day, and the second
});

test('a day of more rows than a statement takes is added up in parts', async () => {
  await database.owner.pool.query('DELETE FROM holdfast.usage_spans');
  const expected = await answer('journal');
  const { total } = await readUsage(database.db.knex, question(), { manyRows: 0, rowsAtOnce: 7 });
  expect(total).toEqual(expected.total);
  expect(await answer('kept')).toEqual(expected);
});

test('a charge of a day that was added up and kept is refunded, and used is so much less', async () => {
  const edits = { only: [{ dimension: 'model' as const, value: 'edit' }], groupBy: ['model' as const] };
  const before = (await answer('kept', edits)).total;
  expect((await giveBack(charged)).status).toBe('applied');
  const after = await answer('kept', edits);
  expect(after.total).toEqual({ ...before, creditsMilli: before.creditsMilli - 500 });
  expect(after).toEqual(await answer('journal', edits));
});

test('nothing is kept from when work began that was paid in part and continues', async () => {
  account = await raw.open({ clockAt: '2026-03-01T08:00:00Z' });
  await raw.grant(account, { amount: 100_000 });
  await finish(await begin(1_000, 'quick'));
  await raw.moveClock(account, '2026-03-01T10:30:00Z');
  const slow = await begin(10_000, 'slow');
  await raw.capture(account, slow, { amount: 4_000, phase: 'draft', final: false, generation: {} });
  await raw.moveClock(account, '2026-03-03T12:00:00Z');
  await finish(await begin(1_000, 'quick'));
  const outputs = async () => (await answer('kept', { groupBy: ['action'] })).total.outputs;
  expect(await outputs()).toBe(2);
  expect((await spans()).at(-1)).toBe('2026-03-01T09:00 2026-03-01T10:00');
  await raw.capture(account, slow, {
    amount: 6_000,
    phase: 'final',
    generation: { status: 'succeeded', outputs: succeeded },
  });
  expect(await outputs()).toBe(3);
  expect((await spans()).at(-1)).toBe('2026-03-03T11:00 2026-03-03T12:00');
  expect(await answer('kept')).toEqual(await answer('journal'));
});

test('the number of the last row before an instant is found at every place there is', async () => {
  const rows = await raw.journal(account);
  const seqBefore = async (at: Date) => {
    const { rows: found } = await database.db.pool.query<{ seq: number }>(
      'SELECT ledger.seq_before($1, $2) AS seq',
      [account, at],
    );
    return found[0]?.seq;
  };
  for (const { at } of rows) {
    for (const near of [-1, 0, 1]) {
      const instant = new Date(at.getTime() + near);
      const before = rows.filter((row) => row.at < instant);
      expect(await seqBefore(instant)).toBe(before.length);
    }
  }
});
