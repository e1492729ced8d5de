import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where Debian keeps what it does not put on the PATH. */
const DEBIAN = '/usr/lib/postgresql';

/** Rows in pgbench's tables: 100,000 per unit of scale. Small, as our accounts are; it is about round trips. */
const SCALE = 10;

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
  /** Transactions per second of `pgbench -N`: an update, a select and an insert in one transaction. */
  perSecond(options: { clients: number; seconds: number }): Promise<number>;
}

/** Fills pgbench's tables in an empty database of the server under test. */
export async function preparePgbench({ binary, url }: { binary: string; url: string }): Promise<Pgbench> {
  await run(binary, ['--initialize', '--quiet', `--scale=${SCALE}`, url]);
  return {
    async perSecond({ clients, seconds }) {
      const threads = Math.min(clients, 2);
      const { stdout } = await run(binary, [
        '--skip-some-updates',
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
