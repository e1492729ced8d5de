import {
  ActivityCancellationType,
  proxyActivities,
  proxyLocalActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  AccountActivities,
  ClockActivities,
  LedgerActivities,
  ProviderActivities,
  SweepActivities,
  Work,
} from '../../activities/types';
import { accountTaskQueue, FAILURES, providerTaskQueue } from '../../domain/contract';

/** Activities by policy. How long and how often is decided here and nowhere else. */

/** The reservation: fast or not at all. The database's own check of what is too late is what counts. */
export const reserving = proxyLocalActivities<Pick<LedgerActivities, 'reserve'>>({
  startToCloseTimeout: '4s',
  scheduleToCloseTimeout: '9s',
  retry: {
    // The close timeout alone does not end the retries of attempts that fail fast.
    maximumAttempts: 10,
    initialInterval: '100ms',
    backoffCoefficient: 2,
    maximumInterval: '1s',
    nonRetryableErrorTypes: [FAILURES.invalid],
  },
});

/** A ledger call that normally takes milliseconds: cheap, without a task of its own. */
const quick = proxyLocalActivities<LedgerActivities>({
  startToCloseTimeout: '3s',
  scheduleToCloseTimeout: '5s',
  retry: { maximumAttempts: 6, initialInterval: '100ms', backoffCoefficient: 2, maximumInterval: '1s' },
});

/** The same call when the database is away: tried until it is back, hours if need be (rule 12). */
const patient = proxyActivities<LedgerActivities>({
  startToCloseTimeout: '30s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
});

/** Tries quickly, then for ever. What it calls must be idempotent: the quick try may have succeeded. */
export async function retryUntilDone<T>(call: (activities: LedgerActivities) => Promise<T>): Promise<T> {
  try {
    return await call(quick);
  } catch {
    return call(patient);
  }
}

/**
 * The provider's own task queue: its rate limit, its heartbeats, its retries. Only transport failures and our own are
 * retried, for as long as the work may take; a provider's error is a result.
 */
export function providerOn({ provider }: Work, { summary, withinMs }: { summary: string; withinMs: number }) {
  return proxyActivities<ProviderActivities>({
    taskQueue: providerTaskQueue(workflowInfo().taskQueue, provider.type),
    summary,
    startToCloseTimeout: '2m',
    scheduleToCloseTimeout: withinMs,
    heartbeatTimeout: '10s',
    // A cancelled submission is waited for: only then is it known whether there is a job to cancel.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '20s' },
  });
}

/** An attempt is short, so that what a worker took with it when it died is soon taken up by another. */
export function accountOn() {
  return proxyActivities<AccountActivities>({
    taskQueue: accountTaskQueue(workflowInfo().taskQueue),
    startToCloseTimeout: '20s',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m' },
  });
}

/** A part of a sweep that does not happen is left to the next pass, a minute later. */
export const sweeping = proxyActivities<SweepActivities>({
  startToCloseTimeout: '2m',
  scheduleToCloseTimeout: '8m', // also where no worker takes it up
  retry: { maximumAttempts: 3, initialInterval: '1s', backoffCoefficient: 2 },
});

/** Every account stands where it was last settled, so a step that was lost is taken again from there. */
export const clock = proxyActivities<ClockActivities>({
  startToCloseTimeout: '2m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' },
});
