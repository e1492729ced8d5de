import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

const DAY = 86_400_000;
const T0 = '2026-03-01T00:00:00.000Z';
const after = (ms: number) => new Date(Date.parse(T0) + ms).toISOString();

/** Daily 100, plan 50, pack 30 credits: in this spend order (rule 13). */
async function threeBuckets(clockAt?: string) {
  const account = await ledger.open(clockAt === undefined ? {} : { clockAt });
  await ledger.grant(account, { bucket: 'pack', rank: 3, amount: 30_000 });
  const daily = clockAt === undefined ? {} : { expiresAt: after(DAY) };
  await ledger.grant(account, { bucket: 'daily', rank: 1, amount: 100_000, ...daily });
  const plan = clockAt === undefined ? {} : { expiresAt: after(30 * DAY), graceSeconds: 86_400 };
  await ledger.grant(account, { bucket: 'plan', rank: 2, amount: 50_000, ...plan });
  return account;
}

async function hold(account: string, amount: number) {
  const operation = reservation(account, { amount });
  const reply = await ledger.one(account, operation);
  expect(reply.status).toBe('applied');
  return operation;
}

describe('reserve', () => {
  test('takes from the lots in spend order: rank, then earliest expiry, then oldest', async () => {
    const account = await ledger.open({ clockAt: T0 });
    const amounts = { amount: 1_000 };
    await ledger.grant(account, { ...amounts, bucket: 'plan', rank: 2, expiresAt: after(DAY) }); // 1
    await ledger.grant(account, { ...amounts, bucket: 'daily', rank: 1, expiresAt: after(9 * DAY) }); // 2
    await ledger.grant(account, { ...amounts, bucket: 'daily', rank: 1, expiresAt: after(DAY) }); // 3
    await ledger.grant(account, { ...amounts, bucket: 'daily', rank: 1, expiresAt: after(DAY) }); // 4
    const reply = await ledger.reserve(account, { amount: 3_500 });
    expect(reply.status).toBe('applied');
    const { rows } = await database.owner.pool.query<{ lots: number[]; lots_held: string[] }>(
      'SELECT lots, lots_held FROM ledger.holds WHERE account_id = $1',
      [account],
    );
    expect(rows[0]?.lots).toEqual([3, 4, 2, 1]);
    expect(rows[0]?.lots_held.map(Number)).toEqual([1_000, 1_000, 1_000, 500]);
  });

  test('skips excluded buckets, and refuses when what is left cannot pay', async () => {
    const account = await threeBuckets();
    const paid = await ledger.reserve(account, { amount: 60_000, excluded: ['daily'] });
    expect(paid.status).toBe('applied');
    const short = await ledger.reserve(account, { amount: 21_000, excluded: ['daily'] });
    expect(short).toMatchObject({ status: 'insufficient_credits', required: 21_000, spendable: 20_000 });
    expect((await ledger.journal(account)).at(-1)).toMatchObject({
      kind: 'reserve',
      status: 'insufficient_credits',
      credits: 0,
    });
  });

  test('writes nothing after its deadline, when too many are open, or when rules moved meanwhile', async () => {
    const account = await threeBuckets();
    const before = await ledger.totals(account);
    const late = await ledger.reserve(account, { amount: 1_000, reserveBefore: '2020-01-01T00:00:00Z' });
    expect(late.status).toBe('too_late');
    expect((await ledger.reserve(account, { amount: 1_000, rulesVersion: 7 })).status).toBe('stale');
    const full = await ledger.reserve(account, { amount: 1_000, maxOpen: before.open_holds });
    expect(full.status).toBe('too_many_open_generations');
    const refuseOnly = await ledger.reserve(account, { amount: 1_000, refuseOnly: true });
    expect(refuseOnly.status).toBe('would_hold');
    expect(await ledger.totals(account)).toEqual(before);
  });

  test('answers a known key again, byte for byte, with the hold as it is now', async () => {
    const account = await threeBuckets();
    const operation = reservation(account, { amount: 5_000, facts: { z: 1, a: [2] } });
    const first = await ledger.one(account, operation);
    await ledger.capture(account, operation.holdId);
    const again = await ledger.one(account, { ...operation, reserveBefore: '2020-01-01T00:00:00Z' });
    expect(again.replayed).toBe(true);
    expect(again.answer).toBe(first.answer);
    expect(again.hold).toMatchObject({ open: false, captured: 5_000 });
    expect((await ledger.totals(account)).seq).toBe(5);
  });

  test('refuses a known key with another request, and keeps a refusal for ever', async () => {
    const account = await threeBuckets();
    const dear = reservation(account, { amount: 999_000_000 });
    expect((await ledger.one(account, dear)).status).toBe('insufficient_credits');
    await ledger.grant(account, { amount: 999_000_000 });
    expect(await ledger.one(account, dear)).toMatchObject({ status: 'insufficient_credits', replayed: true });
    expect((await ledger.one(account, { ...dear, hash: 'other' })).status).toBe('idempotency_conflict');
  });

  test('of a free action holds nothing and its generation is done', async () => {
    const account = await ledger.open();
    const operation = reservation(account, { amount: 0, workflowId: null });
    expect((await ledger.one(account, operation)).status).toBe('applied');
    const { rows } = await database.owner.pool.query(
      'SELECT status, hold_id, workflow_id FROM ledger.generations WHERE account_id = $1',
      [account],
    );
    expect(rows).toEqual([{ status: 'succeeded', hold_id: null, workflow_id: null }]);
  });
});

