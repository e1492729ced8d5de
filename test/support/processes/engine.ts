import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { publishCatalog, readCatalog } from '../../../db/catalogs/catalogs';
import type { balanceBody } from '../../../api/resources/accounts/balanceBody';
import type { generationBody } from '../../../api/resources/generations/schemas';
import { MAIN_TASK_QUEUE, sweepScheduleId } from '../../../domain/contract';
import { dataConverter } from '../../../activities/temporal/payloads';
import { type TestDatabase, testDatabase } from '../database';
import { endProcess, freePort, startNode } from './processes';

/**
 * The whole engine as it runs in production: the built worker and API as processes of their own, on a database,
 * a port and task queues of the test's own, with the Temporal server that all tests share.
 */
export interface Engine {
  url: string;
  adminKey: string;
  database: TestDatabase;
  temporal: Client;
  taskQueue: string;
  call<T = Generation>(method: string, path: string, request?: CallOptions): Promise<Reply<T>>;
  /** `POST /v1/generations` with a key of its own unless one is given; asked again, as a client would, after a 503. */
  generate<T = Generation>(body: Record<string, unknown>, idempotencyKey?: string): Promise<Reply<T>>;
  balance(account: string): Promise<Balance>;
  /** `POST /v1/accounts/{id}/purchases`, and waits until all that was bought is granted. */
  purchase(
    account: string,
    body: { pack: string; quantity?: number },
    idempotencyKey?: string,
  ): Promise<Reply<Purchase>>;
  /** The generation when it has ended. */
  ended(id: string): Promise<Generation>;
  /** Oldest first. */
  journal(account: string): Promise<JournalPage['data']>;
  /** A new account id: workflows share one Temporal namespace. */
  newId(name: string): string;
  startWorker(): Promise<ChildProcess>;
  /** Beside the one that runs. */
  startAnotherWorker(): Promise<void>;
  /** Another API process; answers its URL. */
  startAnotherApi(env: Record<string, string>): Promise<string>;
  /** The running worker, for tests that kill it. */
  worker(): ChildProcess;
  stop(): Promise<void>;
}

interface CallOptions {
  body?: unknown;
  /** Idempotency key. */
  idempotencyKey?: string;
  apiKey?: string;
  /** For another API process than the first. */
  url?: string;
}

export interface Reply<T> {
  status: number;
  headers: Headers;
  text: string;
  /** As the test expects it: a wrong shape is a failing test anyway. */
  body: T;
}

export type Generation = ReturnType<typeof generationBody>;
export type Balance = ReturnType<typeof balanceBody>;
interface Purchase {
  id: string;
  status: string;
  credits: number;
}
export interface Problem {
  code: string;
  detail: string;
  retryable: boolean;
  retryWithNewKey?: boolean;
  required?: number;
  available?: number;
  shortfall?: number;
  requiredPlan?: string;
  paywall?: { ways: string[] };
  errors?: { path: string; message: string }[];
}
interface JournalPage {
  data: {
    seq: number;
    at: string;
    kind: string;
    status: string;
    key: string | null;
    credits: number;
    availableAfter: number;
    heldAfter: number;
    generation: string | null;
    lots: { lot: string; bucket: string; credits: number }[];
  }[];
  nextCursor: string | null;
}

const ROOT = path.join(__dirname, '..', '..', '..');
const ADMIN_KEY = 'the-admin-key-of-the-tests';

export interface EngineOptions {
  /** Instead of a database of the shared server: one the test brings and stops as it likes. */
  database?: TestDatabase;
  env?: Record<string, string>;
  /** For one process only: where it finds a server by another way than the others, say. */
  workerEnv?: Record<string, string>;
  apiEnv?: Record<string, string>;
}

/** For a process whose clock is off by so much against the database's. */
export function skewedBy(ms: number): Record<string, string> {
  const clock = path.join(__dirname, 'skewedClock.cjs');
  return { NODE_OPTIONS: `--require ${JSON.stringify(clock)}`, HOLDFAST_TEST_SKEW_MS: String(ms) };
}

