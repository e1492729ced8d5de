import type { Knex } from 'knex';
import type { PoolClient } from 'pg';
import { ENDS_WITH_ITS_CLIENT, openDatabase } from '../connection/connection';
import { watchingHolders } from '../connection/lockHolders';
import {
  type FunctionFiles,
  type MigrationFile,
  migrationsDirectory,
  readFunctions,
  readMigrations,
} from './files';
import { IncompatibleSchema, otherFunctions, refuseNewerSchema, type StoredFunctions } from './version';

/**
 * Numbered plain SQL files make the tables, run through knex. The first line of a file says which binaries may run once it
 * is applied: `-- min_compatible: 3` needs one that knows migration 3. Functions and views hold no data: they lie in
 * `functions/` beside them, each in one place, under one number for all, and a higher number replaces a lower one. What is
 * pending of both goes in with one transaction, so that nobody ever meets new tables under old functions.
 */

export interface MigrateOptions {
  /** The owner's URL. */
  url: string;
  directory?: string;
  log?: (line: string) => void;
  /** How long it is tried to get a lock that others hold. */
  lockWaitMs?: number;
}

/** A migration or a function that the database refused, or a schema that this release must not touch: nothing was changed. */
class MigrationFailed extends Error {
  override readonly name = 'MigrationFailed';
}

const DEFAULT_LOCK_WAIT_MS = 60_000;

/** Who waits for a lock makes those behind wait too, whose own wait ends after 3 s; a pause lets them through. */
const LOCK_TIMEOUT = '2s';
const PAUSE_MS = 1_000;

/** lock_not_available, and deadlock_detected: somebody else was at work; it may go well the next time. */
const LOCKED = new Set(['55P03', '40P01']);

/** Applies what is missing and returns its names. Several processes may do so at once; one does the work. */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const { url, directory, log = () => undefined, lockWaitMs = DEFAULT_LOCK_WAIT_MS } = options;
  const place = directory ?? migrationsDirectory();
  const files = readMigrations(place);
  const functions = readFunctions(place);
  const database = openDatabase({
    url,
    role: null,
    max: 2,
    applicationName: 'holdfast migrate',
    onError: () => undefined, // what breaks here fails the statement under way, and that error is thrown
  });
  // A session lock ends with its session: unlike knex's lock table, a killed migration leaves nothing behind.
  const guard = await database.pool.connect();
  try {
    await guard.query('SET statement_timeout = 0; SET lock_timeout = 0');
    await guard.query("SELECT pg_advisory_lock(hashtextextended('holdfast migrations', 0))");
    return await untilUnlocked({ lockWaitMs, log }, (onHolders) =>
      putIn(database.knex, { files, functions, guard, log, onHolders }),
    );
  } finally {
    guard.release(true);
    await database.close();
  }
}

/** What is in the database, and whose. Everyone who may look into the schema may know how new it is. */
const BOOKS = `
  CREATE SCHEMA IF NOT EXISTS holdfast;
  CREATE TABLE IF NOT EXISTS holdfast.schema_compatibility (number int PRIMARY KEY, name text NOT NULL, min_compatible int NOT NULL);
  CREATE TABLE IF NOT EXISTS holdfast.schema_functions (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), migrations int NOT NULL, digest text NOT NULL);
  DO $$ BEGIN -- asked first, because the question takes no lock
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'holdfast.schema_functions'::regclass AND attname = 'number') THEN
      ALTER TABLE holdfast.schema_compatibility ADD COLUMN sha256 text;
      ALTER TABLE holdfast.schema_functions ADD COLUMN number int;
    END IF;
  END $$;
  GRANT SELECT ON holdfast.schema_compatibility, holdfast.schema_functions TO PUBLIC`;

interface StoredMigration {
  number: number;
  name: string;
  sha256: string | null;
}

/** Throws if a migration that was applied is not the file that bears its number today. */
async function refuseOthers(knex: Knex, files: readonly MigrationFile[]): Promise<StoredMigration[]> {
  const stored = await knex('holdfast.schema_compatibility')
    .orderBy('number')
    .select<StoredMigration[]>('number', 'name', 'sha256');
  for (const { number, name, sha256 } of stored) {
    const file = files[number - 1];
    if (file === undefined) continue; // a newer release's, which lets this one run
    if (file.name === name && (sha256 === null || sha256 === file.sha256)) continue;
    throw new MigrationFailed(
      `${file.name} is not what was applied to this database as ${name}: a migration is never changed once it was applied. ` +
        'Use the release that was, or put the change into a new migration; nothing was changed.',
    );
  }
  return stored;
}

interface PutIn {
  files: MigrationFile[];
  functions: FunctionFiles | null;
  guard: PoolClient;
  log: (line: string) => void;
  onHolders: (holders: string) => void;
}

/** All that is pending, or nothing. */
async function putIn(knex: Knex, options: PutIn): Promise<string[]> {
  const { files, functions, guard, log, onHolders } = options;
  const done = await knex.transaction(async (trx) => {
    await trx.raw('SET LOCAL statement_timeout = 0');
    await trx.raw("SELECT set_config('lock_timeout', ?, true)", [LOCK_TIMEOUT]);
    await trx.raw(ENDS_WITH_ITS_CLIENT);
    const session = await trx.raw<{ rows: { pid: number }[] }>('SELECT pg_backend_pid() AS pid');
    const work = async () => {
      await trx.raw(BOOKS);
      await refuseNewerSchema({ query: (text) => trx.raw(text) }, files.length);
      const stored = await refuseOthers(trx, files);
      if (stored.length > 0 && stored.length < files.length) await standBefore(trx);
      const [, applied] = (await trx.migrate.latest(knexConfig(files))) as [number, string[]]; // knex types it any
      const put = functions !== null && (await putFunctions(trx, { functions, known: files.length }));
      await keepDigests(trx, { files, stored });
      return { applied, put };
    };
    return watchingHolders({ watcher: guard, pid: session.rows[0]?.pid ?? 0 }, work, onHolders);
  });
  for (const name of done.applied) log(`applied ${name}`);
  if (done.put) log(`put in the functions, number ${functions?.number}`);
  return done.applied;
}

