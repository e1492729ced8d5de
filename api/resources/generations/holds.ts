import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { findHold } from '../../../db/generations/holds';
import type { Leases, TakeRequest } from '../../../db/reserve/lease';
import type { Ledger } from '../../../db/ledger/ledger';
import type { Operation, Reply } from '../../../db/ledger/operations';
import { milli, toCredits } from '../../../domain/credits';
import { accountOf } from '../../../domain/ids';
import { keyConflict, lostOnTheWay, refusalFacts, unknownAccount } from '../../problems/common';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type KeyedRequest, type Route, route, type TextAnswer } from '../../routing/route';
import { carriedId, creditsIn } from '../../routing/schemas';
import { hold, renderTake, showHold } from './holdBody';
import type { Quoting } from './quotes';
import { refund, refundOperation, refundRefusal } from './refunds';
import {
  what,
  ttlSeconds,
  oneOfThree,
  SAY_WHAT,
  onlyWithAction,
  PARAMS_OF_WHAT,
  TAKE_ERRORS,
  type Taken,
} from './takeRequest';
import { defined } from '../../../domain/defined';

/** Holds and charges without a workflow, for callers that orchestrate themselves and for actions too small for one. */

export interface HoldRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  leases: Leases;
  quoting: Quoting;
}

const TAG = 'Holds and charges';
const MAY_BE_TAKEN =
  'The credits may have been taken: send the same request again, with the same Idempotency-Key.';

export function holdRoutes(deps: HoldRouteDeps): Route[] {
  return [
    takeHold(deps),
    takeCharge(deps),
    getHold(deps),
    captureHold(deps),
    releaseHold(deps),
    extendHold(deps),
    refundHold(deps),
    refundCharge(deps),
  ];
}

/** Rule 1: what a key was answered is answered again, before anything else is looked at. */
const replayAs =
  ({ ledger, catalogs }: HoldRouteDeps, status: 200 | 201) =>
  async ({ account, key }: KeyedRequest): Promise<TextAnswer | null> => {
    const known = await ledger.answerTo(account, `req:${key}`);
    if (known === null) return null;
    return { ...(await renderTake({ catalogs, account, text: known.answer, status })), replayed: true };
  };

const ofHold = (deps: HoldRouteDeps) =>
  ({
    method: 'POST',
    tag: TAG,
    scope: 'generate',
    account: accountFrom.idParam('id'),
    idempotency: 'optional',
    replay: replayAs(deps, 200),
    replayOnRefusal: true,
    keptAs: 'facts',
    params: z.strictObject({ id: carriedId }),
    responses: { 200: hold },
  }) as const;

const ofRefund = (deps: HoldRouteDeps) =>
  ({
    ...ofHold(deps),
    scope: 'admin',
    idempotency: 'required',
    description:
      'Takes the id of a hold or of a charge. Without `credits` all that was captured and not refunded yet. Usage, quotas in ' +
      'credits and limits follow. Refused for the hold of a generation: refund the generation.',
    errors: ['unknown_hold', 'hold_has_workflow', 'refund_exceeds_captured', 'balance_limit_reached'],
    body: refund,
  }) as const;

const refunded = (
  deps: HoldRouteDeps,
  id: string,
  options: Omit<Parameters<typeof refundOperation>[0], 'holdId'>,
) => change(deps, id, { ...refundOperation({ ...options, holdId: id }), leased: true });

const HOLD_ERRORS = ['unknown_hold', 'hold_expired', 'hold_closed', 'hold_has_workflow'] as const;

async function take({ catalogs, leases, quoting }: HoldRouteDeps, request: TakeRequest): Promise<TextAnswer> {
  const { account, member } = request;
  const outcome = await leases.take(request).catch(lostOnTheWay(MAY_BE_TAKEN));
  switch (outcome.kind) {
    case 'answered': {
      const { text, replayed } = outcome;
      return { ...(await renderTake({ catalogs, account, text, status: 201 })), replayed };
    }
    case 'unknown_account':
      throw unknownAccount(account);
    case 'conflict':
      throw keyConflict();
    case 'refused': {
      const { refusal, priced } = outcome;
      const facts = refusalFacts(refusal);
      if (refusal.code !== 'confirmation_required' || priced === null)
        throw new ProblemError(refusal.code, facts);
      const { action, params } = priced;
      const model = priced.model ?? undefined;
      const quote = await quoting.quote({ account, action, model, params, member });
      throw new ProblemError(refusal.code, { ...facts, extensions: { ...facts.extensions, quote } });
    }
    case 'too_many_open':
      throw new ProblemError('too_many_open_generations', {
        detail: 'This account has as many open holds as it may; end one, or wait.',
      });
    case 'free': {
      const message = 'This is free: there is nothing to hold. To have it on record, charge it.';
      throw new ProblemError('invalid_request', { detail: message, errors: [{ path: 'action', message }] });
    }
    default: // too_late
      throw new ProblemError('unavailable', {
        detail: 'The credits could not be taken in time; none were. Send the same request again.',
      });
  }
}