describe('capture', () => {
  test('takes the delivered share, rounded down to a millicredit, and gives the rest back in one operation', async () => {
    const account = await ledger.open();
    await ledger.grant(account, { amount: 100_000 });
    const operation = await hold(account, 10_000);
    const reply = await ledger.capture(account, operation.holdId, { delivered: 2, ordered: 3 });
    expect(reply).toMatchObject({ status: 'applied', captured: 6_666, returned: 3_334, forfeited: 0 });
    expect(await ledger.totals(account)).toMatchObject({ seq: 3, available: 93_334, held: 0, open_holds: 0 });
  });

  test('takes the lots of the hold in spend order and returns the rest to the lots it came from', async () => {
    const account = await threeBuckets();
    const operation = await hold(account, 160_000);
    await ledger.capture(account, operation.holdId, { delivered: 3, ordered: 4 });
    const lots = await ledger.lots(account);
    const spent = Object.fromEntries(lots.map((lot) => [lot.bucket, [lot.spent, lot.available]]));
    expect(spent).toEqual({ daily: [100_000, 0], plan: [20_000, 30_000], pack: [0, 30_000] });
  });

  test('phase by phase leaves the hold open, each phase once, until the last closes it', async () => {
    const account = await ledger.open();
    await ledger.grant(account, { amount: 10_000 });
    const { holdId } = await hold(account, 10_000);
    const phase = { final: false, phase: 'hero', amount: 4_000 };
    expect(await ledger.capture(account, holdId, phase)).toMatchObject({
      status: 'applied',
      captured: 4_000,
    });
    expect(await ledger.capture(account, holdId, phase)).toMatchObject({ status: 'applied', replayed: true });
    const changed = { ...phase, amount: 5_000, hash: 'other' };
    expect((await ledger.capture(account, holdId, changed)).status).toBe('idempotency_conflict');
    const above = { final: false, phase: 'video', amount: 7_000 };
    expect((await ledger.capture(account, holdId, above)).status).toBe('exceeds_hold');
    expect(await ledger.capture(account, holdId, { ...above, clamp: true })).toMatchObject({
      captured: 6_000,
      clamped: true,
    });
    expect(await ledger.capture(account, holdId, { amount: 0 })).toMatchObject({
      status: 'applied',
      captured: 0,
    });
    expect(await ledger.totals(account)).toMatchObject({ available: 0, held: 0, open_holds: 0 });
  });

  test('of a closed or unknown hold moves nothing', async () => {
    const account = await threeBuckets();
    const { holdId } = await hold(account, 1_000);
    await ledger.release(account, holdId);
    const before = await ledger.totals(account);
    expect((await ledger.capture(account, holdId)).status).toBe('hold_closed');
    expect((await ledger.capture(account, 'hold_x.unknown')).status).toBe('unknown_hold');
    expect((await ledger.release(account, holdId, { key: 'sys:release:again' })).status).toBe('hold_closed');
    expect(await ledger.totals(account)).toEqual(before);
  });
});