/**
 * The ledger locks accounts before anything else of theirs, and so do migrations: whichever table they change first, calls that
 * are at work would wait for it with an account in hand, and the two for each other.
 */
async function standBefore(trx: Knex): Promise<void> {
  const { rows } = await trx.raw<{ rows: { there: boolean }[] }>(
    "SELECT to_regclass('ledger.accounts') IS NOT NULL AS there",
  );
  if (rows[0]?.there === true) await trx.raw('LOCK TABLE ledger.accounts IN ACCESS EXCLUSIVE MODE');
}

function knexConfig(files: MigrationFile[]): Knex.MigratorConfig {
  return {
    schemaName: 'holdfast',
    tableName: 'migrations',
    disableMigrationsListValidation: true, // a newer schema is judged by min_compatible, not by its file names
    migrationSource: {
      getMigrations: () => Promise.resolve([...files]),
      getMigrationName: (file: MigrationFile) => file.name,
      getMigration: (file: MigrationFile) =>
        Promise.resolve({
          up: async (trx: Knex) => {
            await run(trx, file);
            const { number, name, minCompatible, sha256 } = file;
            await trx('holdfast.schema_compatibility').insert({
              number,
              name,
              min_compatible: minCompatible,
              sha256,
            });
          },
          down: () => Promise.reject(new Error('migrations go forward only; restore a backup instead')),
        }),
    },
  };
}

/** Puts the functions in if their number is higher than that of those in the database; false if it is not. */
async function putFunctions(
  trx: Knex,
  { functions, known }: { functions: FunctionFiles; known: number },
): Promise<boolean> {
  const { number, digest, files } = functions;
  const stored = await trx('holdfast.schema_functions').first<StoredFunctions | undefined>();
  const before = stored?.number ?? 0;
  if (before === number && stored?.digest !== digest) throw new IncompatibleSchema(otherFunctions(number));
  if (before >= number) return false;
  for (const file of files) await run(trx, { ...file, name: `functions/${file.name}` });
  await trx('holdfast.schema_functions')
    .insert({ migrations: known, digest, number })
    .onConflict('one')
    .merge();
  return true;
}

/** Migrations applied before digests were kept are taken to be today's files, once: migration 0014 mends the one that was not. */
async function keepDigests(
  trx: Knex,
  { files, stored }: { files: readonly MigrationFile[]; stored: readonly StoredMigration[] },
): Promise<void> {
  for (const { number } of stored.filter((one) => one.sha256 === null)) {
    const sha256 = files[number - 1]?.sha256;
    if (sha256 !== undefined) await trx('holdfast.schema_compatibility').where({ number }).update({ sha256 });
  }
}

/** Tries again while others hold the locks that are wanted; then says who they are. */
async function untilUnlocked<T>(
  { lockWaitMs, log }: { lockWaitMs: number; log: (line: string) => void },
  attempt: (onHolders: (holders: string) => void) => Promise<T>,
): Promise<T> {
  const untilMs = Date.now() + lockWaitMs;
  let told = '';
  for (;;) {
    let holders = '';
    try {
      return await attempt((seen) => (holders = seen));
    } catch (error) {
      const code: unknown = Reflect.get(Object(error) as object, 'code');
      if (!(typeof code === 'string' && LOCKED.has(code))) throw error;
      if (Date.now() > untilMs)
        throw new MigrationFailed(
          `A lock was not to be had within ${lockWaitMs / 1000} s. It is held by ${holders || 'somebody who let go of it meanwhile'}. ` +
            'End that (SELECT pg_terminate_backend(<pid>)) or wait for it, then run this again; nothing was changed.',
          { cause: error },
        );
      if (holders !== '' && holders !== told) log(`waiting for ${holders}`);
      told = holders;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** Runs one file. What the database says of it is told without the file's text, which knex puts before it. */
async function run(trx: Knex, { name, sql }: { name: string; sql: string }): Promise<void> {
  try {
    await trx.raw(escapeBindings(sql));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { code, detail, hint, position } = error as Error & Record<string, unknown>; // as pg gives them, if it was pg
    if (typeof code === 'string' && LOCKED.has(code)) throw error;
    const line =
      typeof position === 'string' ? `, line ${sql.slice(0, Number(position)).split('\n').length}` : '';
    const more = [detail, hint].filter((text) => typeof text === 'string').map((text) => `\n  ${text}`);
    const reason = error.message.startsWith(sql)
      ? error.message.slice(sql.length + ' - '.length)
      : error.message;
    throw new MigrationFailed(`${name}${line}: ${reason}${more.join('')}\n  Nothing was changed.`, {
      cause: error,
    });
  }
}

/** knex reads `?` as a place for a value, also inside plain SQL where it is the jsonb operator. */
function escapeBindings(sql: string): string {
  return sql.replaceAll('?', '\\?');
}
