import type { Knex } from 'knex';
import { z } from 'zod';
import {
  catalogHash,
  type CatalogStore,
  type CatalogVersion,
  LIST_TTL_MS,
  newestVersion,
  PlanInUse,
  plansLeftOut,
  publishCatalog,
  UnknownCatalog,
  UnreadableCatalog,
} from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { databaseNowMs } from '../../../db/connection/databaseClock';
import type { Catalog } from '../../../domain/catalog/catalog';
import { catalogChanges } from '../../../domain/publish/diff';
import { CatalogShape } from '../../../domain/catalog/shape';
import { liveProblems } from '../../../domain/publish/live';
import { parseCatalog } from '../../../domain/publish/parse';
import { listFields, listOf, page } from '../../routing/pagination';
import { type FieldError, ProblemError } from '../../problems/problem';
import { type Route, route } from '../../routing/route';
import { instantIn, instantOut } from '../../routing/schemas';

/** The products: plans, packs, buckets, rates, as the data they are. */

export interface CatalogRouteDeps {
  db: Database;
  catalogs: CatalogStore;
  /** HOLDFAST_MODE is live. */
  isLive?: boolean;
}

const scheduled = z.object({ version: z.number(), effectiveAt: instantOut });

const catalogEntry = z
  .object({
    ...CatalogShape.shape,
    version: z.number(),
    publishedBy: z
      .string()
      .nullable()
      .describe('The id of the key, or `shipped` if it came with a release; null if it was not noted yet'),
    scheduled: z.array(scheduled).describe('Versions that are published, and come into force later'),
  })
  .describe(
    'Plans, packs, buckets, actions with their rates, and rules; docs/catalogs.md explains each field',
  )
  .meta({ id: 'Catalog' });

const byCatalog = z.object({ catalog: z.string().max(64) });

const newCatalog = CatalogShape.extend({
  effectiveAt: instantIn
    .optional()
    .describe('When accounts begin to use it, on their own clocks; now if left out'),
  dryRun: z.boolean().default(false).describe('Check it and answer what would change; publish nothing'),
}).meta({ id: 'CatalogDraft' });

const publication = z
  .object({
    catalog: z.string(),
    version: z.number().describe('The version it has, or would have'),
    effectiveAt: instantOut.nullable().describe('Null: at once'),
    dryRun: z.boolean(),
    changed: z.boolean().describe('False: the newest version says the same'),
    changes: z
      .array(z.object({ path: z.string(), before: z.unknown(), after: z.unknown() }))
      .describe('Beside the version that is in force by then'),
    supersedes: z
      .array(scheduled)
      .describe('Scheduled versions that never come into force, because this newer one begins before them'),
  })
  .meta({ id: 'CatalogPublication' });

export function catalogRoutes(deps: CatalogRouteDeps): Route[] {
  return [listCatalogs(deps), getCatalog(deps), postCatalog(deps)];
}

const common = { tag: 'Prices', scope: 'read', account: 'shared' } as const;

async function scheduledFrom(
  { catalogs }: CatalogRouteDeps,
  catalog: string,
  atMs: number,
): Promise<z.output<typeof scheduled>[]> {
  const later = await catalogs.scheduled(catalog, atMs);
  return later.map(({ version, effectiveAt }) => ({
    version,
    effectiveAt: new Date(effectiveAt).toISOString(),
  }));
}

async function show(deps: CatalogRouteDeps, found: CatalogVersion): Promise<z.output<typeof catalogEntry>> {
  const { db } = deps;
  const { catalog, version, publishedBy } = found;
  const scheduled = await scheduledFrom(deps, catalog.catalog, await databaseNowMs(db.points));
  return { ...catalog, version, publishedBy, scheduled };
}

function listCatalogs(deps: CatalogRouteDeps): Route {
  const { db, catalogs } = deps;
  return route({
    ...common,
    method: 'GET',
    path: '/v1/catalogs',
    summary: 'List catalogs, each in the version in force',
    errors: [],
    query: z.strictObject(listFields(byCatalog)),
    responses: { 200: listOf(catalogEntry) },
  }).handle(async ({ query: { limit, cursor } }) => {
    const all = (await catalogs.list(await databaseNowMs(db.points))).toSorted((a, b) =>
      a.catalog.catalog < b.catalog.catalog ? -1 : 1,
    );
    const rows = all.filter(({ catalog }) => cursor === undefined || catalog.catalog > cursor.catalog);
    const place = ({ catalog: { catalog } }: CatalogVersion) => ({ catalog });
    const shown = page({ rows, limit, place, show: (row) => row });
    return {
      status: 200,
      body: { ...shown, data: await Promise.all(shown.data.map((row) => show(deps, row))) },
    };
  });
}

