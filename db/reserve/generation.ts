import { type Instant, type Snapshot, toMs } from '../../domain/account';
import type { OrderedGeneration } from '../../domain/generations/generation';
import { generationId, holdIdOf, requestHash } from '../../domain/ids';
import type { Priced } from '../../domain/prices/line';
import { type Count, countsOf } from '../../domain/access/limits';
import type { Spendable } from '../../domain/time/outlook';
import type { Refusal } from '../../domain/refusals';
import { type Decision, decide, type QuoteTerms } from '../../domain/access/decide';
import type { GenerationInput } from '../../domain/contract';
import type { CatalogVersion } from '../catalogs/catalogs';
import { reserveBefore } from '../connection/databaseClock';
import { foreseesRefusal } from './foreseenRefusal';
import { holdNow } from '../generations/holds';
import type { Known } from '../ledger/knownAccounts';
import type { KeptRefusal, ReserveOperation } from '../ledger/operations';
import {
  type FutureFacts,
  futureFacts,
  type PaywallFacts,
  paywallFacts,
  quotedTerms,
  reserveCredits,
  type ReserveDeps,
  type Reserving,
  takeOperation,
  type UnderLock,
  unknownQuote,
} from './terms';

/** From a request to held credits: what the reserve activity does, and the API for free actions and plain refusals. */

export interface Reservations {
  reserve(options: ReserveOptions): Promise<ReserveOutcome>;
  /** What `reserve` would decide before the lock, without writing. Null: no such account. */
  preview(input: GenerationInput): Promise<Preview | null>;
}

interface Preview extends Known {
  decision: Decision;
  /** As things stand it comes to no hold: it is free, or refused under the lock. Then no workflow need be started (rule 10). */
  holdsNothing: boolean;
}

interface ReserveOptions {
  input: GenerationInput;
  /** When this process heard of it. It and the input's `receivedAt`: the earlier one begins the time in which credits may be held (rule 8). */
  arrivedMs: number;
  /** The workflow that will own the hold. Null: nothing may be held, so only refusals and free actions come of it. */
  workflowId: string | null;
  /** `generationHash` of the input, where the caller knows it. */
  hash?: string;
}

type ReserveOutcome =
  /** What the key answers from now on: held, free, or refused for good. */
  | {
      kind: 'answered';
      answer: StoredAnswer;
      text: string;
      hash: string;
      replayed: boolean;
      holdOpen: boolean;
    }
  /** Refused in a way that does not use the key up. */
  | { kind: 'refused'; refusal: Refusal; priced: Priced | null }
  /** `would_hold`: without a workflow, but not refused after all. */
  | { kind: 'too_late' | 'would_hold' | 'conflict' | 'unknown_account' };

/**
 * The answer to a key as the ledger keeps it: the decision, and the facts its rendering needs. `v` is the
 * version of that rendering: a change of form adds a version, so old answers keep their bytes (api/resources/generations/keptAnswer.ts).
 */
export interface StoredAnswer {
  status: 'applied' | KeptRefusal;
  at: string;
  amount?: number;
  required?: number;
  spendable?: number;
  /** The account's debt then. */
  debt?: number;
  /** What can be spent, in spend order; absent from answers that were given before paywalls looked at it. */
  left?: Spendable[];
  /** The counter that was too full. */
  limited?: Count & { used: number };
  draws?: { bucket: string; milli: number }[];
  facts: ReserveFacts;
}

interface ReserveFacts extends PaywallFacts, FutureFacts {
  v: 1;
  generation: OrderedGeneration;
  /** Seconds the work may take before the hold raises an alert. */
  maxDurationSeconds: number;
  /** Listed as a free action, which ends at once. Absent from older answers: there, all that cost 0 did. */
  free?: boolean;
  /** What it costs if all goes as ordered, where less than the ceiling that is held. */
  planned?: number;
}

