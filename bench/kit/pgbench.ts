import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';

const run = promisify(execFile);

/** Where Debian keeps what it does not put on the PATH. */
const DEBIAN = '/usr/lib/postgresql';

/** Rows in pgbench's tables: 100,000 per unit of scale. Small, as our accounts are; it is about round trips. */
const SCALE = 10;

/** The simplest thing a product does instead of a ledger: take credits off a column, by primary key, in one commit. */
const PLAIN_UPDATE = `\\set id random(1, :accounts)
UPDATE plain_credits SET credits = credits - 1 WHERE id = :id;
`;
const PLAIN_ROWS = 1_000;

/** The first that runs: by default the `pgbench` on the PATH, else the newest of Debian's. Null if there is none. */
export async function findPgbench(
  candidates: readonly string[] = ['pgbench', ...debianBinaries()],
): Promise<string | null> {
  for (const candidate of candidates) {
    try {
      await run(candidate, ['--version']);
      return candidate;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return null;
}

function debianBinaries(): string[] {
  try {
    const versions = readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a));
    return versions.map((version) => path.join(DEBIAN, version, 'bin', 'pgbench'));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}

export interface Pgbench {
  /** Transactions per second. */
  perSecond(options: { clients: number; seconds: number; what?: Script }): Promise<number>;
}

/**
 * `simple` is `pgbench -N`: an update, a select and an insert in one transaction, on rows of their own. `hot-row` is the
 * standard transaction at scale 1, where all clients update one and the same row. `update` and `update-one` are the
 * plain update by primary key, over many rows and on a single one.
 */
export type Script = 'simple' | 'hot-row' | 'update' | 'update-one';

/** Fills pgbench's tables in an empty database of the server under test. */
export async function preparePgbench(options: {
  binary: string;
  url: string;
  scale?: number;
}): Promise<Pgbench> {
  const { binary, url, scale = SCALE } = options;
  await run(binary, ['--initialize', '--quiet', `--scale=${scale}`, url]);
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-pgbench-'));
  const script = path.join(directory, 'plain-update.sql');
  writeFileSync(script, PLAIN_UPDATE);
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(
    'CREATE TABLE plain_credits (id int PRIMARY KEY, credits bigint NOT NULL) WITH (fillfactor = 50)',
  );
  await client.query('INSERT INTO plain_credits SELECT id, 1000000000 FROM generate_series(1, $1) id', [
    PLAIN_ROWS,
  ]);
  await client.end();
  const flags: Record<Script, string[]> = {
    simple: ['--skip-some-updates'],
    'hot-row': [],
    update: [`--file=${script}`, `--define=accounts=${PLAIN_ROWS}`],
    'update-one': [`--file=${script}`, '--define=accounts=1'],
  };
  return {
    async perSecond({ clients, seconds, what = 'simple' }) {
      const threads = Math.min(clients, 2);
      const { stdout } = await run(binary, [
        ...flags[what],
        '--no-vacuum',
        '--protocol=prepared',
        `--client=${clients}`,
        `--jobs=${threads}`,
        `--time=${seconds}`,
        url,
      ]);
      return tpsOf(stdout);
    },
  };
}

/** The rate in pgbench's report, without the time connections took to open. */
export function tpsOf(report: string): number {
  const tps = /^tps = ([0-9.]+)/m.exec(report)?.[1];
  if (tps === undefined) throw new Error(`pgbench reported no rate:\n${report}`);
  return Number(tps);
}
