import type { Knex } from 'knex';
import { type Snapshot, toMs } from '../../domain/account';
import type { Catalog } from '../../domain/catalog/catalog';
import { type MilliCredits, milli } from '../../domain/credits';
import type { OrderedGeneration } from '../../domain/generations/generation';
import { generationId, holdIdOf, requestHash } from '../../domain/ids';
import type { Priced } from '../../domain/prices/line';
import { type Count, countsOf, countsUntil, roleOf } from '../../domain/access/limits';
import { type Coming, type Spendable, standingsOf } from '../../domain/time/outlook';
import { upgradeTerms, type UpgradeTerms } from '../../domain/time/planChange';
import type { Refusal } from '../../domain/refusals';
import { type Decision, decide, type QuoteTerms } from '../../domain/access/decide';
import { hasSubscription } from '../../domain/time/settle';
import type { GenerationInput } from '../../domain/contract';
import type { CatalogStore, CatalogVersion } from '../catalogs/catalogs';
import { type Arrival, reserveBefore } from '../connection/databaseClock';
import { foreseesRefusal } from './foreseenRefusal';
import { holdNow } from '../generations/holds';
import type { BuildContext, Known, Ledger } from '../ledger/ledger';
import type { KeptRefusal, ReserveOperation } from '../ledger/operations';
import { findQuote } from './quotes';

/** From a request to held credits: what the reserve activity does, and the API for free actions and plain refusals. */

export interface Reservations {
  reserve(options: ReserveOptions): Promise<ReserveOutcome>;
  /** What `reserve` would decide before the lock, without writing. Null: no such account. */
  preview(input: GenerationInput): Promise<Preview | null>;
}

export interface Preview extends Known {
  decision: Decision;
  /** As things stand it comes to no hold: it is free, or refused under the lock. Then no workflow need be started (rule 10). */
  holdsNothing: boolean;
}

export interface ReserveOptions {
  input: GenerationInput;
  /** When this process heard of it. It and the input's `receivedAt`: the earlier one begins the time in which credits may be held (rule 8). */
  arrivedMs: number;
  /** The workflow that will own the hold. Null: nothing may be held, so only refusals and free actions come of it. */
  workflowId: string | null;
}

export type ReserveOutcome =
  /** What the key answers from now on: held, free, or refused for good. */
  | { kind: 'answered'; answer: StoredAnswer; text: string; replayed: boolean; holdOpen: boolean }
  /** Refused in a way that does not use the key up. */
  | { kind: 'refused'; refusal: Refusal; priced: Priced | null }
  /** `would_hold`: without a workflow, but not refused after all. */
  | { kind: 'too_late' | 'would_hold' | 'conflict' | 'unknown_account' };

/**
 * The answer to a key as the ledger keeps it: the decision, and the facts its rendering needs. `v` is the
 * version of that rendering: a change of form adds a version, so old answers keep their bytes (api/resources/generations/reserveBody.ts).
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

export interface ReserveFacts extends PaywallFacts, FutureFacts {
  v: 1;
  generation: OrderedGeneration;
  /** Seconds the work may take before the hold raises an alert. */
  maxDurationSeconds: number;
  /** Listed as a free action, which ends at once. Absent from older answers: there, all that cost 0 did. */
  free?: boolean;
  /** What it costs if all goes as ordered, where less than the ceiling that is held. */
  planned?: number;
}

