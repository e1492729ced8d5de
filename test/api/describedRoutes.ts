import { healthRoutes } from '../../api/health';
import { createLogger } from '../../api/logger';
import { createMetrics } from '../../api/metrics';
import { openApiRoute } from '../../api/openapi';
import type { Route } from '../../api/route';
import { createRoutes, type RouteDeps } from '../../api/routes';

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
