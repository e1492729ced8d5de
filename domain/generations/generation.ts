import type { Instant } from '../account';
import type { MilliCredits } from '../credits';

/** After this nobody may be charged any more for a request (rule 8). */
export const TAKE_WITHIN_MS = 8_000;

/** The error of a generation whose reservation was not decided in time: its credits were given back before it began. */
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