function getCatalog(deps: CatalogRouteDeps): Route {
  const { db, catalogs } = deps;
  return route({
    ...common,
    method: 'GET',
    path: '/v1/catalogs/{catalog}',
    summary: 'Get a catalog in the version in force',
    errors: [],
    params: z.strictObject({ catalog: z.string().max(64) }),
    responses: { 200: catalogEntry },
  }).handle(async ({ params }) => {
    const nowMs = await databaseNowMs(db.points);
    const found = await catalogs.inForce(params.catalog, nowMs).catch((error: unknown) => {
      if (!(error instanceof UnknownCatalog)) throw error;
      throw new ProblemError('not_found', { detail: `There is no catalog ${params.catalog}.` });
    });
    return { status: 200, body: await show(deps, found) };
  });
}

function postCatalog(deps: CatalogRouteDeps): Route {
  const { db, catalogs } = deps;
  return route({
    ...common,
    scope: 'admin',
    method: 'POST',
    path: '/v1/catalogs',
    account: 'all',
    summary: 'Publish a new version of a catalog',
    description:
      'Versions are never edited. Accounts use the newest one in force from their next unquoted request; holds and ' +
      'quotes keep their price, allotments change at the next slot. A version that is scheduled for later is superseded by a ' +
      'newer one that begins before it. Answers once every process knows the version.',
    idempotency: 'optional',
    keptBy: 'api-key',
    errors: [],
    body: newCatalog,
    responses: { 200: publication, 201: publication },
  }).handle(async ({ body, caller, transaction }) => {
    const { effectiveAt, dryRun, ...fields } = body;
    const parsed = parseCatalog(fields);
    if (!parsed.ok) throw wrongCatalog(parsed.errors);
    const { catalog } = parsed;
    const notForLive = deps.isLive === true ? liveProblems(catalog) : [];
    if (notForLive.length > 0) throw wrongCatalog(notForLive);
    const newest = await newestVersion(transaction, catalog.catalog);
    const atMs = effectiveAt?.getTime() ?? (await databaseNowMs(db.points));
    // What customers would see change is what is in force by then, not what is scheduled after it.
    const before = newest === undefined ? null : await inForce(catalogs, catalog.catalog, atMs);
    const changes = catalogChanges(before, catalog);
    const supersedes = await scheduledFrom(deps, catalog.catalog, atMs);
    const at = effectiveAt?.toISOString();
    const facts = { catalog: catalog.catalog, effectiveAt: at ?? null, dryRun };
    const answerOf = ({ version, changed }: { version: number; changed: boolean }) => ({
      ...facts,
      version,
      changed,
      ...(changed ? { changes, supersedes } : { changes: [], supersedes: [] }),
    });
    if (dryRun) {
      const [leftOut] = await plansLeftOut(transaction, catalog);
      if (leftOut !== undefined) throw wrongCatalog([{ path: 'plans', message: leftOut }]);
      const changed = newest?.hash !== catalogHash(catalog);
      const version = (newest?.version ?? 0) + (changed ? 1 : 0);
      return { status: 200, body: answerOf({ version, changed }) };
    }
    const published = await publish(transaction, { catalog, effectiveAt: at, publishedBy: caller.keyId });
    const answer = answerOf(published);
    return published.changed
      ? { status: 201, body: answer, afterCommit: untilEverybodyKnows }
      : { status: 200, body: answer };
  });
}

/** Null: it cannot be read, which is why another is published. */
async function inForce(catalogs: CatalogStore, id: string, atMs: number): Promise<Catalog | null> {
  try {
    return (await catalogs.inForce(id, atMs)).catalog;
  } catch (error) {
    if (error instanceof UnreadableCatalog) return null;
    throw error;
  }
}

function untilEverybodyKnows(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LIST_TTL_MS));
}

async function publish(
  transaction: Knex.Transaction,
  options: { catalog: Catalog; effectiveAt: string | undefined; publishedBy: string },
) {
  try {
    return await publishCatalog(transaction, options);
  } catch (error) {
    if (!(error instanceof PlanInUse)) throw error;
    throw wrongCatalog([{ path: 'plans', message: error.message }]);
  }
}

function wrongCatalog(errors: readonly FieldError[]): ProblemError {
  const [first] = errors;
  return new ProblemError('invalid_request', {
    detail: first === undefined ? 'The catalog is not valid.' : `${first.path}: ${first.message}`,
    errors,
  });
}
