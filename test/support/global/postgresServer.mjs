import { startPostgres } from '../../../dev/postgres.mjs';

/** A Postgres that a test may stop and start again: `node postgres-server.mjs <directory> <port>`, ended by SIGTERM. */
const [directory, port] = process.argv.slice(2);
const server = await startPostgres({ dataDir: directory, port: Number(port) });
process.stdout.write(`url ${server.url}\n`);
process.on('SIGTERM', () => {
  void server.stop().then(() => process.exit(0));
});
