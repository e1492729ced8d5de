import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { databaseNowMs } from '../../../db/connection/databaseClock';
import { type EstimateItem, estimate } from '../../../domain/access/estimates';
import { ProblemError } from '../../problems/problem';
import { type Route, route } from '../../routing/route';
import { creditsIn, creditsOut } from '../../routing/schemas';
import { optionValues } from '../generations/schemas';
import { defined } from '../../../domain/defined';

/** What a month of work would cost, before anybody has an account. */

/** Where an item says how often a day, and not on how many days. */
const DAYS = 30;

const item = z
  .strictObject({
    action: z.string().min(1).max(64),
    model: z.string().min(1).max(64).optional(),
    params: optionValues.optional(),
    credits: creditsIn.optional().describe('Instead of the catalog’s rate'),
    perDay: z.int().min(1).max(1_000_000).optional(),
    perMonth: z.int().min(1).max(31_000_000).optional(),
    days: z.int().min(1).max(31).optional().describe('Working days a month, for `perDay`; 30 if left out'),
  })
  .refine(({ perDay, perMonth }) => (perDay === undefined) !== (perMonth === undefined), {
    path: ['perDay'],
    message: 'Say how often: either `perDay` or `perMonth`.',
  })
  .refine(({ perDay, days }) => days === undefined || perDay !== undefined, {
    path: ['days'],
    message: '`days` goes with `perDay`.',
  });

const percent = z.int().min(0).max(1000);

const request = z
  .strictObject({
    catalog: z.string().min(1).max(64),
    items: z.array(item).min(1).max(100),
    bufferPercent: z
      .tuple([percent, percent])
      .default([20, 30])
      .describe('What is added to the subtotal, from and to'),
  })
  .refine(({ bufferPercent: [low, high] }) => low <= high, {
    path: ['bufferPercent'],
    message: 'The first is the lower one.',
  })
  .meta({ id: 'EstimateRequest' });

const answer = z
  .object({
    catalog: z.string(),
    catalogVersion: z.number(),
    lines: z.array(
      z.object({
        label: z.string(),
        action: z.string(),
        model: z.string().nullable(),
        params: z.record(z.string(), z.unknown()),
        quantity: z.number(),
        unit: z.string(),
        rate: creditsOut,
        credits: creditsOut,
      }),
    ),
    subtotal: creditsOut,
    withBuffer: z.object({ low: creditsOut, high: creditsOut }),
    plans: z.array(
      z.object({
        plan: z.string(),
        label: z.string(),
        credits: creditsOut.describe('Per month; daily credits cannot be saved up and are not counted'),
        price: z.number().nullable().describe('Per month; null: on request'),
        allowed: z.boolean().describe('Whether the plan includes everything that is listed, so often'),
        covers: z.boolean().describe('Allowed, and enough to the upper end of the buffer'),
        shortfall: creditsOut.describe('To the upper end of the buffer'),
      }),
    ),
  })
  .meta({ id: 'Estimate' });

export function estimateRoutes({ db, catalogs }: { db: Database; catalogs: CatalogStore }): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/estimates',
      summary: 'Estimate a month of work, with a buffer, and the plans that cover it',
      tag: 'Prices',
      scope: 'read',
      account: 'shared',
      idempotency: 'optional',
      passing: true,
      keptBy: 'api-key',
      errors: ['unknown_catalog', 'unknown_action', 'unknown_model', 'unknown_option'],
      body: request,
      responses: { 200: answer },
    }).handle(async ({ body }) => {
      const inForce = await catalogs.list(await databaseNowMs(db.points));
      const found = inForce.find(({ catalog }) => catalog.catalog === body.catalog);
      if (found === undefined)
        throw new ProblemError('unknown_catalog', { detail: `There is no catalog ${body.catalog}.` });
      const { catalog, version } = found;
      const items = body.items.map(asItem);
      const result = estimate({ catalog, items, bufferPercent: body.bufferPercent });
      if (!result.ok) throw wrongItem(result);
      return {
        status: 200,
        body: { catalog: catalog.catalog, catalogVersion: version, ...result.estimate },
      };
    }),
  ];
}

function asItem({ action, model, params, credits, ...often }: z.output<typeof item>): EstimateItem {
  const { perDay = 0, perMonth, days = DAYS } = often;
  return {
    action,
    ...defined({ model, params, creditsMilli: credits }),
    times: perMonth === undefined ? { perDay, days } : { perMonth },
  };
}

function wrongItem(result: Exclude<ReturnType<typeof estimate>, { ok: true }>): ProblemError {
  const place = `items.${result.item}`;
  if ('tooMuch' in result) {
    const detail = `${place}: ${result.tooMuch}`;
    return new ProblemError('invalid_request', {
      detail,
      errors: [{ path: place, message: result.tooMuch }],
    });
  }
  const { code, detail, path } = result.refusal;
  return new ProblemError(code, {
    detail,
    errors: [{ path: path === undefined ? place : `${place}.${path}`, message: detail }],
  });
}
