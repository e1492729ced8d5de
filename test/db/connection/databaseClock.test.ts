import path from 'node:path';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import { onDatabaseClock, reserveBefore } from '../../../db/connection/databaseClock';
import { createEngine, type Engine } from '../../../db/engine';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** The instant after which nothing may be taken, and whether nothing was (rules 8, 32, 35). */

const NOON = Date.parse('2026-03-01T12:00:00.000Z');
/** The database said that it is noon; that was heard when this process' monotonic clock stood at 5,000 ms. */
const reading = { databaseMs: NOON, heardMs: 5_000 };

test('what this process saw at a moment of its own is an instant of the database’s', () => {
  expect(onDatabaseClock(reading, 5_000)).toBe(NOON);
  expect(onDatabaseClock(reading, 3_500)).toBe(NOON - 1_500);
  expect(onDatabaseClock(reading, 65_000)).toBe(NOON + 60_000);
});

test('eight seconds count from when the request arrived, whatever the wall clock says', () => {
  expect(reserveBefore(reading, { arrivedMs: 3_000 })).toBe('2026-03-01T12:00:06.000Z');
});

test('an earlier receipt counts, and one that lies in the future widens nothing', () => {
  const arrivedMs = 5_000;
  const told = (receivedAt: string) => reserveBefore(reading, { arrivedMs, receivedAt });
  expect(told('2026-03-01T11:59:55Z')).toBe('2026-03-01T12:00:03.000Z');
  expect(told('2026-03-01T13:00:00Z')).toBe('2026-03-01T12:00:08.000Z');
});

describe('on a ledger', () => {
  let database: TestDatabase;
  let engine: Engine;
  let raw: TestLedger;
  let account: string;

  beforeAll(async () => {
    database = await testDatabase();
    const { db, owner } = database;
    raw = ledgerOf(db, owner);
    const file = path.join(__dirname, '..', '..', 'support', 'catalogs', 'working-day.json');
    await publishCatalog(db.knex, { catalog: readCatalog(file) });
    engine = createEngine({
      database: db,
      ring: () => undefined,
      namespaceId: 'none',
      temporalUrl: () => null,
    });
  });
  beforeEach(async () => {
    account = await raw.open();
  });
  afterAll(() => database.close());

  const over = '2026-01-01T00:00:00Z';
  const sure = (key: string, before: string) =>
    engine.ledger.nothingHeld({ account, key, reserveBefore: before });

  test('nothing is held for certain once the time has ended and the key has no answer', async () => {
    expect(await sure('req:mine', '2100-01-01T00:00:00Z')).toBe(false);
    expect(await sure('req:mine', over)).toBe(true);
    await raw.charge(account, { amount: 0, key: 'req:mine' });
    expect(await sure('req:mine', over)).toBe(false);
  });

  test('what was decided in time and is not committed yet is waited for', async () => {
    const asked = await database.db.knex.transaction(async (trx) => {
      const { rows } = await trx.raw<{ rows: { value: { replies: { status: string }[] }[] }[] }>(
        'SELECT ledger.apply(?) AS value',
        [JSON.stringify([{ account, ops: [slow()], settle: null }])],
      );
      expect(rows[0]?.value[0]?.replies[0]?.status).toBe('applied');
      const question = sure('req:slow', over);
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { question };
    });
    expect(await asked.question).toBe(false);
  });

  test('an account that stays locked gives no certainty', async () => {
    await database.owner.knex.transaction(async (trx) => {
      await trx.raw('SELECT FROM ledger.accounts WHERE account_id = ? FOR UPDATE', [account]);
      await expect(sure('req:mine', over)).rejects.toMatchObject({ code: '55P03' });
    });
  });

  const slow = () => ({
    op: 'charge',
    key: 'req:slow',
    hash: 'slow',
    rulesVersion: 1,
    holdId: `hold_${account}.slow`,
    amount: 0,
    excluded: [],
    reserveBefore: 'infinity',
    work: {},
  });

  test('a machine that was suspended, and does not know for how long, is late once and then reads the clock', async () => {
    const ada = `${account}-ada`;
    const rules = { catalog: 'working-day', plan: 'free', planSource: 'free' } as const;
    await engine.ledger.open({ account: ada, ...rules });
    let keys = 0;
    const charge = () =>
      engine.leases.take({
        kind: 'charge',
        account: ada,
        key: `k${(keys += 1)}`,
        hash: 'h',
        arrivedMs: performance.now(),
        what: { creditsMilli: 1000 as never },
      });
    const real = performance.now.bind(performance);
    const early = jest.spyOn(performance, 'now').mockImplementation(() => real() + 60_000);
    try {
      expect((await charge()).kind).toBe('answered');
    } finally {
      early.mockRestore();
    }
    expect((await charge()).kind).toBe('too_late');
    expect((await charge()).kind).toBe('answered');
  });
});
