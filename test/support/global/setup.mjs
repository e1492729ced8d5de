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
  await closedToOthers(postgres);
  process.env.HOLDFAST_TEST_DATABASE_URL = postgres.adminUrl;
  process.env.HOLDFAST_TEST_TEMPORAL = temporal.address;
}

/** A database can be cloned only while nobody is connected to it. */
async function closedToOthers(postgres) {
  const client = new Client({ connectionString: postgres.adminUrl });
  await client.connect();
  await client.query('ALTER DATABASE holdfast_template WITH ALLOW_CONNECTIONS false');
  await client.end();
}