describe('what comes back to a lot that has expired', () => {
  test('stays expired where the bucket forfeits, and is called forfeited', async () => {
    const account = await threeBuckets(T0);
    const { holdId } = await hold(account, 100_000);
    await ledger.moveClock(account, after(DAY));
    expect(await ledger.release(account, holdId)).toMatchObject({ returned: 0, forfeited: 100_000 });
    expect((await ledger.lots(account)).find((lot) => lot.bucket === 'daily')).toMatchObject({
      available: 0,
      expired: 100_000,
    });
  });

  test('lives on in one linked lot where the bucket has grace, but not a second time', async () => {
    const account = await threeBuckets(T0);
    const { holdId } = await hold(account, 150_000);
    await ledger.moveClock(account, after(31 * DAY));
    expect(await ledger.release(account, holdId)).toMatchObject({ returned: 50_000, forfeited: 100_000 });
    const again = await hold(account, 50_000); // rank 2 before the pack: the linked lot
    await ledger.moveClock(account, after(33 * DAY));
    expect(await ledger.release(account, again.holdId)).toMatchObject({ returned: 0, forfeited: 50_000 });
  });

  test('is forfeited when the customer cancelled, whatever the policy', async () => {
    const account = await threeBuckets(T0);
    const { holdId } = await hold(account, 150_000);
    await ledger.moveClock(account, after(31 * DAY));
    expect(await ledger.release(account, holdId, { cause: 'customer' })).toMatchObject({
      returned: 0,
      forfeited: 150_000,
    });
  });

  test('can still be captured: a hold pins what it took, also past expiry', async () => {
    const account = await threeBuckets(T0);
    const { holdId } = await hold(account, 100_000);
    await ledger.moveClock(account, after(2 * DAY));
    expect(await ledger.capture(account, holdId)).toMatchObject({ status: 'applied', captured: 100_000 });
  });
});

describe('expiry', () => {
  test('is exact to the microsecond, in time order, and dated at the boundary however late it is written', async () => {
    const account = await ledger.open({ clockAt: T0 });
    await ledger.grant(account, { amount: 1_000, expiresAt: '2026-03-02T00:00:00.000001Z' });
    await ledger.grant(account, { amount: 2_000, expiresAt: '2026-03-02T00:00:00.000000Z' });
    await ledger.moveClock(account, '2026-03-02T00:00:00.000000Z');
    expect((await ledger.reserve(account, { amount: 1_001 })).status).toBe('insufficient_credits');
    expect((await ledger.reserve(account, { amount: 1_000 })).status).toBe('applied');
    await ledger.grant(account, { amount: 5_000, expiresAt: '2026-03-03T00:00:00Z' });
    await ledger.moveClock(account, '2026-03-09T00:00:00Z');
    await ledger.reserve(account, { amount: 1 });
    const expired = (await ledger.journal(account)).filter((row) => row.kind === 'expire');
    expect(expired.map((row) => [row.credits, row.at.toISOString()])).toEqual([
      [-2_000, '2026-03-02T00:00:00.000Z'],
      [-5_000, '2026-03-03T00:00:00.000Z'],
    ]);
  });
});

