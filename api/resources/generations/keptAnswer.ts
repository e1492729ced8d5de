import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { StoredAnswer } from '../../../db/reserve/generation';
import type { FutureFacts, PaywallFacts } from '../../../db/reserve/terms';
import type { Catalog } from '../../../domain/catalog/catalog';
import { type MilliCredits, milli, toCredits } from '../../../domain/credits';
import { generationBody } from './schemas';
import { type Paywall, paywall } from '../../../domain/access/paywall';
import { paywallV1 } from '../../../domain/access/paywallV1';
import { problemDocument, problemKind } from '../../problems/problem';
import type { TextAnswer } from '../../routing/route';
import { defined } from '../../../domain/defined';

/**
 * The HTTP answer to a generation's key, from the facts the ledger kept. Pure but for finding the catalog
 * version, which never changes: so the answer is the same bytes every time it is given. A change of form
 * adds a version beside `v: 1`; the old one stays for the answers that were given in it.
 */
export async function renderAnswer(
  catalogs: CatalogStore,
  stored: string | StoredAnswer,
): Promise<TextAnswer> {
  // A text was written by ledger.apply, around the facts of db/reserve/generation.ts.
  const answer = typeof stored === 'string' ? (JSON.parse(stored) as StoredAnswer) : stored;
  return answer.status === 'applied' ? accepted(answer) : refused(answer, catalogs);
}

function accepted({ facts, at, amount, draws }: StoredAnswer): TextAnswer {
  const held = milli(amount ?? 0);
  const nothing = milli(0);
  const runs = !(facts.free ?? held === 0);
  const body = generationBody({
    ...facts.generation,
    status: runs ? 'running' : 'succeeded',
    quoted: held,
    held,
    captured: nothing,
    refunded: nothing,
    forfeited: nothing,
    draws: (draws ?? []).map(({ bucket, milli: drawn }) => ({ bucket, milli: milli(drawn) })),
    refunds: [],
    outputs: [],
    error: null,
    providerCost: null,
    progress: null,
    lateReports: [],
    createdAt: at,
    finishedAt: runs ? null : at,
  });
  return { status: 201, text: JSON.stringify(body) };
}

function refused(answer: StoredAnswer, catalogs: CatalogStore): Promise<TextAnswer> {
  return renderRefusal(catalogs, { ...answer, catalogVersion: answer.facts.generation.catalogVersion });
}

type StoredRefusal = Pick<StoredAnswer, 'status' | 'required' | 'spendable' | 'limited' | 'left' | 'debt'> & {
  facts: PaywallFacts & FutureFacts;
};

/** A refusal that was decided under the lock, with everything a paywall shows. */
export async function renderRefusal(
  catalogs: CatalogStore,
  answer: StoredRefusal & { catalogVersion: number },
): Promise<TextAnswer> {
  const { facts, status, catalogVersion, limited } = answer;
  const version = await catalogs.version(facts.catalog, catalogVersion);
  if (version === undefined) throw new Error(`catalog ${facts.catalog} has lost version ${catalogVersion}`);
  const code = status === 'applied' ? 'internal' : status;
  const required = milli(answer.required ?? facts.required);
  const spendable = milli(answer.spendable ?? 0);
  const wall = wallOf(answer, { catalog: version.catalog, required, spendable });
  const document = problemDocument(code, {
    detail: limited === undefined ? (facts.refusalDetail ?? shortOf(required, spendable)) : limitOf(limited),
    extensions: {
      ...factsOf(answer, { required, spendable }),
      paywall: wall,
      retryWithNewKey: true,
    },
  });
  return { status: problemKind(code).status, text: JSON.stringify(document) };
}

function wallOf(
  { facts, limited, left, debt }: StoredRefusal,
  { catalog, required, spendable }: { catalog: Catalog; required: MilliCredits; spendable: MilliCredits },
): Paywall {
  const { coming, upgrade, nextRefresh } = facts;
  const common = {
    catalog,
    plan: facts.plan,
    subscriptionActive: facts.subscribed,
    role: facts.role ?? null,
    requiredMilli: required,
    availableMilli: spendable,
    requiredPlan: facts.requiredPlan,
    excluded: facts.excluded,
  };
  if (coming !== undefined && upgrade !== undefined)
    return paywall({
      ...common,
      coming,
      upgrade,
      left: left ?? [],
      debtMilli: milli(debt ?? 0),
      ...defined({ limited }),
    });
  return paywallV1({
    ...common,
    // An answer from before paywalls looked at debts and at what was asked of a limit keeps its bytes.
    ...(limited === undefined
      ? {}
      : { limited: { ...limited, ...(facts.debt === undefined ? { units: 0 } : {}) } }),
    debtMilli: milli(facts.debt ?? 0),
    nextRefresh:
      nextRefresh === null ? null : { at: nextRefresh.at, amountMilli: milli(nextRefresh.amountMilli) },
  });
}

/** What each refusal shows beside its paywall. */
function factsOf(
  { status, facts, limited }: Pick<StoredAnswer, 'status' | 'limited'> & { facts: PaywallFacts },
  { required, spendable }: { required: MilliCredits; spendable: MilliCredits },
): Record<string, unknown> {
  if (status === 'plan_required') return { requiredPlan: facts.requiredPlan };
  if (limited === undefined) return balance(required, spendable);
  const { name, limit, used, resetsAt, of } = limited;
  const shown = (amount: number) => (of === 'credits' ? toCredits(milli(amount)) : amount);
  return {
    ...(status === 'quota_reached' ? { quota: name } : {}),
    limit: limit === null ? null : shown(limit),
    used: shown(used),
    resetsAt,
  };
}

function limitOf({ refusal, name, limit, used, of }: NonNullable<StoredAnswer['limited']>): string {
  const amount = (units: number) => (of === 'credits' ? `${toCredits(milli(units))} credits` : String(units));
  const so = `${amount(used)} of ${amount(limit ?? 0)} are used`;
  if (refusal === 'quota_reached') return `The plan’s quota ${name} does not allow this: ${so}.`;
  const whose = refusal === 'member_limit_reached' ? `The limit of ${name}` : 'The account’s limit per day';
  return `${whose} does not allow this: ${so}.`;
}

function shortOf(required: MilliCredits, spendable: MilliCredits): string {
  return `This costs ${toCredits(required)} credits and the account can spend ${toCredits(spendable)} on it.`;
}

function balance(required: MilliCredits, spendable: MilliCredits) {
  return {
    required: toCredits(required),
    available: toCredits(spendable),
    shortfall: toCredits(milli(required - spendable)),
  };
}
