import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What a release brings for the database: numbered migrations, and beside them the functions under one number of their own. */

export interface MigrationFile {
  name: string;
  number: number;
  minCompatible: number;
  sql: string;
  sha256: string;
}

export interface FunctionFiles {
  /** Grows with every release that changes one of them. */
  number: number;
  digest: string;
  files: { name: string; sql: string }[];
}

/** The same place from the sources and from dist/. */
export function migrationsDirectory(): string {
  const found = [
    path.join(__dirname, '../migrations'),
    path.join(__dirname, '..', '..', '..', 'db', 'migrations'),
  ].find(existsSync);
  if (found === undefined) throw new Error('db/migrations is missing from this installation');
  return found;
}

/** Throws an Error that names a file which is not numbered or marked as it must be. */
export function readMigrations(directory: string): MigrationFile[] {
  return sqlFiles(directory).map(({ name, sql }, index) => {
    const number = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1] ?? Number.NaN);
    const minCompatible = Number(
      /^-- min_compatible: (\d+)$/m.exec(sql.split('\n')[0] ?? '')?.[1] ?? Number.NaN,
    );
    if (number !== index + 1) throw new Error(`${name}: migrations are numbered 0001, 0002, … without gaps`);
    if (Number.isNaN(minCompatible))
      throw new Error(`${name}: the first line must be "-- min_compatible: <number>"`);
    return { name, number, minCompatible, sql, sha256: digestOf(sql) };
  });
}

/** The functions in the order of their files; null if a directory has none. */
export function readFunctions(directory: string): FunctionFiles | null {
  const place = path.join(directory, 'functions');
  if (!existsSync(place)) return null;
  const files = sqlFiles(place);
  const number = Math.max(...Object.keys(readNumbers(place)).map(Number));
  return { number, digest: digestOf(files.map(({ sql }) => sql).join('\n')), files };
}

/** Every number there was, with the digest of the functions that bear it. */
export function readNumbers(place: string): Record<string, string> {
  const file = path.join(place, 'numbers.json');
  const numbers: unknown = JSON.parse(readFileSync(file, 'utf8'));
  const entries = Object.entries(Object(numbers) as object);
  const right = entries.every(
    ([number, digest], n) => number === String(n + 1) && typeof digest === 'string',
  );
  if (entries.length === 0 || !right)
    throw new Error(`${file} must say {"1": "<sha256>", "2": …}: a digest for each number, without gaps`);
  return Object.fromEntries(entries) as Record<string, string>; // checked in the line above
}

/** Line ends as in the repository, so that a checkout with others has the same digests. */
function sqlFiles(directory: string): { name: string; sql: string }[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.sql'));
  return names.toSorted().map((name) => ({
    name,
    sql: readFileSync(path.join(directory, name), 'utf8').replaceAll('\r\n', '\n'),
  }));
}

function digestOf(sql: string): string {
  return createHash('sha256').update(sql).digest('hex');
}
