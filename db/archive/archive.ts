import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Client, escapeIdentifier } from 'pg';
import { archiveName, isThere, readArchive, writeArchive } from './file';

/**
 * Takes one month out of the journal: into a file, compared with it row by row, and only then dropped. Whatever stops it on
 * the way, the month is either here or archived, and the same command completes it.
 */

export interface ArchiveOptions {
  /** The owner's URL: the application's role may not. */
  url: string;
  /** `2026-01` */
  month: string;
  directory: string;
  /** Told of each step when it is done. */
  onStep?: (step: ArchiveStep) => void;
  /** How often to try for the moment in which nobody reads the journal, two seconds apart. */
  attempts?: number;
}

type ArchiveStep = 'written' | 'compared' | 'detached' | 'committed';

export interface Archived {
  file: string;
  rows: number;
  sha256: string;
  /** It was archived before, and the file is still what it was then. */
  before: boolean;
}

/** The month cannot be archived as things are; the message says why and what to do. Nothing was changed. */
class NotArchivable extends Error {
  override readonly name = 'NotArchivable';
}

const PAGE = 5_000;
const ATTEMPTS = 30;

export async function archiveMonth({
  url,
  month,
  directory,
  onStep = () => undefined,
  attempts = ATTEMPTS,
}: ArchiveOptions): Promise<Archived> {
  if (!/^\d{4}-(0[1-9]|1[0-2])$/.test(month))
    throw new NotArchivable(`${month} is not a month; write 2026-01`);
  const file = path.join(directory, archiveName(month));
  const table = `ledger.journal_${month.replace('-', '_')}`;
  return asOwner(url, async (client) => {
    const before = await archivedBefore(client, { month, file });
    if (before !== null) return before;
    await mustBeNext(client, { month, table });
    await mkdir(directory, { recursive: true });
    await client.query('BEGIN');
    // Who is still writing into the month is waited for, and nobody writes into it any more. Reading continues.
    await client.query(`LOCK TABLE ONLY ${table} IN SHARE MODE`);
    if (!(await isThere(file))) {
      await writeArchive({ file, month, schema: await schemaOf(client), rows: rowsOf(client, table) });
    }
    onStep('written');
    const { rows, sha256 } = await compared(client, { table, file, month });
    onStep('compared');
    await client.query('SELECT ledger.archive_month($1, $2, $3, $4, $5)', [
      `${month}-01`,
      rows,
      sha256,
      path.basename(file),
      attempts,
    ]);
    onStep('detached');
    await client.query('COMMIT');
    onStep('committed');
    return { file, rows, sha256, before: false };
  });
}

/**
 * Puts an archived month beside the journal, to be looked into: a table of its own, with the journal's columns. Its rows are
 * the file's, and if this database archived them, those it archived.
 */
export async function loadArchive({
  url,
  file,
  table,
}: {
  url: string;
  file: string;
  /** In the schema `public`; it must not be there yet. */
  table: string;
}): Promise<{ month: string; rows: number; sha256: string }> {
  const name = `public.${escapeIdentifier(table)}`;
  return asOwner(url, async (client) => {
    await client.query('BEGIN');
    await client.query(
      `CREATE TABLE ${name} (LIKE ledger.journal INCLUDING DEFAULTS, PRIMARY KEY (account_id, seq))`,
    );
    const load = `INSERT INTO ${name} SELECT r.* FROM unnest($1::jsonb[]) line CROSS JOIN LATERAL jsonb_populate_record(NULL::ledger.journal, line) r`;
    const found = await readInPages(file, (page) => client.query(load, [page]));
    const { month, rows, sha256 } = found;
    const { rows: known } = await client.query<{ sha256: string }>(
      'SELECT sha256 FROM ledger.archives WHERE month = $1',
      [`${month}-01`],
    );
    if (known[0] !== undefined && known[0].sha256 !== sha256)
      throw new Error(`${file} is not what was archived of ${month}: the digest was ${known[0].sha256}`);
    await client.query('COMMIT');
    return { month, rows, sha256 };
  });
}

/** A session of the owner's that nothing cuts short, and of which there is one at a time. */
async function asOwner<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({
    connectionString: url,
    application_name: 'holdfast archive',
    lock_timeout: 5_000, // unless the URL says otherwise
  });
  client.on('error', () => undefined); // the query under way fails, and that is thrown
  await client.connect();
  try {
    await client.query(
      "SET timezone = 'UTC'; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0",
    );
    const { rows } = await client.query<{ alone: boolean }>(
      "SELECT pg_try_advisory_lock(hashtextextended('holdfast archive', 0)) AS alone",
    );
    if (rows[0]?.alone !== true) throw new NotArchivable('Another archive is being written or loaded.');
    return await work(client);
  } finally {
    await client.end();
  }
}