/** What is done with a hold afterwards: one operation, its refusals as problems. */
async function change(
  { ledger, catalogs }: HoldRouteDeps,
  id: string,
  operation: Operation,
): Promise<TextAnswer> {
  const account = mustName(id);
  const reply = await ledger.run(account, operation);
  if (reply === null || reply.answer === null) throw refusalOf(id, operation, reply);
  const { replayed, answer: text } = reply;
  return { ...(await renderTake({ catalogs, account, text, status: 200 })), replayed };
}

function takeHold(deps: HoldRouteDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/holds',
    summary: 'Hold credits until an instant, without a workflow',
    description:
      'For callers that orchestrate themselves. Capture it in parts or whole, extend it, release it. What it still holds ' +
      'at its end goes back exactly then.',
    tag: TAG,
    scope: 'generate',
    account: accountFrom.body('account'),
    idempotency: 'required',
    replay: replayAs(deps, 201),
    replayOnRefusal: true,
    keptAs: 'facts',
    errors: [...TAKE_ERRORS, 'too_many_open_generations'],
    body: z
      .strictObject({ ...what, ttlSeconds })
      .refine(oneOfThree, SAY_WHAT)
      .refine(onlyWithAction, PARAMS_OF_WHAT),
    responses: { 201: hold },
  }).handle(({ body, key, hash, arrivedMs }) =>
    take(deps, { ...taken(body), arrivedMs, kind: 'hold', key, hash, ttlSeconds: body.ttlSeconds }),
  );
}

function takeCharge(deps: HoldRouteDeps): Route {
  return route({
    method: 'POST',
    path: '/v1/charges',
    summary: 'Charge credits: hold and capture in one operation',
    description: 'For actions too small for a workflow. Same body as a hold, without `ttlSeconds`.',
    tag: TAG,
    scope: 'generate',
    account: accountFrom.body('account'),
    idempotency: 'required',
    replay: replayAs(deps, 201),
    replayOnRefusal: true,
    keptAs: 'facts',
    errors: TAKE_ERRORS,
    body: z.strictObject(what).refine(oneOfThree, SAY_WHAT).refine(onlyWithAction, PARAMS_OF_WHAT),
    responses: { 201: hold },
  }).handle(({ body, key, hash, arrivedMs }) =>
    take(deps, { ...taken(body), arrivedMs, kind: 'charge', key, hash }),
  );
}

function getHold({ db, ledger }: HoldRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/holds/{id}',
    summary: 'Get a hold or a charge',
    tag: TAG,
    scope: 'read',
    account: accountFrom.idParam('id'),
    errors: ['unknown_hold'],
    params: z.strictObject({ id: carriedId }),
    responses: { 200: hold },
  }).handle(async ({ params }) => {
    const account = mustName(params.id);
    const now = await ledger.balance(account); // ends what has ended first
    const found = now === null ? undefined : await findHold(db.knex, { account, id: params.id });
    if (now === null || found === undefined) throw unknownHold(params.id);
    const draws = found.work?.draws ?? [];
    return { status: 200, body: showHold({ ...found, account, draws, balance: now }) };
  });
}

function captureHold(deps: HoldRouteDeps): Route {
  return route({
    ...ofHold(deps),
    path: '/v1/holds/{id}/capture',
    summary: 'Capture held credits, all or in part',
    description:
      'Without `credits` all that is held. `final` (the default) gives the rest back and closes the hold. A part needs a ' +
      '`phase` or an Idempotency-Key, so that a repetition is known for one; each phase is captured once.',
    errors: [...HOLD_ERRORS, 'exceeds_hold', 'phase_captured', 'idempotency_key_required'],
    body: z
      .strictObject({
        credits: creditsIn.optional(),
        final: z.boolean().default(true),
        phase: z.string().min(1).max(64).optional(),
      })
      .refine(({ credits, final }) => final || credits !== undefined, {
        path: ['credits'],
        message: 'Say how much this part is; only the final capture takes all there is.',
      }),
  }).handle(({ params: { id }, body: { credits, final, phase }, key, hash }) => {
    if (key === null && !final && phase === undefined) {
      throw new ProblemError('idempotency_key_required', {
        detail:
          'A capture without a phase needs an Idempotency-Key; without one, a retry would capture it twice.',
      });
    }
    const step = phase === undefined ? 'final' : `phase:${phase}`;
    return change(deps, id, {
      op: 'capture',
      key: key === null ? `sys:capture:${id}:${step}` : `req:${key}`,
      hash,
      holdId: id,
      leased: true,
      ...defined({ amount: credits, phase }),
      final,
      cause: 'customer',
    });
  });
}

