import type { Knex } from 'knex';
import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import type { Ledger } from '../../../db/ledger/ledger';
import {
  declareLost,
  findLost,
  freeLostHolds,
  type LostNamespace,
  listLost,
  withdrawLost,
} from '../../../db/generations/lostNamespaces';
import type { FoundNamespace } from '../../../activities/temporal/connect';
import { ProblemError } from '../../problems/problem';
import { type Route, route } from '../../routing/route';
import { instantOut, reason } from '../../routing/schemas';

/** What a person says of a Temporal namespace that will not come back, and what frees its holds without Temporal (rule 17). */

export interface LostNamespaceRouteDeps {
  db: Database;
  ledger: Ledger;
  /** What the server says of a namespace's id, within seconds. */
  findNamespace: (id: string) => Promise<FoundNamespace>;
}

/** Each is an operation of the ledger; a call answers within seconds. */
const MOST_FREED = 100;

const namespaceId = z
  .uuid()
  .describe('The id of the namespace, not its name: `temporal operator namespace describe`');

const lostNamespace = z
  .object({
    namespaceId: z.string(),
    reason: z.string(),
    declaredBy: z.string().describe('The key that said so'),
    declaredAt: instantOut,
    openHolds: z.int().describe('Holds that still stand on it, also those that are not an hour old yet'),
  })
  .meta({ id: 'LostNamespace' });

/** A call has ended well before the database ends its transaction. */
const FREED_WITHIN_MS = 6_000;

export function lostNamespaceRoutes(deps: LostNamespaceRouteDeps): Route[] {
  return [declareNamespace(deps), listNamespaces(deps), releaseNamespace(deps), withdrawNamespace(deps)];
}

const common = { tag: 'Operations', scope: 'admin', account: 'all' } as const;

const params = z.strictObject({ namespaceId });

/** A server that can be asked decides; one that cannot is what the declaration is for. */
async function mustNotBeThere({ findNamespace }: LostNamespaceRouteDeps, id: string): Promise<void> {
  const found = await findNamespace(id);
  if (found.kind === 'found')
    throw new ProblemError('namespace_not_lost', {
      detail: `Temporal knows the namespace ${id}, as ${found.name}: run a worker there, and its sweep frees what is gone.`,
    });
}

function declareNamespace(deps: LostNamespaceRouteDeps): Route {
  return route({
    ...common,
    method: 'POST',
    path: '/v1/operations/lost-namespaces',
    summary: 'Declare a Temporal namespace lost',
    description:
      'For a namespace whose workflows will never run again, as when Temporal’s database was lost. From then on the sweep frees its ' +
      'holds once they are an hour old, however many they are, where the server does not know the id. Declared twice, the first ' +
      'declaration stays.',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: ['namespace_not_lost'],
    body: z.strictObject({ namespaceId, reason }),
    responses: { 201: lostNamespace },
  }).handle(async ({ body, caller, transaction }) => {
    await mustNotBeThere(deps, body.namespaceId);
    const declared = await declareLost(transaction, { ...body, declaredBy: caller.keyId });
    return { status: 201, body: show(declared) };
  });
}

function listNamespaces({ db }: LostNamespaceRouteDeps): Route {
  return route({
    ...common,
    method: 'GET',
    path: '/v1/operations/lost-namespaces',
    load: 'report',
    summary: 'List namespaces declared lost, with the number of their open holds',
    errors: [],
    responses: { 200: z.object({ data: z.array(lostNamespace), nextCursor: z.null() }) },
  }).handle(async () => {
    const lost = await listLost(db.reports);
    return { status: 200, body: { data: lost.map(show), nextCursor: null } };
  });
}

function releaseNamespace(deps: LostNamespaceRouteDeps): Route {
  const { ledger } = deps;
  return route({
    ...common,
    method: 'POST',
    path: '/v1/operations/lost-namespaces/{namespaceId}/release',
    summary: 'Release holds of a lost namespace, without Temporal',
    description:
      'For as long as Temporal is away; otherwise the sweep does it. Frees holds that are an hour old. Call it again, with a ' +
      'new Idempotency-Key or none, until `freed` is 0.',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: ['namespace_not_lost'],
    params,
    body: z.strictObject({ limit: z.int().min(1).max(MOST_FREED).default(MOST_FREED) }),
    responses: {
      200: z.object({
        freed: z.int(),
        failed: z.int().describe('Their accounts are locked just now'),
        openHolds: z.int().describe('What still stands on it'),
      }),
    },
  }).handle(async ({ params: { namespaceId: id }, body, caller, transaction }) => {
    await mustBeDeclared(transaction, id);
    await mustNotBeThere(deps, id);
    const actor = caller.keyId;
    const done = await freeLostHolds(
      { ledger, knex: transaction },
      { namespaceId: id, most: body.limit, withinMs: FREED_WITHIN_MS, actor },
    );
    const { openHolds } = await mustBeDeclared(transaction, id);
    return { status: 200, body: { ...done, openHolds } };
  });
}

function withdrawNamespace({ db }: LostNamespaceRouteDeps): Route {
  return route({
    ...common,
    method: 'DELETE',
    path: '/v1/operations/lost-namespaces/{namespaceId}',
    summary: 'Withdraw the declaration that a namespace is lost',
    description: 'Holds that were freed stay so.',
    errors: [],
    params,
    responses: { 200: lostNamespace },
  }).handle(async ({ params: { namespaceId: id } }) => {
    const declared = await mustBeDeclared(db.knex, id);
    await withdrawLost(db.knex, id);
    return { status: 200, body: show(declared) };
  });
}

async function mustBeDeclared(knex: Knex, id: string): Promise<LostNamespace> {
  const found = await findLost(knex, id);
  if (found !== undefined) return found;
  throw new ProblemError('not_found', {
    detail: `The namespace ${id} is not declared lost: POST /v1/operations/lost-namespaces declares it.`,
  });
}

function show({ declaredAt, ...lost }: LostNamespace): z.output<typeof lostNamespace> {
  return { ...lost, declaredAt: declaredAt.toISOString() };
}
