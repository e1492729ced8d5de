import express from 'express';
import helmet from 'helmet';
import type { Logger } from 'pino';
import { findApiKeySecret } from '../db/apiKeys';
import type { Database } from '../db/connection';
import { countOverdueHolds } from '../db/overdueHolds';
import { monthsAhead } from '../db/partitions';
import { createAuthenticate } from './authenticate';
import { cors } from './cors';
import { CONTENT_SECURITY, docsPages } from './docs';
import { healthRoutes, type ReadinessCheck } from './health';
import { createMetrics } from './metrics';
import { openApiRoute } from './openapi';
import { requestLog } from './requestLog';
import type { Route } from './route';
import { createRouter, nothingThere, sendProblem } from './router';

export interface AppDeps {
  settings: { adminKey: string; corsOrigins: readonly string[] };
  db: Database;
  /** The table of `createRoutes`. */
  routes: readonly Route[];
  readiness: readonly ReadinessCheck[];
  logger: Logger;
}

/** The whole HTTP side, in the order in which a request meets it. */
export function createApp({ settings, db, routes, readiness, logger }: AppDeps): express.Express {
  const metrics = createMetrics({
    pool: db.pool,
    monthsAhead: () => monthsAhead(db.pool),
    overdueHolds: () => countOverdueHolds(db.knex),
  });
  const authenticate = createAuthenticate({
    adminKey: settings.adminKey,
    findKey: (id) => findApiKeySecret(db.knex, id),
  });
  const table = [...routes, ...healthRoutes({ readiness, metrics })];

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use(requestLog({ logger, metrics }));
  app.use(helmet({ contentSecurityPolicy: CONTENT_SECURITY }));
  app.use(cors(settings.corsOrigins));
  app.use(docsPages());
  app.use(createRouter({ routes: [...table, openApiRoute(table)], authenticate, knex: db.knex }));
  app.use(nothingThere);
  app.use(sendProblem);
  return app;
}
