import { allHandlersFinished, condition, patched, workflowInfo } from '@temporalio/workflow';
import type { CaptureRequest, Ended, FailureReason, ReleaseRequest, Work } from '../activities/types';
import type { Mailbox } from './mailbox';
import { PATCHES } from './patches';

/** What the ways of doing the work have in common: how it may come out, and what of it travels. */

/** How the work went, before any credits move. */
export type Outcome =
  | { kind: 'delivered'; capture: CaptureRequest }
  | { kind: 'undone'; release: ReleaseRequest }
  /** The pipeline's report was answered only once its credits had moved. */
  | { kind: 'settled'; ended: Ended }
  /** It is not over yet, but this run's history is long enough. */
  | { kind: 'continues' };

export function delivered(work: Work, result: Pick<CaptureRequest, 'outputs' | 'providerCost'>): Outcome {
  return { kind: 'delivered', capture: { work, final: true, ...result } };
}

export function undone(work: Work, cause: ReleaseRequest['cause'], error: FailureReason): Outcome {
  return { kind: 'undone', release: { work, cause, status: 'failed', error } };
}

/** Between two steps of the work, when nothing is under way that the next run would not know of. */
export async function isLong(mailbox: Mailbox): Promise<boolean> {
  if (!workflowInfo().continueAsNewSuggested || !patched(PATCHES.longRunsContinue)) return false;
  await condition(allHandlersFinished);
  return !mailbox.waiting;
}

/** The input may be 64 KiB: only who submits the work needs it, and the history keeps what is sent. */
export function withoutInput(work: Work): Work {
  return { ...work, input: null };
}
