import { z } from 'zod';
import type { Database } from '../../db/connection';
import type { Ledger } from '../../db/ledger';
import { toMs } from '../../domain/account';
import { holdIdOf } from '../../domain/ids';
import type { CancelRequest } from '../../workflows/contract';
import { invalidField, keyConflict } from '../commonProblems';
import { problemOf } from '../failures';
import type { GenerationStarter } from '../generationStarter';
import { ProblemError } from '../problems';
import { accountFrom, type Route, route } from '../route';
import { carriedId, creditsIn, instantIn, reason } from '../schemas';
import { generation } from './generationSchemas';
import { mustFind, shown, whenEnded } from './generations';

/** What people do to a generation: cancel it, give its credits back, free its hold. */

export interface RepairRouteDeps {
  db: Database;
  ledger: Ledger;
  starter: GenerationStarter;
}

const TAG = 'Generations';
/** An administrator's refund into a lot that has expired stays spendable this long, unless told otherwise (rule 14). */
const REFUND_SPENDABLE_SECONDS = 30 * 86_400;
const ENDED_SOON = { withinMs: 5_000, everyMs: 100 };

export function repairRoutes(deps: RepairRouteDeps): Route[] {
  const { db, ledger, starter } = deps;
  const common = {
    method: 'POST',
    tag: TAG,
    account: accountFrom.idParam('id'),
    params: z.strictObject({ id: carriedId }),
    responses: { 200: generation },
  } as const;

  /** How long a refund into an expired lot stays spendable, by the account's own clock, which the ledger adds it to. */
  async function spendableFor(options: { account: string; key: string; until: Date | undefined }) {
    const { account, key, until } = options;
    if (until === undefined) return REFUND_SPENDABLE_SECONDS;
    const snapshot = await ledger.snapshot(account);
    if (snapshot === null) throw new Error(`account ${account} is gone, and its generation is not`);
    const seconds = (until.getTime() - toMs(snapshot.now)) / 1000;
    // A refund that was made under this key is only told of again.
    if (seconds <= 0 && (await ledger.answerTo(account, `req:${key}`)) === null)
      throw invalidField(
        'expiresAt',
        'Credits that are given back must be spendable: this lies in the past.',
      );
    return Math.max(0, seconds);
  }

  return [
    route({
      ...common,
      path: '/v1/generations/{id}/cancel',
      summary: 'Stop the work and give the credits back',
      description: 'Answers once it has ended. One that has ended already is answered as it is.',
      scope: 'generate',
      idempotency: 'optional',
      errors: ['unknown_generation'],
      body: z.strictObject({ reason: reason.optional() }),
    }).handle(async ({ params, body, caller }) => {
      const found = await mustFind(db, params.id);
      if (found.status !== 'running') return { status: 200, body: shown(found) };
      const request: CancelRequest = { by: caller.scopes.has('admin') ? 'operator' : 'customer' };
      await starter.cancel(
        found.id,
        body.reason === undefined ? request : { ...request, reason: body.reason },
      );
      return { status: 200, body: shown(await whenEnded(db, found.id, ENDED_SOON)) };
    }),
    route({
      ...common,
      path: '/v1/generations/{id}/refund',
      summary: 'Give captured credits back',
      scope: 'admin',
      idempotency: 'required',
      keptBy: 'account',
      errors: ['unknown_generation', 'refund_exceeds_captured'],
      body: z.strictObject({ credits: creditsIn.optional(), reason, expiresAt: instantIn.optional() }),
    }).handle(async ({ params, body, key, hash, caller }) => {
      const found = await mustFind(db, params.id);
      const spendableSeconds = await spendableFor({ account: found.account, key, until: body.expiresAt });
      const reply = await ledger.run(found.account, {
        op: 'refund',
        key: `req:${key}`,
        hash,
        holdId: holdIdOf(found.id),
        ...(body.credits === undefined ? {} : { amount: body.credits }),
        spendableSeconds,
        actor: caller.keyId,
        reason: body.reason,
      });
      if (reply?.status === 'idempotency_conflict') throw keyConflict();
      if (reply?.status !== 'applied') {
        const detail = 'A refund gives back at most what was captured and not refunded yet.';
        throw new ProblemError('refund_exceeds_captured', { detail });
      }
      return { status: 200, body: shown(await mustFind(db, params.id)), replayed: reply.replayed };
    }),
    route({
      ...common,
      path: '/v1/generations/{id}/release',
      summary: 'Free a stuck hold, also one whose workflow was terminated',
      scope: 'admin',
      idempotency: 'optional',
      errors: ['unknown_generation'],
      body: z.strictObject({ reason }),
    }).handle(async ({ params, body, caller }) => {
      const found = await mustFind(db, params.id);
      if (found.status !== 'running') return { status: 200, body: shown(found) };
      const request = { by: 'operator', reason: body.reason } as const;
      const alive = await starter.cancel(found.id, request);
      const after = alive ? await whenEnded(db, found.id, ENDED_SOON) : found;
      if (after.status !== 'running') return { status: 200, body: shown(after) };
      const error = { code: 'released', message: body.reason };
      await ledger
        .run(found.account, {
          op: 'release',
          key: `sys:release:${holdIdOf(found.id)}`,
          hash: 'release',
          holdId: holdIdOf(found.id),
          cause: 'operator',
          actor: caller.keyId,
          reason: body.reason,
          generation: { status: 'failed', error },
        })
        .catch(afterCancel);
      return { status: 200, body: shown(await mustFind(db, params.id)) };
    }),
  ];
}

/** The workflow was asked to end before: also where the ledger says that it did nothing, something was begun. */
function afterCancel(cause: unknown): never {
  const { code, facts } = problemOf(cause);
  throw code === 'overloaded' ? new ProblemError('unavailable', { ...facts, begun: true, cause }) : cause;
}
