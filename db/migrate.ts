import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Knex } from 'knex';
import { type Database, openDatabase } from './connection';

/**
 * Numbered plain SQL files, run through knex, each in one transaction. The first line of a file says which
 * binaries may run once it is applied: `-- min_compatible: 3` needs one that knows migration 3. They make tables.
 * Functions and views hold no data: they lie in `functions/` beside them, each in one place, and are put in anew, all
 * in one transaction, after the migrations whenever they differ. A release that changes one adds a migration too, so
 * that an older binary leaves it alone.
 */

export interface MigrateOptions {
  /** The owner's URL. */
  url: string;
  directory?: string;
  log?: (line: string) => void;
}

interface MigrationFile {
  name: string;
  number: number;
  minCompatible: number;
  sql: string;
}

/** Migrations of an other, newer binary: this one must not run. */
export class IncompatibleSchema extends Error {
  override readonly name = 'IncompatibleSchema';
}

/** The same place from the sources and from dist/. */
export function migrationsDirectory(): string {
  const found = [
    path.join(__dirname, 'migrations'),
    path.join(__dirname, '..', '..', 'db', 'migrations'),
  ].find(existsSync);
  if (found === undefined) throw new Error('db/migrations is missing from this installation');
  return found;
}

/** The functions as one text, in the order of their files; null if a directory has none. */
function readFunctions(directory: string): { sql: string; digest: string } | null {
  const place = path.join(directory, 'functions');
  if (!existsSync(place)) return null;
  const names = readdirSync(place).filter((name) => name.endsWith('.sql'));
  const sql = names
    .toSorted()
    .map((name) => readFileSync(path.join(place, name), 'utf8'))
    .join('\n');
  return { sql, digest: createHash('sha256').update(sql).digest('hex') };
}

function readMigrations(directory: string): MigrationFile[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.sql'));
  return names.toSorted().map((name, index) => {
    const sql = readFileSync(path.join(directory, name), 'utf8');
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1] ?? Number.NaN);
    const minCompatible = Number(
      /^-- min_compatible: (\d+)$/m.exec(sql.split('\n')[0] ?? '')?.[1] ?? Number.NaN,
    );
    if (number !== index + 1) throw new Error(`${name}: migrations are numbered 0001, 0002, … without gaps`);
    if (Number.isNaN(minCompatible))
      throw new Error(`${name}: the first line must be "-- min_compatible: <number>"`);
    return { name, number, minCompatible, sql };
  });
}

/** Applies what is missing and returns its names. Several processes may do so at once; one does the work. */
export async function migrate({ url, directory, log = () => undefined }: MigrateOptions): Promise<string[]> {
  const place = directory ?? migrationsDirectory();
  const files = readMigrations(place);
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
    await database.knex.raw('CREATE SCHEMA IF NOT EXISTS holdfast');
    await database.knex.raw(
      'CREATE TABLE IF NOT EXISTS holdfast.schema_compatibility (number int PRIMARY KEY, name text NOT NULL, min_compatible int NOT NULL)',
    );
    await database.knex.raw(
      'CREATE TABLE IF NOT EXISTS holdfast.schema_functions (one boolean PRIMARY KEY DEFAULT true CHECK (one), migrations int NOT NULL, digest text NOT NULL)',
    );
    // Everyone who may look into the schema may know how new it is; the application's role is not made yet.
    await database.knex.raw(
      'GRANT SELECT ON holdfast.schema_compatibility, holdfast.schema_functions TO PUBLIC',
    );
    await refuseNewerSchema(database.knex, files.length);
    const applied: string[] = [];
    for (;;) {
      // One at a time, each in a transaction of its own: `latest` would run all of them in one.
      const [, names] = (await database.knex.migrate.up(knexConfig(files))) as [number, string[]]; // knex types it any
      if (names.length === 0) break;
      for (const name of names) log(`applied ${name}`);
      applied.push(...names);
    }
    if (await putFunctions(database.knex, { place, known: files.length })) log('put in the functions');
    return applied;
  } finally {
    guard.release(true);
    await database.close();
  }
}

function knexConfig(files: readonly MigrationFile[]): Knex.MigratorConfig {
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
            await trx.raw('SET LOCAL statement_timeout = 0');
            // A long statement of a killed process would go on and keep its locks; Windows cannot notice.
            await trx.raw(
              "SELECT set_config('client_connection_check_interval', '500ms', true) WHERE version() ~* 'linux|darwin'",
            );
            await trx.raw(escapeBindings(file.sql));
            const { number, name, minCompatible } = file;
            await trx('holdfast.schema_compatibility').insert({
              number,
              name,
              min_compatible: minCompatible,
            });
          },
          down: () => Promise.reject(new Error('migrations go forward only; restore a backup instead')),
        }),
    },
  };
}

/** Puts the functions in if they differ; false if not, or if a newer binary has put in its own. */
async function putFunctions(
  knex: Knex,
  { place, known }: { place: string; known: number },
): Promise<boolean> {
  const functions = readFunctions(place);
  if (functions === null) return false;
  const { sql, digest } = functions;
  return knex.transaction(async (trx) => {
    const stored = await trx('holdfast.schema_functions').first<StoredFunctions | undefined>();
    if (stored !== undefined && (stored.migrations > known || stored.digest === digest)) return false;
    await trx.raw('SET LOCAL statement_timeout = 0');
    await trx.raw(escapeBindings(sql));
    await trx('holdfast.schema_functions').insert({ migrations: known, digest }).onConflict('one').merge();
    return true;
  });
}

interface StoredFunctions {
  migrations: number;
  digest: string;
}

/** knex reads `?` as a place for a value, also inside plain SQL where it is the jsonb operator. */
function escapeBindings(sql: string): string {
  return sql.replaceAll('?', '\\?');
}

/** Throws if a binary that knows this many migrations must not run on the database. */
async function refuseNewerSchema(knex: Knex, known: number): Promise<void> {
  const newest = await knex('holdfast.schema_compatibility')
    .max<{ needed: number | null }[]>('min_compatible as needed')
    .first<{ needed: number | null } | undefined>();
  if ((newest?.needed ?? 0) > known) {
    throw new IncompatibleSchema(
      `The database needs a newer Holdfast: one that knows migration ${newest?.needed}; this one knows ${known}. Update it.`,
    );
  }
}

/** For worker and API at their start: the schema is complete for this binary, and not too new for it. */
export async function assertCompatible({ knex }: Pick<Database, 'knex'>): Promise<void> {
  const files = readMigrations(migrationsDirectory());
  const table = await knex.raw<{ rows: { found: string | null }[] }>(
    "SELECT to_regclass('holdfast.schema_compatibility')::text AS found",
  );
  const applied =
    table.rows[0]?.found == null
      ? 0
      : Number((await knex('holdfast.schema_compatibility').count('* as n').first())?.['n'] ?? 0);
  if (applied < files.length) {
    throw new IncompatibleSchema(
      `The database has ${applied} of ${files.length} migrations. Run \`npm run migrate\` (node dist/db/setup.js) first.`,
    );
  }
  const functions = await knex('holdfast.schema_functions').first<StoredFunctions | undefined>();
  if ((functions?.migrations ?? 0) < files.length) {
    throw new IncompatibleSchema(
      'The functions in the database are older than its migrations. Run `npm run migrate` (node dist/db/setup.js) first.',
    );
  }
  await refuseNewerSchema(knex, files.length);
}
