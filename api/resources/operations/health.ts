import type { Logger } from 'pino';
import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import { assertCompatible } from '../../../db/migrate/version';
import type { Metrics } from '../../observe/metrics';
import { ProblemError } from '../../problems/problem';
import { shared, within } from '../../observe/shared';
import { type Route, route } from '../../routing/route';

/** For load balancers and Prometheus: open routes, no key. */

export interface ReadinessCheck {
  /** As it is shown: `database`, `temporal`, `schema`, `skew`. */
  name: string;
  /** Rejects when the API could not serve requests; or, where it only `degrades`, when somebody should look. */
  check: () => Promise<unknown>;
  degrades?: true;
}

/** Without its database, or with another release's schema, an API serves nothing. Asked through connections of their own. */
export function databaseChecks({ points }: Pick<Database, 'points'>): ReadinessCheck[] {
  return [
    { name: 'database', check: () => points.query('SELECT 1') },
    { name: 'schema', check: () => assertCompatible(points) },
  ];
}

const CHECK_TIMEOUT_MS = 2000;

/** Probes and scrapers add parameters of their own. */
const ANY_QUERY = z.looseObject({});

const checkResults = z.record(z.string(), z.enum(['ok', 'failing']));

export interface HealthDeps {
  readiness: readonly ReadinessCheck[];
  metrics: Metrics;
  logger: Logger;
  /** Milliseconds for which one answer serves all who ask: these routes need no key. */
  freshMs: number;
}

export function healthRoutes({ readiness, metrics, logger, freshMs }: HealthDeps): Route[] {
  const checked = shared(() => runChecks(readiness, logger), freshMs);
  const rendered = shared(() => metrics.registry.metrics(), freshMs);
  return [
    route({
      method: 'GET',
      path: '/healthz',
      summary: 'Liveness of the process',
      tag: 'Health',
      scope: 'none',
      account: 'shared',
      query: ANY_QUERY,
      errors: [],
      responses: { 200: z.object({ status: z.literal('ok') }) },
    }).handle(() => Promise.resolve({ status: 200, body: { status: 'ok' } })),
    route({
      method: 'GET',
      path: '/readyz',
      summary: 'Readiness to serve requests',
      description:
        'While the database or its schema fails: 503 with the same `checks`. `degraded`: requests are served, and somebody should ' +
        'look; `temporal` fails while no generation can be started, `skew` while the clock of an API or a worker is more than 2 s ' +
        'from the database’s.',
      tag: 'Health',
      scope: 'none',
      account: 'shared',
      query: ANY_QUERY,
      errors: ['unavailable'],
      responses: { 200: z.object({ status: z.enum(['ready', 'degraded']), checks: checkResults }) },
    }).handle(async () => {
      const checks = await checked();
      const failing = readiness.filter(({ name }) => checks[name] === 'failing');
      const fatal = failing.filter(({ degrades }) => degrades !== true);
      if (fatal.length > 0) {
        throw new ProblemError('unavailable', {
          detail: `Not ready: ${fatal.map(({ name }) => name).join(', ')}.`,
          extensions: { checks },
        });
      }
      return { status: 200, body: { status: failing.length === 0 ? 'ready' : 'degraded', checks } };
    }),
    route({
      method: 'GET',
      path: '/metrics',
      summary: 'Metrics for Prometheus',
      tag: 'Health',
      scope: 'none',
      account: 'shared',
      query: ANY_QUERY,
      errors: [],
      responses: { 200: z.string() },
    }).handle(async () => ({
      status: 200,
      text: await rendered(),
      contentType: metrics.registry.contentType,
    })),
  ];
}

async function runChecks(
  readiness: readonly ReadinessCheck[],
  logger: Logger,
): Promise<z.output<typeof checkResults>> {
  const results = await Promise.all(
    readiness.map(async ({ name, check }) => {
      try {
        await within(CHECK_TIMEOUT_MS, check());
        return [name, 'ok'] as const;
      } catch (error) {
        // The reason may name hosts and users, so it goes to the log and not to an open route.
        logger.warn({ err: error, check: name }, 'readiness check failed');
        return [name, 'failing'] as const;
      }
    }),
  );
  return Object.fromEntries(results);
}