/** The route whose body a generation's request is: part of the identity of its key (rule 1). */
export function generationHash({ account, request }: Pick<GenerationInput, 'account' | 'request'>): string {
  return requestHash({ method: 'POST', route: '/v1/generations', body: { account, ...request } });
}

export interface ReservationDeps extends ReserveDeps {
  /** The id, not the name, of the Temporal namespace that owns the holds (rule 17). Null: this process holds nothing for a workflow. */
  namespaceId: string | null;
  /** Where an operator sees the workflow; null without a Temporal UI. */
  temporalUrl: (workflowId: string) => string | null;
  isLive: boolean;
}

export function createReservations(deps: ReservationDeps): Reservations {
  const { ledger, catalogs, knex } = deps;

  async function preview(input: GenerationInput): Promise<Preview | null> {
    const quoted = await quotedTerms(deps, { account: input.account, quote: input.request.quote });
    const known = await ledger.read(input.account);
    if (known === null) return null;
    const { snapshot } = known;
    const terms = quoted?.terms ?? (await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now)));
    const decision = decideOn({ input, snapshot, terms, quote: quoted?.quote ?? null, isLive: deps.isLive });
    const member = input.request.member ?? null;
    const holdsNothing =
      decision.kind === 'refused' ||
      decision.priced.free ||
      (await foreseesRefusal(knex, { snapshot, catalog: terms.catalog, decision, member }));
    return { ...known, decision, holdsNothing };
  }

  async function reserve(options: ReserveOptions): Promise<ReserveOutcome> {
    const { input, arrivedMs, workflowId } = options;
    const { account, key, request, receivedAt } = input;
    const hash = options.hash ?? generationHash(input);
    const owner = { workflowId, namespaceId: deps.namespaceId };
    const temporalUrl = workflowId === null ? null : deps.temporalUrl(workflowId);
    const made = await reserveCredits<Decision>(deps, { account, quote: request.quote }, (reserving) => {
      const { snapshot, reading, terms, quote } = reserving;
      const decided = decideOn({ input, snapshot, terms, quote, isLive: deps.isLive });
      if (decided.kind === 'refused') return { operation: null, decided };
      const before = reserveBefore(reading, { arrivedMs, receivedAt });
      const operation = reserveOperation({ input, hash, reserving, decided, owner, temporalUrl, before });
      return { operation, decided };
    });
    if (made === null) return { kind: 'unknown_account' };
    const { reply, decided } = made;

    const stored = reply.status === 'withdrawn' ? await ledger.answerTo(account, `req:${key}`) : null;
    if (reply.status === 'idempotency_conflict' || (stored !== null && stored.hash !== hash))
      return { kind: 'conflict' };
    const text = reply.answer ?? stored?.answer ?? null;
    if (text !== null) {
      const answer = JSON.parse(text) as StoredAnswer; // ledger.apply wrote it, around the facts below
      const replayed = reply.replayed || stored !== null;
      const holdId = holdIdOf(answer.facts.generation.id);
      // An answer that was found without the lock says nothing of its hold: the row does.
      const holdOpen =
        stored === null ? reply.hold?.open === true : await goneOnWith({ account, holdId, workflowId });
      return { kind: 'answered', answer, text, hash, replayed, holdOpen };
    }
    if (decided.kind === 'refused')
      return { kind: 'refused', refusal: decided.refusal, priced: decided.priced ?? null };
    if (reply.status === 'too_many_open_generations')
      return { kind: 'refused', refusal: TOO_MANY_OPEN, priced: null };
    return { kind: reply.status === 'would_hold' ? 'would_hold' : 'too_late' };
  }

  /** Whether the hold is open; then the workflow that asks owns it from now on. */
  async function goneOnWith(hold: { account: string; holdId: string; workflowId: string | null }) {
    const { workflowId, ...key } = hold;
    if (workflowId === null) return (await holdNow(knex, key))?.open === true;
    const { namespaceId } = deps;
    if (namespaceId === null) throw new Error('a process without a namespace cannot continue with a hold');
    return ledger.assertHoldOpen({ ...key, workflowId, namespaceId });
  }

  return { preview, reserve };
}