async function archivedBefore(
  client: Client,
  { month, file }: { month: string; file: string },
): Promise<Archived | null> {
  const { rows: known } = await client.query<{ sha256: string; at: string }>(
    "SELECT sha256, to_char(archived_at, 'YYYY-MM-DD') AS at FROM ledger.archives WHERE month = $1",
    [`${month}-01`],
  );
  const [archive] = known;
  if (archive === undefined) return null;
  if (!(await isThere(file)))
    throw new NotArchivable(`${month} was archived on ${archive.at}; its file is not here: ${file}`);
  const { rows, sha256 } = await readArchive(file);
  if (sha256 !== archive.sha256)
    throw new NotArchivable(`${month} was archived on ${archive.at}; ${file} is not the file of then.`);
  return { file, rows, sha256, before: true };
}

/** Months are archived in their order, and only once they have ended. */
async function mustBeNext(client: Client, { month, table }: { month: string; table: string }): Promise<void> {
  const { rows } = await client.query<{ there: boolean; over: boolean; older: string | null }>(
    `SELECT to_regclass($1) IS NOT NULL AS there, $2::date < date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date AS over,
            (SELECT min(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'ledger.journal'::regclass AND c.relname < 'journal_' || to_char($2::date, 'YYYY_MM')) AS older`,
    [table, `${month}-01`],
  );
  const [found] = rows;
  if (found?.over !== true) throw new NotArchivable(`Month ${month} has not ended yet.`);
  if (!found.there) throw new NotArchivable(`The journal has no month ${month}.`);
  if (found.older !== null) {
    const first = found.older.replace('journal_', '').replace('_', '-');
    throw new NotArchivable(`Month ${first} is older and still here: archive it first.`);
  }
}

async function schemaOf(client: Client): Promise<number> {
  const { rows } = await client.query<{ schema: number }>(
    'SELECT max(number) AS schema FROM holdfast.schema_compatibility',
  );
  return rows[0]?.schema ?? 0;
}

/** In the order of the table's own key, so that nothing is sorted. */
async function* rowsOf(client: Client, table: string): AsyncGenerator<{ line: string; recordedAt: string }> {
  await client.query(
    `DECLARE archive_rows NO SCROLL CURSOR FOR
       SELECT to_jsonb(j)::text AS line, to_jsonb(recorded_at) #>> '{}' AS "recordedAt" FROM ${table} j ORDER BY account_id, seq`,
  );
  for (;;) {
    const { rows } = await client.query<{ line: string; recordedAt: string }>(
      `FETCH ${PAGE} FROM archive_rows`,
    );
    yield* rows;
    if (rows.length < PAGE) break;
  }
  await client.query('CLOSE archive_rows');
}

/** Reads the file back, and Postgres itself compares each row of it with the one in the journal, in both directions. */
async function compared(
  client: Client,
  { table, file, month }: { table: string; file: string; month: string },
): Promise<{ rows: number; sha256: string }> {
  await client.query('CREATE TEMP TABLE archive_lines (line jsonb NOT NULL) ON COMMIT DROP');
  const found = await readInPages(file, (page) =>
    client.query('INSERT INTO archive_lines SELECT unnest($1::jsonb[])', [page]),
  ).catch((error: unknown) => {
    throw new NotArchivable(`${error instanceof Error ? error.message : String(error)}. Move it away first.`);
  });
  if (found.month !== month)
    throw new NotArchivable(`${file} is the archive of ${found.month}. Move it away first.`);
  await client.query('ANALYZE archive_lines');
  const { rows } = await client.query<{ different: number }>(
    `SELECT count(*)::int AS different FROM ${table} j
       FULL JOIN archive_lines a ON a.line ->> 'account_id' = j.account_id AND (a.line ->> 'seq')::bigint = j.seq
      WHERE to_jsonb(j) IS DISTINCT FROM a.line`,
  );
  const different = rows[0]?.different ?? 0;
  if (different > 0)
    throw new NotArchivable(
      `${different} row(s) of the month are not in ${file} as they are in the journal. Move it away first.`,
    );
  return found;
}

async function readInPages(
  file: string,
  onPage: (page: string[]) => Promise<unknown>,
): ReturnType<typeof readArchive> {
  let page: string[] = [];
  const found = await readArchive(file, async (line) => {
    page.push(line);
    if (page.length < PAGE) return;
    const full = page;
    page = [];
    await onPage(full);
  });
  if (page.length > 0) await onPage(page);
  return found;
}
