import type { Instant, Snapshot } from '../../domain/account';
import type { MilliCredits } from '../../domain/credits';
import type { OrderedGeneration } from '../../domain/generations/generation';
import type { Count } from '../../domain/access/limits';
import type { Spendable } from '../../domain/time/outlook';
import type { PlanGrant } from '../../domain/time/planChange';
import type { Settlement } from '../../domain/time/settle';

/**
 * The ledger's operations and replies, as `ledger.apply` takes and gives them (db/migrations/functions
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

/** Refusals that are decided under the lock, and so are the answer to their key for ever (rule 2). */
export type KeptRefusal =
  | 'insufficient_credits'
  | 'plan_required'
  | 'quota_reached'
  | 'member_limit_reached'
  | 'account_limit_reached';

/** What reserving and charging have in common: both take credits in spend order, or refuse. */
export interface TakeOperation extends Keyed {
  rulesVersion: number;
  amount: MilliCredits;
  holdId: string;
  /** Buckets that may not pay for this. */
  excluded: string[];
  /** A refusal the snapshot already decided; recorded if the rules have not moved since. */
  refusal?: KeptRefusal;
  /** Counted if it is taken, refused if one is too full; in this order. */
  counts?: Count[];
  /** A period ends then: what is decided later must be decided again. */
  countsUntil?: Instant;
  reserveBefore: Instant;
  /** Joins `facts` where the answer is a refusal: nobody else needs to store it. */
  ifRefused?: Record<string, unknown>;
}

/** A hold for a generation, owned by its workflow. */
export interface ReserveOperation extends TakeOperation {
  op: 'reserve';
  maxOpen: number;
  overdueSeconds: number;
  /** Work the pipeline does itself has a deadline this long after the decision, in real time (rule 23). */
  deadlineSeconds?: number;
  /** Hold nothing: the caller has no workflow to own it and expects a refusal. */
  refuseOnly: boolean;
  /** A workflow does it, under a hold also where it comes to 0; false: a free action, which ends at once. */
  runs: boolean;
  workflowId: string | null;
  namespaceId: string | null;
  generation: Omit<OrderedGeneration, 'account' | 'workflowId'>;
}

/** What a hold without a generation pays for: kept with it, for usage and support. */
export interface HeldWork {
  action?: string;
  model?: string | null;
  params?: Record<string, unknown>;
  member?: string | null;
  project?: string | null;
  feature?: string | null;
  metadata?: Record<string, unknown> | null;
  catalogVersion?: number;
  /** A charge for late work names the generation it was for, and the report that delivered it. */
  generation?: string;
  report?: string;
}

/** A hold without a workflow: it expires with its lease, exactly on time. */
export interface LeaseOperation extends TakeOperation {
  op: 'reserve';
  maxOpen: number;
  ttlSeconds: number;
  work: HeldWork;
}

/** Reserve and capture in one; its hold is closed from the beginning, and can be refunded like any other. */
export interface ChargeOperation extends TakeOperation {
  op: 'charge';
  work: HeldWork;
}

interface ExtendOperation extends Keyed {
  op: 'extend';
  leased: true;
  holdId: string;
  ttlSeconds: number;
}

export interface CaptureOperation extends Keyed {
  op: 'capture';
  holdId: string;
  amount?: MilliCredits;
  /** For `ordered` outputs; what they cost is the hold's amount unless `price` says less. */
  delivered?: number;
  ordered?: number;
  price?: MilliCredits;
  clamp?: boolean;
  final: boolean;
  phase?: string;
  cause: Cause;
  /** Only if no generation owns the hold. */
  leased?: true;
  /** Left out for holds without a generation. */
  generation?: GenerationEnd;
}

export interface ReleaseOperation extends Keyed {
  op: 'release';
  holdId: string;
  cause: Cause;
  epoch?: number;
  leased?: true;
  generation?: GenerationEnd;
}

