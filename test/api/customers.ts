import path from 'node:path';
import { accountRoutes } from '../../api/resources/accounts/accounts';
import { eventRoutes } from '../../api/resources/books/events';
import { holdRoutes } from '../../api/resources/generations/holds';
import { planRoutes } from '../../api/resources/accounts/plans';
import { createQuoting, quoteRoutes } from '../../api/resources/generations/quotes';
import { runAudit } from '../../db/audit';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { createEngine, type Engine } from '../../db/engine';
import type { Catalog } from '../../domain/catalog/catalog';
import { testDatabase } from '../support/database';
import { startApp, type TestApp } from './app';
import { defined } from '../../domain/defined';

/** Customers over HTTP, each on a clock of its own that begins at T0, and no workflows. */

export const T0 = '2026-03-10T10:00:00.000Z';

export interface Customer {
  id: string;
  at: (now: string) => Promise<void>;
  /** The account's timer, at that instant. */
  wake: (now: string) => Promise<void>;
  post: (what: string, body?: object, key?: string) => ReturnType<TestApp['call']>;
  /** Credits by bucket, those with none left out. */
  buckets: () => Promise<Record<string, number>>;
  account: () => Promise<Record<string, unknown>>;
  hold: (credits: number, ttlSeconds?: number) => Promise<string>;
  charge: (credits: number) => Promise<number>;
  events: (type: string) => Promise<Record<string, unknown>[]>;
}

export interface Customers {
  app: TestApp;
  engine: Engine;
  /** On a free plan. */
  customer: (catalog?: string, timezone?: string) => Promise<Customer>;
  /** A further version of a catalog that ships. */
  publish: (catalog: string, edit: (catalog: Catalog) => Catalog, effectiveAt: string) => Promise<void>;
  /** Fails if the audit finds anything. */
  close: () => Promise<void>;
}

export async function startCustomers(): Promise<Customers> {
  const database = await testDatabase();
  const shipped = (name: string) => readCatalog(path.join(__dirname, '..', '..', 'catalogs', `${name}.json`));
  for (const name of ['imagineart', 'imagineart-legacy', 'intangible', 'draftly'])
    await publishCatalog(database.db.knex, { catalog: shipped(name) });
  const engine = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const { catalogs, ledger, leases } = engine;
  const quoting = createQuoting({ db: database.db, ledger, catalogs });
  const deps = { db: database.db, ledger, catalogs, leases, quoting };
  const routes = [
    ...accountRoutes(deps),
    ...planRoutes(deps),
    ...holdRoutes(deps),
    ...eventRoutes(deps),
    ...quoteRoutes(deps),
  ];
  const app = await startApp({ db: database.db, routes });
  let counter = 0;

  async function customer(catalog = 'imagineart', timezone = 'UTC'): Promise<Customer> {
    counter += 1;
    const id = `plans-${counter}`;
    await engine.ledger.open({
      account: id,
      catalog,
      plan: 'free',
      planSource: 'free',
      timezone,
      clockAt: T0,
    });
    const post: Customer['post'] = (what, body = {}, key) =>
      app.call('POST', `/v1/accounts/${id}/${what}`, {
        body,
        ...defined({ idempotencyKey: key }),
      });
    const work = (what: string, body: object) =>
      app.call('POST', `/v1/${what}`, {
        body: { account: id, ...body },
        idempotencyKey: `work-${(counter += 1)}`,
      });
    return {
      id,
      at: (now) => engine.ledger.moveClock(id, now),
      async wake(now) {
        await engine.ledger.moveClock(id, now);
        await engine.ledger.settle(id, { touch: false });
      },
      post,
      async buckets() {
        const { body } = await app.call('GET', `/v1/accounts/${id}/balance`);
        const buckets = body['buckets'] as { bucket: string; available: number }[];
        return Object.fromEntries(
          buckets.filter(({ available }) => available > 0).map((one) => [one.bucket, one.available]),
        );
      },
      account: async () => (await app.call('GET', `/v1/accounts/${id}`)).body,
      async hold(credits, ttlSeconds = 86_400) {
        const { status, body } = await work('holds', { credits, ttlSeconds });
        expect(status).toBe(201);
        return String(body['id']);
      },
      charge: async (credits) => (await work('charges', { credits })).status,
      async events(type) {
        const { body } = await app.call('GET', `/v1/accounts/${id}/events?type=${type}&limit=100`);
        return body['data'] as Record<string, unknown>[];
      },
    };
  }

  return {
    app,
    engine,
    customer,
    async publish(catalog, edit, effectiveAt) {
      await publishCatalog(database.db.knex, { catalog: edit(shipped(catalog)), effectiveAt });
    },
    async close() {
      const { checks } = await runAudit(database.db.pool);
      expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
      await app.close();
      await database.close();
    },
  };
}
