import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { readCounters } from '../../../db/accounts/counters';
import type { Ledger } from '../../../db/ledger/ledger';
import { toMs } from '../../../domain/account';
import { countersOf } from '../../../domain/access/limits';
import { priceList } from '../../../domain/access/priceList';
import { unknownAccount } from '../../problems/common';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, callerName, creditsOut } from '../../routing/schemas';

/** What each action costs one account, for a product that shows its prices before the click. */

export interface PriceRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
}

const optionValue = z.union([z.string(), z.number(), z.boolean()]);

const variant = z.object({
  params: z.record(z.string(), optionValue),
  credits: creditsOut,
  ceiling: creditsOut.describe('The most that is held; above `credits` only for a pipeline'),
  approximate: z.boolean(),
  allowed: z.boolean().describe('By plan, quotas and limits; what it draws from may still be too little'),
  reason: z.string().nullable().describe('The code with which one output would be refused now'),
  requiredPlan: z.string().nullable(),
  drawsFrom: z.array(z.string()).describe('The buckets that may pay for it, in spend order'),
});

const row = z
  .object({
    action: z.string(),
    label: z.string(),
    unit: z.string().describe('What one output is; every price is that of one'),
    free: z.boolean(),
    maxOutputs: z.number(),
    needsConfirmation: z.boolean(),
    models: z.array(
      z.object({
        model: z.string().nullable().describe('Null for a pipeline, which has no models'),
        label: z.string(),
        options: z.record(z.string(), z.array(optionValue)),
        from: creditsOut,
        variants: z.array(variant),
      }),
    ),
  })
  .meta({ id: 'PriceRow' });

export function priceRoutes({ db, ledger, catalogs }: PriceRouteDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/accounts/{id}/prices',
      summary: 'Price list of an account: every combination, with its gates',
      tag: 'Prices',
      scope: 'read',
      account: accountFrom.param('id'),
      errors: ['unknown_account'],
      params: z.strictObject({ id: accountId }),
      query: z.strictObject({ member: callerName.optional() }),
      responses: {
        200: z.object({
          account: z.string(),
          catalog: z.string(),
          catalogVersion: z.number(),
          showPrices: z.boolean().describe('Whether the product shows them before the click'),
          data: z.array(row),
          nextCursor: z.null(),
        }),
      },
    }).handle(async ({ params, query }) => {
      const snapshot = await ledger.balance(params.id);
      if (snapshot === null) throw unknownAccount(params.id);
      const { catalog, version } = await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now));
      const who = { snapshot, catalog, member: query.member ?? null };
      const used = await readCounters(db.knex, params.id, countersOf(who));
      return {
        status: 200,
        body: {
          account: params.id,
          catalog: catalog.catalog,
          catalogVersion: version,
          showPrices: catalog.rules.showPrices,
          data: priceList({ ...who, used }),
          nextCursor: null,
        },
      };
    }),
  ];
}
