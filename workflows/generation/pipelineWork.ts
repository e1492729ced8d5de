import { CancellationScope, condition, patched } from '@temporalio/workflow';
import type { ReleaseRequest, Work } from '../../activities/types';
import { outputsOf } from '../../domain/generations/reports';
import type { Delivery, Mailbox } from './mailbox';
import { PATCHES } from '../common/patches';
import { retryUntilDone } from '../common/proxies';
import { onlyTheReport } from './reports';
import { isLong, type Outcome, undone, withoutInput } from './work';

/**
 * A deadline that heartbeats keep moving is looked at after twice as long each time, up to this: however often they come,
 * the history grows slowly. One that nobody moved is met on time.
 */
const LONGEST_BETWEEN_LOOKS_MS = 30_000;

/** Work the pipeline does itself and reports, phase by phase if it likes, before a deadline its heartbeats move. */
export async function pipelineWork(work: Work, mailbox: Mailbox): Promise<Outcome> {
  for (let looks = 0; ; ) {
    const delivery = mailbox.next();
    if (delivery !== undefined) {
      const settled = await CancellationScope.nonCancellable(() => actOn({ work, mailbox, delivery }));
      if (settled !== null) return settled;
      continue;
    }
    if (await isLong({ work, mailbox, acts: true })) return { kind: 'continues' };
    const leftMs = await retryUntilDone((ledger) => ledger.untilDeadline({ work }));
    if (leftMs <= 0) {
      await takePending(work, mailbox);
      if (mailbox.waiting) continue;
      return undone(work, 'customer', {
        code: 'deadline_passed',
        message: 'The pipeline reported nothing in time.',
      });
    }
    const atLeastMs = looks === 0 ? 0 : Math.min(LONGEST_BETWEEN_LOOKS_MS, 1000 * 2 ** looks);
    looks += 1;
    await condition(() => mailbox.waiting, Math.max(leftMs, atLeastMs), {
      summary: 'until the pipeline reports or its deadline',
    });
  }
}

/** What was reported in time, and nobody acted upon: whoever took it died, or could not reach the ledger (rule 31). */
async function takePending(work: Work, mailbox: Mailbox): Promise<void> {
  if (!patched(PATCHES.pendingReportsCount)) return;
  const pending = await retryUntilDone((ledger) => ledger.pendingReports({ work: withoutInput(work) }));
  for (const report of pending) mailbox.drop(onlyTheReport(report));
}

/** Acts on one report and then answers it. Null: the work continues. */
async function actOn(options: { work: Work; mailbox: Mailbox; delivery: Delivery }): Promise<Outcome | null> {
  const { work, mailbox } = options;
  const { report, heard } = options.delivery;
  if (report.kind === 'fail') {
    const error = { code: report.code, message: report.message };
    const release: ReleaseRequest = { work, cause: 'customer', status: 'failed', error, reportId: report.id };
    const ended = await retryUntilDone((ledger) => ledger.releaseGeneration(release));
    mailbox.answer(report, { ok: true });
    return { kind: 'settled', ended };
  }
  const { kind: _, id, outputs, ...figures } = report;
  // Whoever waits can be told that it is too much; else what remains is taken, and operations are told (rule 15).
  const capture = {
    work,
    ...figures,
    outputs: outputsOf(outputs),
    reportId: id,
    ...(heard ? {} : { clamp: true }),
  };
  const reply = await retryUntilDone((ledger) => ledger.captureGeneration(capture));
  if (reply.kind === 'exceeds_hold' || reply.kind === 'phase_captured') {
    mailbox.answer(report, { ok: false, code: reply.kind });
    return null;
  }
  mailbox.answer(report, reply.kind === 'applied' ? { ok: true } : { ok: false, code: 'generation_ended' });
  return report.final || reply.kind === 'closed' ? { kind: 'settled', ended: reply.ended } : null;
}
