import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  patched,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { HandlerUnfinishedPolicy } from '@temporalio/common';
import type { Ended, Reserved, ReserveRequest, Work } from '../../activities/types';
import { TAKE_WITHIN_MS } from '../../domain/generations/generation';
import { excerptOf, reportProblem } from '../../domain/generations/reports';
import { FAILURES, type GenerationInput, type GenerationResult } from '../../domain/contract';
import { Mailbox } from './mailbox';
import { cancelSignal, providerReportSignal, reportUpdate, reserveUpdate } from '../common/messages';
import { PATCHES } from '../common/patches';
import { pipelineWork } from './pipelineWork';
import { providerWork, stopJob } from './providerWork';
import { reserving, retryUntilDone } from '../common/proxies';
import { onlyTheReport, readCancel, wasTakenUnchecked } from './reports';
import { tellEnded, tellRunning } from './shownStatus';
import { answersAreThere, keepLate, type Outcome, undone } from './work';
import { defined } from '../../domain/defined';

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
      const { answer, replayed, hash } = answered as NonNullable<typeof answered>; // the condition above
      const { receivedAt } = input;
      return {
        answer,
        replayed,
        ...defined({ hash, receivedAt }),
      };
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
      // What was not a report of an undecided run's is not a loss.
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
  const began = Date.parse(input.continued?.workBeganAt ?? new Date().toISOString());
  const outcome = await working
    .run(() =>
      work.provider.type === 'external'
        ? pipelineWork(work, mailbox)
        : providerWork({ work, mailbox, beganMs: began }),
    )
    .catch((error: unknown) => interrupted({ work, mailbox, error }));
  if (outcome.kind === 'continues') {
    // The hold is in the ledger and the same in the next run, which finds it by its key (rule 5).
    const continued = { workBeganAt: new Date(began).toISOString() };
    return continueAsNew<typeof generationWorkflow>({ ...input, continued });
  }
  const ended = await CancellationScope.nonCancellable(() => settleUp(outcome));
  tellEnded(work, ended);
  return finish({
    generation,
    status: ended.status,
    ...(ended.error === null ? {} : { error: ended.error }),
  });

  /** What is not a report moves nothing; nobody hears an answer, so it is kept for operations. */
  async function rejected({ report, problem }: { report: unknown; problem: string }): Promise<void> {
    await condition(() => answered !== null);
    const { account } = input;
    const { generation } = answered as NonNullable<typeof answered>; // the condition above
    await CancellationScope.nonCancellable(() =>
      retryUntilDone((ledger) =>
        ledger.keepRejectedReport({ account, generation, problem, said: excerptOf(report) }),
      ),
    );
  }

  /** However late something comes in, while the run is open it is kept, and whoever waits is answered. */
  async function finish(result: GenerationResult): Promise<GenerationResult> {
    await CancellationScope.nonCancellable(async () => {
      do {
        // A refused generation has no reports to keep.
        if (result.status === 'refused') mailbox.close();
        else await keepLate({ account: input.account, generation: result.generation }, mailbox);
        await condition(allHandlersFinished);
        if (mailbox.answered && patched(PATCHES.answersComeFirst)) await answersAreThere(mailbox);
      } while (mailbox.waiting);
    });
    return result;
  }
}

/** Rules 7 and 8: in the main path, so that a plain start works too, and never minutes after they left. */
async function reserve(input: GenerationInput): Promise<Extract<Reserved, { kind: 'answered' }>> {
  const { workflowId, startTime } = workflowInfo();
  // Between two instants of the server's clock: it may be hours off the database's, which decides.
  const asked = () => ({ input, workflowId, waitedMs: Math.max(0, Date.now() - startTime.getTime()) });
  const reserved = await CancellationScope.nonCancellable(() =>
    // A run that continues another has its hold already, and waits for it as long as for any other step.
    input.continued === undefined
      ? reserveInTime(asked)
      : retryUntilDone((ledger) => ledger.reserve(asked())),
  );
  if (reserved.kind === 'answered') return reserved;
  if (reserved.kind === 'refused') {
    throw ApplicationFailure.create({
      type: FAILURES.refused,
      message: reserved.detail,
      nonRetryable: true,
      details: [reserved],
    });
  }
  throw ApplicationFailure.create({
    type: FAILURES.undecided,
    message: 'The reservation could not be decided in time; nothing is held. Send the same request again.',
    nonRetryable: true,
  });
}

async function reserveInTime(asked: () => ReserveRequest): Promise<Reserved> {
  if (isDoomed(asked()) && patched(PATCHES.doomedRunsEndAtOnce)) return { kind: 'too_late' };
  let reserved: Reserved;
  try {
    reserved = await reserving.reserve(asked());
  } catch (error) {
    if (isInvalid(error)) throw error;
    reserved = { kind: 'too_late' };
  }
  if (reserved.kind !== 'too_late') return reserved;
  // Whether the last attempt came through is not known: it is asked for once more, for however long that takes.
  if (patched(PATCHES.lateReservationsGoOn)) return retryUntilDone((ledger) => ledger.decideLate(asked()));
  await retryUntilDone((ledger) => ledger.releaseUndecided(asked()));
  return reserved;
}

/** Started, a task scheduled, and begun: no attempt of an earlier task can have reserved what nobody heard of. */
const FIRST_TASK_EVENTS = 3;

/**
 * After an outage of the workers the queue is full of runs whose callers have left. If each of them asked the ledger, those that
 * came since would wait behind it, and be too late as well.
 */
function isDoomed({ input, waitedMs }: ReserveRequest): boolean {
  const isFirstTry = workflowInfo().historyLength <= FIRST_TASK_EVENTS;
  return input.keyIsNew === true && isFirstTry && waitedMs >= TAKE_WITHIN_MS;
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
    if (work.provider.type !== 'external' && patched(PATCHES.givingUpStopsTheJob))
      await stopJob(work, 'engine');
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
async function settleUp(outcome: Exclude<Outcome, { kind: 'continues' }>): Promise<Ended> {
  if (outcome.kind === 'settled') return outcome.ended;
  if (outcome.kind === 'undone') return retryUntilDone((ledger) => ledger.releaseGeneration(outcome.release));
  const reply = await retryUntilDone((ledger) => ledger.captureGeneration(outcome.capture));
  if (reply.kind === 'applied' || reply.kind === 'closed') return reply.ended;
  return retryUntilDone((ledger) => ledger.endOf({ work: outcome.capture.work }));
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
