import { z } from 'zod';
import type { CatalogStore, CatalogVersion } from '../../db/catalogs';
import { ProblemError } from '../problems';
import { type Route, route } from '../route';

/** The products: plans, packs, buckets, rates, as the data they are. */

const catalogEntry = z
  .looseObject({ catalog: z.string(), label: z.string(), version: z.number() })
  .describe(
    'Plans, packs, buckets, actions with their rates, and rules; docs/catalogs.md explains each field',
  )
  .meta({ id: 'Catalog' });

export function catalogRoutes({ catalogs }: { catalogs: CatalogStore }): Route[] {
  const common = { tag: 'Prices', scope: 'read', account: 'shared' } as const;
  return [
    route({
      ...common,
      method: 'GET',
      path: '/v1/catalogs',
      summary: 'Every catalog in the version that is in force',
      errors: [],
      responses: { 200: z.object({ data: z.array(catalogEntry), nextCursor: z.null() }) },
    }).handle(async () => {
      const versions = await catalogs.list(Date.now());
      return { status: 200, body: { data: versions.map(show), nextCursor: null } };
    }),
    route({
      ...common,
      method: 'GET',
      path: '/v1/catalogs/{catalog}',
      summary: 'One catalog in the version that is in force',
      errors: [],
      params: z.strictObject({ catalog: z.string().max(64) }),
      responses: { 200: catalogEntry },
    }).handle(async ({ params }) => {
      const found = (await catalogs.list(Date.now())).find(
        ({ catalog }) => catalog.catalog === params.catalog,
      );
      if (found === undefined)
        throw new ProblemError('not_found', { detail: `There is no catalog ${params.catalog}.` });
      return { status: 200, body: show(found) };
    }),
  ];
}

function show({ catalog, version }: CatalogVersion): z.output<typeof catalogEntry> {
  return { ...catalog, version };
}
