import type { Knex } from 'knex';
import { DEFAULT_MAX_OPEN_GENERATIONS, type Instant, type Snapshot } from '../../domain/account';
import { type MilliCredits, milli } from '../../domain/credits';
import { generationId, holdIdOf } from '../../domain/ids';
import { type Count, countsOf, countsUntil } from '../../domain/access/limits';
import type { Spendable } from '../../domain/time/outlook';
import type { Priced } from '../../domain/prices/line';
import type { Refusal } from '../../domain/refusals';
import { decide, type QuoteTerms, type ReservationRequest } from '../../domain/access/decide';
import type { CatalogStore, CatalogVersion } from '../catalogs/catalogs';
import { type ClockReading, reserveBefore } from '../connection/databaseClock';
import type { BuildContext, Ledger } from '../ledger/ledger';
import type {
  ChargeOperation,
  Draw,
  HeldWork,
  HoldState,
  KeptRefusal,
  LeaseOperation,
  Reply,
} from '../ledger/operations';
import { findQuote } from './quotes';
import { type FutureFacts, futureFacts, type PaywallFacts, paywallFacts } from './generation';

/** Holds and charges without a workflow: straight from a request to the ledger, in one call. */

export interface Leases {
  /** Holds credits until the lease is over, or charges them at once. */
  take(request: TakeRequest): Promise<TakeOutcome>;
}

export interface TakeRequest {
  kind: 'hold' | 'charge';
  account: string;
  key: string;
  hash: string;
  /** When it came in, in monotonic milliseconds of this process: from then on credits may be taken for a while (rule 8). Null: however late. */
  arrivedMs: number | null;
  /** Of a hold. */
  ttlSeconds?: number | undefined;
  what: { credits: MilliCredits } | { quote: string; confirm?: boolean | undefined } | ReservationRequest;
  member?: string | undefined;
  project?: string | undefined;
  feature?: string | undefined;
  metadata?: Record<string, unknown> | undefined;
  /** A charge by hand for work of a generation that had ended: counted, but against no limit. */
  lateWork?: LateWork | undefined;
}

export interface LateWork {
  /** One of its own per generation, so that it is charged for once. */
  holdId: string;
  work: HeldWork;
  excluded: string[];
  actor: string;
  reason: string;
}

export type TakeOutcome =
  | { kind: 'answered'; text: string; replayed: boolean }
  | { kind: 'refused'; refusal: Refusal; priced: Priced | null }
  | { kind: 'unknown_account' | 'conflict' | 'too_late' | 'too_many_open' | 'free' };

/** The stored answer to a hold's or charge's key, and to what was done with a hold afterwards. `v` as in reservations. */
export interface StoredTake {
  status: 'applied' | KeptRefusal;
  at: Instant;
  available: number;
  held: number;
  debt: number;
  required?: number;
  spendable?: number;
  left?: Spendable[];
  limited?: Count & { used: number };
  after?: HoldState & { draws: Draw[] };
  /** The paywall's are there where it was refused. */
  facts: { v: 1; id: string; excluded: string[] } & Partial<
    PaywallFacts & FutureFacts & { catalogVersion: number }
  >;
}

export function createLeases({
  ledger,
  catalogs,
  knex,
}: {
  ledger: Ledger;
  catalogs: CatalogStore;
  knex: Knex;
}): Leases {
  async function quoted({ account, what }: TakeRequest): Promise<Quoted | null> {
    if (!('quote' in what)) return null;
    const quote = await findQuote(knex, { account, quote: what.quote });
    const catalog = quote === null ? undefined : await catalogs.version(quote.catalog, quote.catalogVersion);
    return quote === null || catalog === undefined ? null : { quote, catalog };
  }

  return {
    async take(request) {
      const { account } = request;
      const found = await quoted(request);
      let taking: Taking | null = null;
      const reply = await ledger.run(account, ({ snapshot, reading, catalog, coming }) => {
        taking = takingOf({
          ...{ request, snapshot, coming },
          terms: found?.catalog ?? catalog,
          quote: found?.quote ?? null,
        });
        return taking.kind === 'takes' ? operationOf(request, { snapshot, reading, taking }) : null;
      });
      return outcomeOf(reply, taking);
    },
  };
}

