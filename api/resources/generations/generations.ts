import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { onDatabaseClock, reserveBefore } from '../../../db/connection/databaseClock';
import { listGenerations, reservationState } from '../../../db/generations/generations';
import type { Ledger } from '../../../db/ledger/ledger';
import type { Reservations } from '../../../db/reserve/generation';
import type { GenerationFacts } from '../../../domain/generations/generation';
import { generationId, holdIdOf } from '../../../domain/ids';
import type { Refusal } from '../../../domain/refusals';
import type { GenerationInput, ReserveReply } from '../../../domain/contract';
import { keyConflict, lostOnTheWay, refusalFacts, unknownAccount } from '../../problems/common';
import { renderAnswer } from './keptAnswer';
import { problemOf } from '../../problems/ofError';
import type { GenerationStarter } from '../../workflows/starter';
import type { GenerationWatch, Patience } from '../../workflows/watch';
import { listFields, listOf, page } from '../../routing/pagination';
import { PROBLEMS, type ProblemCode } from '../../problems/kinds';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type KeyedRequest, type Route, route, type TextAnswer } from '../../routing/route';
import {
  accountId,
  carriedId,
  instantOut,
  rangeFields,
  rangeFieldsOfAll,
  rangeOf,
  UTC,
} from '../../routing/schemas';
import { generation, generationBody, newGeneration } from './schemas';
import type { Quoting } from './quotes';

export interface GenerationRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  reservations: Reservations;
  starter: GenerationStarter;
  quoting: Quoting;
  watch: GenerationWatch;
}

const TAG = 'Generations';
const NOTHING_HELD =
  'The reservation could not be decided in time; nothing is held. Send the same request again.';
const NOT_STARTED =
  'Reservations are not decided in time at the moment, so this request was not begun. If an earlier one with this ' +
  'Idempotency-Key was, its credits may be held: send the same request again, with the same Idempotency-Key.';
const MAY_BE_HELD = 'The credits may be held: send the same request again, with the same Idempotency-Key.';
const NOT_DECIDED = `The reservation was not decided in time. ${MAY_BE_HELD}`;

export function generationRoutes(deps: GenerationRouteDeps): Route[] {
  return [startGeneration(deps), listOfAllAccounts(deps), listOfAccount(deps), getGeneration(deps)];
}

/** Rule 1: what a key was answered is answered again, before anything else is looked at. */
async function replay(
  { db, ledger, catalogs }: GenerationRouteDeps,
  { account, key }: KeyedRequest,
): Promise<TextAnswer | null> {
  const known = await ledger.answerTo(account, `req:${key}`);
  if (known === null) return null;
  const id = generationId(account, key);
  // Nobody may be told that it runs whose credits came back before anything began (rule 8): it is marked as told of first.
  let state = await reservationState(db.knex, { account, id });
  if (state === 'untouched' && !(await ledger.touchHold({ account, holdId: holdIdOf(id) })))
    state = await reservationState(db.knex, { account, id });
  if (state === 'undone') {
    throw new ProblemError('reservation_undone', {
      detail: `The reservation of ${id} was not decided in time and was undone: nothing is held. Use a new key.`,
      extensions: { retryWithNewKey: true },
    });
  }
  return { ...(await renderAnswer(catalogs, known.answer)), replayed: true };
}

function startGeneration(deps: GenerationRouteDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/generations',
    summary: 'Reserve the price of a generation and start it',
    description:
      'Answers as soon as the credits are held; it does not wait for the provider. A refusal that was decided under ' +
      'the account’s lock (402, `plan_required`) stays the answer to its key: `retryWithNewKey` says so.',
    tag: TAG,
    scope: 'generate',
    account: accountFrom.body('account'),
    idempotency: 'required',
    keptBy: 'account',
    replay: (request) => replay(deps, request),
    keptAs: 'facts',
    errors: [
      'unknown_account',
      'insufficient_credits',
      'plan_required',
      'quota_reached',
      'member_limit_reached',
      'account_limit_reached',
      'account_suspended',
      'provider_not_allowed',
      'confirmation_required',
      'unknown_quote',
      'quote_expired',
      'quote_mismatch',
      'unknown_action',
      'unknown_model',
      'unknown_option',
      'too_many_open_generations',
      'reservation_undone',
      'answer_lost',
    ],
    body: newGeneration,
    responses: { 201: generation },
  }).handle(async ({ body, key, hash, caller, arrivedMs }) => {
    const { account, ...request } = body;
    const input: GenerationInput = {
      account,
      key,
      // zod's optional fields are absent or set, never undefined: they come from JSON
      request: request as GenerationInput['request'],
      mayChooseProvider: caller.scopes.has('admin'),
    };
    return begin(deps, { input, hash, arrivedMs }).catch(lostOnTheWay(MAY_BE_HELD));
  });
}

