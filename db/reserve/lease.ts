import { DEFAULT_MAX_OPEN_GENERATIONS, type Instant } from '../../domain/account';
import { type MilliCredits, milli } from '../../domain/credits';
import { generationId, holdIdOf } from '../../domain/ids';
import { type Count, countsOf } from '../../domain/access/limits';
import type { Spendable } from '../../domain/time/outlook';
import type { Priced } from '../../domain/prices/line';
import type { Refusal } from '../../domain/refusals';
import { decide, type ReservationRequest } from '../../domain/access/decide';
import { reserveBefore } from '../connection/databaseClock';
import type {
  ChargeOperation,
  Draw,
  HeldWork,
  HoldState,
  KeptRefusal,
  LeaseOperation,
  Reply,
} from '../ledger/operations';
import {
  type FutureFacts,
  futureFacts,
  type PaywallFacts,
  paywallFacts,
  reserveCredits,
  type ReserveDeps,
  type Reserving,
  takeOperation,
  unknownQuote,
} from './terms';
import { defined } from '../../domain/defined';

/** Holds and charges without a workflow: straight from a request to the ledger, in one call. */

export interface Leases {
  /** Holds credits until the lease has ended, or charges them at once. */
  take(request: TakeRequest): Promise<TakeOutcome>;
}

export interface TakeRequest {
  kind: 'hold' | 'charge';
  account: string;
  key: string;
  hash: string;
  /** When it came in, in monotonic milliseconds of this process: from then on credits may be taken for a while (rule 8). Null: however late. */
  arrivedMs: number | null;
  /** Set for a hold. */
  ttlSeconds?: number | undefined;
  what:
    | { creditsMilli: MilliCredits }
    | { quote: string; confirm?: boolean | undefined }
    | ReservationRequest;
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

type TakeOutcome =
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

export function createLeases({ ledger, catalogs, knex }: ReserveDeps): Leases {
  return {
    async take(request) {
      const { account, what } = request;
      const quote = 'quote' in what ? what.quote : undefined;
      const made = await reserveCredits({ ledger, catalogs, knex }, { account, quote }, (reserving) => {
        const decided = takingOf(request, reserving);
        return {
          operation: decided.kind === 'takes' ? operationOf(request, reserving, decided) : null,
          decided,
        };
      });
      return made === null ? { kind: 'unknown_account' } : outcomeOf(made.reply, made.decided);
    },
  };
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

function takingOf(request: TakeRequest, reserving: Reserving): Taking {
  const { what, kind } = request;
  const { snapshot, terms, quote, coming } = reserving;
  const member = request.member ?? null;
  if ('creditsMilli' in what) return ofAmount(what.creditsMilli, request, reserving);
  if ('quote' in what && quote === null)
    return { kind: 'refused', refusal: unknownQuote(what.quote, 'name an action'), priced: null };
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
    isLive: false, // the caller does the work, whatever the catalog names
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
function ofAmount(amount: MilliCredits, request: TakeRequest, reserving: Reserving): Taking {
  const { snapshot, terms, coming } = reserving;
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
    ...defined({ member, project, feature, metadata }),
  };
}

function operationOf(
  request: TakeRequest,
  { snapshot, reading }: Reserving,
  taking: Extract<Taking, { kind: 'takes' }>,
): LeaseOperation | ChargeOperation {
  const { account, key, hash, kind, arrivedMs, ttlSeconds, lateWork } = request;
  const { amount, excluded, catalogVersion, maxOpen, paywall, work, gated, counts } = taking;
  const holdId = lateWork?.holdId ?? holdIdOf(generationId(account, key));
  const common = {
    ...takeOperation({
      key,
      hash,
      snapshot,
      holdId,
      amount,
      excluded,
      gated,
      counts,
      reserveBefore: arrivedMs === null ? 'infinity' : reserveBefore(reading, { arrivedMs }),
      facts: { v: 1, id: holdId, excluded },
      ifRefused: { ...paywall, catalogVersion },
    }),
    work,
    ...(lateWork === undefined ? {} : { actor: lateWork.actor, reason: lateWork.reason }),
  };
  if (kind === 'charge') return { op: 'charge', ...common };
  if (ttlSeconds === undefined) throw new Error('a hold without a workflow needs an end');
  return { op: 'reserve', ...common, maxOpen, ttlSeconds };
}

function outcomeOf(reply: Reply, taking: Taking): TakeOutcome {
  if (reply.answer !== null) return { kind: 'answered', text: reply.answer, replayed: reply.replayed };
  switch (reply.status) {
    case 'idempotency_conflict':
      return { kind: 'conflict' };
    case 'too_many_open_generations':
      return { kind: 'too_many_open' };
    case 'withdrawn':
      return taking.kind === 'refused' ? taking : { kind: 'free' };
    default:
      return { kind: 'too_late' };
  }
}
