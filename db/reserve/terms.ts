import type { Knex } from 'knex';
import type { Instant, Snapshot } from '../../domain/account';
import { type Count, countsUntil, roleOf } from '../../domain/access/limits';
import type { Decision, QuoteTerms } from '../../domain/access/decide';
import type { Catalog } from '../../domain/catalog/catalog';
import type { MilliCredits } from '../../domain/credits';
import type { Priced } from '../../domain/prices/line';
import type { Refusal } from '../../domain/refusals';
import { type Coming, standingsOf } from '../../domain/time/outlook';
import { upgradeTerms, type UpgradeTerms } from '../../domain/time/planChange';
import { hasSubscription } from '../../domain/time/settle';
import type { CatalogStore, CatalogVersion } from '../catalogs/catalogs';
import type { BuildContext } from '../ledger/knownAccounts';
import type { Ledger } from '../ledger/ledger';
import type { Operation, Reply, TakeOperation } from '../ledger/operations';
import { findQuote } from './quotes';

/** The one road to credits, behind generation, hold and charge: the terms are found, the account decides under its lock. */

export interface ReserveDeps {
  ledger: Ledger;
  catalogs: CatalogStore;
  knex: Knex;
}

export type UnderLock = Extract<Decision, { kind: 'decided-under-lock' }>;

/** The account as it is, and the terms it is charged on: the quote's, or those of the catalog in force. */
export interface Reserving extends BuildContext {
  terms: CatalogVersion;
  quote: QuoteTerms | null;
}

/**
 * Decides on the account as it is known, and again where that has changed meanwhile; answers the ledger's reply, with the
 * decision that it is to. Null: there is no such account.
 */
export async function reserveCredits<D>(
  deps: ReserveDeps,
  request: { account: string; quote: string | undefined },
  decide: (reserving: Reserving) => { operation: Operation | null; decided: D },
): Promise<{ reply: Reply; decided: D } | null> {
  const quoted = await quotedTerms(deps, request);
  return deps.ledger.decide(request.account, (context) =>
    decide({ ...context, terms: quoted?.terms ?? context.catalog, quote: quoted?.quote ?? null }),
  );
}

/** A quote of the account with the catalog it was made from; null: the request names none, or one that there is not. */
export async function quotedTerms(
  { knex, catalogs }: Pick<ReserveDeps, 'knex' | 'catalogs'>,
  { account, quote: id }: { account: string; quote: string | undefined },
): Promise<{ quote: QuoteTerms; terms: CatalogVersion } | null> {
  if (id === undefined) return null;
  const quote = await findQuote(knex, { account, quote: id });
  const terms = quote === null ? undefined : await catalogs.version(quote.catalog, quote.catalogVersion);
  return quote === null || terms === undefined ? null : { quote, terms };
}

/** `instead`: what the caller may do. */
export function unknownQuote(quote: string, instead: string): Refusal {
  const detail = `There is no quote ${quote} for this account; ask for one, or ${instead}.`;
  return { code: 'unknown_quote', path: 'quote', detail };
}

/** What a generation, a hold and a charge ask of the ledger alike. */
export function takeOperation(options: {
  key: string;
  hash: string;
  snapshot: Snapshot;
  holdId: string;
  amount: MilliCredits;
  excluded: string[];
  /** The plan does not allow it; recorded if the rules have not moved since. */
  gated: boolean;
  counts: Count[];
  reserveBefore: Instant;
  /** Kept with the answer; `ifRefused` joins them where it is a refusal. */
  facts: Record<string, unknown>;
  ifRefused: Record<string, unknown>;
}): TakeOperation {
  const { key, snapshot, gated, counts, ...rest } = options;
  const until = countsUntil(counts);
  return {
    ...rest,
    key: `req:${key}`,
    rulesVersion: snapshot.rulesVersion,
    ...(gated ? { refusal: 'plan_required' as const } : {}),
    ...(counts.length === 0 ? {} : { counts }),
    ...(until === null ? {} : { countsUntil: until }),
  };
}

/** What a paywall is made of, should it come to one. */
export interface PaywallFacts {
  catalog: string;
  plan: string;
  subscribed: boolean;
  /** The member who asked; absent or null: nobody in particular. */
  role?: 'owner' | 'member' | null;
  requiredPlan: string | null;
  excluded: string[];
  /** For answers without `coming`, and for processes that read no other. */
  nextRefresh: { at: string; amountMilli: number } | null;
  required: number;
  refusalDetail: string | null;
  /** Absent from answers that were given before paywalls looked at it. */
  debt?: number;
}

/** What a paywall tells of the future; absent from answers that were given before settle was asked for it. */
export interface FutureFacts {
  coming?: Coming[];
  upgrade?: UpgradeTerms;
}

/** What a refusal of this decision would be told with. */
export function paywallFacts(options: {
  snapshot: Snapshot;
  catalog: Catalog;
  decision: Pick<UnderLock, 'gate' | 'excluded'> & { priced: Pick<Priced, 'requiredPlan'> };
  future: Required<FutureFacts>;
  member: string | null;
  required: MilliCredits;
}): PaywallFacts {
  const { snapshot, catalog, decision, future, member, required } = options;
  const { excluded, gate, priced } = decision;
  const { debt } = snapshot;
  const standings = standingsOf({ coming: future.coming, left: [], debtMilli: debt, excluded });
  const next =
    standings.find(({ amountMilli }) => amountMilli >= required) ??
    standings.find(({ refreshed }) => refreshed);
  return {
    catalog: catalog.catalog,
    plan: snapshot.rules.plan,
    subscribed: hasSubscription(catalog, snapshot.rules),
    role: roleOf(snapshot, member),
    requiredPlan: priced.requiredPlan,
    excluded,
    nextRefresh: next === undefined ? null : { at: next.at, amountMilli: next.amountMilli },
    required,
    refusalDetail: gate?.detail ?? null,
    debt,
  };
}

/** What a refusal would be told of the future: what settle will do, also when the limits of these counts start again. */
export function futureFacts(options: {
  snapshot: Snapshot;
  catalog: Catalog;
  counts: readonly Count[];
  coming: BuildContext['coming'];
}): Required<FutureFacts> {
  const { snapshot, catalog, counts, coming } = options;
  const resets = counts.flatMap(({ limit, resetsAt }) =>
    limit === null || resetsAt === null ? [] : [resetsAt],
  );
  return { coming: coming([...new Set(resets)]), upgrade: upgradeTerms({ snapshot, catalog }) };
}
