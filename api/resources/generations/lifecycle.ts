import { z } from 'zod';
import { releaseOperation } from '../../../db/generations/endings';
import type { Ledger } from '../../../db/ledger/ledger';
import { holdIdOf } from '../../../domain/ids';
import type { CancelRequest } from '../../../domain/contract';
import type { Caller } from '../../routing/authenticate';
import { problemOf } from '../../problems/ofError';
import type { GenerationStarter } from '../../workflows/starter';
import type { GenerationWatch } from '../../workflows/watch';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { carriedId, reason } from '../../routing/schemas';
import { generation } from './schemas';
import { mustFind, shown, whenEnded } from './generations';
import { exceedsCaptured, refund, refundOperation, refundRefusal } from './refunds';
import { defined } from '../../../domain/defined';

/** What people do to a generation: cancel it, give its credits back, free its hold. */

export interface RepairRouteDeps {
  ledger: Ledger;
  starter: GenerationStarter;
  watch: GenerationWatch;
}

const TAG = 'Generations';
const ENDED_SOON = { withinMs: 5_000, isDone: true };

export function repairRoutes(deps: RepairRouteDeps): Route[] {
  return [cancelGeneration(deps), refundGeneration(deps), releaseGeneration(deps)];
}

const common = {
  method: 'POST',
  tag: TAG,
  account: accountFrom.idParam('id'),
  params: z.strictObject({ id: carriedId }),
  responses: { 200: generation },
} as const;

function cancelGeneration({ ledger, starter, watch }: RepairRouteDeps): Route {
  return route({
    ...common,
    path: '/v1/generations/{id}/cancel',
    summary: 'Cancel a generation and release its credits',
    description: 'Answers once it has ended. One that has ended already is answered as it is.',
    scope: 'generate',
    idempotency: 'optional',
    passing: true,
    errors: ['unknown_generation'],
    body: z.strictObject({
      by: z
        .enum(['customer', 'operator'])
        .default('customer')
        .describe(
          'Whose decision it is. What an operator cancels is given back by the catalog’s policy, also into credits that expired; only for keys with scope `admin`',
        ),
      reason: reason.optional(),
    }),
  }).handle(async ({ params, body, caller }) => {
    if (body.by === 'operator') mustBeOperator(caller);
    const found = await mustFind(watch, params.id);
    if (found.status !== 'running') return { status: 200, body: shown(found) };
    const request: CancelRequest = {
      by: body.by,
      ...defined({ reason: body.reason }),
    };
    const alive = await starter
      .cancel(found.id, request)
      .catch(
        unreachable(
          'Temporal cannot be reached: the work continues and its credits stay held, unless the cancellation arrived all the same. ' +
            'Send the same request again.',
        ),
      );
    if (alive)
      return {
        status: 200,
        body: shown(await whenEnded(watch, found.id, { ...ENDED_SOON, holder: caller.keyId })),
      };
    // Its workflow is gone, and whether its hold is open decides.
    const message = body.reason ?? `Canceled by the ${body.by}.`;
    await ledger
      .run(
        found.account,
        releaseOperation({
          holdId: holdIdOf(found.id),
          cause: body.by,
          actor: caller.keyId,
          reason: 'canceled',
          generation: { status: 'canceled', error: { code: 'canceled', message } },
        }),
      )
      .catch(afterCancel);
    return { status: 200, body: shown(await mustFind(watch, found.id)) };
  });
}

function refundGeneration({ ledger, watch }: RepairRouteDeps): Route {
  return route({
    ...common,
    path: '/v1/generations/{id}/refund',
    summary: 'Refund captured credits of a generation',
    scope: 'admin',
    idempotency: 'required',
    keptBy: 'account',
    errors: ['unknown_generation', 'refund_exceeds_captured', 'balance_limit_reached'],
    body: refund,
  }).handle(async ({ params, body, key, hash, caller }) => {
    const found = await mustFind(watch, params.id);
    const holdId = holdIdOf(found.id);
    const operation = refundOperation({ key, hash, holdId, actor: caller.keyId, asked: body });
    const reply = await ledger.run(found.account, operation);
    if (reply?.status !== 'applied') {
      // What was free has no hold, and nothing was captured.
      throw refundRefusal(reply?.status) ?? exceedsCaptured();
    }
    return { status: 200, body: shown(await mustFind(watch, params.id)), replayed: reply.replayed };
  });
}

function releaseGeneration({ ledger, starter, watch }: RepairRouteDeps): Route {
  return route({
    ...common,
    path: '/v1/generations/{id}/release',
    summary: 'Release a stuck hold, even if its workflow was terminated',
    description:
      'Asks the workflow to end, and where it does not, gives the credits back by the ledger. With `force` also where Temporal ' +
      'cannot be asked: work that is delivered afterwards moves no credits, and is an item for operations.',
    scope: 'admin',
    idempotency: 'optional',
    errors: ['unknown_generation'],
    body: z.strictObject({
      reason,
      force: z
        .boolean()
        .default(false)
        .describe('Also where Temporal cannot be asked whether the work still runs'),
    }),
  }).handle(async ({ params, body, caller }) => {
    const found = await mustFind(watch, params.id);
    if (found.status !== 'running') return { status: 200, body: shown(found) };
    const request = { by: 'operator', reason: body.reason } as const;
    const alive = await starter.cancel(found.id, request).catch((error: unknown) => {
      if (body.force && isUnreachable(error)) return false;
      return unreachable(
        'Temporal cannot be reached, so it is not known whether the work still runs; its credits are still held. Send it again ' +
          'later, or send `force`: true under a new key: then the ledger gives the credits back at once, and what is ' +
          'delivered afterwards moves none.',
      )(error);
    });
    const after = alive ? await whenEnded(watch, found.id, { ...ENDED_SOON, holder: caller.keyId }) : found;
    if (after.status !== 'running') return { status: 200, body: shown(after) };
    const error = { code: 'released', message: body.reason };
    await ledger
      .run(
        found.account,
        releaseOperation({
          holdId: holdIdOf(found.id),
          cause: 'operator',
          actor: caller.keyId,
          reason: body.reason,
          generation: { status: 'failed', error },
        }),
      )
      .catch(afterCancel);
    return { status: 200, body: shown(await mustFind(watch, params.id)) };
  });
}

function mustBeOperator({ scopes }: Caller): void {
  if (scopes.has('admin')) return;
  throw new ProblemError('scope_missing', {
    detail: '`by`: operator needs a key with scope `admin`; leave `by` out for a customer’s own cancel.',
    extensions: { requiredScope: 'admin' },
  });
}

function isUnreachable(error: unknown): error is ProblemError {
  return error instanceof ProblemError && error.code === 'unavailable';
}

/** Temporal's being away, told with what that means here. */
function unreachable(detail: string): (error: unknown) => never {
  return (error) => {
    if (!isUnreachable(error)) throw error;
    throw new ProblemError('unavailable', { detail, begun: error.begun, cause: error });
  };
}

/** The workflow was asked to end before: also where the ledger says that it did nothing, something was begun. */
function afterCancel(cause: unknown): never {
  const { code, facts } = problemOf(cause);
  throw code === 'overloaded' ? new ProblemError('unavailable', { ...facts, begun: true, cause }) : cause;
}