export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const { database: given, env = {}, workerEnv = {}, apiEnv = {} } = options;
  const address = process.env['HOLDFAST_TEST_TEMPORAL'];
  if (address === undefined)
    throw new Error('HOLDFAST_TEST_TEMPORAL is not set: jest runs without its global set-up');
  const database = given ?? (await testDatabase());
  const published = [
    'catalogs/imagineart.json',
    'catalogs/draftly.json',
    'catalogs/intangible.json',
    'test/support/catalogs/working-day.json',
  ];
  for (const file of published) {
    await publishCatalog(database.db.knex, { catalog: readCatalog(path.join(ROOT, file)) });
  }
  const port = await freePort();
  const taskQueue = `${MAIN_TASK_QUEUE}-${randomBytes(4).toString('hex')}`;
  const environment = {
    PATH: process.env['PATH'] ?? '',
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: address,
    TEMPORAL_UI_URL: 'http://temporal-ui.test',
    PORT: String(port),
    HOLDFAST_ADMIN_KEY: ADMIN_KEY,
    HOLDFAST_TASK_QUEUE: taskQueue,
    HOLDFAST_TIMER_JITTER_SECONDS: '0',
    HOLDFAST_QUIET_SECONDS: '2',
    HOLDFAST_SWEEP_SECONDS: '86400', // tests of the sweep trigger it
    LOG_LEVEL: 'info',
    ...env,
  };
  const run = async (entry: string, ready: RegExp, own: Record<string, string>) =>
    (await startNode([path.join(ROOT, 'dist', entry)], { env: { ...environment, ...own }, ready })).child;
  const runWorker = () => run('activities/worker.js', /worker is running/, workerEnv);
  const url = `http://127.0.0.1:${port}`;
  const connection = await Connection.connect({ address });
  const temporal = new Client({ connection, dataConverter });

  let worker = await runWorker();
  const others: ChildProcess[] = [];
  const api = await run('api/main.js', /api is listening/, apiEnv);

  return {
    url,
    adminKey: ADMIN_KEY,
    database,
    temporal,
    taskQueue,
    newId: (name) => `${name}-${randomBytes(5).toString('hex')}`,
    worker: () => worker,
    async startWorker() {
      worker = await runWorker();
      return worker;
    },
    async startAnotherWorker() {
      others.push(await runWorker());
    },
    async startAnotherApi(more) {
      const another = await freePort();
      others.push(await run('api/main.js', /api is listening/, { ...more, PORT: String(another) }));
      return `http://127.0.0.1:${another}`;
    },
    call,
    generate: (body, idempotencyKey = randomBytes(8).toString('hex')) =>
      eventually(
        () => call('POST', '/v1/generations', { body, idempotencyKey }),
        ({ status }) => status !== 503,
        60_000,
      ),
    ended: async (id) => {
      const ask = () => call<Generation>('GET', `/v1/generations/${id}?wait=20`);
      const { body } = await eventually(
        ask,
        ({ status, body: { status: state } }) => status === 200 && state !== 'running',
        120_000,
      );
      return body;
    },
    async purchase(account, body, idempotencyKey = randomBytes(8).toString('hex')) {
      const at = `/v1/accounts/${account}/purchases`;
      const reply = await call<Purchase>('POST', at, { body, idempotencyKey });
      const waiting = () =>
        database.owner.knex('holdfast.inbox').where({ account_id: account }).whereNull('done_at');
      await eventually(waiting, (rows) => rows.length === 0);
      return reply;
    },
    balance: async (account) =>
      (await call<Balance>('GET', `/v1/accounts/${account}/balance?lots=true`)).body,
    journal: async (account) =>
      (await call<JournalPage>('GET', `/v1/accounts/${account}/journal?limit=100`)).body.data.toReversed(),
    async stop() {
      await Promise.all([worker, api, ...others].map(endProcess));
      await temporal.schedule.getHandle(sweepScheduleId(taskQueue)).delete();
      await connection.close();
      await database.close();
    },
  };

  async function call<T>(method: string, at: string, options: CallOptions = {}): Promise<Reply<T>> {
    const { body, idempotencyKey, apiKey = ADMIN_KEY, url: base = url } = options;
    const response = await fetch(base + at, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (json ? JSON.parse(text) : {}) as T,
    }; // see Reply
  }
}

/** Asks until the answer is there; a test that waits for nothing fails with what it saw last. */
export async function eventually<T>(
  ask: () => Promise<T>,
  good: (value: T) => boolean,
  withinMs = 60_000,
): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const value = await ask();
    if (good(value)) return value;
    if (Date.now() > until) throw new Error(`still not so after ${withinMs} ms: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
