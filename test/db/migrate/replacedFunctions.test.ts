import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { PoolClient } from 'pg';
import { problemOf } from '../../../api/problems/ofError';
import { createAccountKeys } from '../../../db/idempotency/accountKeys';
import { runAudit } from '../../../db/audit';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../../db/engine';
import { migrate } from '../../../db/migrate/migrate';
import { migrationsDirectory, readNumbers } from '../../../db/migrate/files';
import { milli } from '../../../domain/credits';
import { type TestDatabase, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';

/** Calls that are at work while a release puts other functions in the place of those they run in. */

const CATALOG = path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json');

let database: TestDatabase;
let engine: Engine;
let directory: string;

beforeEach(async () => {
  database = await testDatabase({ patient: true });
  const { db } = database;
  engine = createEngine({
    database: db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  await publishCatalog(db.knex, { catalog: readCatalog(CATALOG) });
  directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-migrations-'));
  cpSync(migrationsDirectory(), directory, { recursive: true });
});
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await database.close();
});

/** A release with the same functions under the next number. */
async function release(): Promise<void> {
  const place = path.join(directory, 'functions');
  const numbers = readNumbers(place);
  const next = Object.keys(numbers).length + 1;
  writeFileSync(path.join(place, 'numbers.json'), JSON.stringify({ ...numbers, [next]: `digest ${next}` }));
  await migrate({ url: database.url, directory });
}

async function open(account: string): Promise<void> {
  await engine.ledger.open({ account, catalog: 'working-day', plan: 'basic', planSource: 'admin' });
  await engine.ledger.balance(account);
}

function charge(account: string, key: string) {
  return engine.ledger.run(account, ({ snapshot }) => ({
    op: 'charge',
    key: `req:${key}`,
    hash: key,
    holdId: `hold_${account}.${key}`,
    rulesVersion: snapshot.rulesVersion,
    amount: milli(1_000),
    excluded: [],
    reserveBefore: 'infinity',
    facts: { excluded: [] },
    work: {},
  }));
}

/** Starts `calls` behind a lock on the account, replaces the functions while they wait in them, and lets them continue. */
async function overtaken<T>(account: string, calls: () => Promise<T>): Promise<T> {
  const holder: PoolClient = await database.owner.pool.connect();
  try {
    await holder.query('BEGIN');
    await holder.query('SELECT FROM ledger.accounts WHERE account_id = $1 FOR UPDATE', [account]);
    const running = calls();
    running.catch(() => undefined); // it is awaited below
    const waiting = () =>
      database.owner.pool.query(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
    await eventually(waiting, ({ rowCount }) => (rowCount ?? 0) > 0);
    await release();
    await holder.query('COMMIT');
    return await running;
  } finally {
    holder.release();
  }
}

test('an operation is carried out once, by the new functions', async () => {
  await open('ada');
  const before = await engine.ledger.balance('ada');
  const reply = await overtaken('ada', () => charge('ada', 'k1'));
  expect(reply).toMatchObject({ status: 'applied', replayed: false });
  const after = await engine.ledger.balance('ada');
  expect((before?.available ?? 0) - (after?.available ?? 0)).toBe(1_000);
});

test('a key is claimed, and one whose call is not asked again is told that it may come again', async () => {
  await open('ada');
  const keys = createAccountKeys(database.db.knex);
  const claim = () => keys.claim({ account: 'ada', key: 'k1', hash: 'x', passing: false });
  expect(await overtaken('ada', claim)).toEqual({ known: 'claimed' });
  const bare = () =>
    database.db.knex.raw('SELECT ledger.apply(\'[{"account": "ada", "ops": []}]\')').then(
      () => null,
      (error: unknown) => problemOf(error).code,
    );
  expect(await overtaken('ada', bare)).toBe('unavailable');
});

test('under load no operation fails, none is lost and none is carried out twice', async () => {
  const accounts = ['ada', 'ben', 'cleo', 'dan'];
  await Promise.all(accounts.map(open));
  const done = new Map(accounts.map((account) => [account, 0]));
  const released = new AbortController();
  const customer = async (account: string) => {
    const keys = createAccountKeys(database.db.knex);
    for (let n = 0; !released.signal.aborted; n += 1) {
      const reply = await charge(account, `k${n}`);
      if (reply?.status === 'applied') done.set(account, (done.get(account) ?? 0) + 1);
      await engine.ledger.balance(account);
      await keys.claim({ account, key: `c${n}`, hash: 'x', passing: false });
      await keys.free({ account, key: `c${n}` });
    }
  };
  const customers = Promise.all(accounts.map(customer));
  for (let n = 0; n < 8; n += 1) await release();
  released.abort();
  await customers;
  const { rows } = await database.owner.pool.query<{ account: string; n: number }>(
    "SELECT account_id AS account, count(*)::int AS n FROM ledger.journal WHERE kind = 'charge' AND status = 'applied' GROUP BY 1",
  );
  expect(new Map(rows.map(({ account, n }) => [account, n]))).toEqual(done);
  const { checks } = await runAudit(database.owner.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
});
