import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import { milli } from '../../domain/credits';
import type { QuoteTerms } from '../../domain/access/decide';
import { prepared } from '../connection/prepared';

/** Rule 9: a quote lives at most 15 minutes, on the account's clock. */
export const QUOTE_TTL_MS = 15 * 60_000;

export interface NewQuote extends Omit<QuoteTerms, 'quote'> {
  account: string;
}

/** Stores a quote and returns its id, `qt_<account>.<random>`. */
export async function saveQuote(knex: Knex, quote: NewQuote): Promise<string> {
  const id = `qt_${quote.account}.${randomBytes(12).toString('hex')}`;
  await knex('holdfast.quotes').insert({
    account_id: quote.account,
    quote_id: id,
    catalog: quote.catalog,
    catalog_version: quote.catalogVersion,
    action: quote.action,
    model: quote.model,
    params: JSON.stringify(quote.params),
    credits: quote.creditsMilli,
    expires_at: quote.expiresAt,
  });
  return id;
}

interface QuoteRow {
  quote_id: string;
  action: string;
  model: string | null;
  params: Record<string, unknown>;
  credits: number;
  catalog: string;
  catalog_version: number;
  expires_at: Date;
}

export async function findQuote(
  knex: Knex,
  { account, quote }: { account: string; quote: string },
): Promise<QuoteTerms | null> {
  const row = await prepared('find_quote', (name) =>
    knex('holdfast.quotes')
      .where({ account_id: account, quote_id: quote })
      .first<QuoteRow | undefined>(
        'quote_id',
        'action',
        'model',
        'params',
        'credits',
        'catalog',
        'catalog_version',
        'expires_at',
      )
      .options({ name }),
  );
  if (row === undefined) return null;
  return {
    quote: row.quote_id,
    action: row.action,
    model: row.model,
    params: row.params,
    creditsMilli: milli(row.credits),
    catalog: row.catalog,
    catalogVersion: row.catalog_version,
    expiresAt: row.expires_at.toISOString(),
  };
}
