import type { Knex } from 'knex';
import { z } from 'zod';
import { randomBytes } from 'node:crypto';
import type { CatalogStore, CatalogVersion } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { readCounters } from '../../../db/accounts/counters';
import type { Ledger } from '../../../db/ledger/ledger';
import type { MemberOperation, Reply } from '../../../db/ledger/operations';
import { type Snapshot, toMs } from '../../../domain/account';
import { planOf } from '../../../domain/catalog/catalog';
import { milli, toCredits } from '../../../domain/credits';
import { MAX_MEMBERS, memberCounter, memberOf, periodOf } from '../../../domain/access/limits';
import { unknownAccount } from '../../problems/common';
import { listFields, listOf, page } from '../../routing/pagination';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, callerName, creditsFromZero, creditsOut, instantOut } from '../../routing/schemas';

/** Who is in a team, what each may use in a month, and what each has used. */

export interface MemberRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
}

const byName = z.object({ name: callerName });

const member = z
  .object({
    member: z.string(),
    role: z.enum(['owner', 'member']),
    monthlyLimit: creditsOut.nullable(),
    used: creditsOut.describe('In this month: what is held or captured, less what was refunded'),
    resetsAt: instantOut.nullable(),
  })
  .meta({ id: 'Member' });

const TAG = 'Accounts';

export function memberRoutes(deps: MemberRouteDeps): Route[] {
  return [listMembers(deps), getMember(deps), putMember(deps), removeMember(deps)];
}

const one = z.strictObject({ id: accountId, member: callerName });

async function change(
  { ledger }: MemberRouteDeps,
  id: string,
  build: (context: {
    snapshot: Snapshot;
    catalog: CatalogVersion;
  }) => Omit<MemberOperation, 'op' | 'key' | 'hash'>,
): Promise<Reply> {
  const reply = await ledger.run(id, (context) => ({
    op: 'member',
    key: `sys:member:${randomBytes(8).toString('hex')}`, // it says how it shall be, so twice is once
    hash: 'member',
    ...build(context),
  }));
  if (reply === null) throw unknownAccount(id);
  return reply;
}

function listMembers(deps: MemberRouteDeps): Route {
  const { ledger } = deps;
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/members',
    load: 'report',
    summary: 'List members of a team, with their use this month',
    tag: TAG,
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account'],
    params: z.strictObject({ id: accountId }),
    query: z.strictObject(listFields(byName)),
    responses: { 200: listOf(member) },
  }).handle(async ({ params, query: { limit, cursor } }) => {
    const snapshot = await mustRead(ledger, params.id);
    const names = Object.keys(snapshot.members).toSorted();
    const rows = names.filter((name) => cursor === undefined || name > cursor.name);
    const shown = await show(deps, { snapshot, names: rows.slice(0, limit + 1), knex: deps.db.reports });
    return {
      status: 200,
      body: page({ rows: shown, limit, place: ({ member: name }) => ({ name }), show: (row) => row }),
    };
  });
}

function getMember(deps: MemberRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/accounts/{id}/members/{member}',
    summary: 'Get a member, with its use this month',
    tag: TAG,
    scope: 'read',
    account: accountFrom.param('id'),
    errors: ['unknown_account', 'unknown_member'],
    params: one,
    responses: { 200: member },
  }).handle(async ({ params }) => ({ status: 200, body: await showOne(deps, params) }));
}

function putMember(deps: MemberRouteDeps): Route {
  return route({
    method: 'PUT',
    path: '/v1/accounts/{id}/members/{member}',
    summary: 'Add a member, or change its role and limit',
    description:
      'Members are known by the product’s own ids. A member that is not listed may spend too and is counted; it is only ' +
      'not limited. The plan says how many seats there are, at most ' +
      `${MAX_MEMBERS}, and a team keeps at least one owner.`,
    tag: TAG,
    scope: 'billing',
    account: accountFrom.param('id'),
    errors: ['unknown_account', 'seat_limit_reached', 'last_owner'],
    params: one,
    body: z.strictObject({
      role: z.enum(['owner', 'member']),
      monthlyLimit: creditsFromZero.nullable().default(null).describe('Credits per month; null: no limit'),
    }),
    responses: { 200: member },
  }).handle(async ({ params, body }) => {
    const reply = await change(deps, params.id, ({ snapshot, catalog: { catalog } }) => ({
      rulesVersion: snapshot.rulesVersion,
      member: params.member,
      role: body.role,
      monthlyLimit: body.monthlyLimit,
      seats: Math.min(planOf(catalog, snapshot.rules.plan)?.seats ?? MAX_MEMBERS, MAX_MEMBERS),
    }));
    if (reply.status === 'seat_limit_reached') {
      throw new ProblemError('seat_limit_reached', {
        detail: `All seats of the plan are taken, which are at most ${MAX_MEMBERS}; remove a member or take a plan with more.`,
      });
    }
    if (reply.status === 'last_owner') throw lastOwner();
    return { status: 200, body: await showOne(deps, params) };
  });
}

function removeMember(deps: MemberRouteDeps): Route {
  return route({
    method: 'DELETE',
    path: '/v1/accounts/{id}/members/{member}',
    summary: 'Remove a member',
    description: 'What it used stays counted: who comes back in the same month continues where it was.',
    tag: TAG,
    scope: 'billing',
    account: accountFrom.param('id'),
    errors: ['unknown_account', 'unknown_member', 'last_owner'],
    params: one,
    responses: { 200: member },
  }).handle(async ({ params }) => {
    const before = await showOne(deps, params);
    const reply = await change(deps, params.id, ({ snapshot }) => ({
      rulesVersion: snapshot.rulesVersion,
      member: params.member,
      remove: true,
    }));
    if (reply.status === 'unknown_member') throw unknownMember(params.member);
    if (reply.status === 'last_owner') throw lastOwner();
    return { status: 200, body: before };
  });
}

async function mustRead(ledger: Ledger, id: string): Promise<Snapshot> {
  const snapshot = await ledger.current(id, 'holds'); // an expired lease does not count
  if (snapshot === null) throw unknownAccount(id);
  return snapshot;
}

async function showOne(deps: MemberRouteDeps, params: { id: string; member: string }) {
  const snapshot = await mustRead(deps.ledger, params.id);
  const [found] =
    memberOf(snapshot, params.member) === undefined
      ? []
      : await show(deps, { snapshot, names: [params.member], knex: deps.db.knex });
  if (found === undefined) throw unknownMember(params.member);
  return found;
}

async function show(
  { catalogs }: MemberRouteDeps,
  { snapshot, names, knex }: { snapshot: Snapshot; names: string[]; knex: Knex },
): Promise<z.output<typeof member>[]> {
  const { catalog } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
  const { period, resetsAt } = periodOf(catalog.rules.memberLimits, snapshot);
  const asked = names.map((name) => ({ counter: memberCounter(name), period }));
  const used = await readCounters(knex, snapshot.account, asked);
  return names.flatMap((name) => {
    const found = memberOf(snapshot, name);
    if (found === undefined) return [];
    return {
      member: name,
      role: found.role,
      monthlyLimit: found.monthlyLimit === null ? null : toCredits(found.monthlyLimit),
      used: toCredits(milli(used.get(memberCounter(name)) ?? 0)),
      resetsAt,
    };
  });
}

function unknownMember(name: string): ProblemError {
  return new ProblemError('unknown_member', { detail: `${name} is not a member of this account.` });
}

function lastOwner(): ProblemError {
  return new ProblemError('last_owner', {
    detail: 'A team keeps at least one owner; make another one first.',
  });
}
