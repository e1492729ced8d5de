import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { archiveMonth } from '../../../db/archive/archive';
import { runAudit } from '../../../db/audit';
import { findGeneration } from '../../../db/generations/generations';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, reservation, type TestLedger } from '../../support/ledger/ledger';
import { becomesPast, monthAgo } from '../../support/ledger/past';

/** Holds of nothing, phases that take nothing, and what is told of work that failed after a part of it was delivered. */

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

/** A generation of 10 credits that runs. */
async function begun() {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 30_000 });
  const work = reservation(account, { amount: 10_000 });
  expect((await ledger.one(account, work)).status).toBe('applied');
  return { account, holdId: work.holdId };
}

describe('a reservation', () => {
  test('of work that comes to nothing has a hold like any other, also of an account in debt', async () => {
    const account = await ledger.open();
    const debt = { cause: 'refund:1', source: 'pack:1', buckets: ['pack'], amount: milli(5_000) };
    await ledger.one(account, { op: 'revoke', key: 'sys:revoke', hash: 'r', ...debt });
    const work = reservation(account, { amount: 0, runs: true });
    const nobodys = { ...work, key: 'req:other', holdId: 'hold_other', refuseOnly: true, workflowId: null };
    expect((await ledger.one(account, nobodys)).status).toBe('would_hold');
    expect(await ledger.one(account, work)).toMatchObject({
      status: 'applied',
      amount: 0,
      draws: [],
      hold: { amount: 0, held: 0, open: true },
    });
    expect(await ledger.totals(account)).toMatchObject({ available: 0, held: 0, open_holds: 1 });
    const more = await ledger.reserve(account, { amount: 0, runs: true, maxOpen: 1 });
    expect(more.status).toBe('too_many_open_generations');
    expect((await ledger.release(account, work.holdId)).status).toBe('applied');
    expect(await ledger.totals(account)).toMatchObject({ available: 0, held: 0, open_holds: 0 });
  });

  test('by a caller who does not say whether it runs holds nothing where it comes to nothing', async () => {
    const account = await ledger.open();
    const { runs: _, ...older } = reservation(account, { amount: 0 });
    expect(await ledger.one(account, older as typeof older & { runs: boolean })).toMatchObject({
      status: 'applied',
      hold: null,
    });
  });
});

describe('a use of work that costs nothing', () => {
  const explores = {
    counter: 'quota:explores',
    period: 'day:2026-03-01',
    of: 'uses',
    units: 2,
    limit: 10,
    refusal: 'quota_reached',
    name: 'explores',
    resetsAt: null,
  } as const;
  const begin = async (account: string) => {
    const work = reservation(account, { amount: 0, runs: true, counts: [explores] });
    expect((await ledger.one(account, work)).status).toBe('applied');
    return work.holdId;
  };
  const used = async (account: string) => {
    const { rows } = await database.owner.pool.query<{ used: string }>(
      'SELECT used FROM ledger.counters WHERE account_id = $1',
      [account],
    );
    return Number(rows[0]?.used ?? 0);
  };

  test('stays used where something was delivered, in whole or in part', async () => {
    const account = await ledger.open();
    await ledger.capture(account, await begin(account), {
      delivered: 1,
      ordered: 2,
      generation: { status: 'partial' },
    });
    expect(await used(account)).toBe(2);
    await ledger.capture(account, await begin(account), { amount: 0 });
    expect(await used(account)).toBe(4);
    const landed = await begin(account);
    await ledger.capture(account, landed, { amount: 0, final: false, phase: 'frames' });
    await ledger.release(account, landed);
    expect(await used(account)).toBe(6);
  });

  test('comes back where nothing was', async () => {
    const account = await ledger.open();
    await ledger.release(account, await begin(account));
    expect(await used(account)).toBe(0);
    const end = { delivered: 0, ordered: 2, generation: { status: 'failed' } } as const;
    await ledger.capture(account, await begin(account), end);
    expect(await used(account)).toBe(0);
  });
});

describe('a generation that fails', () => {
  const ended = async (account: string) => {
    const { rows } = await database.owner.pool.query<{ status: string; error: { code: string } }>(
      'SELECT status, error FROM ledger.generations WHERE account_id = $1',
      [account],
    );
    return rows.map(({ status, error }) => [status, error.code]);
  };

  test('is partial if something was captured, or a phase landed for nothing, and keeps its error', async () => {
    for (const amount of [4_000, 0]) {
      const { account, holdId } = await begun();
      await ledger.capture(account, holdId, { final: false, phase: 'frames', amount });
      await ledger.release(account, holdId);
      expect(await ended(account)).toEqual([['partial', 'provider_error']]);
    }
  });

  test('is failed if nothing was', async () => {
    const { account, holdId } = await begun();
    await ledger.release(account, holdId);
    expect(await ended(account)).toEqual([['failed', 'provider_error']]);
  });
});

test('an archived month forgets no phase and what it took, also of work that comes to nothing', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 9_000 });
  const film = reservation(account, { amount: 4_000 });
  const slides = reservation(account, { amount: 0, runs: true });
  for (const work of [film, slides]) await ledger.one(account, work);
  const phase = (phase: string, amount: number) => ({ final: false, phase, amount });
  await ledger.capture(account, film.holdId, phase('shots', 3_000));
  await ledger.capture(account, slides.holdId, phase('frames', 0));
  await becomesPast(database.owner, monthAgo(1));
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-archive-'));
  await archiveMonth({ url: database.url, month: monthAgo(1), directory });
  rmSync(directory, { recursive: true });
  await ledger.capture(account, film.holdId, phase('frames', 0));
  await ledger.release(account, slides.holdId);
  const find = (id: string) => findGeneration(database.db.pool, { account, id });
  expect((await find(film.generation.id))?.phases).toEqual([
    { phase: 'shots', milli: 3_000 },
    { phase: 'frames', milli: 0 },
  ]);
  expect(await find(slides.generation.id)).toMatchObject({
    status: 'partial',
    phases: [{ phase: 'frames', milli: 0 }],
  });
  const { checks } = await runAudit(database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
  // As it is where the archive is from before phases were kept with what they took.
  await database.owner.knex('ledger.opening_holds').update({ phases_milli: [] });
  expect((await find(film.generation.id))?.phases).toEqual([
    { phase: 'shots', milli: null },
    { phase: 'frames', milli: 0 },
  ]);
});
