import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { Client } from 'pg';

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
  /** Asked before anything is dropped; throws to stop. For tests. */
  beforeDrop?: () => void;
}

export interface Archived {
  file: string;
  rows: number;
  sha256: string;
}

/** The month cannot be archived as things are; the message says why and what to do. Nothing was changed. */
export class NotArchivable extends Error {
  override readonly name = 'NotArchivable';
}

const FORMAT = 'holdfast-journal-1';
const PAGE = 5_000;

/** First line of a file: what it is. Then a row per line, as Postgres writes it in JSON; last, how many and their digest. */
interface Header {
  format: typeof FORMAT;
  month: string;
}
interface Trailer {
  rows: number;
  /** Over the lines of the rows, each with its line feed. */
  sha256: string;
}

export async function archiveMonth({ url, month, directory, beforeDrop }: ArchiveOptions): Promise<Archived> {
  if (!/^\d{4}-(0[1-9]|1[0-2])$/.test(month)) throw new NotArchivable(`${month} is no month; write 2026-01`);
  const client = new Client({ connectionString: url, application_name: 'holdfast archive' });
  await client.connect();
  try {
    // A session's lock: two archivers of one month would write one file.
    await client.query("SET timezone = 'UTC'; SET lock_timeout = '5s'");
    await client.query("SELECT pg_advisory_lock(hashtextextended('holdfast archive', 0))");
    const table = `ledger.journal_${month.replace('-', '_')}`;
    await mustBeNext(client, { month, table });
    await mkdir(directory, { recursive: true });
    const file = path.join(directory, `journal-${month}.ndjson.gz`);
    const written = (await exists(file))
      ? await readBack(file, month)
      : await write(client, { table, file, month });
    await mustEqual(client, { table, file });
    beforeDrop?.();
    await client.query('SELECT ledger.archive_month($1, $2, $3, $4)', [
      `${month}-01`,
      written.rows,
      written.sha256,
      path.basename(file),
    ]);
    return { file, ...written };
  } finally {
    await client.end();
  }
}

/** Months are archived in their order, and only once they are over. */
async function mustBeNext(client: Client, { month, table }: { month: string; table: string }): Promise<void> {
  const { rows } = await client.query<{ there: boolean; over: boolean; older: string | null }>(
    `SELECT to_regclass($1) IS NOT NULL AS there, $2::date < date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date AS over,
            (SELECT min(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'ledger.journal'::regclass AND c.relname < 'journal_' || to_char($2::date, 'YYYY_MM')) AS older`,
    [table, `${month}-01`],
  );
  const [found] = rows;
  if (found?.there !== true)
    throw new NotArchivable(`The journal has no month ${month}; was it archived before?`);
  if (!found.over) throw new NotArchivable(`Month ${month} is not over yet.`);
  if (found.older !== null) {
    const first = found.older.replace('journal_', '').replace('_', '-');
    throw new NotArchivable(`Month ${first} is older and still here: archive it first.`);
  }
}

async function write(
  client: Client,
  { table, file, month }: { table: string; file: string; month: string },
): Promise<Trailer> {
  const digest = createHash('sha256');
  let count = 0;
  async function* lines() {
    yield `${JSON.stringify({ format: FORMAT, month } satisfies Header)}\n`;
    let after: { account: string; seq: string } = { account: '', seq: '0' };
    for (;;) {
      const { rows } = await client.query<{ line: string; account: string; seq: string }>(
        `SELECT to_jsonb(j)::text AS line, account_id AS account, seq::text AS seq FROM ${table} j
          WHERE (account_id COLLATE "C", seq) > ($1, $2::bigint) ORDER BY account_id COLLATE "C", seq LIMIT $3`,
        [after.account, after.seq, PAGE],
      );
      for (const { line } of rows) {
        digest.update(`${line}\n`);
        count += 1;
        yield `${line}\n`;
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE) break;
      after = last;
    }
    yield `${JSON.stringify({ rows: count, sha256: digest.copy().digest('hex') } satisfies Trailer)}\n`;
  }
  const unfinished = `${file}.part`;
  await rm(unfinished, { force: true });
  await pipeline(Readable.from(lines()), createGzip(), createWriteStream(unfinished));
  await flush(unfinished);
  await rename(unfinished, file);
  await flush(path.dirname(file));
  return { rows: count, sha256: digest.digest('hex') };
}

/** What a file says of itself, after its rows were found to be what it says. */
async function readBack(file: string, month: string): Promise<Trailer> {
  const digest = createHash('sha256');
  let count = 0;
  let header: Partial<Header> | null = null;
  let trailer: Partial<Trailer> | null = null;
  for await (const line of linesOf(file)) {
    if (header === null) header = JSON.parse(line) as Partial<Header>;
    else if (line.startsWith('{"rows":')) trailer = JSON.parse(line) as Partial<Trailer>;
    else {
      digest.update(`${line}\n`);
      count += 1;
    }
  }
  const sha256 = digest.digest('hex');
  if (
    header?.format !== FORMAT ||
    header.month !== month ||
    trailer?.rows !== count ||
    trailer.sha256 !== sha256
  )
    throw new NotArchivable(`${file} is there and is no whole archive of ${month}; move it away first.`);
  return { rows: count, sha256 };
}

/** Postgres itself compares each row of the file with the one in the journal, in both directions. */
async function mustEqual(client: Client, { table, file }: { table: string; file: string }): Promise<void> {
  await client.query('CREATE TEMP TABLE IF NOT EXISTS archive_lines (line jsonb NOT NULL)');
  await client.query('TRUNCATE archive_lines');
  let page: string[] = [];
  const load = async () => {
    await client.query('INSERT INTO archive_lines SELECT unnest($1::jsonb[])', [page]);
    page = [];
  };
  let isHeader = true;
  for await (const line of linesOf(file)) {
    if (!isHeader && !line.startsWith('{"rows":')) page.push(line);
    isHeader = false;
    if (page.length === PAGE) await load();
  }
  if (page.length > 0) await load();
  const { rows } = await client.query<{ different: number }>(
    `SELECT count(*)::int AS different FROM ${table} j
       FULL JOIN archive_lines a ON a.line ->> 'account_id' = j.account_id AND (a.line ->> 'seq')::bigint = j.seq
      WHERE to_jsonb(j) IS DISTINCT FROM a.line`,
  );
  await client.query('DROP TABLE archive_lines');
  const different = rows[0]?.different ?? 0;
  if (different > 0)
    throw new NotArchivable(
      `${different} row(s) of the month are not in ${file} as they are in the journal; move the file away and try again.`,
    );
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const unzipped = createReadStream(file).pipe(createGunzip());
  for await (const line of createInterface({ input: unzipped, crlfDelay: Number.POSITIVE_INFINITY }))
    if (line !== '') yield line;
}

/** On disk, not only on its way there. */
async function flush(place: string): Promise<void> {
  const handle = await open(place, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (error !== null && typeof error === 'object' && Reflect.get(error, 'code') === 'ENOENT') return false;
    throw error;
  }
}
