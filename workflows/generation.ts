import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  isCancellation,
  log,
  patched,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { HandlerUnfinishedPolicy } from '@temporalio/common';
import type {
  CaptureRequest,
  Ended,
  FailureReason,
  ReleaseRequest,
  Reserved,
  Work,
} from '../activities/types';
import { excerptOf, reportProblem } from '../domain/reports';
import { FAILURES, type GenerationInput, type GenerationResult, type Output } from './contract';
import { type Delivery, Mailbox } from './mailbox';
import { cancelSignal, providerReportSignal, reportUpdate, reserveUpdate } from './messages';
import { providerOn, reserving, surely } from './proxies';
import { onlyTheReport, readCancel, wasTakenUnchecked } from './reports';
import { tellEnded, tellRunning } from './telling';

/** After this long nobody waits for the answer any more, and nothing may be held for them (rule 8). */
const RESERVE_WITHIN_MS = 8_000;
/** The last question to a provider gets this long, however little of the work's own time is left. */
const SHORTEST_POLL_MS = 30_000;
/** A customer who cancels waits for the provider no longer than this. */
const STOP_WITHIN_MS = 10_000;

/** Changes of what runs that are under way would do; test/workflows/histories hold them to it. */
const PATCHES = { rejectedReportsAreKept: 'rejected-reports-are-kept' } as const;

/** How the work went, before any credits move. */
type Outcome =
  | { kind: 'delivered'; capture: CaptureRequest }
  | { kind: 'undone'; release: ReleaseRequest }
  /** The pipeline's report was answered only once its credits had moved. */
  | { kind: 'settled'; ended: Ended };

/**
 * One generation: its price is held, the work is done, what was delivered is captured and the rest given back.
 * The hold lives exactly as long as this workflow does.
 */
export async function generationWorkflow(input: GenerationInput): Promise<GenerationResult> {
  const mailbox = new Mailbox();
  const working = new CancellationScope();
  let answered: Extract<Reserved, { kind: 'answered' }> | null = null;

  setHandler(
    reserveUpdate,
    async () => {
      await condition(() => answered !== null);
      const { answer, replayed } = answered as NonNullable<typeof answered>; // the condition above
      return { answer, replayed };
    },
    // An undecided run ends without answering, on purpose: only so may the same key be tried again.
    {
      description: 'Answers once the credits are held or refused',
      unfinishedPolicy: HandlerUnfinishedPolicy.ABANDON,
    },
  );
  setHandler(reportUpdate, (report) => mailbox.deliver(onlyTheReport(report)), {
    description: 'The pipeline reports its own work',
    validator: (report) => {
      const problem = reportProblem(report);
      if (problem !== null) throw ApplicationFailure.create({ type: FAILURES.invalid, message: problem });
    },
  });
  setHandler(
    providerReportSignal,
    async (report) => {
      const problem = reportProblem(report);
      if (problem === null) mailbox.drop(onlyTheReport(report));
      else if (patched(PATCHES.rejectedReportsAreKept)) await rejected({ report, problem });
      else if (wasTakenUnchecked(report)) mailbox.drop(report);
    },
    {
      description: 'The same, without an answer',
      // What was no report of an undecided run's is no loss.
      unfinishedPolicy: HandlerUnfinishedPolicy.ABANDON,
    },
  );
  setHandler(
    cancelSignal,
    (request) => {
      mailbox.cancel = readCancel(request);
      working.cancel();
    },
    { description: 'Stops the work and gives the credits back' },
  );

  checkInput(input);
  const reserved = await reserve(input);
  answered = reserved;
  const { generation, status, work } = reserved;
  if (work === null) return finish({ generation, status });

  tellRunning(work);
  const outcome = await working
    .run(() => (work.provider.type === 'external' ? pipelineWork(work, mailbox) : providerWork(work)))
    .catch((error: unknown) => interrupted({ work, mailbox, error }));
  const ended = await CancellationScope.nonCancellable(() => settleUp(outcome));
  tellEnded(work, ended);
  return finish({
    generation,
    status: ended.status,
    ...(ended.error === null ? {} : { error: ended.error }),
  });

  /** What is no report moves nothing; nobody hears an answer, so it is kept for operations. */
  async function rejected({ report, problem }: { report: unknown; problem: string }): Promise<void> {
    await condition(() => answered !== null);
    const { account } = input;
    const { generation } = answered as NonNullable<typeof answered>; // the condition above
    await CancellationScope.nonCancellable(() =>
      surely((ledger) =>
        ledger.keepRejectedReport({ account, generation, problem, said: excerptOf(report) }),
      ),
    );
  }

  async function finish(result: GenerationResult): Promise<GenerationResult> {
    await CancellationScope.nonCancellable(async () => {
      if (work === null) mailbox.close();
      else await keepLate(work, mailbox);
      await condition(allHandlersFinished);
    });
    return result;
  }
}

