import * as fc from 'fast-check';
import { readBalanceBefore } from '../../../db/books/pastBalance';
import { readStatement, type Statement } from '../../../db/books/statement';
import { milli } from '../../../domain/credits';
import { live, steps, T0 } from '../../support/ledger/busyLedger';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** The past of an account: its balance at any instant, and what the customer is sent. */

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const at = (ms: number) => new Date(T0 + ms);
const iso = (ms: number) => at(ms).toISOString();
const far = at(9_999 * DAY);

const statement = (account: string, from = at(0), to = far) =>
  readStatement(database.db.knex, { account, from, to, limit: 1_000 });
const before = (account: string, instant: Date) =>
  readBalanceBefore(database.db.knex, { account, before: instant });
/** Everything SQL says of the account before an instant, to the microsecond. */
async function partsBefore(account: string, instant: string) {
  const { rows } = await database.db.pool.query(
    `SELECT (SELECT to_jsonb(t) FROM ledger.totals_before($1, $2) t) AS totals,
            (SELECT jsonb_agg(l) FROM ledger.lots_before($1, $2) l) AS lots`,
    [account, instant],
  );
  return rows[0] as { totals: { available: number; held: number; debt: number }; lots: LotThen[] | null };
}
interface LotThen {
  lot: number;
  available: number;
  held: number;
}

/** Whoever comes next: expires what has ended and ends the leases that are. */
const touch = (account: string) => ledger.apply(account, []);

interface Row {
  seq: number;
  at: string;
  available_after: number;
  held_after: number;
  debt_after: number;
  moves: { lot: number; source: string; target: string; milli: number }[];
}

async function journal(account: string): Promise<Row[]> {
  const { rows } = await database.db.pool.query<Row>(
    `SELECT seq, at::text, available_after, held_after, debt_after, to_jsonb(moves) AS moves
       FROM ledger.journal WHERE account_id = $1 ORDER BY seq`,
    [account],
  );
  return rows;
}

/** The change of one part by lot, summed by hand. */
function running(rows: Row[], part: string): Record<number, number> {
  const sums: Record<number, number> = {};
  for (const { lot, source, target, milli } of rows.flatMap(({ moves }) => moves)) {
    const change = Number(target === part) - Number(source === part);
    sums[lot] = (sums[lot] ?? 0) + change * milli;
  }
  return sums;
}

const sum = (lines: Statement['lines'], of: 'creditsMilli' | 'held') =>
  lines.reduce((total, line) => total + line[of], 0);

/** Lines without their order among those of one instant, which is that of the journal once they are written. */
const sorted = ({ lines, ...ends }: Statement) => ({
  ...ends,
  lines: lines.map((line) => JSON.stringify(line)).toSorted(),
});

describe('whatever happened', () => {
  test('the balance before and after each row is what the journal’s own running totals say', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (life) => {
        const { account } = await live(ledger, life);
        await touch(account);
        const rows = await journal(account);
        const instants = [...new Set(rows.map((row) => row.at))];
        for (const instant of instants) {
          for (const [inclusive, sql] of [
            [false, instant],
            [true, (await plusMicrosecond(instant)) ?? ''],
          ] as const) {
            const past = rows.filter((row) => row.seq <= lastSeq(rows, instant, inclusive));
            const last = past.at(-1);
            const { totals, lots } = await partsBefore(account, sql);
            expect(totals).toEqual({
              available: last?.available_after ?? 0,
              held: last?.held_after ?? 0,
              debt: last?.debt_after ?? 0,
            });
            for (const part of ['available', 'held'] as const) {
              const shown = Object.fromEntries((lots ?? []).map((lot) => [lot.lot, lot[part]]));
              expect(shown).toEqual(running(past, part));
            }
          }
        }
      }),
      { numRuns: 15 },
    );
  });

  test('what nobody has booked yet reads as it does once somebody comes', async () => {
    const halfHours = fc.array(fc.nat(80), { minLength: 8, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(steps, halfHours, async (life, ago) => {
        const { account, nowMs } = await live(ledger, life);
        const end = new Date(nowMs + 36 * HOUR);
        await ledger.moveClock(account, end.toISOString());
        const instants = ago.map((half) => new Date(end.getTime() - half * (HOUR / 2) + 1));
        const read = async () => ({
          balances: await Promise.all(instants.map((instant) => before(account, instant))),
          statement: sorted(await statement(account, at(0), new Date(end.getTime() + 1))),
        });
        const untouched = await read();
        await touch(account);
        expect(await read()).toEqual(untouched);
      }),
      { numRuns: 25 },
    );
  });

  test('opening and lines add up to closing, in what is available and what is held, wherever a range is cut', async () => {
    const cuts = fc.array(fc.integer({ min: -10, max: 300 }), { minLength: 2, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(steps, cuts, async (life, hours) => {
        const { account } = await live(ledger, life);
        const ends = hours.toSorted((a, b) => a - b).map((hour) => at(hour * HOUR));
        for (const [n, to] of ends.entries()) {
          const from = ends[n - 1] ?? at(-DAY);
          const { opening, lines, closing } = await statement(account, from, to);
          expect(opening.available + sum(lines, 'creditsMilli')).toBe(closing.available);
          expect(opening.held + sum(lines, 'held')).toBe(closing.held);
          for (const line of lines) {
            expect(line.lots.reduce((total, lot) => total + lot.creditsMilli, 0)).toBe(line.creditsMilli);
            expect(line.at >= from && line.at < to).toBe(true);
          }
          const then = await before(account, to);
          expect(closing).toEqual({ available: then.available, held: then.held });
          expect(then.available).toBe(then.lots.reduce((total, lot) => total + lot.available, 0));
        }
      }),
      { numRuns: 25 },
    );
  });
});

