import { DEFAULT_MAX_OPEN_GENERATIONS, type Snapshot, toMs } from '../account';
import type { Catalog } from '../catalog/catalog';
import type { MilliCredits } from '../credits';
import { excludedBuckets, planGate } from './gates';
import { canonicalJson } from '../ids';
import type { Priced } from '../prices/line';
import { price } from '../prices/price';
import { isSimulated, PROVIDERS, SIMULATED_IN_LIVE } from '../catalog/providers';
import type { Refusal } from '../refusals';
import { defined } from '../defined';

/**
 * Everything about a request that can be decided without the account's lock: is it well formed, what does it
 * cost, does the plan allow it. The database repeats the decision's premises under the lock (rule 9).
 */

/** A price somebody was told, with the catalog version it came from. */
export interface QuoteTerms {
  quote: string;
  action: string;
  model: string | null;
  params: Record<string, unknown>;
  creditsMilli: MilliCredits;
  catalog: string;
  catalogVersion: number;
  expiresAt: string;
}

export interface ReservationRequest {
  action: string;
  model?: string | undefined;
  params?: Record<string, unknown> | undefined;
  confirm?: boolean | undefined;
  provider?: Record<string, unknown> | undefined;
}

export interface ReservationInput {
  snapshot: Snapshot;
  /** The catalog in force, or the quote's own version. */
  catalog: Catalog;
  catalogVersion: number;
  request: ReservationRequest;
  /** The quote the request names, if it names one that exists. */
  quote: QuoteTerms | null;
  mayChooseProvider: boolean;
  /** In live mode nothing is simulated. */
  isLive: boolean;
}

export type Decision =
  /** Refused before the lock; nothing is recorded and the key stays free. */
  | { kind: 'refused'; refusal: Refusal; priced?: Priced }
  /** To be decided under the lock; `gate` is a refusal that only needs the rules to be as they were. */
  | {
      kind: 'decided-under-lock';
      priced: Priced;
      gate: Refusal | null;
      excluded: string[];
      maxOpen: number;
      provider: Record<string, unknown>;
      catalogVersion: number;
    };

/** Order: suspended, action and options, quote, confirmation, plan; open generations and balance follow in SQL. */
export function decide(input: ReservationInput): Decision {
  const { snapshot, catalog, request, quote } = input;
  if (snapshot.rules.suspended) {
    return refused({ code: 'account_suspended', detail: 'This account is suspended and may not generate.' });
  }
  const result = price({
    catalog,
    action: request.action,
    ...defined({ model: request.model, params: request.params }),
  });
  if (!result.ok) return refused(result.refusal);
  const { priced } = result;
  if (request.provider !== undefined && !input.mayChooseProvider && !catalog.rules.callersChooseProvider) {
    return refused({
      code: 'provider_not_allowed',
      path: 'provider',
      detail: 'This key may not choose the provider; leave `provider` out or use an admin key.',
    });
  }
  const { provider } = request;
  if (provider !== undefined && !PROVIDERS.some((name) => name === provider['type'])) {
    return refused({
      code: 'unknown_option',
      path: 'provider.type',
      detail: `provider.type must be one of ${PROVIDERS.join(', ')}.`,
    });
  }
  const chosen = provider ?? priced.provider;
  if (input.isLive && !priced.free && isSimulated(chosen))
    return refused({ code: 'provider_not_allowed', path: 'provider.type', detail: SIMULATED_IN_LIVE });
  const misquoted = quote === null ? null : checkQuote(quote, { priced, nowMs: toMs(snapshot.now) });
  if (misquoted !== null) return refused(misquoted);
  if (priced.needsConfirmation && request.confirm !== true) {
    const detail = 'This action must be confirmed: send the same request with `confirm: true`.';
    return { ...refused({ code: 'confirmation_required', detail }), priced };
  }
  return {
    kind: 'decided-under-lock',
    priced,
    gate: planGate({ catalog, plan: snapshot.rules.plan, priced }),
    excluded: excludedBuckets({ catalog, priced }),
    maxOpen: snapshot.rules.maxOpen ?? DEFAULT_MAX_OPEN_GENERATIONS,
    provider: { ...chosen },
    catalogVersion: input.catalogVersion,
  };
}

function refused(refusal: Refusal): { kind: 'refused'; refusal: Refusal } {
  return { kind: 'refused', refusal };
}

/** A quote fixes price and catalog version only, and only for what it was made for. */
function checkQuote(quote: QuoteTerms, { priced, nowMs }: { priced: Priced; nowMs: number }): Refusal | null {
  if (nowMs >= toMs(quote.expiresAt)) {
    return {
      code: 'quote_expired',
      path: 'quote',
      detail: `The quote expired at ${quote.expiresAt}; ask for a new one.`,
    };
  }
  const same =
    quote.action === priced.action &&
    quote.model === priced.model &&
    canonicalJson(quote.params) === canonicalJson(priced.params);
  if (same) return null;
  return {
    code: 'quote_mismatch',
    path: 'quote',
    detail: 'The quote was made for another action, model or parameters; ask for one for this request.',
  };
}
