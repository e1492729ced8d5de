import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { createApp } from '../../api/app';
import type { ReadinessCheck } from '../../api/resources/operations/health';
import { createHttpServer } from '../../api/http/httpServer';
import { createLogger } from '../../api/observe/logger';
import type { Route } from '../../api/routing/route';
import { createCatalogStore } from '../../db/catalogs/catalogs';
import type { ProcessSkew } from '../../db/connection/clockSkew';
import type { Database } from '../../db/connection/connection';
import type { Fence } from '../../db/migrate/fence';
import { defined } from '../../domain/defined';

/** An app on a free port of this machine, for tests of the HTTP side. */

export const ADMIN_KEY = 'admin-key-of-the-tests';

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  /** The parsed text; null when it is not a JSON object. */
  body: Record<string, unknown>;
}

export interface Call {
  key?: string | null;
  idempotencyKey?: string;
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  rawBody?: string;
  headers?: Record<string, string>;
}

export interface TestApp {
  url: string;
  /** Every log line so far, parsed. */
  logLines: Record<string, unknown>[];
  call: (method: string, path: string, call?: Call) => Promise<Reply>;
  close: () => Promise<void>;
}

export async function startApp({
  db,
  routes,
  readiness = [],
  skews = () => [],
  corsOrigins = [],
  fence = { reason: () => null },
}: {
  db: Database;
  routes: readonly Route[];
  readiness?: readonly ReadinessCheck[];
  skews?: () => readonly ProcessSkew[];
  corsOrigins?: readonly string[];
  fence?: Pick<Fence, 'reason'>;
}): Promise<TestApp> {
  const logLines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logLines.push(JSON.parse(chunk.toString('utf8')) as Record<string, unknown>);
      done();
    },
  });
  const logger = createLogger({ name: 'test', level: 'info' }, destination);
  const app = createApp({
    settings: { adminKey: ADMIN_KEY, corsOrigins },
    db,
    catalogs: createCatalogStore(db),
    freshMs: 0,
    routes,
    readiness,
    fence,
    skews,
    logger,
  });
  const server = createHttpServer({ app, logger });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;

  return {
    url,
    logLines,
    call: async (method, path, { key = ADMIN_KEY, idempotencyKey, body, rawBody, headers = {} } = {}) => {
      const text = rawBody ?? (body === undefined ? undefined : JSON.stringify(body));
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
          ...(idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey }),
          ...(text === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...defined({ body: text }),
      });
      return replyOf(response);
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function replyOf(response: Response): Promise<Reply> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  const body = isJson ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, headers: response.headers, text, body };
}
