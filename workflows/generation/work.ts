import {
  allHandlersFinished,
  CancellationScope,
  condition,
  patched,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { CaptureRequest, Ended, FailureReason, ReleaseRequest, Work } from '../../activities/types';
import type { Mailbox } from './mailbox';
import { PATCHES } from '../common/patches';
import { retryUntilDone } from '../common/proxies';

/** What the ways of doing the work have in common: how it may come out, and what of it travels. */

/** How the work went, before any credits move. */
export type Outcome =
  | { kind: 'delivered'; capture: CaptureRequest }
  | { kind: 'undone'; release: ReleaseRequest }
  /** The pipeline's report was answered only once its credits had moved. */
  | { kind: 'settled'; ended: Ended }
  /** It has not ended yet, but this run's history is long enough. */
  | { kind: 'continues' };

export function delivered(work: Work, result: Pick<CaptureRequest, 'outputs' | 'providerCost'>): Outcome {
  return { kind: 'delivered', capture: { work, final: true, ...result } };
}

export function undone(work: Work, cause: ReleaseRequest['cause'], error: FailureReason): Outcome {
  return { kind: 'undone', release: { work, cause, status: 'failed', error } };
}

/**
 * Between two steps of the work, when nothing is under way that the next run would not know of. `acts`: whether this work acts on
 * reports; where it does not, they are late, and whoever waits for an answer has it.
 */
export async function isLong(options: { work: Work; mailbox: Mailbox; acts: boolean }): Promise<boolean> {
  const { work, mailbox, acts } = options;
  if (!workflowInfo().continueAsNewSuggested || !patched(PATCHES.longRunsContinue)) return false;
  if (!acts) await keepLate(work, mailbox);
  await condition(allHandlersFinished);
  await answersAreThere(mailbox);
  return !mailbox.waiting;
}

/** The server refuses to close a run over a signal that has just come in, and forgets the answers of the task that tried. */
export async function answersAreThere(mailbox: Mailbox): Promise<void> {
  if (!mailbox.answered) return;
  mailbox.answered = false;
  await sleep(1, { summary: 'until the answer is with the server' });
}

/** What lies in the mailbox, or comes in meanwhile, is kept for operations and moves nothing (rule 16). */
export async function keepLate(work: Pick<Work, 'account' | 'generation'>, mailbox: Mailbox): Promise<void> {
  const { account, generation } = work;
  await CancellationScope.nonCancellable(async () => {
    for (let late = mailbox.close(); late.length > 0; late = mailbox.close()) {
      for (const report of late)
        await retryUntilDone((ledger) => ledger.keepLateReport({ work: { account, generation }, report }));
    }
  });
}

/** The input may be 64 KiB: only who submits the work needs it, and the history keeps what is sent. */
export function withoutInput(work: Work): Work {
  return { ...work, input: null };
}
