import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, escapeIdentifier } from 'pg';
import { type Child, runChild, startChild } from './children';
import type { HttpOptions } from './generations';

/** An engine of the bench's own, as `npm start` runs it, in a directory that is gone afterwards. */
export interface Engine extends HttpOptions {
  databaseUrl: string;
  temporalAddress: string;
  /** Where a new database of the same server can be made. */
  createDatabase(name: string): Promise<string>;
  stop(): Promise<void>;
}

interface Server {
  stop(): Promise<void>;
}

/** The parts of dev/ that a bench uses. They are plain JavaScript, so their types are said here. */
interface DevPostgres {
  startPostgres(options: {
    dataDir: string;
    port: number;
  }): Promise<Server & { url: string; adminUrl: string; dataPath: string }>;
}
interface DevTemporal {
  findTemporal(options: { log: (line: string) => void }): Promise<string>;
  startTemporal(options: {
    binary: string;
    port: number;
    dbFile: string;
  }): Promise<Server & { address: string }>;
}
interface DevProcesses {
  freePort(): Promise<number>;
}

/** The package's root, from dist/bench. */
const ROOT = path.join(__dirname, '..', '..');
const dev = (name: string): string => pathToFileURL(path.join(ROOT, 'dev', name)).href;
const entry = (name: string): string => path.join(ROOT, 'dist', name);

export async function startEngine(): Promise<Engine> {
  const { startPostgres }: DevPostgres = await import(dev('postgres.mjs'));
  const { findTemporal, startTemporal }: DevTemporal = await import(dev('temporal.mjs'));
  const { freePort }: DevProcesses = await import(dev('processes.mjs'));

  const binary = await findTemporal({ log: console.log });
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
  chmodSync(directory, 0o755); // run as root, Postgres is another user and must get in
  const started: (Server | Child)[] = [];
  const leftovers = [directory];
  const stop = async () => {
    // Last come, first gone: nothing loses the server it works on.
    for (const part of started.toReversed()) await part.stop();
    for (const place of leftovers) rmSync(place, { recursive: true, force: true });
  };
  try {
    const postgres = await startPostgres({ dataDir: directory, port: await freePort() });
    started.push(postgres);
    leftovers.push(postgres.dataPath);
    const dbFile = path.join(directory, 'temporal.db');
    const temporal = await startTemporal({ binary, port: await freePort(), dbFile });
    started.push(temporal);

    const port = await freePort();
    const adminKey = randomBytes(24).toString('hex');
    const env = {
      PATH: process.env['PATH'],
      DATABASE_URL: postgres.url,
      TEMPORAL_ADDRESS: temporal.address,
      PORT: String(port),
      HOLDFAST_ADMIN_KEY: adminKey,
    };
    await runChild({ entry: entry('db/setup.js'), env });
    started.push(
      await startChild({ entry: entry('activities/worker.js'), env, readyLine: 'worker is running' }),
    );
    started.push(await startChild({ entry: entry('api/main.js'), env, readyLine: 'api is listening' }));
    return {
      baseUrl: `http://127.0.0.1:${port}`,
      adminKey,
      databaseUrl: postgres.url,
      temporalAddress: temporal.address,
      createDatabase: (name) => createDatabase(postgres.adminUrl, name),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function createDatabase(adminUrl: string, name: string): Promise<string> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
  return Object.assign(new URL(adminUrl), { pathname: `/${name}` }).toString();
}
