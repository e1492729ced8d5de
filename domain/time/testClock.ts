import { type Instant, toMs } from '../account';
import { cycleStart } from './calendar';

/** A test clock stands still until it is told to move, and its accounts stop at every boundary on the way (rule 23). */

/** How far one advance may go. */
export const MAX_ADVANCE_YEARS = 5;

/** No clock goes beyond: what is granted there must have an end that can be written down. */
export const LAST_INSTANT_MS = Date.UTC(9000, 0, 1);

export function furthestAdvance(nowMs: number): number {
  return Math.min(cycleStart(nowMs, 12 * MAX_ADVANCE_YEARS), LAST_INSTANT_MS);
}

/**
 * Where an account that is settled at `nowMs` stops next: at its next boundary, or at the target. A boundary within the
 * millisecond that it stands in belongs to the next stop, so that every stop is later than the one before.
 */
export function nextStop(options: { nowMs: number; dueMs: number; targetMs: number }): Instant {
  const { nowMs, dueMs, targetMs } = options;
  return new Date(dueMs > nowMs ? Math.min(dueMs, targetMs) : targetMs).toISOString();
}

/** Where an account's clock stands, and what it has before it, as the database has it. */
export interface ClockHand {
  account: string;
  clockAt: Instant;
  /** The earliest of what wakes it, and of what ends. */
  dueAt: Instant;
  /** What is due was never worked out, or its rules changed since. */
  unsettled: boolean;
}

/** The first stop of an advance: where the account stands, if anything may be due there already. */
export function firstStop({ clockAt, dueAt, unsettled }: ClockHand, targetMs: number): Instant {
  const nowMs = toMs(clockAt);
  if (unsettled || toMs(dueAt) <= nowMs) return clockAt;
  return nextStop({ nowMs, dueMs: toMs(dueAt), targetMs });
}
