import * as fc from 'fast-check';
import { live, steps } from '../../support/ledger/busyLedger';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf, type TestLedger } from '../../support/ledger/ledger';

/** The accountant's view: the journal as balanced debit and credit lines. */

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = ledgerOf(database.db, database.owner);
});
afterAll(() => database.close());

async function query<T extends object>(sql: string, account: string): Promise<T[]> {
  return (await database.db.pool.query<T>(sql, [account])).rows;
}

test('whatever happened, the lines of each row balance, and the books hold what the lots do', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (life) => {
      const { account } = await live(ledger, life);
      const unbalanced = await query(
        `SELECT seq, move FROM ledger.lines WHERE account_id = $1
          GROUP BY GROUPING SETS ((), (seq), (seq, move)) HAVING sum(debit_milli) <> sum(credit_milli)`,
        account,
      );
      expect(unbalanced).toEqual([]);
      const books = await query(
        `SELECT lot, book, sum(credit_milli - debit_milli)::bigint AS milli FROM ledger.lines WHERE account_id = $1
          GROUP BY lot, book HAVING sum(credit_milli - debit_milli) <> 0 ORDER BY lot, book`,
        account,
      );
      const lots = await query(
        `SELECT lot_no AS lot, b.book, b.milli FROM ledger.lots l CROSS JOIN LATERAL (VALUES
           ('credits issued', -granted), ('customer credits available', available), ('customer credits held', held),
           ('customer credits frozen', frozen), ('credits spent', spent), ('credits expired', expired),
           ('credits revoked', revoked)) b (book, milli)
          WHERE account_id = $1 AND b.milli <> 0 ORDER BY lot_no, b.book`,
        account,
      );
      expect(books).toEqual(lots);
    }),
    { numRuns: 25 },
  );
});

test('a row’s lines name its books, its lot and bucket, and a refusal has none', async () => {
  const account = await ledger.open();
  await ledger.grant(account, { amount: 5_000 });
  await ledger.reserve(account, { amount: 2_000 });
  await ledger.reserve(account, { amount: 9_000 });
  const lines = await query(
    'SELECT seq, kind, side, book, debit_milli, credit_milli, lot, bucket FROM ledger.lines WHERE account_id = $1 ORDER BY seq, move, debit_milli DESC',
    account,
  );
  const lot = { lot: 1, bucket: 'pack' };
  const grant = { seq: 1, kind: 'grant', ...lot };
  const reserve = { seq: 2, kind: 'reserve', ...lot };
  expect(lines).toEqual([
    { ...grant, side: 'debit', book: 'credits issued', debit_milli: 5_000, credit_milli: 0 },
    { ...grant, side: 'credit', book: 'customer credits available', debit_milli: 0, credit_milli: 5_000 },
    { ...reserve, side: 'debit', book: 'customer credits available', debit_milli: 2_000, credit_milli: 0 },
    { ...reserve, side: 'credit', book: 'customer credits held', debit_milli: 0, credit_milli: 2_000 },
  ]);
});