function releaseHold(deps: HoldRouteDeps): Route {
  return route({
    ...ofHold(deps),
    path: '/v1/holds/{id}/release',
    summary: 'Release what is held and close the hold',
    errors: HOLD_ERRORS,
  }).handle(({ params: { id }, key, hash }) =>
    change(deps, id, {
      op: 'release',
      key: key === null ? `sys:release:${id}` : `req:${key}`,
      hash,
      holdId: id,
      leased: true,
      cause: 'customer',
    }),
  );
}

function extendHold(deps: HoldRouteDeps): Route {
  return route({
    ...ofHold(deps),
    path: '/v1/holds/{id}/extend',
    summary: 'Extend a hold',
    description:
      'Never shorter than it was, and never beyond seven days after it was opened. Without an Idempotency-Key each call counts from its own now.',
    errors: HOLD_ERRORS,
    body: z.strictObject({ ttlSeconds }),
  }).handle(({ params: { id }, body, key, hash }) =>
    change(deps, id, {
      op: 'extend',
      key: key === null ? `sys:extend:${id}:${randomUUID()}` : `req:${key}`,
      hash,
      holdId: id,
      leased: true,
      ttlSeconds: body.ttlSeconds,
    }),
  );
}

function refundHold(deps: HoldRouteDeps): Route {
  return route({
    ...ofRefund(deps),
    path: '/v1/holds/{id}/refund',
    summary: 'Refund captured credits of a hold',
  }).handle(({ params: { id }, body, key, hash, caller }) =>
    refunded(deps, id, { key, hash, actor: caller.keyId, asked: body }),
  );
}

function refundCharge(deps: HoldRouteDeps): Route {
  return route({
    ...ofRefund(deps),
    path: '/v1/charges/{id}/refund',
    summary: 'Refund a charge',
  }).handle(({ params: { id }, body, key, hash, caller }) =>
    refunded(deps, id, { key, hash, actor: caller.keyId, asked: body }),
  );
}

function taken(body: Taken) {
  const { account, quote, credits, action, model, params, confirm, member, project, feature } = body;
  const asked =
    credits !== undefined
      ? { creditsMilli: credits }
      : quote !== undefined
        ? { quote, confirm }
        : { action: action ?? '', model, params, confirm }; // exactly one of the three is there
  return {
    account,
    what: asked,
    member,
    project,
    feature,
    metadata: body.metadata,
  };
}

function mustName(id: string): string {
  const account = accountOf(id);
  if (account === null) throw unknownHold(id);
  return account;
}

function unknownHold(id: string): ProblemError {
  return new ProblemError('unknown_hold', { detail: `There is no hold ${id}.` });
}

function refusalOf(id: string, operation: Operation, reply: Reply | null): ProblemError {
  const ours = operation.key.startsWith('sys:');
  switch (reply?.status) {
    case 'hold_expired':
      return new ProblemError('hold_expired', {
        detail: 'The lease has expired and its credits were released. Take a new hold.',
      });
    case 'exceeds_hold':
      return new ProblemError('exceeds_hold', {
        detail: `The hold has ${toCredits(reply.hold?.held ?? milli(0))} credits left; capture at most that.`,
      });
    case 'not_leased':
      return new ProblemError('hold_has_workflow', {
        detail:
          operation.op === 'refund'
            ? 'This hold belongs to a generation: refund it with POST /v1/generations/{id}/refund.'
            : 'This hold belongs to a generation: report to it, or cancel it.',
      });
    case 'phase_captured':
      return new ProblemError('phase_captured', { detail: 'This phase was captured already.' });
    case 'idempotency_conflict':
      // Under a key of our own this is not a clash of keys: the same step was taken before, in another way.
      if (!ours) return keyConflict();
      if (operation.op === 'capture' && operation.phase !== undefined)
        return new ProblemError('phase_captured', { detail: 'This phase was captured already, otherwise.' });
      return closedHold();
    case 'hold_closed':
      return closedHold();
    default:
      return refundRefusal(reply?.status) ?? unknownHold(id);
  }
}

function closedHold(): ProblemError {
  return new ProblemError('hold_closed', { detail: 'The hold is closed; nothing is held any more.' });
}