/** What a paywall is made of, should it come to one. */
export interface PaywallFacts {
  catalog: string;
  plan: string;
  subscribed: boolean;
  /** Of the member who asked; absent or null: nobody in particular. */
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

/** The route whose body a generation's request is: part of the identity of its key (rule 1). */
export function generationHash({ account, request }: Pick<GenerationInput, 'account' | 'request'>): string {
  return requestHash({ method: 'POST', route: '/v1/generations', body: { account, ...request } });
}

export interface ReservationDeps {
  ledger: Ledger;
  catalogs: CatalogStore;
  knex: Knex;
  /** The id, not the name, of the Temporal namespace that owns the holds (rule 17). Null: this process holds nothing for a workflow. */
  namespaceId: string | null;
  /** Where an operator sees the workflow; null without a Temporal UI. */
  temporalUrl: (workflowId: string) => string | null;
}

export function createReservations(deps: ReservationDeps): Reservations {
  const { ledger, catalogs, knex } = deps;

  async function quoted({ account, request }: GenerationInput): Promise<Quoted | null> {
    if (request.quote === undefined) return null;
    const quote = await findQuote(knex, { account, quote: request.quote });
    const catalog = quote === null ? undefined : await catalogs.version(quote.catalog, quote.catalogVersion);
    return quote === null || catalog === undefined ? null : { quote, catalog };
  }

  async function preview(input: GenerationInput): Promise<Preview | null> {
    const found = await quoted(input);
    const known = await ledger.read(input.account);
    if (known === null) return null;
    const { snapshot } = known;
    const terms = found?.catalog ?? (await catalogs.inForce(snapshot.rules.catalog, toMs(snapshot.now)));
    const decision = decideOn({ input, snapshot, terms, quote: found?.quote ?? null });
    const member = input.request.member ?? null;
    const holdsNothing =
      decision.kind === 'refused' ||
      decision.priced.free ||
      (await foreseesRefusal(knex, { snapshot, catalog: terms.catalog, decision, member }));
    return { ...known, decision, holdsNothing };
  }

  async function reserve({ input, arrivedMs, workflowId }: ReserveOptions): Promise<ReserveOutcome> {
    const { account, key, receivedAt } = input;
    const arrival: Arrival = { arrivedMs, receivedAt };
    const found = await quoted(input);
    const hash = generationHash(input);
    const temporalUrl = workflowId === null ? null : deps.temporalUrl(workflowId);
    const decisions: Decision[] = [];

    const reply = await ledger.run(account, ({ snapshot, reading, catalog, coming }) => {
      const terms = found?.catalog ?? catalog;
      const decision = decideOn({ input, snapshot, terms, quote: found?.quote ?? null });
      decisions.push(decision);
      if (decision.kind === 'refused') return null;
      const amount = decision.priced.ceilingMilli;
      const member = input.request.member ?? null;
      const counts = countsOf({
        ...{ snapshot, catalog: terms.catalog, priced: decision.priced, member, amount },
      });
      const future = futureFacts({ snapshot, catalog: terms.catalog, counts, coming });
      const facts = factsOf({ input, snapshot, terms, decision, future, workflowId, temporalUrl });
      const { namespaceId } = deps;
      return reserveOperation({
        ...{ key, hash, facts, future, decision, counts },
        ...{ snapshot, reserveBefore: reserveBefore(reading, arrival), workflowId, namespaceId },
      });
    });
    if (reply === null) return { kind: 'unknown_account' };

    const stored = reply.status === 'withdrawn' ? await ledger.answerTo(account, `req:${key}`) : null;
    if (reply.status === 'idempotency_conflict' || (stored !== null && stored.hash !== hash))
      return { kind: 'conflict' };
    const text = reply.answer ?? stored?.answer ?? null;
    if (text !== null) {
      const answer = JSON.parse(text) as StoredAnswer; // ledger.reserve wrote it, around the facts below
      const replayed = reply.replayed || stored !== null;
      const holdId = holdIdOf(answer.facts.generation.id);
      // An answer that was found without the lock says nothing of its hold: the row does.
      const holdOpen =
        stored === null ? reply.hold?.open === true : await goneOnWith({ account, holdId, workflowId });
      return { kind: 'answered', answer, text, replayed, holdOpen };
    }
    const decision = decisions.at(-1);
    if (decision?.kind === 'refused')
      return { kind: 'refused', refusal: decision.refusal, priced: decision.priced ?? null };
    if (reply.status === 'too_many_open_generations')
      return { kind: 'refused', refusal: TOO_MANY_OPEN, priced: null };
    return { kind: reply.status === 'would_hold' ? 'would_hold' : 'too_late' };
  }

  /** Whether the hold is open; then the workflow that asks owns it from now on. */
  async function goneOnWith(hold: { account: string; holdId: string; workflowId: string | null }) {
    const { workflowId, ...key } = hold;
    if (workflowId === null) return (await holdNow(knex, key))?.open === true;
    const { namespaceId } = deps;
    if (namespaceId === null) throw new Error('a process without a namespace cannot go on with a hold');
    return ledger.assertHoldOpen({ ...key, workflowId, namespaceId });
  }

  return { preview, reserve };
}

interface Quoted {
  quote: QuoteTerms;
  catalog: CatalogVersion;
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
}): Decision {
  const { input, snapshot, terms, quote } = options;
  const { request } = input;
  if (request.quote !== undefined && quote === null) {
    const detail = `There is no quote ${request.quote} for this account; ask for one, or leave \`quote\` out.`;
    return { kind: 'refused', refusal: { code: 'unknown_quote', path: 'quote', detail } };
  }
  return decide({
    snapshot,
    catalog: terms.catalog,
    catalogVersion: terms.version,
    request: { ...request, provider: request.provider === undefined ? undefined : { ...request.provider } },
    quote,
    mayChooseProvider: input.mayChooseProvider === true,
  });
}

