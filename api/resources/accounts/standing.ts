import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { listGenerations } from '../../../db/generations/generations';
import type { Database } from '../../../db/connection/connection';
import type { Ledger } from '../../../db/ledger/ledger';
import { toCredits } from '../../../domain/credits';
import { keyConflict, unknownAccount } from '../../problems/common';
import type { GenerationStarter } from '../../workflows/starter';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, creditsFromZero, creditsOut, reason } from '../../routing/schemas';
import { defined } from '../../../domain/defined';

/** What an administrator may do about an account: limit it, suspend it. */

export interface StandingRouteDeps {
  db: Database;
  ledger: Ledger;
  starter: GenerationStarter;
}

const limits = z
  .object({ openGenerations: z.number().nullable(), creditsPerDay: creditsOut.nullable() })
  .meta({ id: 'AccountLimits' });
const standing = z
  .object({ account: z.string(), suspended: z.boolean(), canceled: z.number().describe('Generations') })
  .meta({ id: 'Standing' });

/** Generations are cancelled page by page until none runs; one that starts meanwhile is refused already. */
const CANCEL_PAGE = 100;

interface RuleChange {
  rules: Record<string, unknown>;
  actor: string;
  why?: string;
  key: string | null;
  hash: string;
}

export function standingRoutes(deps: StandingRouteDeps): Route[] {
  return [getLimits(deps), putLimits(deps), suspendAccount(deps), unsuspendAccount(deps)];
}

const common = {
  tag: 'Accounts',
  scope: 'admin',
  account: accountFrom.param('id'),
  errors: ['unknown_account'],
  params: z.strictObject({ id: accountId }),
} as const;

/** False if it was done before under this key: a repetition after a crash must not undo what was decided since. */
async function changeRules(
  { ledger }: StandingRouteDeps,
  id: string,
  { rules, actor, why, key, hash }: RuleChange,
): Promise<boolean> {
  const reply = await ledger.run(id, {
    op: 'rules',
    ...(key === null
      ? { key: `sys:rules:${randomBytes(8).toString('hex')}`, hash: 'rules' } // it says how it shall be, so twice is once
      : { key: `req:${key}`, hash }),
    rules,
    actor,
    ...defined({ reason: why }),
  });
  if (reply === null) throw unknownAccount(id);
  if (reply.status === 'idempotency_conflict') throw keyConflict();
  return !reply.replayed;
}

async function cancelRunning(
  { db, starter }: StandingRouteDeps,
  account: string,
  why: string,
): Promise<number> {
  let canceled = 0;
  let before: { createdAt: string; id: string } | undefined;
  for (;;) {
    const page = await listGenerations(db.knex, { account, status: 'running', before, limit: CANCEL_PAGE });
    for (const { id } of page) if (await starter.cancel(id, { by: 'operator', reason: why })) canceled += 1;
    const last = page.at(-1);
    if (last === undefined || page.length < CANCEL_PAGE) return canceled;
    before = { createdAt: last.createdAt, id: last.id };
  }
}

async function limitsOf({ ledger }: StandingRouteDeps, id: string): Promise<z.output<typeof limits>> {
  const found = await ledger.snapshot(id);
  if (found === null) throw unknownAccount(id);
  const { maxOpen, creditsPerDay } = found.rules;
  return {
    openGenerations: maxOpen,
    creditsPerDay: creditsPerDay === null ? null : toCredits(creditsPerDay),
  };
}

function getLimits(deps: StandingRouteDeps): Route {
  return route({
    ...common,
    method: 'GET',
    path: '/v1/accounts/{id}/limits',
    summary: 'Get the limits of an account',
    description: 'Null: the account has no limit of its own (generations at once then have the default).',
    scope: 'read',
    responses: { 200: limits },
  }).handle(async ({ params }) => ({ status: 200, body: await limitsOf(deps, params.id) }));
}

function putLimits(deps: StandingRouteDeps): Route {
  return route({
    ...common,
    method: 'PUT',
    path: '/v1/accounts/{id}/limits',
    summary: 'Set the limits of an account',
    description:
      'Null takes a limit away (generations at once then have the default). What is left out stays. The day’s credits ' +
      'are counted from when there is a limit: what was taken before it, or while there was none, is not.',
    body: z.strictObject({
      openGenerations: z.int().min(1).max(1_000_000).nullable().optional(),
      creditsPerDay: creditsFromZero.nullable().optional(),
    }),
    responses: { 200: limits },
  }).handle(async ({ params, body, caller, hash }) => {
    const { openGenerations, creditsPerDay } = body;
    await changeRules(deps, params.id, {
      rules: {
        ...defined({ maxOpen: openGenerations, creditsPerDay }),
      },
      actor: caller.keyId,
      key: null,
      hash,
    });
    return { status: 200, body: await limitsOf(deps, params.id) };
  });
}

function suspendAccount(deps: StandingRouteDeps): Route {
  const { ledger } = deps;
  return route({
    ...common,
    method: 'POST',
    path: '/v1/accounts/{id}/suspend',
    summary: 'Suspend an account, and cancel its running work if asked to',
    idempotency: 'optional',
    body: z.strictObject({ reason, cancelRunning: z.boolean().default(false) }),
    responses: { 200: standing },
  }).handle(async ({ params, body, key, hash, caller }) => {
    const change = { rules: { suspended: true }, actor: caller.keyId, why: body.reason, key, hash };
    const now =
      (await changeRules(deps, params.id, change)) ||
      (await ledger.snapshot(params.id))?.rules.suspended === true;
    const canceled = body.cancelRunning && now ? await cancelRunning(deps, params.id, body.reason) : 0;
    return { status: 200, body: { account: params.id, suspended: true, canceled } };
  });
}

function unsuspendAccount(deps: StandingRouteDeps): Route {
  return route({
    ...common,
    method: 'POST',
    path: '/v1/accounts/{id}/unsuspend',
    summary: 'Lift the suspension of an account',
    idempotency: 'optional',
    responses: { 200: standing },
  }).handle(async ({ params, key, hash, caller }) => {
    await changeRules(deps, params.id, { rules: { suspended: false }, actor: caller.keyId, key, hash });
    return { status: 200, body: { account: params.id, suspended: false, canceled: 0 } };
  });
}
