import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { type Database, openDatabase } from '../../db/connection/connection';

export interface TestDatabase {
  /** As the application sees it. */
  db: Database;
  /** As the owner of the schema, for looking behind the curtain and for tampering. */
  owner: Database;
  url: string;
  close(): Promise<void>;
}

/**
 * A database of the test's own, cloned from the migrated template. `patient`: its connections wait for a lock as long as a
 * slow machine may take; those of processes that are given its `url` do not.
 */
export async function testDatabase({ patient = false } = {}): Promise<TestDatabase> {
  const adminUrl = adminUrlOfTests();
  const name = `test_${randomBytes(6).toString('hex')}`;
  await query(adminUrl, `CREATE DATABASE ${name} TEMPLATE holdfast_template`);
  const url = Object.assign(new URL(adminUrl), { pathname: `/${name}` }).toString();
  return connected({ url, patient, drop: () => query(adminUrl, `DROP DATABASE ${name} WITH (FORCE)`) });
}

/** A database that is there, as a test uses it. */
export function connected(options: {
  url: string;
  patient?: boolean;
  /** Closing it ends with this. */
  drop: () => Promise<unknown>;
}): TestDatabase {
  const { url, patient = false, drop } = options;
  const quiet = () => undefined; // dropping the database breaks idle connections, which is not a failure
  const own = patient ? patiently(url) : url;
  const db = openDatabase({ url: own, max: 10, onError: quiet });
  const owner = openDatabase({ url: own, role: null, max: 2, onError: quiet });
  // Read at every connection: also who waits for one of the pool's waits longer.
  if (patient)
    for (const { pool, points, audits, knex, reports } of [db, owner]) {
      for (const { options: own } of [pool, points, audits])
        Object.assign(own, { connectionTimeoutMillis: 60_000 });
      for (const { client: untyped } of [knex, reports]) {
        const client = untyped as { pool: object; connectionSettings: object }; // tarn's and pg's, which knex does not type
        Object.assign(client.connectionSettings, { connectionTimeoutMillis: 60_000 });
        Object.assign(client.pool, { acquireTimeoutMillis: 60_000 });
      }
    }
  return {
    db,
    owner,
    url,
    async close() {
      await Promise.all([db.close(), owner.close()]);
      await drop();
    },
  };
}

export interface EmptyDatabase {
  url: string;
  close(): Promise<void>;
}

/** A database of the test's own that nothing was put into. */
export async function emptyDatabase(): Promise<EmptyDatabase> {
  const adminUrl = adminUrlOfTests();
  const name = `empty_${randomBytes(6).toString('hex')}`;
  await query(adminUrl, `CREATE DATABASE ${name}`);
  return {
    url: Object.assign(new URL(adminUrl), { pathname: `/${name}` }).toString(),
    close: async () => {
      await query(adminUrl, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/** The same database, for connections that wait for a lock. */
export function patiently(url: string): string {
  const patient = new URL(url);
  patient.searchParams.set('lock_timeout', '60000');
  patient.searchParams.set('statement_timeout', '120000');
  patient.searchParams.set('idle_in_transaction_session_timeout', '120000');
  return patient.toString();
}

/** One statement, or several, in a session of its own. */
export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

function adminUrlOfTests(): string {
  const found = process.env['HOLDFAST_TEST_DATABASE_URL'];
  if (found === undefined)
    throw new Error('HOLDFAST_TEST_DATABASE_URL is not set: jest runs without its global set-up');
  return found;
}
