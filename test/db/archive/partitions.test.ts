import { ensurePartitions, lookAtPartitions, monthsAhead } from '../../../db/archive/partitions';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf } from '../../support/ledger/ledger';

let database: TestDatabase;

beforeEach(async () => {
  database = await testDatabase();
  await ensurePartitions(database.db.pool); // of the month it is now, which may have begun since the template was made
});
afterEach(() => database.close());

/** What a look logged: level and message. */
function recorder() {
  const lines: string[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    lines.push(`${level}: ${message} ${JSON.stringify(fields)}`);
  return { lines, info: write('info'), error: write('error') };
}

/** As if nobody had looked for `months`: as many are missing at the far end. */
async function forget(months: number): Promise<void> {
  const { rows } = await database.owner.pool.query<{ name: string }>(
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'ledger.journal'::regclass ORDER BY 1 DESC LIMIT $1",
    [months],
  );
  for (const { name } of rows) await database.owner.pool.query(`DROP TABLE ${name}`);
}

test('a look makes what is missing of the next twelve months, and nothing twice', async () => {
  await forget(11);
  expect(await monthsAhead(database.db.pool)).toBe(1);
  const log = recorder();
  await lookAtPartitions({ pool: database.db.pool, log });
  expect(await monthsAhead(database.db.pool)).toBe(12);
  await lookAtPartitions({ pool: database.db.pool, log });
  expect(log.lines).toEqual(['info: made months of the journal ahead {"made":11}']);
});

test('months that lie beyond a gap do not count', async () => {
  const { rows } = await database.owner.pool.query<{ name: string }>(
    "SELECT 'ledger.journal_' || to_char(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + interval '4 months', 'YYYY_MM') AS name",
  );
  await database.owner.pool.query(`DROP TABLE ${rows[0]?.name}`);
  expect(await monthsAhead(database.db.pool)).toBe(3);
});

test('without the present month nothing can be written, and that is told', async () => {
  await forget(13);
  expect(await monthsAhead(database.db.pool)).toBe(-1);
});

test('a month is made while somebody writes to the journal and somebody reads it', async () => {
  const ledger = ledgerOf(database.db, database.owner);
  const account = await ledger.open();
  await forget(1);
  const writer = await database.db.pool.connect();
  const call = JSON.stringify([{ account, ops: [grantOf('sys:one')], settle: null }]);
  try {
    await writer.query('BEGIN');
    await writer.query('SELECT ledger.apply($1)', [call]);
    await writer.query('SELECT count(*) FROM ledger.journal');
    const log = recorder();
    await lookAtPartitions({ pool: database.db.pool, log });
    expect(log.lines).toEqual([expect.stringMatching(/^info: made/)]);
    await writer.query('COMMIT');
  } finally {
    writer.release();
  }
  expect(await ledger.journal(account)).toHaveLength(1);
});

test('a month that was attached refuses what the journal refuses', async () => {
  await forget(1);
  await lookAtPartitions({ pool: database.db.pool, log: recorder() });
  const { rows } = await database.owner.pool.query<{ made: string[]; before: string[] }>(
    `WITH months AS (
       SELECT inhrelid AS id, row_number() OVER (ORDER BY inhrelid::regclass::text DESC) AS n FROM pg_inherits
        WHERE inhparent = 'ledger.journal'::regclass),
     rules AS (
       SELECT n, 'trigger ' || tgname AS rule FROM months JOIN pg_trigger ON tgrelid = id
        UNION ALL
       SELECT n, contype::text || ' ' || pg_get_constraintdef(oid) FROM months JOIN pg_constraint ON conrelid = id
        UNION ALL
       SELECT n, 'index ' || indkey::text FROM months JOIN pg_index ON indrelid = id
        UNION ALL
       SELECT n, 'grant ' || relacl::text FROM months JOIN pg_class c ON c.oid = id)
     SELECT array_agg(rule ORDER BY rule) FILTER (WHERE n = 1) AS made, array_agg(rule ORDER BY rule) FILTER (WHERE n = 2) AS before FROM rules`,
  );
  expect(rows[0]?.made).toEqual(rows[0]?.before);
  expect(rows[0]?.made).toEqual(expect.arrayContaining(['trigger journal_is_append_only']));
});

test('a look that fails is logged and throws nothing', async () => {
  await database.owner.pool.query('DROP FUNCTION ledger.ensure_partitions(int)');
  const log = recorder();
  await lookAtPartitions({ pool: database.db.pool, log });
  expect(log.lines).toEqual([expect.stringMatching(/^error: .*holdfast_journal_months_ahead/)]);
});

function grantOf(key: string) {
  return { op: 'grant', key, hash: 'h', bucket: 'pack', rank: 3, amount: 5_000, source: 'test' };
}
