import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from 'express';
import type { Knex } from 'knex';
import { requestHash } from '../../domain/ids';
import { ANONYMOUS, type Authenticate, type Authenticated, authorize } from './authenticate';
import { leavesBodyUnread, readBody, storableBody } from '../http/body';
import { problemOf } from '../problems/ofError';
import { type Gate, inTurns } from './gate';
import { methodNotAllowed } from '../http/methodNotAllowed';
import type { HoldBack } from '../http/holdBack';
import { type AccountKeys, createAccountKeys } from '../../db/idempotency/accountKeys';
import {
  answerOnce,
  answerUnderKey,
  findReplay,
  keptReplay,
  lookUp,
  readKey,
  type Replay,
} from './idempotent';
import { isStorable } from '../../domain/text';
import { problemDocument, problemKind, ProblemError } from '../problems/problem';
import { type RequestFacts, requestFacts } from '../observe/requestLog';
import { sendHead, sendLong } from './sending';
import type { BareContext, KeyedRequest, Method, RawRequest, Route, TextAnswer } from './route';

/** From the routes table to Express. `answer` below is the life of a request, in order. */

export interface RouterDeps {
  routes: readonly Route[];
  /** What routes with `load: 'report'` go through. */
  reports: Gate;
  holdBack: HoldBack;
  authenticate: Authenticate;
  knex: Knex;
}

const REGISTER = { GET: 'get', POST: 'post', PUT: 'put', PATCH: 'patch', DELETE: 'delete' } as const;

export function createRouter({ routes, reports, holdBack, authenticate, knex }: RouterDeps): express.Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  const keys = createAccountKeys(knex);
  for (const route of routes) {
    const handle: RequestHandler = async (request, response) => {
      const found = await answer({
        route,
        reports,
        holdBack,
        request,
        response,
        authenticate,
        knex,
        keys,
      });
      if (found.more === undefined) send(response, found);
      else await sendLong(response, { ...found, more: found.more });
    };
    const named: RequestHandler = (request, _response, next) => {
      requestFacts(request).route = route.path;
      next();
    };
    router[REGISTER[route.method]](expressPath(route.path), named, handle);
  }
  for (const [path, methods] of methodsByPath(routes))
    router.all(expressPath(path), methodNotAllowed(methods));
  return router;
}

/** What the table does not have. Comes after everything else that the app serves. */
export const nothingThere: RequestHandler = (request) => {
  throw new ProblemError('not_found', { detail: `There is nothing at ${request.method} ${request.path}.` });
};

/** The last handler of the app: every failure leaves as a problem document, and the unexpected are logged. */
export const sendProblem: ErrorRequestHandler = (error: unknown, request, response, next) => {
  const { id, logger } = requestFacts(request);
  const problem = problemOf(error);
  const { status, retryAfterSeconds } = problemKind(problem.code);
  if (status >= 500) {
    const level = problem.code === 'internal' ? 'error' : 'warn';
    logger[level]({ err: problem.cause ?? problem }, problem.message);
  }
  if (response.headersSent) {
    // Half an answer is on its way: only cutting the connection tells the client so.
    next(error);
    return;
  }
  if (retryAfterSeconds !== undefined) response.set('Retry-After', String(retryAfterSeconds));
  // Else the server would read it to its end before the connection's next request.
  if (leavesBodyUnread(request)) response.set('Connection', 'close');
  const document = problemDocument(problem.code, {
    ...problem.facts,
    instance: `urn:holdfast:request:${id}`,
  });
  send(response, { status, text: JSON.stringify(document), headers: problem.headers });
};

interface Arrival {
  route: Route;
  reports: Gate;
  holdBack: HoldBack;
  request: Request;
  response: Response;
  authenticate: Authenticate;
  knex: Knex;
  keys: AccountKeys;
}

/**
 * Who asks is looked at first: nothing is read of a body that nobody may send. Then come key and replay, then the shape
 * (rule 1).
 */
async function answer({
  route,
  reports,
  holdBack,
  request,
  response,
  authenticate,
  knex,
  keys,
}: Arrival): Promise<TextAnswer> {
  const facts = requestFacts(request);
  const authenticated = await known({ route, request, authenticate, holdBack });
  const { caller } = authenticated;
  facts.keyId = caller.keyId;
  authorize(caller, {
    scope: route.scope,
    account: typeof route.account === 'function' ? 'shared' : route.account,
  });

  if (route.method !== 'GET') await readBody(request, response);
  const raw = rawRequest(request);
  const account = typeof route.account === 'function' ? { id: route.account(raw) } : route.account;
  authorize(caller, { scope: route.scope, account });
  // No id has what the database cannot keep, and a key is looked up before the shape is checked.
  if (!Object.values(raw.params).every(isStorable))
    throw new ProblemError('not_found', { detail: 'Nothing has such an id.' });

  const key = readKey(request.headersDistinct['idempotency-key'] ?? [], route.idempotency);
  const hash = requestHash({ method: route.method, route: concretePath(route, raw), body: raw.body ?? {} });
  const earlier = async () =>
    key === null ? null : findEarlier({ route, raw, authenticated, knex, keys, key, hash });
  if (route.replayOnRefusal !== true) {
    const replayed = await earlier();
    if (replayed !== null) return replayed;
  }
  try {
    return await perform({
      route,
      reports,
      raw,
      facts,
      request,
      response,
      authenticated,
      knex,
      keys,
      key,
      hash,
    });
  } catch (error) {
    // What was refused was looked at after the key was: meanwhile the key may have been used, also by this very request.
    if (route.keptAs !== 'facts' || !(error instanceof ProblemError)) throw error;
    const replayed = await earlier().catch((cause: unknown) => {
      // It cannot be looked at: what is said of the credits by a 503 is true all the same, what a refusal says may not be.
      if (error.code !== 'unavailable' || problemOf(cause).code !== 'unavailable') throw cause;
      facts.logger.warn({ err: cause }, 'the key could not be looked at again');
      return null;
    });
    if (replayed === null) throw error;
    return replayed;
  }
}

