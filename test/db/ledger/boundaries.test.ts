import { randomBytes } from 'node:crypto';
import { publishCatalog } from '../../../db/catalogs/catalogs';
import { createEngine } from '../../../db/engine';
import type { Count } from '../../../domain/access/limits';
import { imagineart } from '../../domain/catalogs';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** What happens where two things happen at one instant, or far too many. */

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

const T0 = '2026-03-01T00:00:00.000Z';
const after = (seconds: number) => new Date(Date.parse(T0) + seconds * 1_000).toISOString();
const settlement = (steps: object[], nextDueAt = 'infinity') => ({
  settleVersion: 1,
  rulesVersion: 1,
  calendar: {},
  wakeAt: 'infinity',
  steps,
  nextDueAt,
});
const downgrade = (at: string) => ({
  op: 'rules',
  at,
  key: `sys:plan-end:${at}`,
  hash: 'p',
  rules: { plan: 'basic' },
  ends: 'plan',
  forfeits: true,
});

test('thousands of leases that nobody ended have ended with the next operation', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 10_000 });
  const many = Array.from({ length: 250 }, (_, n) => n);
  for (let batch = 0; batch < 12; batch += 1) {
    await ledger.apply(
      account,
      many.map((n) => ({
        op: 'reserve',
        key: `req:${batch}-${n}`,
        hash: 'l',
        holdId: `hold_${account}.${batch}-${n}`,
        work: {},
        rulesVersion: 1,
        amount: 1,
        maxOpen: 10_000,
        ttlSeconds: 60 + n,
        excluded: [],
        reserveBefore: '2100-01-01T00:00:00Z',
      })) as never[], // amounts as plain numbers
    );
  }
  await ledger.moveClock(account, after(3_600));
  expect(await ledger.grant(account, { amount: 1 })).toMatchObject({ available: 10_001, held: 0 });
});

test('a boundary that passes while a settlement is on its way is settled before anything is decided', async () => {
  const account = await ledger.open({ clockAt: T0 });
  const grant = { op: 'grant', key: 'sys:g', hash: 'g', bucket: 'pack', rank: 3, source: 'test', amount: 5 };
  await ledger.moveClock(account, after(10));
  const late = await ledger.apply(account, [grant as never], settlement([], after(10)));
  expect(late).toMatchObject({ result: 'settle_required', snapshot: { account, settleVersion: 1 } });
  expect(await ledger.apply(account, [], settlement([], after(10)))).toMatchObject({ result: 'ok' });
});

test('what comes back of a plan that ended with its period is forfeited, though it ended at that very instant', async () => {
  const account = await ledger.open({ clockAt: T0 });
  const plan = { bucket: 'plan', rank: 2, source: 'plan:1', graceSeconds: 86_400, expiresAt: after(60) };
  await ledger.grant(account, { ...plan, amount: 5_000 });
  const holdId = await ledger.lease(account, { amount: 5_000, ttlSeconds: 600 });
  await ledger.moveClock(account, after(120));
  await ledger.apply(account, [], settlement([downgrade(after(60))]));
  const back = await ledger.apply(
    account,
    [{ op: 'release', key: 'req:r', hash: 'r', holdId, cause: 'provider' }],
    { ...settlement([]), settleVersion: 2, rulesVersion: 2 },
  );
  expect(back).toMatchObject({ replies: [{ status: 'applied', returned: 0, forfeited: 5_000 }] });
});

test('whatever a member is called, its counter is its own', async () => {
  const account = await ledger.open({ clockAt: T0 });
  await ledger.grant(account, { amount: 10_000 });
  const count = (member: string, period: string): Count => ({
    counter: `member:${member}`,
    period,
    resetsAt: null,
    of: 'credits',
    units: 5_000,
    limit: 6_000,
    refusal: 'member_limit_reached',
    name: member,
  });
  const holdId = await ledger.lease(account, {
    amount: 5_000,
    ttlSeconds: 60,
    counts: [count('x\u001Fy', 'm')],
  });
  await ledger.lease(account, { amount: 5_000, ttlSeconds: 90, counts: [count('x', 'y\u001Fm')] });
  expect(await ledger.release(account, holdId)).toMatchObject({ status: 'applied' });
  await ledger.moveClock(account, after(120));
  expect(await ledger.grant(account, { amount: 1 })).toMatchObject({ available: 10_001, held: 0 });
});

test('a dispute freezes what came back of the pack too, when its own lot had ended', async () => {
  const account = await ledger.open({ clockAt: T0 });
  const pack = { source: 'pack:1', graceSeconds: 86_400, expiresAt: after(60) };
  await ledger.grant(account, { ...pack, amount: 5_000 });
  const holdId = await ledger.lease(account, { amount: 4_000, ttlSeconds: 600 });
  await ledger.moveClock(account, after(120));
  await ledger.release(account, holdId);
  const frozen = await ledger.one(account, {
    op: 'freeze',
    key: 'sys:f',
    hash: 'f',
    cause: 'dispute',
    source: 'pack:1',
  });
  expect(frozen).toMatchObject({ status: 'applied', amount: 4_000, available: 0 });
});

test('after a change of rules the account is settled before what was asked with it', async () => {
  const { knex } = database.db;
  await publishCatalog(knex, { catalog: imagineart() });
  const ring = () => undefined;
  const engine = createEngine({ database: database.db, ring, namespaceId: 'none', temporalUrl: () => null });
  const account = `b-${randomBytes(4).toString('hex')}`;
  await engine.ledger.open({ account, catalog: 'imagineart', plan: 'free', planSource: 'free', clockAt: T0 });
  await engine.ledger.balance(account);
  const rules = {
    plan: 'basic',
    planSource: 'admin',
    planInterval: 'month',
    anchor: T0,
    calendar: { plan: {} },
  };
  const [, charged] = await Promise.all([
    engine.ledger.run(account, { op: 'rules', key: 'sys:p', hash: 'p', rules }),
    engine.ledger.run(account, ({ snapshot }) => ({
      op: 'charge',
      key: 'req:c',
      hash: 'c',
      holdId: `hold_${account}.c`,
      excluded: [],
      work: {},
      rulesVersion: snapshot.rulesVersion,
      amount: 3_000_000 as never,
      reserveBefore: '2100-01-01T00:00:00Z',
    })),
  ]);
  expect(charged).toMatchObject({ status: 'applied' });
});
