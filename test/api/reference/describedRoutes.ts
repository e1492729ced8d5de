import { healthRoutes } from '../../../api/resources/operations/health';
import { createLogger } from '../../../api/observe/logger';
import { createMetrics } from '../../../api/observe/metrics';
import { openApiRoute } from '../../../api/reference/openapi';
import type { Route } from '../../../api/routing/route';
import { createRoutes, type RouteDeps } from '../../../api/routes';

/** Every route that /openapi.json describes. They are read, never run, so their handlers need nothing. */
export function describedRoutes(): readonly Route[] {
  const none = () => Promise.resolve(0);
  const routes = [
    ...createRoutes({} as RouteDeps),
    ...healthRoutes({
      readiness: [],
      logger: createLogger({ name: 'api', level: 'silent' }),
      freshMs: 0,
      metrics: createMetrics({
        pools: () => [],
        monthsAhead: none,
        overdueHolds: none,
        refusedCatalogs: () => Promise.resolve([]),
        skews: () => [],
        passAges: () => Promise.resolve({}),
        sampleEveryMs: 0,
      }),
    }),
  ];
  return [...routes, openApiRoute(routes)];
}
