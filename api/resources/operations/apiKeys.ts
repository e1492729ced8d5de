import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import {
  accountIsKnown,
  type ApiKeyRow,
  findApiKey,
  insertApiKey,
  listApiKeys,
  revokeApiKey,
} from '../../../db/accounts/apiKeys';
import type { Database } from '../../../db/connection/connection';
import { SCOPES, sha256 } from '../../routing/authenticate';
import { listFields, listOf, page } from '../../routing/pagination';
import { ProblemError } from '../../problems/problem';
import { type Route, route } from '../../routing/route';
import { accountId, instantOut, shown } from '../../routing/schemas';

export interface ApiKeyRouteDeps {
  db: Database;
}

const id = z.string().regex(/^[0-9a-f]{16}$/);

const apiKey = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.string()),
    account: z.string().nullable().describe('The only account that the key may touch; null for all'),
    createdAt: instantOut,
    createdBy: z.string().describe('The id of the key that made this one, or `admin`'),
    revokedAt: instantOut.nullable(),
  })
  .meta({ id: 'ApiKey' });

const newApiKey = apiKey
  .extend({ secret: z.string().describe('What goes behind `Bearer`. Not shown again') })
  .meta({ id: 'CreatedApiKey' });

const newestFirst = z.object({ createdAt: instantOut, id });

export function apiKeyRoutes(deps: ApiKeyRouteDeps): Route[] {
  return [makeApiKey(), listKeys(deps), getKey(deps), revokeKey(deps)];
}

const common = { tag: 'API keys', scope: 'admin', account: 'all' } as const;

const makeApiKey = (): Route =>
  route({
    ...common,
    method: 'POST',
    path: '/v1/api-keys',
    summary: 'Create an API key',
    description:
      'The answer holds the secret, which is stored hashed and never shown by another request. A retry with the ' +
      'same Idempotency-Key and the same caller gets the same answer.',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: ['unknown_account'],
    body: z.strictObject({
      name: z.string().min(1).max(200).default('unnamed'),
      scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length),
      account: accountId.optional(),
    }),
    responses: { 201: newApiKey },
  }).handle(async ({ body, caller, transaction }) => {
    const account = body.account ?? null;
    if (account !== null && !(await accountIsKnown(transaction, account))) {
      throw new ProblemError('unknown_account', { detail: `There is no account ${account}.` });
    }
    const keyId = randomBytes(8).toString('hex');
    const secret = `hf_${keyId}_${randomBytes(32).toString('base64url')}`;
    const row = await insertApiKey(transaction, {
      id: keyId,
      secretSha256: sha256(secret),
      name: body.name,
      scopes: [...new Set(body.scopes)],
      account,
      createdBy: caller.keyId,
    });
    return { status: 201, body: { ...show(row), secret } };
  });

function listKeys({ db }: ApiKeyRouteDeps): Route {
  return route({
    ...common,
    method: 'GET',
    path: '/v1/api-keys',
    load: 'report',
    summary: 'List API keys, newest first, without deleted ones',
    errors: [],
    query: z.strictObject(listFields(newestFirst)),
    responses: { 200: listOf(apiKey) },
  }).handle(async ({ query: { limit, cursor } }) => {
    const rows = await listApiKeys(db.reports, { limit: limit + 1, after: cursor });
    const place = (row: ApiKeyRow) => ({ createdAt: shown(row.createdAt), id: row.id });
    return { status: 200, body: page({ rows, limit, place, show }) };
  });
}

function getKey({ db }: ApiKeyRouteDeps): Route {
  return route({
    ...common,
    method: 'GET',
    path: '/v1/api-keys/{id}',
    summary: 'Get an API key, even a deleted one',
    errors: [],
    params: z.strictObject({ id }),
    responses: { 200: apiKey },
  }).handle(async ({ params }) => ({
    status: 200,
    body: show(found(await findApiKey(db.knex, params.id))),
  }));
}

function revokeKey({ db }: ApiKeyRouteDeps): Route {
  return route({
    ...common,
    method: 'DELETE',
    path: '/v1/api-keys/{id}',
    summary: 'Delete an API key',
    description: 'From the next request on it is refused. Its record stays readable by its id.',
    errors: [],
    params: z.strictObject({ id }),
    responses: { 200: apiKey },
  }).handle(async ({ params }) => ({
    status: 200,
    body: show(found(await revokeApiKey(db.knex, params.id))),
  }));
}

function found(row: ApiKeyRow | null): ApiKeyRow {
  if (row === null) throw new ProblemError('not_found', { detail: 'No key has this id.' });
  return row;
}

function show(row: ApiKeyRow): z.output<typeof apiKey> {
  return {
    ...row,
    createdAt: shown(row.createdAt),
    revokedAt: row.revokedAt === null ? null : shown(row.revokedAt),
  };
}