/** What still lies in the mailbox, or comes in meanwhile, is kept for operations and moves nothing (rule 16). */
async function keepLate(work: Work, mailbox: Mailbox): Promise<void> {
  for (let late = mailbox.close(); late.length > 0; late = mailbox.close()) {
    for (const report of late) await surely((ledger) => ledger.keepLateReport({ work, report }));
  }
}

/** Rules 7 and 8: in the main path, so that a plain start works too, and never minutes after they left. */
async function reserve(input: GenerationInput): Promise<Extract<Reserved, { kind: 'answered' }>> {
  const { workflowId, startTime } = workflowInfo();
  const receivedMs = input.receivedAt === undefined ? startTime.getTime() : Date.parse(input.receivedAt);
  const reserveBefore = new Date(receivedMs + RESERVE_WITHIN_MS).toISOString();
  let reserved: Reserved;
  try {
    reserved = await CancellationScope.nonCancellable(() =>
      reserving.reserve({ input, workflowId, reserveBefore }),
    );
  } catch (error) {
    if (isInvalid(error)) throw error;
    reserved = { kind: 'too_late' };
  }
  if (reserved.kind === 'answered') return reserved;
  if (reserved.kind === 'refused') {
    throw ApplicationFailure.create({
      type: FAILURES.refused,
      message: reserved.detail,
      nonRetryable: true,
      details: [reserved],
    });
  }
  // Whether the last attempt came through is not known, so what it may have held is given back first.
  await CancellationScope.nonCancellable(() =>
    surely((ledger) => ledger.releaseUndecided({ input, workflowId })),
  );
  throw ApplicationFailure.create({
    type: FAILURES.undecided,
    message: 'The reservation could not be decided in time; nothing is held. Send the same request again.',
    nonRetryable: true,
  });
}

/** Work that an adapter of ours has a provider do: submit, then ask until it is done, holding no worker slot. */
async function providerWork(work: Work): Promise<Outcome> {
  const startedMs = Date.now();
  const summary = `${work.action} at ${work.provider.type}`;
  let limitMs = work.maxDurationSeconds * 1000;
  const leftMs = () => startedMs + limitMs - Date.now();
  let step = await providerOn(work, { summary, withinMs: limitMs }).submitWork({ work });
  while (step.state === 'pending') {
    limitMs = Math.min(limitMs, step.giveUpAfterMs ?? limitMs);
    if (leftMs() <= 0) {
      await stopJob(work, 'engine');
      return undone(work, 'provider', {
        code: 'provider_timeout',
        message: `No result within ${limitMs / 1000} s.`,
      });
    }
    await sleep(Math.min(step.pollAfterMs, leftMs()), { summary: 'until the provider is asked again' });
    const withinMs = Math.max(leftMs(), SHORTEST_POLL_MS);
    step = await providerOn(work, { summary: `is it done? ${summary}`, withinMs }).pollWork({ work });
  }
  if (step.state === 'done') {
    return delivered(work, {
      outputs: step.outputs,
      ...(step.providerCost && { providerCost: step.providerCost }),
    });
  }
  const gone = { code: 'hold_closed', message: 'The hold was closed before the work was submitted.' };
  return undone(work, 'provider', step.state === 'failed' ? step.error : gone);
}

/** Tells the provider to stop. If it cannot be told, its result comes late and moves nothing (rule 16). */
async function stopJob(work: Work, by: 'customer' | 'operator' | 'engine'): Promise<void> {
  try {
    await providerOn(work, { summary: 'cancel the job', withinMs: STOP_WITHIN_MS }).cancelWork({ work, by });
  } catch (error) {
    log.warn('the provider could not be told to stop', { generation: work.generation, error });
  }
}

/** Work the pipeline does itself and reports, phase by phase if it likes, before a deadline its heartbeats move. */
async function pipelineWork(work: Work, mailbox: Mailbox): Promise<Outcome> {
  for (;;) {
    const delivery = mailbox.next();
    if (delivery === undefined) {
      const leftMs = await surely((ledger) => ledger.untilDeadline({ work }));
      if (leftMs <= 0) {
        return undone(work, 'customer', {
          code: 'deadline_passed',
          message: 'The pipeline reported nothing in time.',
        });
      }
      await condition(() => mailbox.waiting, leftMs, {
        summary: 'until the pipeline reports or its deadline',
      });
      continue;
    }
    const settled = await CancellationScope.nonCancellable(() => actOn({ work, mailbox, delivery }));
    if (settled !== null) return settled;
  }
}

