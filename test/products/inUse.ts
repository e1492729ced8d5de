import { publishCatalog } from '../../db/catalogs/catalogs';
import { createEngine } from '../../db/engine';
import { type Catalog, freePlan } from '../../domain/catalog/catalog';
import { testDatabase } from '../support/database';
import { type Engine, type Generation, type Reply, startEngine } from '../support/processes/engine';

/** A product as its customers use it: the running engine, with accounts whose clock the test moves. */

export const OPENED = '2026-03-10T10:00:00.000Z';

export interface Refused {
  code: string;
  required?: number;
  available?: number;
  shortfall?: number;
  requiredPlan?: string;
  quota?: string;
  limit?: number;
  used?: number;
  resetsAt?: string | null;
  paywall?: {
    ways: string[];
    requiredPlan: string | null;
    packs: { pack: string; covers: boolean }[];
    plans: { plan: string }[];
    nextRefreshAt: string | null;
    waitSuffices: boolean;
  };
  quote?: { credits: number };
}

export type InUse = Awaited<ReturnType<typeof inUse>>;

export async function inUse(catalog: Catalog) {
  const isFree = (plan: string) => plan === freePlan(catalog).plan;
  const database = await testDatabase();
  await publishCatalog(database.db.knex, { catalog });
  const engine: Engine = await startEngine({ database });
  // Test clocks are moved through the ledger itself: no generation, charge or balance goes this way.
  const { ledger } = createEngine({
    database: database.db,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const order = (account: string, body: Record<string, unknown>) => ({ account, ...body });

  return {
    engine,
    catalog,
    /** Opened on 10 March 2026, in UTC. A paid plan is an administrator's. */
    open: async (plan: string): Promise<string> => {
      const account = engine.newId(catalog.catalog);
      const planSource = isFree(plan) ? 'free' : 'admin';
      await ledger.open({
        account,
        catalog: catalog.catalog,
        plan,
        planSource,
        planInterval: isFree(plan) ? undefined : 'month',
        clockAt: OPENED,
      });
      return account;
    },
    moveClock: (account: string, to: string) => ledger.moveClock(account, to),
    /** The plan that is in force from now on; credits stay what they are. */
    change: async (account: string, plan: string): Promise<void> => {
      await ledger.run(account, {
        op: 'rules',
        key: `sys:rules:${engine.newId('change')}`,
        hash: 'rules',
        rules: isFree(plan)
          ? { plan, planSource: 'free', planInterval: null }
          : { plan, planSource: 'admin', planInterval: 'month' },
        actor: 'test',
      });
    },
    buy: (account: string, pack: string) => engine.purchase(account, { pack }),
    /** Ordered, and waited for until it has ended. */
    generate: async (account: string, body: Record<string, unknown>): Promise<Generation> => {
      const started = await engine.generate(order(account, body));
      if (started.status !== 201) throw new Error(`refused: ${started.text}`);
      return engine.ended(started.body.id);
    },
    refused: (account: string, body: Record<string, unknown>): Promise<Reply<Refused>> =>
      engine.generate<Refused>(order(account, body)),
    charge: (account: string, body: Record<string, unknown>) =>
      engine.call<Refused & { credits: { captured: number }; draws: unknown }>('POST', '/v1/charges', {
        body: order(account, body),
        idempotencyKey: engine.newId('charge'),
      }),
    quote: async (account: string, body: Record<string, unknown>) =>
      (
        await engine.call<Refused & { id: string; allowed: boolean; reason: string | null; draws: unknown }>(
          'POST',
          '/v1/quotes',
          { body: order(account, body) },
        )
      ).body,
    /** What is left in each bucket that has something. */
    left: async (account: string): Promise<Record<string, number>> => {
      const { buckets } = await engine.balance(account);
      return Object.fromEntries(
        buckets.flatMap(({ bucket, available }) => (available > 0 ? [[bucket, available]] : [])),
      );
    },
  };
}