interface Quoted {
  quote: QuoteTerms;
  catalog: CatalogVersion;
}

/** What is to be taken and on which terms, before the lock decides. */
type Taking =
  | {
      kind: 'takes';
      amount: MilliCredits;
      excluded: string[];
      gated: boolean;
      counts: Count[];
      maxOpen: number;
      catalogVersion: number;
      paywall: PaywallFacts & FutureFacts;
      work: HeldWork;
    }
  | { kind: 'refused'; refusal: Refusal; priced: Priced | null }
  /** A hold of nothing. */
  | { kind: 'free' };

function takingOf(options: {
  request: TakeRequest;
  snapshot: Snapshot;
  terms: CatalogVersion;
  quote: QuoteTerms | null;
  coming: BuildContext['coming'];
}): Taking {
  const { request, snapshot, terms, quote, coming } = options;
  const { what, kind } = request;
  const member = request.member ?? null;
  if ('credits' in what) return ofAmount(what.credits, { snapshot, terms, request, coming });
  if ('quote' in what && quote === null) {
    const detail = `There is no quote ${what.quote} for this account; ask for one, or name an action.`;
    return { kind: 'refused', refusal: { code: 'unknown_quote', path: 'quote', detail }, priced: null };
  }
  const decision = decide({
    snapshot,
    catalog: terms.catalog,
    catalogVersion: terms.version,
    // A quote says all there is to price: what was quoted is what is taken.
    request:
      quote === null || 'action' in what
        ? (what as ReservationRequest) // neither credits nor quote: the type's third form
        : {
            action: quote.action,
            model: quote.model ?? undefined,
            params: quote.params,
            confirm: what.confirm,
          },
    quote,
    mayChooseProvider: false,
  });
  if (decision.kind === 'refused')
    return { kind: 'refused', refusal: decision.refusal, priced: decision.priced ?? null };
  const { priced, excluded, maxOpen, catalogVersion, gate } = decision;
  // A hold takes the most it may come to, a charge what it costs.
  const amount = milli(kind === 'hold' ? priced.ceilingMilli : priced.creditsMilli);
  if (kind === 'hold' && amount === 0) return { kind: 'free' };
  const { catalog } = terms;
  const counts = countsOf({ snapshot, catalog, priced, member, amount });
  const future = futureFacts({ snapshot, catalog, counts, coming });
  return {
    kind: 'takes',
    amount,
    excluded,
    gated: gate !== null,
    counts,
    maxOpen,
    catalogVersion,
    paywall: {
      ...paywallFacts({ snapshot, catalog, decision, future, member, required: amount }),
      ...future,
    },
    work: { ...namesOf(request), action: priced.action, model: priced.model, params: priced.params },
  };
}

/** A bare amount has no price, no gate and no excluded bucket; the account must be in good standing all the same. */
function ofAmount(
  amount: MilliCredits,
  options: {
    snapshot: Snapshot;
    terms: CatalogVersion;
    request: TakeRequest;
    coming: BuildContext['coming'];
  },
): Taking {
  const { snapshot, terms, request, coming } = options;
  const { rules } = snapshot;
  const { lateWork } = request;
  if (rules.suspended && lateWork === undefined) {
    const detail = 'This account is suspended; nothing can be taken from it.';
    return { kind: 'refused', refusal: { code: 'account_suspended', detail }, priced: null };
  }
  const { catalog } = terms;
  const member = request.member ?? null;
  const excluded = lateWork?.excluded ?? [];
  const counts = countsOf({ snapshot, catalog, priced: null, member, amount });
  const future = futureFacts({ snapshot, catalog, counts, coming });
  const decision = { excluded, gate: null, priced: { requiredPlan: null } };
  return {
    kind: 'takes',
    amount,
    excluded,
    gated: false,
    counts: lateWork === undefined ? counts : counts.map((count) => ({ ...count, limit: null })),
    maxOpen: rules.maxOpen ?? DEFAULT_MAX_OPEN_GENERATIONS,
    catalogVersion: terms.version,
    paywall: {
      ...paywallFacts({ snapshot, catalog, decision, future, member, required: amount }),
      ...future,
    },
    work: lateWork?.work ?? namesOf(request),
  };
}

