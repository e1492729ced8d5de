import type { Instant, Snapshot } from '../domain/account';
import type { MilliCredits } from '../domain/credits';
import type { OrderedGeneration } from '../domain/generation';
import type { Settlement } from '../domain/settle';

/**
 * The ledger's operations and replies, as `ledger.apply` takes and gives them (db/migrations/0003_operations.sql
 * says what each field does). All amounts are millicredits. `req:` keys are callers', `sys:` keys ours.
 */

/** Whose doing the return of credits is; a customer's own cancel forfeits what has expired (rule 14). */
export type Cause = 'customer' | 'provider' | 'engine' | 'operator';

interface Keyed {
  key: string;
  hash: string;
  actor?: string;
  reason?: string;
  /** Kept with the answer: what its HTTP rendering needs beyond the decision itself. */
  facts?: Record<string, unknown>;
}

/** How a generation ended, written in the transaction that moves its credits. */
export interface GenerationEnd {
  status?: 'succeeded' | 'partial' | 'failed' | 'canceled';
  outputs?: unknown[];
  error?: { code: string; message: string } | null;
  providerCost?: { amount: number; currency: string } | null;
}

export interface ReserveOperation extends Keyed {
  op: 'reserve';
  rulesVersion: number;
  amount: MilliCredits;
  holdId: string;
  /** Buckets that may not pay for this. */
  excluded: string[];
  /** A refusal the snapshot already decided; recorded if the rules have not moved since. */
  refusal?: 'plan_required';
  maxOpen: number;
  reserveBefore: Instant;
  overdueSeconds: number;
  /** Hold nothing: the caller has no workflow to own it and expects a refusal. */
  refuseOnly: boolean;
  workflowId: string | null;
  namespaceId: string | null;
  generation: Omit<OrderedGeneration, 'account' | 'workflowId'>;
}

export interface CaptureOperation extends Keyed {
  op: 'capture';
  holdId: string;
  amount?: MilliCredits;
  delivered?: number;
  ordered?: number;
  clamp?: boolean;
  final: boolean;
  phase?: string;
  cause: Cause;
  generation: GenerationEnd;
}

export interface ReleaseOperation extends Keyed {
  op: 'release';
  holdId: string;
  cause: Cause;
  epoch?: number;
  generation: GenerationEnd;
}

export interface RefundOperation extends Keyed {
  op: 'refund';
  holdId: string;
  amount?: MilliCredits;
  spendableSeconds: number;
}

export interface GrantOperation extends Keyed {
  op: 'grant' | 'adjust';
  bucket: string;
  rank: number;
  /** An adjustment may be negative: then credits are revoked. */
  amount: MilliCredits;
  expiresAt?: Instant | null;
  graceSeconds?: number | null;
  source: string;
}

export interface RulesOperation extends Keyed {
  op: 'rules';
  rules: Record<string, unknown>;
}

export type Operation =
  | ReserveOperation
  | CaptureOperation
  | ReleaseOperation
  | RefundOperation
  | GrantOperation
  | RulesOperation;

export interface HoldState {
  holdId: string;
  amount: MilliCredits;
  held: MilliCredits;
  captured: MilliCredits;
  released: MilliCredits;
  forfeited: MilliCredits;
  refunded: MilliCredits;
  open: boolean;
  epoch: number;
}

export type ReplyStatus =
  | 'applied'
  | 'insufficient_credits'
  | 'plan_required'
  | 'idempotency_conflict'
  | 'too_late'
  | 'too_many_open_generations'
  | 'unknown_hold'
  | 'hold_closed'
  | 'hold_alive'
  | 'exceeds_hold'
  | 'refund_exceeds_captured'
  | 'adjustment_exceeds_available'
  | 'already_expired'
  | 'stale'
  | 'would_hold'
  /** The caller made no operation of it after all; nothing was asked of the database. */
  | 'withdrawn';

export interface Reply {
  status: ReplyStatus;
  replayed: boolean;
  /** The stored answer, byte for byte, where the operation's key keeps one. */
  answer: string | null;
  seq?: number;
  at?: Instant;
  /** The account's totals after the operation. */
  available?: MilliCredits;
  held?: MilliCredits;
  debt?: MilliCredits;
  hold?: HoldState | null;
  /** What this operation did, by kind. */
  amount?: MilliCredits;
  captured?: MilliCredits;
  clamped?: boolean;
  returned?: MilliCredits;
  forfeited?: MilliCredits;
  spendable?: MilliCredits;
}

export type ApplyResult =
  | { result: 'unknown_account' }
  | { result: 'settle_required' | 'stale'; snapshot: Snapshot }
  | {
      result: 'ok';
      at: Instant;
      replies: Reply[];
      seq?: number;
      wakeAt?: Instant;
      /** The account must be looked at earlier than its workflow knows: the caller rings. */
      ring?: boolean;
    };

export interface ApplyRequest {
  account: string;
  operations: readonly Operation[];
  settlement: Settlement | null;
}
