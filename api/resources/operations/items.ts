import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import { ITEM_KINDS, listItems, type OperationsItem, resolveItem } from '../../../db/support/items';
import { listFields, listOf, page } from '../../routing/pagination';
import { type Route, route } from '../../routing/route';
import { accountId, instantOut, rangeFieldsOfAll, rangeOf, UTC } from '../../routing/schemas';

/** What a person should look at: nothing here moved credits, and nothing here should have happened. */

export interface OperationsItemRouteDeps {
  db: Database;
}

const kind = z.enum(ITEM_KINDS);
const subject = z.string().min(1).max(300);

const item = z
  .object({
    account: z.string().nullable().describe('Null: it is about no account in particular'),
    kind,
    subject: z.string().describe('What it is about: a generation, a row of the inbox, a check of the audit'),
    detail: z.record(z.string(), z.unknown()),
    raisedAt: instantOut,
    resolvedAt: instantOut.nullable(),
  })
  .meta({ id: 'OperationsItem' });

const place = z.object({ raisedAt: instantOut, account: z.string(), kind: z.string(), subject: z.string() });

export function operationsItemRoutes(deps: OperationsItemRouteDeps): Route[] {
  return [listOperationsItems(deps), resolveOperationsItems()];
}

function listOperationsItems({ db }: OperationsItemRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/operations/items',
    load: 'report',
    summary: 'List items that need an operator, newest first',
    description:
      'Raised by the engine itself: work delivered for a closed hold, a row of an inbox that keeps failing, a purchase that is not granted, an account ' +
      'that cannot be settled, a sweep that stopped, a violation the audit found.',
    tag: 'Operations',
    scope: 'admin',
    account: 'all',
    errors: [],
    query: z.strictObject({
      ...listFields(place),
      status: z.enum(['open', 'resolved']).default('open'),
      ...rangeFieldsOfAll,
    }),
    responses: { 200: listOf(item) },
  }).handle(async ({ query: { limit, cursor, status, ...range } }) => {
    const rows = await listItems(db.reports, {
      ...rangeOf(range, UTC),
      open: status === 'open',
      before: cursor,
      limit: limit + 1,
    });
    return { status: 200, body: page({ rows, limit, place: placeOf, show }) };
  });
}

const resolveOperationsItems = (): Route =>
  route({
    method: 'POST',
    path: '/v1/operations/items/resolve',
    summary: 'Resolve an item',
    description:
      'An item whose cause goes away is resolved on its own. If it happens again, it is raised again.',
    tag: 'Operations',
    scope: 'admin',
    account: 'all',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: [],
    body: z.strictObject({ account: accountId.nullable(), kind, subject }),
    responses: { 200: z.object({ resolved: z.boolean().describe('False: there is no such open item') }) },
  }).handle(async ({ body, transaction }) => ({
    status: 200,
    body: { resolved: await resolveItem(transaction, body) },
  }));

function placeOf({ raisedAt, account, kind: what, subject: about }: OperationsItem): z.output<typeof place> {
  return { raisedAt: raisedAt.toISOString(), account: account ?? '', kind: what, subject: about };
}

function show({ raisedAt, resolvedAt, ...rest }: OperationsItem): z.output<typeof item> {
  return { ...rest, raisedAt: raisedAt.toISOString(), resolvedAt: resolvedAt?.toISOString() ?? null };
}