describe('the balance at an instant', () => {
  test('knows to the microsecond that a lot has expired, though nobody touched the account', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    await ledger.grant(account, { amount: 1_000, expiresAt: '2026-03-02T00:00:00.000001Z' });
    await ledger.grant(account, { amount: 2_000, expiresAt: '2026-03-02T00:00:00.000002Z' });
    await ledger.moveClock(account, iso(3 * DAY));
    const available = async (instant: string) => (await partsBefore(account, instant)).totals.available;
    expect(await available('2026-03-02T00:00:00.000001Z')).toBe(3_000);
    expect(await available('2026-03-02T00:00:00.000002Z')).toBe(2_000); // that is: at .000001
    expect(await available('2026-03-02T00:00:00.000003Z')).toBe(0);
  });

  test('knows that a lease has ended: its credits are back, or lost with their lot, and repay debt first', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    await ledger.grant(account, { bucket: 'plan', rank: 1, amount: 100, expiresAt: iso(HOUR / 2) });
    await ledger.grant(account, { amount: 1_000, source: 'pack:one' });
    await ledger.lease(account, { amount: 600, ttlSeconds: 3600 });
    const cause = { cause: 'refund:one', source: 'pack:one', buckets: [] };
    await ledger.one(account, { op: 'revoke', key: 'sys:r', hash: 'r', ...cause, amount: milli(700) });
    await ledger.moveClock(account, iso(2 * HOUR));
    expect(await before(account, at(HOUR))).toMatchObject({ available: 0, held: 600, debt: 200 });
    const after = await before(account, at(HOUR + 1));
    expect(after).toMatchObject({ available: 300, held: 0, debt: 0 });
    expect(after.lots).toMatchObject([{ lot: 2, granted: 1_000, available: 300, held: 0 }]);
  });

  test('has the lots of that time, in spend order, with those that are empty until they end', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    await ledger.grant(account, { amount: 5_000 });
    await ledger.grant(account, { bucket: 'daily', rank: 1, amount: 1_000, expiresAt: iso(DAY) });
    await ledger.moveClock(account, iso(HOUR));
    const reply = await ledger.reserve(account, { amount: 1_500 });
    await ledger.capture(account, reply.hold?.holdId ?? '');
    await ledger.moveClock(account, iso(2 * DAY));
    const lots = async (ms: number) =>
      (await before(account, at(ms))).lots.map(({ lot, available }) => [lot, available]);
    expect(await lots(0)).toEqual([]);
    expect(await lots(HOUR)).toEqual([
      [2, 1_000],
      [1, 5_000],
    ]);
    expect(await lots(DAY)).toEqual([
      [2, 0],
      [1, 4_500],
    ]);
    expect(await lots(DAY + 1)).toEqual([[1, 4_500]]);
  });
});