type UnderLock = Extract<Decision, { kind: 'decided-under-lock' }>;

function factsOf(options: {
  input: GenerationInput;
  snapshot: Snapshot;
  terms: CatalogVersion;
  decision: UnderLock;
  future: Required<FutureFacts>;
  workflowId: string | null;
  temporalUrl: string | null;
}): ReserveFacts {
  const { input, snapshot, terms, decision, future, workflowId, temporalUrl } = options;
  const { account, key, request } = input;
  const { priced, provider } = decision;
  return {
    v: 1,
    ...paywallFacts({
      snapshot,
      catalog: terms.catalog,
      decision,
      future,
      member: request.member ?? null,
      required: priced.ceilingMilli,
    }),
    generation: {
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
      catalogVersion: decision.catalogVersion,
    },
    maxDurationSeconds: priced.maxDurationSeconds,
    free: priced.free,
    ...(priced.creditsMilli < priced.ceilingMilli ? { planned: priced.creditsMilli } : {}),
  };
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

/** What a refusal would be told of the future: what settle will do, also when the limits of these counts start anew. */
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

/** Work done by the pipeline itself has a deadline; the database makes an instant of it, as it makes those that heartbeats move it to. */
function deadlineOf(provider: Record<string, unknown>): { deadlineSeconds: number } | null {
  const { type, deadlineSeconds } = provider;
  return type === 'external' && typeof deadlineSeconds === 'number' ? { deadlineSeconds } : null;
}

function reserveOperation(options: {
  key: string;
  hash: string;
  facts: ReserveFacts;
  future: Required<FutureFacts>;
  decision: UnderLock;
  counts: Count[];
  snapshot: Snapshot;
  reserveBefore: string;
  workflowId: string | null;
  namespaceId: string | null;
}): ReserveOperation {
  const { key, hash, facts, future, decision, counts } = options;
  const { snapshot, reserveBefore, workflowId, namespaceId } = options;
  const until = countsUntil(counts);
  return {
    op: 'reserve',
    key: `req:${key}`,
    hash,
    facts: { ...facts },
    ifRefused: { ...future },
    rulesVersion: snapshot.rulesVersion,
    amount: milli(decision.priced.ceilingMilli),
    ...(counts.length === 0 ? {} : { counts }),
    ...(until === null ? {} : { countsUntil: until }),
    holdId: holdIdOf(facts.generation.id),
    excluded: decision.excluded,
    ...(decision.gate === null ? {} : { refusal: 'plan_required' }),
    maxOpen: decision.maxOpen,
    reserveBefore,
    refuseOnly: workflowId === null,
    runs: !decision.priced.free,
    overdueSeconds: facts.maxDurationSeconds,
    ...deadlineOf(facts.generation.provider),
    workflowId,
    namespaceId,
    generation: facts.generation,
  };
}
