import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ProcessSkew } from '../../db/connection/clockSkew';
import type { PoolUse } from '../../db/connection/connection';
import { type Pass, PASSES } from '../../db/connection/passes';
import { createSamples } from './shared';

/** Numbers for Prometheus. A registry per app, so that several apps in one process do not collide. */

export interface Metrics {
  registry: Registry;
  /** `route` is the path with its parameters unnamed, so that ids do not become label values. */
  observeRequest: (request: { method: string; route: string; status: number; seconds: number }) => void;
}

/** Seconds. A long poll (`?wait=`) takes up to 30. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const SAMPLE_WITHIN_MS = 2_000;

export interface MetricsDeps {
  /** For each pool, what its connections do. */
  pools: () => readonly PoolUse[];
  /** How far ahead the journal has partitions (db/archive/partitions.ts). */
  monthsAhead: () => Promise<number>;
  /** Open holds whose work takes longer than it may (db/support/overdueHolds.ts). */
  overdueHolds: () => Promise<number>;
  /** Catalog versions in force, or to come, that publishing would refuse today (db/catalogs/catalogs.ts). */
  refusedCatalogs: () => Promise<readonly { readable: boolean }[]>;
  /** As last measured (db/connection/clockSkew.ts). */
  skews: () => readonly ProcessSkew[];
  /** Seconds since the last whole pass of each kind (db/connection/passes.ts). */
  passAges: () => Promise<Partial<Record<Pass, number>>>;
  /** How often the database is asked at most, in milliseconds. */
  sampleEveryMs: number;
}

export function createMetrics({
  pools,
  monthsAhead,
  overdueHolds,
  refusedCatalogs,
  skews,
  passAges,
  sampleEveryMs,
}: MetricsDeps): Metrics {
  const sampled = createSamples({ everyMs: sampleEveryMs, withinMs: SAMPLE_WITHIN_MS });
  const [askMonths, askOverdue, askCatalogs, askAges] = [
    sampled(monthsAhead),
    sampled(overdueHolds),
    sampled(refusedCatalogs),
    sampled(passAges),
  ];

  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const requests = new Histogram({
    name: 'holdfast_http_request_duration_seconds',
    help: 'Time from the request line to the end of the answer.',
    labelNames: ['method', 'route', 'status'],
    buckets: BUCKETS,
    registers: [registry],
  });
  // Registered by being constructed; read when scraped.
  const connections = new Gauge({
    name: 'holdfast_pg_pool_connections',
    help: 'Connections of each pool, by what they do; `waiting` counts callers without one.',
    labelNames: ['pool', 'state'],
    registers: [registry],
    collect() {
      for (const { pool, busy, idle, waiting } of pools()) {
        connections.set({ pool, state: 'busy' }, busy);
        connections.set({ pool, state: 'idle' }, idle);
        connections.set({ pool, state: 'waiting' }, waiting);
      }
    },
  });
  const months = new Gauge({
    name: 'holdfast_journal_months_ahead',
    help: 'Months after this one that the journal has partitions for. Below 0 nothing can be written; NaN: not known.',
    registers: [registry],
    async collect() {
      // Without the database the other numbers are wanted all the more.
      months.set(await askMonths().catch(() => Number.NaN));
    },
  });
  const overdue = new Gauge({
    name: 'holdfast_overdue_holds',
    help: 'Open holds that outlast their rate and their deadline, as the sweep found them: above 0, look at GET /v1/operations/items. NaN: not known.',
    registers: [registry],
    async collect() {
      overdue.set(await askOverdue().catch(() => Number.NaN));
    },
  });
  const catalogs = new Gauge({
    name: 'holdfast_refused_catalog_versions',
    help: 'Catalog versions in force, or to come, that publishing would refuse today; those that are not even `readable` stop their accounts. NaN: not known.',
    labelNames: ['readable'],
    registers: [registry],
    async collect() {
      const refused = await askCatalogs().catch(() => null);
      for (const readable of [true, false]) {
        const found = refused?.filter((one) => one.readable === readable).length;
        catalogs.set({ readable: String(readable) }, found ?? Number.NaN);
      }
    },
  });
  const skew = new Gauge({
    name: 'holdfast_clock_skew_seconds',
    help: 'How far the clock of each API and worker process is ahead of the database’s. Beyond 2 either way: synchronise it.',
    labelNames: ['kind', 'process'],
    registers: [registry],
    collect() {
      skew.reset(); // of processes that are gone
      for (const { kind, process, seconds } of skews()) skew.set({ kind, process }, seconds);
    },
  });

  const ages = new Gauge({
    name: 'holdfast_pass_age_seconds',
    help: 'Time since the last whole pass. Alert on the sweep above 900: nothing stands behind lost timers and bells. NaN: not known.',
    labelNames: ['pass'],
    registers: [registry],
    async collect() {
      const known: Partial<Record<Pass, number>> = await askAges().catch(() => ({}));
      for (const pass of PASSES) ages.set({ pass }, known[pass] ?? Number.NaN);
    },
  });

  return {
    registry,
    observeRequest: ({ method, route, status, seconds }) =>
      requests.observe({ method, route, status: String(status) }, seconds),
  };
}
