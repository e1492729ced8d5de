import { type FunctionFiles, migrationsDirectory, readFunctions, readMigrations } from './files';

/** Whether the database and this binary fit together: migrations, functions, and which binaries they let run. */

/** Migrations of another, newer binary: this one must not run. */
export class IncompatibleSchema extends Error {
  override readonly name = 'IncompatibleSchema';
}

export interface StoredFunctions {
  /** Migrations that the binary knew which put them in. */
  migrations: number;
  digest: string;
  /** Null: put in by a binary that did not number them yet, and so older than any that does. */
  number: number | null;
}

interface Known {
  migrations: number;
  functions: FunctionFiles | null;
}

let ofThisProcess: Known | null = null;

/** Read once: a release that is unpacked over the files of a process that runs does not make that process newer. */
function known(): Known {
  ofThisProcess ??= {
    migrations: readMigrations(migrationsDirectory()).length,
    functions: readFunctions(migrationsDirectory()),
  };
  return ofThisProcess;
}

const RUN_SETUP = 'Run `npm run migrate` (node dist/db/setup.js) first.';

/** Whatever can be asked: a pool, or a transaction of knex's. */
export interface Asked {
  query(text: string): Promise<{ rows: unknown[] }>;
}

/** Throws IncompatibleSchema if a binary that knows this many migrations must not run on the database. */
export async function refuseNewerSchema(asked: Asked, migrations: number): Promise<void> {
  const { rows } = await asked.query(
    'SELECT max(min_compatible) AS needed FROM holdfast.schema_compatibility',
  );
  const needed = (rows as { needed: number | null }[])[0]?.needed ?? 0;
  if (needed > migrations) {
    throw new IncompatibleSchema(
      `The database needs a newer Holdfast: one that knows migration ${needed}; this one knows ${migrations}. Update it.`,
    );
  }
}

/** For a process that runs: throws IncompatibleSchema once a newer release has shut this binary out. */
export function assertNotFenced(points: Asked): Promise<void> {
  return refuseNewerSchema(points, known().migrations);
}

/** For worker and API at their start: the schema is complete for this binary, and not too new for it. */
export async function assertCompatible(points: Asked): Promise<void> {
  const { migrations, functions } = known();
  const tables = await points.query("SELECT to_regclass('holdfast.schema_compatibility')::text AS found");
  const isThere = (tables.rows as { found: string | null }[])[0]?.found != null;
  const counted = isThere
    ? await points.query('SELECT count(*)::int AS n FROM holdfast.schema_compatibility')
    : { rows: [] };
  const applied = (counted.rows as { n: number }[])[0]?.n ?? 0;
  if (applied < migrations)
    throw new IncompatibleSchema(`The database has ${applied} of ${migrations} migrations. ${RUN_SETUP}`);
  const { rows } = await points.query('SELECT * FROM holdfast.schema_functions');
  const [stored] = rows as StoredFunctions[];
  if (functions !== null && (stored?.number ?? 0) < functions.number)
    throw new IncompatibleSchema(
      `The functions in the database are older than this release's: number ${stored?.number ?? 0} of ${functions.number}. ${RUN_SETUP}`,
    );
  if (functions !== null && stored?.number === functions.number && stored.digest !== functions.digest)
    throw new IncompatibleSchema(otherFunctions(functions.number));
  await refuseNewerSchema(points, migrations);
}

export function otherFunctions(number: number): string {
  return (
    `The functions in the database are not this build's, though both have number ${number}: ` +
    'two builds were given one number. Give the newer one the next (node dev/numberFunctions.mjs), and build it again.'
  );
}
