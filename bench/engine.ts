import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, escapeIdentifier } from 'pg';
import type { AtEnd } from './bare/bare';
import { runChild, startChild } from './kit/children';
import type { HttpOptions } from './generations';

/** An engine of the bench's own, as `npm start` runs it, in a directory that is gone afterwards. */
export interface Engine extends HttpOptions {
  databaseUrl: string;
  temporalAddress: string;
  /** Makes a new database on the same server; its URL. */
  createDatabase: (name: string) => Promise<string>;
  /** Their ids. */
  processes: { api: number; worker: number; postgres: number; temporal: number };
}

/** Sixteen processes at once, each with as many connections as its pools may have. */
const SETTINGS = { max_connections: 500 };

/** A Postgres of the bench's own, otherwise with the settings of `npm start`; databases on it, migrated on request. */
export interface BenchPostgres {
  adminUrl: string;
  createDatabase: (name: string) => Promise<string>;
  migrated: (name: string) => Promise<string>;
}

export async function startPostgresAlone(atEnd: AtEnd): Promise<BenchPostgres> {
  const { startPostgres }: DevPostgres = await import(dev('postgres.mjs'));
  const { freePort }: DevProcesses = await import(dev('processes.mjs'));
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
  chmodSync(directory, 0o755); // run as root, Postgres is another user and must get in
  atEnd(() => remove(directory));
  const postgres = await startPostgres({
    dataDir: directory,
    port: await freePort(),
    settings: SETTINGS,
  });
  atEnd(() => remove(postgres.dataPath));
  atEnd(postgres.stop);
  const make = (name: string) => createDatabase(postgres.adminUrl, name);
  return {
    adminUrl: postgres.adminUrl,
    createDatabase: make,
    async migrated(name) {
      const url = await make(name);
      await runChild({ entry: entry('db/setup.js'), env: { PATH: process.env['PATH'], DATABASE_URL: url } });
      return url;
    },
  };
}

interface Server {
  pid: number;
  stop: () => Promise<void>;
}

/** The parts of dev/ that a bench uses. They are plain JavaScript, so their types are said here. */
interface DevPostgres {
  startPostgres: (options: {
    dataDir: string;
    port: number;
    settings?: Record<string, number>;
  }) => Promise<Server & { url: string; adminUrl: string; dataPath: string }>;
}
interface DevTemporal {
  findTemporal: (options: { log: (line: string) => void }) => Promise<string>;
  startTemporal: (options: {
    binary: string;
    port: number;
    dbFile: string;
  }) => Promise<Server & { address: string }>;
}
interface DevProcesses {
  freePort: () => Promise<number>;
}

/** The package's root, from dist/bench. */
const ROOT = path.join(__dirname, '..', '..');
const dev = (name: string): string => pathToFileURL(path.join(ROOT, 'dev', name)).href;
const entry = (name: string): string => path.join(ROOT, 'dist', name);

export async function startEngine(atEnd: AtEnd, more: Record<string, string> = {}): Promise<Engine> {
  const { startPostgres }: DevPostgres = await import(dev('postgres.mjs'));
  const { findTemporal, startTemporal }: DevTemporal = await import(dev('temporal.mjs'));
  const { freePort }: DevProcesses = await import(dev('processes.mjs'));

  const binary = await findTemporal({ log: console.log });
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-bench-'));
  chmodSync(directory, 0o755); // run as root, Postgres is another user and must get in
  atEnd(() => remove(directory));
  const postgres = await startPostgres({ dataDir: directory, port: await freePort() });
  atEnd(() => remove(postgres.dataPath));
  atEnd(postgres.stop);
  const dbFile = path.join(directory, 'temporal.db');
  const temporal = await startTemporal({ binary, port: await freePort(), dbFile });
  atEnd(temporal.stop);

  const port = await freePort();
  const adminKey = randomBytes(24).toString('hex');
  const env = {
    PATH: process.env['PATH'],
    DATABASE_URL: postgres.url,
    TEMPORAL_ADDRESS: temporal.address,
    PORT: String(port),
    HOLDFAST_ADMIN_KEY: adminKey,
    ...more,
  };
  await runChild({ entry: entry('db/setup.js'), env });
  const worker = await startChild({
    entry: entry('activities/worker.js'),
    env,
    readyLine: 'worker is running',
  });
  atEnd(worker.stop);
  const api = await startChild({ entry: entry('api/main.js'), env, readyLine: 'api is listening' });
  atEnd(api.stop);
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    adminKey,
    databaseUrl: postgres.url,
    temporalAddress: temporal.address,
    createDatabase: (name) => createDatabase(postgres.adminUrl, name),
    processes: { api: api.pid, worker: worker.pid, postgres: postgres.pid, temporal: temporal.pid },
  };
}

function remove(place: string): Promise<void> {
  return rm(place, { recursive: true, force: true });
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