/** Acts on one report and then answers it. Null: the work goes on. */
async function actOn(options: { work: Work; mailbox: Mailbox; delivery: Delivery }): Promise<Outcome | null> {
  const { work, mailbox } = options;
  const { report, heard } = options.delivery;
  if (report.kind === 'fail') {
    const error = { code: report.code, message: report.message };
    const release: ReleaseRequest = { work, cause: 'customer', status: 'failed', error, reportId: report.id };
    const ended = await surely((ledger) => ledger.releaseGeneration(release));
    mailbox.answer(report, { ok: true });
    return { kind: 'settled', ended };
  }
  const { kind: _, id, outputs, ...figures } = report;
  const made = outputs.map((output, index): Output => ({ index, status: 'succeeded', ...output }));
  // Whoever waits can be told that it is too much; else what remains is taken, and operations are told (rule 15).
  const capture = { work, ...figures, outputs: made, reportId: id, ...(heard ? {} : { clamp: true }) };
  const reply = await surely((ledger) => ledger.captureGeneration(capture));
  if (reply.kind === 'exceeds_hold' || reply.kind === 'phase_captured') {
    mailbox.answer(report, { ok: false, code: reply.kind });
    return null;
  }
  mailbox.answer(report, reply.kind === 'applied' ? { ok: true } : { ok: false, code: 'generation_ended' });
  return report.final || reply.kind === 'closed' ? { kind: 'settled', ended: reply.ended } : null;
}

/** The work stopped before it ended: somebody cancelled, or our own machinery gave up. */
async function interrupted(options: { work: Work; mailbox: Mailbox; error: unknown }): Promise<Outcome> {
  const { work, mailbox, error } = options;
  if (!isCancellation(error)) {
    const message =
      error instanceof Error
        ? error.cause instanceof Error
          ? error.cause.message
          : error.message
        : String(error);
    return undone(work, 'engine', { code: 'provider_unreachable', message });
  }
  // Without a cancel signal it was the Temporal UI's or CLI's Cancel: an operator's doing.
  const by = mailbox.cancel?.by ?? 'operator';
  if (work.provider.type !== 'external') {
    await CancellationScope.nonCancellable(() => stopJob(work, by));
  }
  const message = mailbox.cancel?.reason ?? `Canceled by the ${by}.`;
  return {
    kind: 'undone',
    release: { work, cause: by, status: 'canceled', error: { code: 'canceled', message } },
  };
}

/** Moves the credits. Everything here is keyed by workflow and step, so a repetition finds itself done. */
async function settleUp(outcome: Outcome): Promise<Ended> {
  if (outcome.kind === 'settled') return outcome.ended;
  if (outcome.kind === 'undone') return surely((ledger) => ledger.releaseGeneration(outcome.release));
  const reply = await surely((ledger) => ledger.captureGeneration(outcome.capture));
  if (reply.kind === 'applied' || reply.kind === 'closed') return reply.ended;
  return surely((ledger) => ledger.endOf({ work: outcome.capture.work }));
}

function delivered(work: Work, result: Pick<CaptureRequest, 'outputs' | 'providerCost'>): Outcome {
  return { kind: 'delivered', capture: { work, final: true, ...result } };
}

function undone(work: Work, cause: ReleaseRequest['cause'], error: FailureReason): Outcome {
  return { kind: 'undone', release: { work, cause, status: 'failed', error } };
}

/** A local activity's failure comes as it was thrown, a regular one's as the cause of an ActivityFailure. */
function isInvalid(error: unknown): boolean {
  const failures = error instanceof Error ? [error, error.cause] : [];
  return failures.some((one) => one instanceof ApplicationFailure && one.type === FAILURES.invalid);
}

/** Whoever starts workflows by hand may send anything; what cannot be worked with must not be retried for ever. */
function checkInput(input: GenerationInput): void {
  const { account, key, request, receivedAt } = (input ?? {}) as Partial<GenerationInput>; // types end at the wire
  const wrong =
    typeof account !== 'string' || typeof key !== 'string' || typeof request !== 'object' || request === null
      ? 'The input needs account, key and request.'
      : receivedAt !== undefined && Number.isNaN(Date.parse(receivedAt))
        ? 'receivedAt must be an RFC 3339 instant.'
        : null;
  if (wrong !== null)
    throw ApplicationFailure.create({ type: FAILURES.invalid, message: wrong, nonRetryable: true });
}
