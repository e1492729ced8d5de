import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

/**
 * The file of an archived month: gzip'd lines of JSON. The first says what it is, then comes a line per journal row as Postgres
 * writes it (`to_jsonb`: amounts are whole millicredits, exact), and the last says how many, of when, and their digest.
 */

export interface Header {
  format: 'holdfast-journal-1';
  month: string;
  /** The newest migration of the database it comes from. */
  schema: number;
}

export interface Trailer {
  rows: number;
  /** `recorded_at` of the first and of the last row; null: there are none. */
  first: string | null;
  last: string | null;
  /** Over everything before this line, uncompressed, line feeds included. */
  sha256: string;
}

const FORMAT = 'holdfast-journal-1';
/** No row begins so: Postgres puts short names first. */
const TRAILER_BEGINS = '{"rows":';

export const archiveName = (month: string) => `journal-${month}.ndjson.gz`;

/** Written under another name, flushed and then renamed, so that under its own name it is whole. */
export async function writeArchive({
  file,
  month,
  schema,
  rows,
}: {
  file: string;
  month: string;
  schema: number;
  rows: AsyncIterable<{ line: string; recordedAt: string }>;
}): Promise<Trailer> {
  const digest = createHash('sha256');
  const seen: Omit<Trailer, 'sha256'> = { rows: 0, first: null, last: null };
  const trailer = () => ({ ...seen, sha256: digest.copy().digest('hex') }) satisfies Trailer;
  const hashed = (line: string) => {
    digest.update(`${line}\n`);
    return `${line}\n`;
  };
  async function* lines() {
    yield hashed(JSON.stringify({ format: FORMAT, month, schema } satisfies Header));
    for await (const { line, recordedAt } of rows) {
      seen.rows += 1;
      if (seen.first === null || recordedAt < seen.first) seen.first = recordedAt;
      if (seen.last === null || recordedAt > seen.last) seen.last = recordedAt;
      yield hashed(line);
    }
    yield `${JSON.stringify(trailer())}\n`;
  }
  const unfinished = `${file}.part`;
  await rm(unfinished, { force: true });
  await pipeline(Readable.from(lines()), createGzip(), createWriteStream(unfinished));
  await flush(unfinished);
  await rename(unfinished, file);
  await flush(path.dirname(file));
  return trailer();
}

/** What a file says of itself; throws if its rows are not what it says, or it is not whole. */
export async function readArchive(
  file: string,
  onRow: (line: string) => Promise<void> = () => Promise.resolve(),
): Promise<Header & Trailer> {
  const digest = createHash('sha256');
  let count = 0;
  let header: Partial<Header> | null = null;
  let trailer: Partial<Trailer> | null = null;
  try {
    for await (const line of linesOf(file)) {
      if (trailer !== null) throw new Error('there is something after its end');
      if (line.startsWith(TRAILER_BEGINS)) {
        trailer = JSON.parse(line) as Partial<Trailer>; // looked at below
        continue;
      }
      digest.update(`${line}\n`);
      if (header === null) {
        header = JSON.parse(line) as Partial<Header>; // likewise
        continue;
      }
      count += 1;
      await onRow(line);
    }
  } catch (error) {
    if (isMissing(error)) throw error;
    throw new Error(`${file} is incomplete: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const { month, schema } = header ?? {};
  const sha256 = digest.digest('hex');
  if (header?.format !== FORMAT || month === undefined || schema === undefined)
    throw new Error(`${file} is not an archive of the journal`);
  if (trailer === null) throw new Error(`${file} is incomplete: its end is missing`);
  if (trailer.rows !== count || trailer.sha256 !== sha256)
    throw new Error(`${file} is corrupt: its rows do not match its digest`);
  return {
    format: FORMAT,
    month,
    schema,
    rows: count,
    first: trailer.first ?? null,
    last: trailer.last ?? null,
    sha256,
  };
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const source = createReadStream(file);
  const unzipped = createGunzip();
  const piped = pipeline(source, unzipped);
  // What breaks it is thrown by the reading of the lines as well; here it is only kept from going unheard.
  piped.catch(() => undefined);
  for await (const line of createInterface({ input: unzipped, crlfDelay: Number.POSITIVE_INFINITY }))
    yield line;
  await piped;
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

export async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error !== null && typeof error === 'object' && Reflect.get(error, 'code') === 'ENOENT';
}