export interface RefundOperation extends Keyed {
  op: 'refund';
  holdId: string;
  amount?: MilliCredits;
  /** Until when credits of expired lots are spendable. One of the two: an instant that somebody chose, or so long from now. */
  expiresAt?: Instant;
  spendableSeconds?: number;
  /** Only if no generation owns the hold. */
  leased?: true;
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

/** Takes bought credits back; what was spent already becomes debt (rule 27). */
export interface RevokeOperation extends Keyed {
  op: 'revoke';
  amount: MilliCredits;
  /** One row of debt per cause; also names the freeze it takes from first. */
  cause: string;
  /** The lot to take from first, by its source; then lots of these buckets in spend order. */
  source: string;
  buckets: string[];
}

/** Freezes what is left of a lot while a dispute lasts (rule 28). */
export interface FreezeOperation extends Keyed {
  op: 'freeze';
  cause: string;
  source: string;
  amount?: MilliCredits;
}

/** Gives back exactly what a dispute froze. */
export interface UnfreezeOperation extends Keyed {
  op: 'unfreeze';
  cause: string;
}

export interface MemberOperation extends Keyed {
  op: 'member';
  rulesVersion: number;
  member: string;
  role?: 'owner' | 'member';
  monthlyLimit?: MilliCredits | null;
  remove?: true;
  /** Seats of the plan; null: any number. */
  seats?: number | null;
}

export interface RulesOperation extends Keyed {
  op: 'rules';
  rules: Record<string, unknown>;
  /** What it was worked out from: if they have moved since, nothing happens and the answer is `stale`. */
  rulesVersion?: number;
  settleVersion?: number;
  /** What an upgrade adds at once (rule 19). */
  grants?: PlanGrant[];
  /** The plan's credits end with it. */
  ends?: 'plan';
  /** What comes back of them is forfeited, whatever their policy (rule 14). */
  forfeits?: true;
}

export type Operation =
  | ReserveOperation
  | LeaseOperation
  | ChargeOperation
  | ExtendOperation
  | CaptureOperation
  | ReleaseOperation
  | RefundOperation
  | GrantOperation
  | RevokeOperation
  | FreezeOperation
  | UnfreezeOperation
  | MemberOperation
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
  /** When a lease ends. */
  expiresAt: Instant | null;
}

export interface Draw {
  bucket: string;
  milli: MilliCredits;
}

export type ReplyStatus =
  | 'applied'
  | KeptRefusal
  | 'idempotency_conflict'
  | 'too_late'
  | 'too_many_open_generations'
  | 'unknown_hold'
  | 'hold_closed'
  | 'hold_expired'
  /** The hold is a generation's, and its workflow's to end. */
  | 'not_leased'
  | 'phase_captured'
  | 'hold_alive'
  | 'exceeds_hold'
  | 'refund_exceeds_captured'
  /** An instant was named for credits that would return to a lot with an end of its own. */
  | 'lot_lives'
  | 'adjustment_exceeds_available'
  | 'balance_limit_reached'
  | 'already_expired'
  | 'already_frozen'
  | 'unknown_member'
  | 'last_owner'
  | 'seat_limit_reached'
  | 'not_frozen'
  | 'stale'
  | 'would_hold'
  /** Too many were refused within a minute: this refusal leaves no row (TooManyRefused). */
  | 'overloaded'
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
  /** What could be spent, in spend order; only for a refusal that is kept. */
  left?: Spendable[];
  /** The counter that was too full. */
  limited?: Count & { used: number };
  draws?: Draw[];
  /** The hold right after the operation; only for one that no workflow owns. */
  after?: HoldState & { draws: Draw[] };
  /** What became debt, and what of the credits that came in was taken for debt. */
  owed?: MilliCredits;
  repaid?: MilliCredits;
}

/** As ledger.snapshot makes it: with the database's own clock, whatever the account's. */
export type TimedSnapshot = Snapshot & { clock: Instant };

export type ApplyResult =
  | { result: 'unknown_account' }
  | { result: 'settle_required' | 'stale'; snapshot: TimedSnapshot }
  | {
      result: 'ok';
      at: Instant;
      replies: Reply[];
      seq?: number;
      wakeAt: Instant;
      /** From then on some lot or lease has ended that the totals still count. */
      endsAt: Instant;
      /** The account must be looked at earlier than its workflow knows: the caller rings. */
      ring?: boolean;
    };

export interface ApplyRequest {
  account: string;
  operations: readonly Operation[];
  settlement: Settlement | null;
}