function namesOf({ member, project, feature, metadata }: TakeRequest): HeldWork {
  return {
    ...(member === undefined ? {} : { member }),
    ...(project === undefined ? {} : { project }),
    ...(feature === undefined ? {} : { feature }),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

function operationOf(
  request: TakeRequest,
  known: { snapshot: Snapshot; reading: ClockReading; taking: Extract<Taking, { kind: 'takes' }> },
): LeaseOperation | ChargeOperation {
  const { account, key, hash, kind, arrivedMs, ttlSeconds, lateWork } = request;
  const { snapshot, reading, taking } = known;
  const { amount, excluded, catalogVersion, maxOpen, paywall, work, gated, counts } = taking;
  const until = countsUntil(counts);
  const holdId = lateWork?.holdId ?? holdIdOf(generationId(account, key));
  const common = {
    key: `req:${key}`,
    hash,
    facts: { v: 1, id: holdId, excluded },
    ifRefused: { ...paywall, catalogVersion },
    rulesVersion: snapshot.rulesVersion,
    amount,
    holdId,
    excluded,
    ...(gated ? { refusal: 'plan_required' as const } : {}),
    ...(counts.length === 0 ? {} : { counts }),
    ...(until === null ? {} : { countsUntil: until }),
    reserveBefore: arrivedMs === null ? 'infinity' : reserveBefore(reading, { arrivedMs }),
    work,
    ...(lateWork === undefined ? {} : { actor: lateWork.actor, reason: lateWork.reason }),
  };
  if (kind === 'charge') return { op: 'charge', ...common };
  if (ttlSeconds === undefined) throw new Error('a hold without a workflow needs an end');
  return { op: 'reserve', ...common, maxOpen, ttlSeconds };
}

function outcomeOf(reply: Reply | null, taking: Taking | null): TakeOutcome {
  if (reply === null) return { kind: 'unknown_account' };
  if (reply.answer !== null) return { kind: 'answered', text: reply.answer, replayed: reply.replayed };
  switch (reply.status) {
    case 'idempotency_conflict':
      return { kind: 'conflict' };
    case 'too_many_open_generations':
      return { kind: 'too_many_open' };
    case 'withdrawn':
      return taking?.kind === 'refused' ? taking : { kind: 'free' };
    default:
      return { kind: 'too_late' };
  }
}

/** One hold without a workflow, as the row has it; undefined: there is none. */
export interface StoredHold {
  id: string;
  generation: string | null;
  work: (HeldWork & { draws: Draw[] }) | null;
  held: MilliCredits;
  captured: MilliCredits;
  released: MilliCredits;
  forfeited: MilliCredits;
  refunded: MilliCredits;
  expiresAt: Instant | null;
}

export async function findHold(
  knex: Knex,
  { account, id }: { account: string; id: string },
): Promise<StoredHold | undefined> {
  const row = await knex('ledger.holds').where({ account_id: account, hold_id: id }).first<
    | {
        hold_id: string;
        generation_id: string | null;
        work: StoredHold['work'];
        held: number;
        captured: number;
        released: number;
        forfeited: number;
        refunded: number;
        expires_at: Date | null;
      }
    | undefined
  >();
  if (row === undefined) return undefined;
  return {
    id: row.hold_id,
    generation: row.generation_id,
    work: row.work,
    held: milli(row.held),
    captured: milli(row.captured),
    released: milli(row.released),
    forfeited: milli(row.forfeited),
    refunded: milli(row.refunded),
    expiresAt: row.expires_at?.toISOString() ?? null,
  };
}