/** Who asks; whoever has no key, or none that is valid, is held back where there are too many of them. */
async function known(
  arrival: Pick<Arrival, 'route' | 'request' | 'authenticate' | 'holdBack'>,
): Promise<Authenticated> {
  const { route, request, authenticate, holdBack } = arrival;
  if (route.scope === 'none') {
    if (route.path !== '/healthz' && route.path !== '/readyz') await holdBack.hold(request);
    return ANONYMOUS;
  }
  try {
    return await authenticate(request.get('authorization'));
  } catch (error) {
    if (error instanceof ProblemError && error.code === 'unauthorized') await holdBack.hold(request);
    throw error;
  }
}

interface Accepted extends Omit<Earlier, 'key'> {
  reports: Gate;
  key: string | null;
  facts: RequestFacts;
  request: Request;
  response: Response;
}

/** From the shape to the answer. */
async function perform(accepted: Accepted): Promise<TextAnswer> {
  const { route, reports, raw, facts, request, response, authenticated, knex, keys, key, hash } = accepted;
  const { caller } = authenticated;
  const run = route.accept(raw);
  const { id: requestId, arrivedMs, logger } = facts;
  const signal = leaving(response);
  if (route.csv === true) response.vary('Accept');
  const context: BareContext = {
    requestId,
    arrivedMs,
    caller,
    logger,
    signal,
    prefersCsv: route.csv === true && request.accepts(['application/json', 'text/csv']) === 'text/csv',
    key,
    hash,
    transaction: null,
  };
  if (isReport(route, raw)) {
    const who = { holder: caller.keyId, signal };
    const answer = await reports.through(who, () => run(context));
    return answer.more === undefined ? answer : { ...answer, more: inTurns(answer.more, reports, who) };
  }
  if (route.keptBy === 'account') {
    const account = accountIn(route, raw);
    if (route.keptAs === 'facts' || key === null || account === null) return run(context);
    const replay = replayOf(route, keys, { ...raw, account, key, hash, caller });
    return answerUnderKey(
      { keys, account, key, hash, passing: route.passing === true },
      { effect: () => run(context), replay },
    );
  }
  const effect = (transaction: Knex.Transaction) => run({ ...context, transaction });
  const answer = await (key === null
    ? knex.transaction(effect)
    : answerOnce({ knex, authenticated, key, hash, passing: route.passing === true }, effect));
  await answer.afterCommit?.();
  return answer;
}

function isReport({ load }: Route, raw: RawRequest): boolean {
  return load === 'report' || load?.(raw) === true;
}

interface Earlier {
  route: Route;
  raw: RawRequest;
  authenticated: Authenticated;
  knex: Knex;
  keys: AccountKeys;
  key: string;
  hash: string;
}

async function findEarlier({
  route,
  raw,
  authenticated,
  knex,
  keys,
  key,
  hash,
}: Earlier): Promise<TextAnswer | null> {
  if (route.keptBy === 'api-key') return findReplay({ knex, authenticated, key, hash });
  const account = accountIn(route, raw);
  if (account === null) return null;
  const { caller } = authenticated;
  return lookUp({ keys, account, key, hash }, replayOf(route, keys, { ...raw, account, key, hash, caller }));
}

/** What is rendered of the ledger's facts is the same bytes each time; of anything else the first is kept. */
function replayOf(
  { replay, keptAs, passing }: Route,
  keys: AccountKeys,
  request: KeyedRequest,
): Replay | null {
  if (replay === undefined) return null;
  const render = () => replay(request);
  return keptAs === 'facts'
    ? render
    : () => keptReplay({ keys, passing: passing === true, ...request }, render);
}

function accountIn(route: Route, raw: RawRequest): string | null {
  return typeof route.account === 'function' ? route.account(raw) : null;
}

function send(response: Response, answer: TextAnswer): void {
  sendHead(response, answer);
  response.send(Buffer.from(answer.text, 'utf8'));
}

function rawRequest(request: Request): RawRequest {
  // Only a wildcard makes a parameter a list, and the table has none.
  const params = Object.fromEntries(
    Object.entries(request.params).map(([name, value]) => [name, String(value)]),
  );
  return { params, query: { ...request.query }, body: storableBody(request) };
}

/** The path with the request's ids in it: one key may not serve two generations. */
function concretePath(route: Route, raw: RawRequest): string {
  return route.path.replace(/\{(\w+)\}/g, (_whole, name: string) => raw.params[name] ?? '');
}

function leaving(response: Response): AbortSignal {
  const controller = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) controller.abort();
  });
  // Who left while key and body were looked at is not told of any more.
  if (response.closed || response.destroyed) controller.abort();
  return controller.signal;
}

function expressPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

function methodsByPath(routes: readonly Route[]): Map<string, Method[]> {
  const found = new Map<string, Method[]>();
  for (const { path, method } of routes) found.set(path, [...(found.get(path) ?? []), method]);
  return found;
}
