import path from 'node:path';
import type { GenerationStarter } from '../../api/workflows/starter';
import { createGenerationWatch, type GenerationWatch } from '../../api/workflows/watch';
import { createQuoting } from '../../api/resources/generations/quotes';
import { createRoutes } from '../../api/routes';
import type { Route } from '../../api/routing/route';
import { createAccountActivities } from '../../activities/account';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { openDatabase } from '../../db/connection/connection';
import { createEngine, type Engine } from '../../db/engine';
import type { GenerationInput } from '../../domain/contract';
import { generationId, holdIdOf } from '../../domain/ids';
import { reservation } from '../support/ledger/ledger';
import { type TestDatabase, testDatabase } from '../support/database';
import { startApp, type TestApp } from './app';
import { defined } from '../../domain/defined';

/** Every route there is, on a database and without Temporal: nothing starts, and nothing that runs can be told anything. */

export interface Whole {
  app: TestApp;
  database: TestDatabase;
  engine: Engine;
  routes: readonly Route[];
  watch: GenerationWatch;
  /** Whether a bell of an account's is heard: then its inbox is emptied at once. */
  listen: (listens: boolean) => void;
  /** Whom the starter was asked to cancel, and to start. */
  cancelled: string[];
  started: GenerationInput[];
  /** What Temporal answers to a start from here on. */
  answerFrom: (start: GenerationStarter['start']) => void;
  /** A generation that runs, for work the pipeline does itself. */
  running: (account: string, credits: number) => Promise<{ id: string; holdId: string }>;
  close: () => Promise<void>;
}

/**
 * `via`: by what way the app reaches its database, where it is not the straight one. `connections`: of each pool.
 */
export async function startWhole(
  options: {
    patient?: boolean;
    via?: (url: string) => Promise<string>;
    connections?: number;
    startAdvance?: (clock: string) => Promise<void>;
    isLive?: boolean;
  } = {},
): Promise<Whole> {
  const { via, connections, startAdvance, isLive, ...patience } = options;
  const database = await testDatabase(patience);
  const file = path.join(__dirname, '..', 'support', 'catalogs', 'working-day.json');
  await publishCatalog(database.db.knex, { catalog: readCatalog(file) });
  return startWholeOn(database, via, connections, startAdvance, isLive);
}

/** The same on a database that has its catalogs already. */
export async function startWholeOn(
  database: TestDatabase,
  via?: (url: string) => Promise<string>,
  connections?: number,
  startAdvance: (clock: string) => Promise<void> = () => Promise.resolve(),
  isLive = false,
): Promise<Whole> {
  const cancelled: string[] = [];
  const started: GenerationInput[] = [];
  let answer: GenerationStarter['start'] = () => Promise.resolve({ kind: 'undecided' });
  let listens = true;
  // As in production nobody waits for what is rung, and a ring that fails is made up for; but none outlives its database.
  const rung = new Set<Promise<unknown>>();
  const ring = (account: string) => {
    if (!listens) return;
    const heard = inbox
      .drainInbox({ account })
      .catch(() => undefined)
      .finally(() => rung.delete(heard));
    rung.add(heard);
  };
  const db =
    via === undefined && connections === undefined
      ? database.db
      : openDatabase({
          url: via === undefined ? database.url : await via(database.url),
          ...defined({ max: connections }),
          onError: () => undefined,
        });
  const engine = createEngine({ database: db, ring, namespaceId: 'none', temporalUrl: () => null, isLive });
  const { ledger, catalogs } = engine;
  const inbox = createAccountActivities({ ledger, knex: db.knex, jitterWindowMs: 0, quietMs: 0 });
  const quoting = createQuoting({ db, ledger, catalogs });
  const watch = createGenerationWatch({ pool: db.points, onError: () => undefined });
  const findNamespace = () => Promise.resolve({ kind: 'unclear' } as const);
  const routes = createRoutes({
    ...engine,
    db,
    starter: deaf({ cancelled, started, answer: (input) => answer(input) }),
    quoting,
    watch,
    ring,
    startAdvance,
    isLive,
    findNamespace,
  });
  const app = await startApp({ db, routes });
  let counter = 0;
  return {
    app,
    database,
    engine,
    routes,
    watch,
    cancelled,
    started,
    answerFrom(start) {
      answer = start;
    },
    listen(yes) {
      listens = yes;
    },
    async running(account, credits) {
      counter += 1;
      await ledger.balance(account);
      const id = generationId(account, `run-${counter}`);
      const order = reservation(account, { amount: credits * 1000, holdId: holdIdOf(id) });
      const deadlineAt = new Date(Date.now() + 60_000).toISOString();
      const provider = { type: 'external', deadlineSeconds: 60 };
      await ledger.run(account, ({ snapshot }) => ({
        ...order,
        rulesVersion: snapshot.rulesVersion,
        generation: { ...order.generation, id, provider, deadlineAt },
      }));
      return { id, holdId: holdIdOf(id) };
    },
    async close() {
      await app.close();
      await Promise.all(rung);
      if (db !== database.db) await db.close();
      await database.close();
    },
  };
}

function deaf({
  cancelled,
  started,
  answer,
}: Pick<Whole, 'cancelled' | 'started'> & { answer: GenerationStarter['start'] }): GenerationStarter {
  return {
    start: (input: GenerationInput) => {
      started.push(input);
      return answer(input);
    },
    cancel: (id) => {
      cancelled.push(id);
      return Promise.resolve(false);
    },
    tell: () => Promise.resolve(),
    isRunning: () => Promise.resolve(false),
  };
}
