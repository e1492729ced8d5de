import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import type { Logger } from 'pino';
import type { Metrics } from './metrics';

/** What every request carries: an id, a logger that says the id on every line, and when it came. */

export interface RequestFacts {
  id: string;
  /** By a clock that only measures spans: what it was on a wall clock, the database's is asked. */
  arrivedMs: number;
  logger: Logger;
  /** Filled in on the way: the route's path as the table has it, and whose key it was. */
  route: string | null;
  keyId: string | null;
}

const facts = new WeakMap<Request, RequestFacts>();

/** An id from a proxy is kept, so that its log and ours can be joined; anything odd is replaced. */
const ID_FORM = /^[A-Za-z0-9._-]{1,64}$/;

export function requestLog({ logger, metrics }: { logger: Logger; metrics: Metrics }): RequestHandler {
  return (request, response, next) => {
    const arrivedMs = performance.now();
    const given = request.get('x-request-id');
    const id = given !== undefined && ID_FORM.test(given) ? given : randomUUID();
    const mine: RequestFacts = {
      id,
      arrivedMs,
      logger: logger.child({ requestId: id }),
      route: null,
      keyId: null,
    };
    facts.set(request, mine);
    response.set({ 'X-Request-Id': id, 'Cache-Control': 'no-store' });
    response.on('close', () => {
      const seconds = (performance.now() - arrivedMs) / 1000;
      const { method } = request;
      const status = response.statusCode;
      metrics.observeRequest({ method, route: mine.route ?? 'none', status, seconds });
      // The path without its query: a query may carry a token.
      const line = { method, path: request.path, route: mine.route, status, keyId: mine.keyId };
      const unanswered = response.writableFinished ? {} : { clientLeft: true };
      mine.logger.info({ ...line, ...unanswered, durationMs: Math.round(seconds * 1000) }, 'request');
    });
    next();
  };
}

/** Set by `requestLog` for every request before anything else sees it. */
export function requestFacts(request: Request): RequestFacts {
  const found = facts.get(request);
  if (found === undefined) throw new Error('requestLog must be the first handler of the app');
  return found;
}