function listOfAllAccounts(deps: GenerationRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/generations',
    load: 'report',
    summary: 'List generations of all accounts, newest first',
    tag: TAG,
    scope: 'admin',
    account: 'all',
    errors: [],
    query: z.strictObject({ ...listFields(newestFirst), ...filters, ...rangeFieldsOfAll }),
    responses: { 200: listOf(generation) },
  }).handle(async ({ query: { from, to, ...query } }) => ({
    status: 200,
    body: await list(deps, { ...query, ...rangeOf({ from, to }, UTC) }),
  }));
}

function listOfAccount(deps: GenerationRouteDeps): Route {
  const { ledger } = deps;
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/generations',
    load: 'report',
    summary: 'List generations of an account, newest first',
    tag: TAG,
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account'],
    params: z.strictObject({ id: accountId }),
    query: z.strictObject({ ...listFields(newestFirst), ...filters, ...rangeFields }),
    responses: { 200: listOf(generation) },
  }).handle(async ({ params, query: { from, to, ...query } }) => {
    const snapshot = await ledger.snapshot(params.id);
    if (snapshot === null) throw unknownAccount(params.id);
    const range = rangeOf({ from, to }, snapshot.rules.timezone);
    return { status: 200, body: await list(deps, { ...query, ...range, account: params.id }) };
  });
}

function getGeneration({ watch }: GenerationRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/generations/{id}',
    summary: 'Get a generation, or wait for its end',
    tag: TAG,
    scope: 'read',
    account: accountFrom.idParam('id'),
    errors: ['unknown_generation'],
    params: z.strictObject({ id: carriedId }),
    query: z.strictObject({ wait: z.number().min(0).max(30).default(0) }),
    responses: { 200: generation },
  }).handle(async ({ params, query, caller, signal }) => {
    const patience = { withinMs: query.wait * 1000, holder: caller.keyId, signal };
    return { status: 200, body: shown(await whenEnded(watch, params.id, patience)) };
  });
}

/**
 * What is free, or refused as things stand, is decided by one ledger call; only what will hold credits starts a workflow, so
 * that a loop of refused calls does not flood Temporal (rule 10).
 */
async function begin(
  deps: GenerationRouteDeps,
  { input: asked, hash, arrivedMs }: { input: GenerationInput; hash: string; arrivedMs: number },
): Promise<TextAnswer> {
  const { reservations, starter, catalogs } = deps;
  const seen = await reservations.preview(asked);
  if (seen === null) throw unknownAccount(asked.account);
  const { decision, holdsNothing, reading } = seen;
  const receivedAt = new Date(onDatabaseClock(reading, arrivedMs)).toISOString();
  const input = { ...asked, receivedAt, keyIsNew: true }; // or the router had answered with what is known of it
  if (decision.kind === 'refused') return refuse(deps, { input, refusal: decision.refusal });

  if (holdsNothing) {
    const outcome = await reservations.reserve({ input, hash, arrivedMs, workflowId: null });
    if (outcome.kind === 'conflict') throw keyConflict();
    if (outcome.kind === 'refused') return refuse(deps, { input, refusal: outcome.refusal });
    if (outcome.kind === 'answered') {
      return { ...(await renderAnswer(catalogs, outcome.answer)), replayed: outcome.replayed };
    }
    // Credits came in meanwhile: then it is a generation like any other.
  }
  const started = await starter.start(input);
  if (started.kind === 'answered') {
    const { answer, replayed } = started.reply;
    await assertOwnAnswer(deps, started.reply, { ...input, hash });
    return { ...(await renderAnswer(catalogs, answer)), replayed };
  }
  if (started.kind === 'not_started') throw new ProblemError('unavailable', { detail: NOT_STARTED });
  if (started.kind === 'refused') {
    const { code, detail, path } = started;
    if (!Object.hasOwn(PROBLEMS, code)) throw new Error(`the workflow refused with an unknown code: ${code}`);
    throw new ProblemError(
      code as ProblemCode, // the line above
      { detail, ...(path === undefined ? {} : { errors: [{ path, message: detail }] }) },
    );
  }
  throw await undecided(deps, { ...input, reserveBefore: reserveBefore(reading, { arrivedMs }) });
}

