import express from 'express';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { findApiKeySecret } from '../db/accounts/apiKeys';
import type { CatalogStore } from '../db/catalogs/catalogs';
import type { ProcessSkew } from '../db/connection/clockSkew';
import type { Database } from '../db/connection/connection';
import type { Fence } from '../db/migrate/fence';
import { countOverdueHolds } from '../db/support/overdueHolds';
import { monthsAhead } from '../db/archive/partitions';
import { passAges } from '../db/connection/passes';
import { createAuthenticate } from './routing/authenticate';
import { cors } from './http/cors';
import { CONTENT_SECURITY, docsPages } from './reference/pages';
import { createGate } from './routing/gate';
import { createHoldBack, heldBack } from './http/holdBack';
import { healthRoutes, type ReadinessCheck } from './resources/operations/health';
import { createMetrics } from './observe/metrics';
import { openApiRoute } from './reference/openapi';
import { ProblemError } from './problems/problem';
import { requestLog } from './observe/requestLog';
import type { Route } from './routing/route';
import { createRouter, nothingThere, sendProblem } from './routing/router';

export interface AppDeps {
  settings: { adminKey: string; corsOrigins: readonly string[] };
  db: Database;
  catalogs: Pick<CatalogStore, 'refused'>;
  /** The table of `createRoutes`. */
  routes: readonly Route[];
  readiness: readonly ReadinessCheck[];
  /** Whether this process may still work. */
  fence: Pick<Fence, 'reason'>;
  /** How far the clocks of all processes are from the database's, as last measured. */
  skews: () => readonly ProcessSkew[];
  /** Milliseconds for which one answer of an open route serves all who ask. */
  freshMs?: number;
  logger: Logger;
}

/** Numbers of the database's are asked for so much less often than they are shown. */
const SAMPLED_EVERY = 15;

/** One key leaves places to others; what waits is read within the time a client gives it. */
function reportLimits(inAll: number) {
  return { atWork: { inAll, perHolder: Math.max(1, inAll - 1) }, atRest: { inAll: 256, perHolder: 64 } };
}

/** The whole HTTP side, in the order in which a request meets it. */
export function createApp({
  settings,
  db,
  catalogs,
  routes,
  readiness,
  fence,
  skews,
  freshMs = 1_000,
  logger,
}: AppDeps): express.Express {
  const metrics = createMetrics({
    pools: () => db.uses(),
    monthsAhead: () => monthsAhead(db.points),
    overdueHolds: () => countOverdueHolds(db.points),
    refusedCatalogs: () => catalogs.refused(Date.now()),
    skews,
    passAges: () => passAges(db.points),
    sampleEveryMs: SAMPLED_EVERY * freshMs,
  });
  const authenticate = createAuthenticate({
    adminKey: settings.adminKey,
    findKey: (id) => findApiKeySecret(db.points, id),
  });
  const reports = createGate(reportLimits(db.reportsAtOnce));
  const holdBack = createHoldBack();
  const table = [...routes, ...healthRoutes({ readiness, metrics, logger, freshMs })];

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(requestLog({ logger, metrics }));
  app.use(helmet({ contentSecurityPolicy: CONTENT_SECURITY }));
  app.use(cors(settings.corsOrigins));
  app.use('/docs', heldBack(holdBack));
  app.use(docsPages());
  app.use('/v1', refuseWhenFenced(fence));
  app.use(
    createRouter({ routes: [...table, openApiRoute(table)], reports, holdBack, authenticate, knex: db.knex }),
  );
  app.use(heldBack(holdBack)); // before it is said that there is nothing
  app.use(nothingThere);
  app.use(sendProblem);
  return app;
}

/** Reads too: an account that is looked at is settled first, and settling writes. */
function refuseWhenFenced(fence: Pick<Fence, 'reason'>): express.RequestHandler {
  return (_request, _response, next) => {
    const reason = fence.reason();
    if (reason === null) return next();
    const detail =
      'This process is of an older release than the database needs; nothing was done. Send the same request again: another answers it.';
    next(new ProblemError('unavailable', { detail, cause: reason }));
  };
}
