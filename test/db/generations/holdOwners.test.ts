import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createEngine } from '../../../db/engine';
import type { CaptureOperation, ReserveOperation } from '../../../db/ledger/operations';
import { generationId, holdIdOf } from '../../../domain/ids';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';

/** Rule 17: a run that continues with a hold becomes its owner, so that the sweep asks for the right one. */

let database: TestDatabase;
let ledger: TestLedger;
let account: string;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());
beforeEach(async () => {
  account = await ledger.open();
  await ledger.grant(account, { amount: 10_000 });
});

const theirs = { workflowId: 'workflow', namespaceId: 'another' };

async function stored({ holdId }: { holdId: string }) {
  return database.owner
    .knex('ledger.holds')
    .where({ account_id: account, hold_id: holdId })
    .first<unknown>({ workflowId: 'workflow_id', namespaceId: 'namespace_id', epoch: 'epoch', open: 'open' });
}

async function reserved(): Promise<ReserveOperation> {
  const order = reservation(account, { amount: 1_000 });
  expect((await ledger.one(account, order)).status).toBe('applied');
  return order;
}

test('a replay for the workflow that owns the hold is a run that continues with it: a sign of life, too', async () => {
  const order = await reserved();
  const again = await ledger.one(account, order);
  expect([again.replayed, again.hold?.epoch]).toEqual([true, 1]);
  expect(await stored(order)).toMatchObject({ namespaceId: 'namespace', epoch: 1 });
});

test('a replay by a run in another namespace makes that the owner, and is a sign of life', async () => {
  const order = await reserved();
  const again = await ledger.one(account, { ...order, ...theirs });
  expect([again.replayed, again.hold?.open, again.hold?.epoch]).toEqual([true, true, 1]);
  expect(await stored(order)).toEqual({ ...theirs, epoch: 1, open: true });
  // What a sweep had read before frees it no more.
  const late = { op: 'release', key: 'sys:late', hash: 'release', cause: 'engine', epoch: 0 } as const;
  expect((await ledger.one(account, { ...late, holdId: order.holdId })).status).toBe('hold_alive');
});

test('another request under the key, a hold that is closed, and a caller without a workflow change no owner', async () => {
  const order = await reserved();
  expect((await ledger.one(account, { ...order, ...theirs, hash: 'other' })).status).toBe(
    'idempotency_conflict',
  );
  await ledger.one(account, { ...order, ...theirs, workflowId: null, refuseOnly: true });
  expect(await stored(order)).toEqual({
    workflowId: 'workflow',
    namespaceId: 'namespace',
    epoch: 0,
    open: true,
  });
  await ledger.release(account, order.holdId);
  const after = await stored(order);
  await ledger.one(account, { ...order, ...theirs });
  expect(await stored(order)).toEqual(after);
});

test('in one call with its capture the owner changes too, and the hold is captured once', async () => {
  const order = await reserved();
  const capture: CaptureOperation = {
    op: 'capture',
    key: `sys:${randomBytes(4).toString('hex')}`,
    hash: 'c',
    holdId: order.holdId,
    final: true,
    cause: 'provider',
    generation: {},
  };
  const result = await ledger.apply(account, [{ ...order, ...theirs }, capture]);
  expect(result).toMatchObject({ result: 'ok', replies: [{ replayed: true }, { status: 'applied' }] });
  expect(await stored(order)).toEqual({ ...theirs, epoch: 2, open: false });
});

test('a hold that is reserved and resumed by another run in one call is stored as that run’s', async () => {
  const order = reservation(account, { amount: 1_000 });
  const result = await ledger.apply(account, [order, { ...order, ...theirs }]);
  expect(result).toMatchObject({ replies: [{ replayed: false }, { replayed: true, hold: { epoch: 1 } }] });
  expect(await stored(order)).toEqual({ ...theirs, epoch: 1, open: true });
});

test('a run that is about to submit owns the hold; an older binary, which names no run, leaves the owner', async () => {
  const order = await reserved();
  const assert = (...values: string[]) =>
    database.db.pool.query(
      `SELECT ledger.assert_hold_open(${values.map((_, n) => `$${n + 1}`).join(', ')}) AS open`,
      values,
    );
  await assert(account, order.holdId);
  expect(await stored(order)).toMatchObject({ namespaceId: 'namespace', epoch: 1 });
  expect((await assert(account, order.holdId, theirs.workflowId, theirs.namespaceId)).rows).toEqual([
    { open: true },
  ]);
  expect(await stored(order)).toEqual({ ...theirs, epoch: 2, open: true });
  await ledger.release(account, order.holdId);
  expect((await assert(account, order.holdId, 'workflow', 'third')).rows).toEqual([{ open: false }]);
  expect(await stored(order)).toMatchObject({ ...theirs, open: false });
});

test('a run whose order would be refused by now, but was held, owns the hold', async () => {
  const catalog = readCatalog(path.join(__dirname, '../../support/catalogs/working-day.json'));
  await publishCatalog(database.db.knex, { catalog });
  const engineIn = (namespaceId: string) =>
    createEngine({ database: database.db, ring: () => undefined, namespaceId, temporalUrl: () => null });
  const first = engineIn('first');
  account = 'held';
  await first.ledger.open({ account, catalog: 'working-day', plan: 'standard', planSource: 'admin' });
  const input = { account, key: 'k', request: { action: 'image' } };
  const workflowId = generationId(account, 'k');
  const order = { input, arrivedMs: performance.now(), workflowId };
  expect(await first.reservations.reserve(order)).toMatchObject({ kind: 'answered', holdOpen: true });

  const second = engineIn('second');
  await second.ledger.run(account, { op: 'rules', key: 'sys:s', hash: 's', rules: { suspended: true } });
  const again = await second.reservations.reserve(order);
  expect(again).toMatchObject({ kind: 'answered', replayed: true, holdOpen: true });
  const holdId = holdIdOf(workflowId);
  expect(await stored({ holdId })).toMatchObject({ workflowId, namespaceId: 'second', open: true });
  // The API looks without a workflow, and takes nothing over.
  await engineIn('api').reservations.reserve({ ...order, workflowId: null });
  expect(await stored({ holdId })).toMatchObject({ namespaceId: 'second' });
});