/**
 * A run that this very request began has answered it. Another request under this key may have been first, and this one joined
 * its workflow (rule 1): then the ledger is asked whether it was the same request, and whether it still knows of the answer.
 */
async function assertOwnAnswer(
  { ledger }: GenerationRouteDeps,
  reply: ReserveReply,
  { account, key, hash, receivedAt }: { account: string; key: string; hash: string; receivedAt: string },
): Promise<void> {
  if (reply.receivedAt === receivedAt && reply.hash === hash) return;
  const kept = await ledger.answerTo(account, `req:${key}`);
  if (kept === null) throw forgotten(account, key);
  if (kept.hash !== hash) throw keyConflict();
}

/** The workflow was answered, and the ledger knows nothing of it: the database was restored to an earlier point since. */
function forgotten(account: string, key: string): ProblemError {
  return new ProblemError('answer_lost', {
    detail:
      `The answer to this key was given before the database was restored to an earlier point. Look at what was delivered for ` +
      `${generationId(account, key)}; to order again, use a new key.`,
    extensions: { retryWithNewKey: true },
  });
}

/** Rule 35: what is true of the credits where nobody can say yet, or ever could, what was decided. */
async function undecided(
  { ledger }: GenerationRouteDeps,
  { account, key, reserveBefore: before }: { account: string; key: string; reserveBefore: string },
): Promise<ProblemError> {
  try {
    const request = { account, key: `req:${key}`, reserveBefore: before };
    if (await ledger.nothingHeld(request)) return new ProblemError('unavailable', { detail: NOTHING_HELD });
  } catch (cause) {
    if (problemOf(cause).code !== 'unavailable') throw cause;
    return new ProblemError('unavailable', { detail: NOT_DECIDED, cause });
  }
  return new ProblemError('unavailable', { detail: NOT_DECIDED });
}

async function refuse(
  deps: GenerationRouteDeps,
  options: { input: GenerationInput; refusal: Refusal },
): Promise<never> {
  const { input, refusal } = options;
  const facts = refusalFacts(refusal);
  if (refusal.code !== 'confirmation_required') throw new ProblemError(refusal.code, facts);
  const { account, request } = input;
  const quote = await deps.quoting.quote({
    account,
    action: request.action,
    model: request.model,
    params: request.params,
    member: request.member,
  });
  throw new ProblemError(refusal.code, { ...facts, extensions: { ...facts.extensions, quote } });
}

export async function mustFind(watch: GenerationWatch, id: string): Promise<GenerationFacts> {
  return orUnknown(await watch.find(id), id);
}

/** The generation once it has ended, or as it is when the patience does. */
export async function whenEnded(
  watch: GenerationWatch,
  id: string,
  patience: Patience,
): Promise<GenerationFacts> {
  return orUnknown(await watch.ended(id, patience), id);
}

function orUnknown(found: GenerationFacts | undefined, id: string): GenerationFacts {
  if (found === undefined)
    throw new ProblemError('unknown_generation', { detail: `There is no generation ${id}.` });
  return found;
}

export function shown(facts: GenerationFacts): z.output<typeof generation> {
  return generationBody(facts);
}

const newestFirst = z.object({ createdAt: instantOut, id: z.string() });

const filters = {
  status: z.enum(['running', 'succeeded', 'partial', 'failed', 'canceled']).optional(),
  action: z.string().max(64).optional(),
  model: z.string().max(64).optional(),
  member: z.string().max(128).optional(),
  project: z.string().max(128).optional(),
  provider: z.string().max(64).optional(),
  key: z.string().max(255).optional(),
  late: z
    .enum(['true', 'false'])
    .optional()
    .describe('Those with reports that came after their end, or those without'),
};

interface ListQuery {
  limit: number;
  cursor?: { createdAt: string; id: string } | undefined;
  account?: string;
  status?: string | undefined;
  action?: string | undefined;
  model?: string | undefined;
  member?: string | undefined;
  project?: string | undefined;
  provider?: string | undefined;
  key?: string | undefined;
  late?: 'true' | 'false' | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
}

async function list({ db }: GenerationRouteDeps, { limit, cursor, late, from, to, ...query }: ListQuery) {
  const rows = await listGenerations(db.reports, {
    ...query,
    late: late === undefined ? undefined : late === 'true',
    from: from?.toISOString(),
    to: to?.toISOString(),
    before: cursor,
    limit: limit + 1,
  });
  return page({ rows, limit, place: ({ createdAt, id }) => ({ createdAt, id }), show: shown });
}