describe('the statement', () => {
  test('has one line for each thing that happened, and a generation is one line', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    const keyed = (name: string) => ({ key: `req:${name}`, hash: 'h', reason: name });
    await ledger.grant(account, {
      bucket: 'daily',
      rank: 1,
      amount: 1_000,
      expiresAt: iso(DAY),
      key: 'sys:d',
    });
    await ledger.grant(account, { amount: 10_000, source: 'pack:pur_1', key: 'sys:p' });
    const reply = await ledger.reserve(account, { amount: 4_000 });
    const holdId = reply.hold?.holdId ?? '';
    await ledger.capture(account, holdId, { delivered: 3, ordered: 4 });
    await ledger.one(account, {
      op: 'refund',
      ...keyed('sorry'),
      holdId,
      spendableSeconds: 60,
      amount: milli(500),
    });
    const lease = await ledger.lease(account, { amount: 300, ttlSeconds: 60, key: 'req:lease' });
    const work = { action: 'edit', model: 'quick', member: 'mia' };
    await ledger.charge(account, { amount: 20, key: 'req:charge', work });
    const adjust = { op: 'adjust', bucket: 'pack', rank: 3, source: 'adjustment' } as const;
    await ledger.one(account, { ...adjust, ...keyed('gift'), amount: milli(7) });
    await ledger.one(account, { ...adjust, ...keyed('mistake'), amount: milli(-3) });
    const dispute = { cause: 'dispute:1', source: 'pack:pur_1' };
    await ledger.one(account, { op: 'freeze', ...keyed('frozen'), ...dispute, amount: milli(50) });
    await ledger.one(account, { op: 'unfreeze', ...keyed('thawed'), cause: 'dispute:1' });
    const back = { cause: 'refund:1', source: 'pack:pur_1', buckets: ['pack'] };
    await ledger.one(account, { op: 'revoke', ...keyed('taken'), ...back, amount: milli(9_000) });
    await ledger.grant(account, { amount: 2_000, source: 'pack:pur_2', key: 'sys:p2' });
    await ledger.moveClock(account, iso(2 * DAY));

    const { opening, lines, closing } = await statement(account, at(0), at(2 * DAY));
    const owed = 9_000 - (11_000 - 2_500 - 300 - 20 + 4);
    expect(opening).toEqual({ available: 0, held: 0 });
    expect(lines.map(({ kind, creditsMilli, key, reason }) => [kind, creditsMilli, key, reason])).toEqual([
      ['grant', 1_000, 'sys:d', null],
      ['purchase', 10_000, 'sys:p', null],
      ['generation', -2_500, expect.any(String), 'sorry'],
      ['hold', 0, 'lease', 'lease_over'],
      ['charge', -20, 'charge', null],
      ['adjustment', 7, 'gift', 'gift'],
      ['adjustment', -3, 'mistake', 'mistake'],
      ['freeze', -50, 'frozen', 'frozen'],
      ['unfreeze', 50, 'thawed', 'thawed'],
      ['revocation', -(9_000 - owed), 'taken', 'taken'],
      ['purchase', 2_000, 'sys:p2', null],
      ['repayment', -owed, 'sys:p2', null],
    ]);
    expect(lines[2]).toMatchObject({
      generation: holdId.replace(/^hold_/, 'gen_'),
      action: 'image',
      held: 0,
    });
    expect(lines[3]).toMatchObject({ hold: lease, generation: null });
    expect(lines[4]).toMatchObject({ action: 'edit', model: 'quick', member: 'mia' });
    expect(closing.available).toBe(sum(lines, 'creditsMilli'));
  });

  test('shows an expiry apart from the grant that took the lot’s place', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    const daily = { bucket: 'daily', rank: 1, amount: 100, replaces: true };
    await ledger.grant(account, { ...daily, source: 'daily:1' });
    await ledger.moveClock(account, iso(HOUR));
    await ledger.grant(account, { ...daily, source: 'daily:2' });
    const { lines } = await statement(account, at(HOUR));
    expect(lines.map(({ kind, creditsMilli }) => [kind, creditsMilli])).toEqual([
      ['expiry', -100],
      ['grant', 100],
    ]);
  });

  test('cuts a generation in two where the range ends in the middle of it', async () => {
    const account = await ledger.open({ clockAt: iso(0) });
    await ledger.grant(account, { amount: 5_000 });
    const reply = await ledger.reserve(account, { amount: 4_000 });
    await ledger.moveClock(account, iso(DAY));
    await ledger.capture(account, reply.hold?.holdId ?? '', { delivered: 3, ordered: 4 });
    const first = await statement(account, at(0), at(DAY));
    const second = await statement(account, at(DAY), at(2 * DAY));
    expect(first.lines[1]).toMatchObject({ kind: 'generation', creditsMilli: -4_000, held: 4_000 });
    expect(first.closing).toEqual({ available: 1_000, held: 4_000 });
    expect(second.opening).toEqual(first.closing);
    expect(second.lines).toMatchObject([{ kind: 'generation', creditsMilli: 1_000, held: -4_000 }]);
    expect(second.closing).toEqual({ available: 2_000, held: 0 });
  });
});

/** The number of the last row before the instant, or up to it. */
function lastSeq(rows: Row[], instant: string, inclusive: boolean): number {
  const first = rows.find((row) => row.at === instant)?.seq ?? 0;
  const last = rows.findLast((row) => row.at === instant)?.seq ?? 0;
  return inclusive ? last : first - 1;
}

async function plusMicrosecond(instant: string): Promise<string | undefined> {
  const { rows } = await database.db.pool.query<{ next: string }>(
    "SELECT ($1::timestamptz + interval '1 microsecond')::text AS next",
    [instant],
  );
  return rows[0]?.next;
}