describe('refund', () => {
  const refund = (account: string, holdId: string, amount?: number) =>
    ledger.one(account, {
      op: 'refund',
      key: `req:${Math.random()}`,
      hash: 'refund',
      holdId,
      ...(amount === undefined ? {} : { amount: milli(amount) }),
      spendableSeconds: 30 * 86_400,
    });

  test('gives captured credits back to their lots, last drawn first, and never more than was captured', async () => {
    const account = await threeBuckets();
    const { holdId } = await hold(account, 160_000);
    await ledger.capture(account, holdId);
    expect((await refund(account, holdId, 20_000)).status).toBe('applied');
    const lots = Object.fromEntries((await ledger.lots(account)).map((lot) => [lot.bucket, lot.available]));
    expect(lots).toEqual({ daily: 0, plan: 10_000, pack: 30_000 });
    expect((await refund(account, holdId, 140_001)).status).toBe('refund_exceeds_captured');
    expect((await refund(account, holdId)).hold).toMatchObject({ refunded: 160_000 });
  });

  test('into an expired lot stays spendable for thirty days', async () => {
    const account = await threeBuckets(T0);
    const { holdId } = await hold(account, 100_000);
    await ledger.capture(account, holdId);
    await ledger.moveClock(account, after(5 * DAY));
    await refund(account, holdId);
    expect(await ledger.totals(account)).toMatchObject({ available: 180_000 });
    await ledger.moveClock(account, after(35 * DAY));
    expect((await ledger.reserve(account, { amount: 30_001 })).status).toBe('insufficient_credits');
  });
});

describe('adjust', () => {
  const adjust = (account: string, amount: number, bucket = 'pack') =>
    ledger.one(account, {
      op: 'adjust',
      key: `req:${Math.random()}`,
      hash: 'adjust',
      bucket,
      rank: 3,
      amount: milli(amount),
      source: 'adjustment',
      actor: 'support',
      reason: 'a mistake',
    });

  test('adds a lot, or revokes from the bucket’s lots, and takes no more than is there', async () => {
    const account = await ledger.open();
    expect((await adjust(account, 5_000)).status).toBe('applied');
    expect((await adjust(account, -2_000)).status).toBe('applied');
    expect((await adjust(account, -3_001)).status).toBe('adjustment_exceeds_available');
    expect((await adjust(account, -1, 'plan')).status).toBe('adjustment_exceeds_available');
    expect(await ledger.lots(account)).toMatchObject([{ granted: 5_000, available: 3_000, revoked: 2_000 }]);
  });
});

describe('settling', () => {
  test('is demanded before any use once something is due, and nothing is written until it is done', async () => {
    const { rows } = await database.db.pool.query('SELECT ledger.open_account($1, $2, NULL) AS opened', [
      'due-1',
      JSON.stringify({ catalog: 'none', plan: 'free', planSource: 'free' }),
    ]);
    expect(rows).toEqual([{ opened: true }]);
    const result = await ledger.apply('due-1', [reservation('due-1', { amount: 1 })]);
    expect(result).toMatchObject({
      result: 'settle_required',
      snapshot: { settleVersion: 0, rulesVersion: 1 },
    });
    const step = {
      at: T0,
      key: 'sys:daily:due-1:2026-03-01',
      hash: 'x',
      bucket: 'daily',
      rank: 1,
      amount: 5,
      source: 'daily',
    };
    const settlement = {
      settleVersion: 0,
      rulesVersion: 1,
      steps: [step],
      calendar: {},
      nextDueAt: 'infinity',
      wakeAt: 'infinity',
    };
    const done = await ledger.apply('due-1', [reservation('due-1', { amount: 5 })], settlement);
    expect(done).toMatchObject({ result: 'ok', replies: [{ status: 'applied' }] });
    expect(await ledger.apply('due-1', [], settlement)).toMatchObject({ result: 'stale' });
    const again = { ...settlement, settleVersion: 1 };
    expect(await ledger.apply('due-1', [], again)).toMatchObject({ result: 'ok' });
    expect(await ledger.lots('due-1')).toHaveLength(1); // the key of the step is known: one grant
  });
});
