import { type Instant, rfc3339 } from '../account';
import { type MilliCredits, milli, toCredits } from '../credits';
import { shownReport } from './reports';

/** After this nobody may be charged any more for a request (rule 8). */
export const TAKE_WITHIN_MS = 8_000;

/** For a generation whose reservation was not decided in time, and whose credits were given back before it began. */
export const UNDECIDED = 'undecided';

/** What came after a generation had ended. It moved nothing on its own; operations may charge for it (rule 16). */
export interface LateReport {
  reportId: string;
  receivedAt: Instant;
  body: unknown;
  charge: LateCharge | null;
}

export interface LateCharge {
  /** The id of the charge, which can be refunded like any other. */
  id: string;
  milli: number;
  at: Instant;
  /** The API key. */
  by: string;
  reason: string;
}

/** A generation as it is known: from its row, or from the facts frozen with the answer to its key. */
export interface GenerationFacts {
  id: string;
  account: string;
  member: string | null;
  project: string | null;
  feature: string | null;
  parent: string | null;
  action: string;
  model: string | null;
  params: Record<string, unknown>;
  status: 'running' | 'succeeded' | 'partial' | 'failed' | 'canceled';
  ordered: number;
  quoted: MilliCredits;
  held: MilliCredits;
  /** Net of later refunds. */
  captured: MilliCredits;
  refunded: MilliCredits;
  forfeited: MilliCredits;
  draws: { bucket: string; milli: MilliCredits }[];
  refunds: { at: Instant; milli: MilliCredits; reason: string | null }[];
  /** That were captured, in their order; `milli` null: what it took is in an archive. */
  phases?: { phase: string; milli: MilliCredits | null }[];
  outputs: { index: number; status: string; url?: string; error?: { code: string; message: string } }[];
  error: { code: string; message: string } | null;
  provider: Record<string, unknown>;
  providerCost: { amount: number; currency: string } | null;
  progress: number | null;
  deadlineAt: Instant | null;
  lateReports: LateReport[];
  metadata: Record<string, unknown> | null;
  workflowId: string | null;
  temporalUrl: string | null;
  catalogVersion: number;
  createdAt: Instant;
  finishedAt: Instant | null;
}

/** What was ordered: everything about a generation that is settled before its credits are held. */
export type OrderedGeneration = Pick<
  GenerationFacts,
  | 'id'
  | 'account'
  | 'member'
  | 'project'
  | 'feature'
  | 'parent'
  | 'action'
  | 'model'
  | 'params'
  | 'ordered'
  | 'metadata'
  | 'provider'
  | 'deadlineAt'
  | 'workflowId'
  | 'temporalUrl'
  | 'catalogVersion'
>;

/** The generation of `api.md`, credits as JSON numbers. At its end captured + refunded + forfeited = quoted. */
export function generationBody(facts: GenerationFacts) {
  return {
    id: facts.id,
    account: facts.account,
    member: facts.member,
    project: facts.project,
    feature: facts.feature,
    parent: facts.parent,
    action: facts.action,
    model: facts.model,
    params: facts.params,
    status: facts.status,
    credits: {
      quoted: toCredits(facts.quoted),
      held: toCredits(facts.held),
      captured: toCredits(facts.captured),
      refunded: toCredits(facts.refunded),
      forfeited: toCredits(facts.forfeited),
    },
    draws: facts.draws.map(({ bucket, milli: drawn }) => ({ bucket, credits: toCredits(drawn) })),
    refunds: facts.refunds.map(({ at, milli: refunded, reason }) => ({
      at: rfc3339(at),
      credits: toCredits(refunded),
      reason,
    })),
    ...(facts.phases === undefined
      ? {}
      : { phases: facts.phases.map(({ phase, milli }) => ({ phase, credits: milli && toCredits(milli) })) }),
    outputs: facts.outputs,
    error: facts.error,
    provider: facts.provider,
    providerCost: facts.providerCost,
    progress: facts.progress,
    deadlineAt: rfc3339(facts.deadlineAt),
    lateReports: facts.lateReports.map(({ reportId, receivedAt, body, charge }) => ({
      reportId,
      receivedAt: rfc3339(receivedAt),
      body: shownReport(body),
      applied:
        charge === null
          ? null
          : {
              charge: charge.id,
              credits: toCredits(milli(charge.milli)),
              at: rfc3339(charge.at),
              by: charge.by,
              reason: charge.reason,
            },
    })),
    metadata: facts.metadata,
    workflowId: facts.workflowId,
    temporalUrl: facts.temporalUrl,
    catalogVersion: facts.catalogVersion,
    createdAt: rfc3339(facts.createdAt),
    finishedAt: rfc3339(facts.finishedAt),
  };
}
