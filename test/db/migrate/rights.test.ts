import { migrationsDirectory, readFunctions } from '../../../db/migrate/files';
import { type TestDatabase, testDatabase } from '../../support/database';
import { ledgerOf } from '../../support/ledger/ledger';

/** Who may do what in the database: the application calls the ledger's functions, readers read, and nobody else does anything. */

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

async function ask<T extends object>(sql: string): Promise<T[]> {
  return (await database.owner.pool.query<T>(sql)).rows;
}

/** One statement as the role for readers. */
async function asReader(sql: string): Promise<Record<string, unknown>[]> {
  const client = await database.owner.pool.connect();
  try {
    await client.query('BEGIN; SET LOCAL ROLE holdfast_read');
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

interface Callable {
  name: string;
  grantee: string;
  writes: boolean;
}

const callable = () =>
  ask<Callable>(
    `SELECT p.oid::regprocedure::text AS name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
            p.prosecdef OR p.provolatile = 'v' AS writes
       FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      WHERE p.pronamespace IN ('ledger'::regnamespace, 'holdfast'::regnamespace) AND a.grantee <> p.proowner
        AND p.prorettype <> 'trigger'::regtype ORDER BY 1, 2`,
  );

test('nobody but the application may call what writes, and readers call only what reads with their own rights', async () => {
  const all = await callable();
  expect(all.filter(({ writes, grantee }) => writes && grantee !== 'holdfast_app')).toEqual([]);
  expect(all.filter(({ grantee }) => grantee !== 'holdfast_app').map(({ name }) => name)).toEqual([
    'ledger.due_moves(text)',
    'ledger.lots_before(text,timestamp with time zone)',
    'ledger.opening_moves(ledger.openings)',
    'ledger.seq_before(text,timestamp with time zone)',
    'ledger.statement(text,timestamp with time zone,timestamp with time zone)',
    'ledger.totals_before(text,timestamp with time zone)',
  ]);
});

test('a function that is put in later is callable by nobody who was not named', async () => {
  await ask('CREATE FUNCTION ledger.later() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
  await ask('CREATE FUNCTION holdfast.later() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$');
  expect((await callable()).filter(({ name }) => name.includes('later'))).toEqual([]);
});

test('a reader cannot mint, nor open an account, nor change prices', async () => {
  const denied = /permission denied/;
  const grant = [
    {
      account: 'a',
      ops: [{ op: 'grant', key: 'sys:x', hash: 'x', bucket: 'pack', rank: 3, amount: 1, source: 'gift' }],
    },
  ];
  await expect(asReader(`SELECT ledger.apply('${JSON.stringify(grant)}')`)).rejects.toThrow(denied);
  await expect(asReader(`SELECT ledger.open_account('a', '{}', NULL)`)).rejects.toThrow(denied);
  await expect(asReader(`UPDATE ledger.accounts SET available = 1`)).rejects.toThrow(denied);
  await expect(asReader(`DELETE FROM holdfast.catalogs`)).rejects.toThrow(denied);
});

test('a reader reads every table and view but secrets, which are named here', async () => {
  const relations = await ask<{ name: string }>(
    `SELECT c.oid::regclass::text AS name FROM pg_class c
      WHERE c.relnamespace IN ('ledger'::regnamespace, 'holdfast'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`,
  );
  const refused: string[] = [];
  for (const { name } of relations)
    await asReader(`SELECT * FROM ${name} LIMIT 1`).catch(() => refused.push(name));
  expect(refused.toSorted()).toEqual([
    'holdfast.api_keys', // secret_sha256
    'holdfast.migrations', // knex's own
    'holdfast.migrations_lock',
    'holdfast.request_keys', // answer
    'ledger.kept_answers', // answer
  ]);
  for (const of of [
    'id, name, created_by FROM holdfast.api_keys',
    'key FROM holdfast.request_keys',
    'key, status FROM ledger.kept_answers',
  ])
    await asReader(`SELECT ${of}`);
});

test('a reader asks for balances and statements of the past, and for the books', async () => {
  const ledger = ledgerOf(database.db, database.owner);
  const account = await ledger.open();
  await ledger.grant(account, { amount: 5_000 });
  expect(await asReader(`SELECT available FROM ledger.totals_before('${account}', 'infinity')`)).toEqual([
    { available: 5_000 },
  ]);
  expect(await asReader(`SELECT granted FROM ledger.lots_before('${account}', 'infinity')`)).toHaveLength(1);
  expect(
    await asReader(`SELECT credits FROM ledger.statement('${account}', '-infinity', 'infinity')`),
  ).toEqual([{ credits: 5_000 }]);
  expect(await asReader(`SELECT side FROM ledger.lines WHERE account_id = '${account}'`)).toHaveLength(2);
});

test('the rights are part of the functions, so that every release that drops some puts their rights back', () => {
  const rights = readFunctions(migrationsDirectory())?.files.at(-1);
  expect(rights?.name).toBe('14_rights.sql');
});
