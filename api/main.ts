import { once } from 'node:events';
import { Client, Connection } from '@temporalio/client';
import { watchSkew } from '../db/connection/clockSkew';
import { openDatabase } from '../db/connection/connection';
import { createEngine } from '../db/engine';
import { startFence } from '../db/migrate/fence';
import { namespaceOfHold } from '../db/generations/holds';
import { assertCompatible } from '../db/migrate/version';
import { parseSettings } from '../domain/settings';
import {
  reachTemporal,
  findNamespace,
  ringAccount,
  ringClock,
  temporalUrlOf,
} from '../activities/temporal/connect';
import { dataConverter } from '../activities/temporal/payloads';
import { createApp } from './app';
import { createGenerationStarter } from './workflows/starter';
import { withBreaker } from './workflows/startBreaker';
import { databaseChecks } from './resources/operations/health';
import { createGenerationWatch } from './workflows/watch';
import { createHoldOwners } from '../activities/temporal/holdOwners';
import { createHttpServer } from './http/httpServer';
import { createLogger } from './observe/logger';
import { createQuoting } from './resources/generations/quotes';
import { createRoutes } from './routes';

/** `node dist/api/main.js`: serves the API until it is told to stop. */

/** To learn whether Temporal knows a namespace. */
const NAMESPACE_WITHIN_MS = 3_000;

/** To have a test clock begin its advance. */
const ADVANCE_WITHIN_MS = 3_000;

/** How long requests that are under way may take once a stop was asked for. */
const DRAIN_MS = 15_000;

async function main(): Promise<void> {
  const settings = parseSettings(process.env);
  const { temporal, adminKey } = settings;
  if (adminKey === undefined)
    throw new Error('HOLDFAST_ADMIN_KEY is not set: make a long random one and keep it secret.');
  const logger = createLogger({ name: 'api', level: settings.logLevel });
  const db = openDatabase({
    url: settings.databaseUrl,
    max: settings.dbPool,
    applicationName: 'holdfast api',
    onError: (error, what) => logger.warn({ err: error }, what),
  });
  await assertCompatible(db.points);

  // Connects where it is first needed: charges, leases, balances and reports need no Temporal, nor does the start (rule 36).
  const { options, namespace } = reachTemporal(temporal);
  const connection = Connection.lazy(options);
  const client = new Client({ connection, namespace, dataConverter });

  const ring = (account: string) => {
    // What the bell announces is committed: if it does not ring, the next one does.
    ringAccount({ client, account, taskQueue: temporal.taskQueue }).catch((error: unknown) =>
      logger.error({ err: error, account }, 'an account’s workflow could not be woken'),
    );
  };
  const { catalogs, ledger, reservations, leases } = createEngine({
    database: db,
    ring,
    namespaceId: null, // what is held for a workflow, its worker holds
    temporalUrl: temporalUrlOf(temporal),
    batching: settings.batching,
    isLive: settings.mode === 'live',
  });
  // The clock's row says that it is to advance: the sweep rings where this does not happen.
  const startAdvance = (clock: string) =>
    connection
      .withDeadline(Date.now() + ADVANCE_WITHIN_MS, () =>
        ringClock({ client, clock, taskQueue: temporal.taskQueue }),
      )
      .catch((error: unknown) => logger.warn({ err: error, clock }, 'the clock could not be rung'));
  const owners = createHoldOwners({
    client,
    namespaceOf: (generation) => namespaceOfHold(db.knex, generation),
  });
  const starter = withBreaker(
    createGenerationStarter({ client, connection, taskQueue: temporal.taskQueue, owners }),
    {
      onChange: (isOpen) =>
        isOpen
          ? logger.error(
              'reservations are not decided in time: one a second is tried, until one is (do workers run?)',
            )
          : logger.info('reservations are decided again'),
    },
  );
  const findNamespaceSoon = (id: string) =>
    connection.withDeadline(Date.now() + NAMESPACE_WITHIN_MS, () => findNamespace(client, id));
  const quoting = createQuoting({ db, ledger, catalogs });
  const watch = createGenerationWatch({
    pool: db.points,
    onError: (error) =>
      logger.warn({ err: error }, 'the generations that are waited for could not be looked at'),
  });
  const fence = startFence({
    points: db.points,
    everySeconds: settings.schemaCheckSeconds,
    onFenced: (reason) =>
      logger.error(
        { err: reason },
        'a newer release has shut this API out: it is not ready, and refuses every request',
      ),
    onError: (error) => logger.warn({ err: error }, 'the schema could not be looked at'),
  });
  const skew = await watchSkew({ pool: db.points, kind: 'api', log: logger });
  const app = createApp({
    settings: { adminKey, corsOrigins: settings.corsOrigins },
    db,
    catalogs,
    routes: createRoutes({
      db,
      ledger,
      catalogs,
      reservations,
      leases,
      starter,
      quoting,
      watch,
      ring,
      startAdvance,
      isLive: settings.mode === 'live',
      findNamespace: findNamespaceSoon,
    }),
    readiness: [
      ...databaseChecks(db),
      // Charges, leases, reports, balances and what repairs a broken Temporal need none.
      { name: 'temporal', check: () => client.workflowService.getSystemInfo({}), degrades: true },
      { name: 'skew', check: skew.check, degrades: true },
    ],
    fence,
    skews: skew.processes,
    logger,
  });

  const server = createHttpServer({ app, logger });
  server.listen(settings.port);
  await once(server, 'listening');
  logger.info({ port: settings.port }, 'api is listening');
  for (const refused of await catalogs.refused(Date.now()))
    logger.warn(refused, 'a catalog version that would not be published today');

  const stop = async () => {
    server.close();
    server.closeIdleConnections();
    server.keepAliveTimeout = 1; // of those that are at work: they close with their answer
    const drained = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    await once(server, 'close');
    clearTimeout(drained);
    fence.end();
    skew.stop();
    await connection.close();
    await db.close();
  };
  let stopping = false;
  const onSignal = () => {
    if (stopping) return; // SIGINT and SIGTERM may both come
    stopping = true;
    stop().catch((error: unknown) => {
      logger.error({ err: error }, 'the stop was not clean');
      process.exit(1);
    });
  };
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1); // connections that are still open would keep a process alive that serves nothing
});