const TOO_MANY_OPEN: Refusal = {
  code: 'too_many_open_generations',
  detail: 'This account has as many open generations as it may; wait for one to end.',
};

function decideOn(options: {
  input: GenerationInput;
  snapshot: Snapshot;
  terms: CatalogVersion;
  quote: QuoteTerms | null;
  isLive: boolean;
}): Decision {
  const { input, snapshot, terms, quote, isLive } = options;
  const { request } = input;
  if (request.quote !== undefined && quote === null) {
    return { kind: 'refused', refusal: unknownQuote(request.quote, 'leave `quote` out') };
  }
  return decide({
    snapshot,
    catalog: terms.catalog,
    catalogVersion: terms.version,
    request: { ...request, provider: request.provider === undefined ? undefined : { ...request.provider } },
    quote,
    mayChooseProvider: input.mayChooseProvider === true,
    isLive,
  });
}

function reserveOperation(options: {
  input: GenerationInput;
  hash: string;
  reserving: Reserving;
  decided: UnderLock;
  owner: { workflowId: string | null; namespaceId: string | null };
  temporalUrl: string | null;
  before: Instant;
}): ReserveOperation {
  const { input, hash, reserving, decided, owner, temporalUrl, before } = options;
  const { snapshot, terms, coming } = reserving;
  const { priced, excluded, gate, maxOpen } = decided;
  const { catalog } = terms;
  const member = input.request.member ?? null;
  const amount = priced.ceilingMilli;
  const counts = countsOf({ snapshot, catalog, priced, member, amount });
  const future = futureFacts({ snapshot, catalog, counts, coming });
  const generation = orderedGeneration({ input, decided, workflowId: owner.workflowId, temporalUrl });
  const facts: ReserveFacts = {
    v: 1,
    ...paywallFacts({ snapshot, catalog, decision: decided, future, member, required: amount }),
    generation,
    maxDurationSeconds: priced.maxDurationSeconds,
    free: priced.free,
    ...(priced.creditsMilli < amount ? { planned: priced.creditsMilli } : {}),
  };
  const taking = takeOperation({
    key: input.key,
    hash,
    snapshot,
    holdId: holdIdOf(generation.id),
    amount,
    excluded,
    gated: gate !== null,
    counts,
    reserveBefore: before,
    facts: { ...facts },
    ifRefused: { ...future },
  });
  return {
    op: 'reserve',
    ...taking,
    maxOpen,
    refuseOnly: owner.workflowId === null,
    runs: !priced.free,
    overdueSeconds: priced.maxDurationSeconds,
    ...deadlineOf(generation.provider),
    ...owner,
    generation,
  };
}

function orderedGeneration(options: {
  input: GenerationInput;
  decided: UnderLock;
  workflowId: string | null;
  temporalUrl: string | null;
}): OrderedGeneration {
  const { input, decided, workflowId, temporalUrl } = options;
  const { account, key, request } = input;
  const { priced, provider, catalogVersion } = decided;
  return {
    id: generationId(account, key),
    account,
    member: request.member ?? null,
    project: request.project ?? null,
    feature: request.feature ?? null,
    parent: request.parent ?? null,
    action: priced.action,
    model: priced.model,
    params: priced.params,
    ordered: priced.outputs,
    metadata: request.metadata ?? null,
    provider,
    deadlineAt: null, // made with the decision, from `deadlineSeconds`
    workflowId,
    temporalUrl,
    catalogVersion,
  };
}

/** Work done by the pipeline itself has a deadline; the database makes an instant of it, as it makes those that heartbeats move it to. */
function deadlineOf(provider: Record<string, unknown>): { deadlineSeconds: number } | null {
  const { type, deadlineSeconds } = provider;
  return type === 'external' && typeof deadlineSeconds === 'number' ? { deadlineSeconds } : null;
}
