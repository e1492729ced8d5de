import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { readCounters } from '../../../db/accounts/counters';
import type { Ledger } from '../../../db/ledger/ledger';
import { QUOTE_TTL_MS, saveQuote } from '../../../db/reserve/quotes';
import { toMs } from '../../../domain/account';
import { toCredits } from '../../../domain/credits';
import { price } from '../../../domain/prices/price';
import { countsFor, verdict } from '../../../domain/access/verdict';
import { refusalFacts, unknownAccount } from '../../problems/common';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { accountId, callerName, creditsOut, instantOut } from '../../routing/schemas';
import { optionValues } from './schemas';
import { paywall } from './paywallSchema';
import { defined } from '../../../domain/defined';

/** A price with its working, and what would happen if it were asked for now. */

interface QuoteRequest {
  account: string;
  action: string;
  model?: string | undefined;
  params?: Record<string, unknown> | undefined;
  /** Who would order it: its limit and role count in the verdict, not in the price. */
  member?: string | undefined;
}

export interface Quoting {
  quote(request: QuoteRequest): Promise<z.output<typeof quote>>;
}

export interface QuotingDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
}

export const quote = z
  .object({
    id: z.string(),
    expiresAt: instantOut,
    catalogVersion: z.number(),
    credits: creditsOut,
    min: creditsOut,
    ceiling: creditsOut,
    lines: z.array(
      z.object({
        label: z.string(),
        quantity: z.number(),
        unit: z.string(),
        rate: creditsOut,
        credits: creditsOut,
        phase: z.string().optional().describe('The phase of a pipeline that costs this'),
      }),
    ),
    allowed: z.boolean(),
    reason: z.string().nullable().describe('The code with which a generation would be refused now'),
    paywall: paywall.nullable(),
    draws: z
      .array(z.object({ bucket: z.string(), credits: creditsOut }))
      .describe('Which buckets would pay, in order'),
    needsConfirmation: z.boolean(),
  })
  .meta({ id: 'Quote' });

export function createQuoting({ db, ledger, catalogs }: QuotingDeps): Quoting {
  return {
    async quote({ account, action, model, params, member }) {
      const snapshot = await ledger.balance(account);
      if (snapshot === null) throw unknownAccount(account);
      const [{ catalog, version }, ...later] = await catalogs.inForceFrom(
        snapshot.rules.catalog,
        toMs(snapshot.now),
      );
      const result = price({
        catalog,
        action,
        ...defined({ model, params }),
      });
      if (!result.ok) throw new ProblemError(result.refusal.code, refusalFacts(result.refusal));
      const { priced } = result;
      const asked = { snapshot, catalog, later, priced, member: member ?? null };
      const used = await readCounters(db.knex, account, countsFor(asked));
      const { allowed, reason, paywall: wall, draws } = verdict(asked, used);
      const expiresAt = new Date(toMs(snapshot.now) + QUOTE_TTL_MS).toISOString();
      const id = await saveQuote(db.knex, {
        account,
        action: priced.action,
        model: priced.model,
        params: priced.params,
        creditsMilli: priced.creditsMilli,
        catalog: catalog.catalog,
        catalogVersion: version,
        expiresAt,
      });
      return {
        id,
        expiresAt,
        catalogVersion: version,
        credits: toCredits(priced.creditsMilli),
        min: toCredits(priced.minMilli),
        ceiling: toCredits(priced.ceilingMilli),
        lines: priced.lines.map(({ rateMilli, creditsMilli, ...line }) => ({
          ...line,
          rate: toCredits(rateMilli),
          credits: toCredits(creditsMilli),
        })),
        allowed,
        reason,
        paywall: wall,
        draws: draws.map(({ bucket, milli }) => ({ bucket, credits: toCredits(milli) })),
        needsConfirmation: priced.needsConfirmation,
      };
    },
  };
}

export function quoteRoutes({ quoting }: { quoting: Quoting }): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/quotes',
      summary: 'Quote a price with its working, valid for 15 minutes',
      tag: 'Prices',
      scope: 'read',
      account: accountFrom.body('account'),
      idempotency: 'optional',
      passing: true,
      errors: ['unknown_account', 'unknown_action', 'unknown_model', 'unknown_option'],
      body: z.strictObject({
        account: accountId,
        action: z.string().min(1).max(64),
        model: z.string().min(1).max(64).optional(),
        params: optionValues.optional(),
        member: callerName.optional(),
      }),
      responses: { 200: quote },
    }).handle(async ({ body }) => ({ status: 200, body: await quoting.quote(body) })),
  ];
}
