import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { REFUSED_TOO_OFTEN, TooManyRefused } from '../db/ledger/accountQueue';
import {
  capture,
  type EndedGeneration,
  release,
  releaseOperation,
  type WorkTerms,
} from '../db/generations/endings';
import { findGeneration, untilDeadlineMs } from '../db/generations/generations';
import { holdNow, wasCutWithin } from '../db/generations/holds';
import type { Ledger } from '../db/ledger/ledger';
import type { ReplyStatus } from '../db/ledger/operations';
import { raiseItem } from '../db/support/items';
import { decideReport, pendingReports } from '../db/generations/pipelineReports';
import type { Reservations, StoredAnswer } from '../db/reserve/generation';
import { milli, toCredits, toMilli } from '../domain/credits';
import { TAKE_WITHIN_MS, UNDECIDED } from '../domain/generations/generation';
import { ACCOUNT_ID, generationId, holdIdOf, MAX_KEY_LENGTH, requestHash } from '../domain/ids';
import { reportProblem } from '../domain/generations/reports';
import { FAILURES, type GenerationInput, type GenerationStatus } from '../domain/contract';
import type { Ended, LedgerActivities, Reserved, ReserveRequest, Work } from './types';
import { defined } from '../domain/defined';

/** A hold that was cut so recently is resumed, though its reservation was not decided in time (rule 8). */
const STILL_WANTED_SECONDS = 60;
/** Reports of one generation taken at one look; what is left is taken at the next. */
const REPORTS_AT_ONCE = 100;

export interface GenerationDeps {
  ledger: Ledger;
  reservations: Reservations;
  knex: Knex;
  pool: Pool;
}

/** The ledger's side of a generation. Every one may run more than once: its key makes it one effect. */
export function createGenerationActivities(deps: GenerationDeps): LedgerActivities {
  const { ledger, reservations, knex, pool } = deps;

  return {
    reserve,

    async captureGeneration({ work, ...what }) {
      const { captured, ended } = await capture(deps, termsOf(work), what);
      if (captured === 'applied' || captured === 'closed')
        return { kind: captured, ended: ended === null ? await endOf(work) : shownEnd(ended) };
      return { kind: captured };
    },

    async releaseGeneration({ work, ...undo }) {
      await release(deps, termsOf(work), undo);
      return endOf(work);
    },

    async decideLate(request) {
      const account = request.input.account;
      const holdId = holdIdOf(verifiedId(request.input, request.workflowId));
      const hold = await holdNow(knex, { account, holdId });
      // Whoever was told of it, or continued with it, counts on it, however long ago it was cut.
      const unheard = hold?.open === true && hold.epoch === 0;
      if (unheard && !(await wasCutWithin(knex, { account, holdId, seconds: STILL_WANTED_SECONDS }))) {
        if ((await giveUp({ ...request, epoch: 0 })) !== 'hold_alive') return { kind: 'too_late' };
      }
      // The key is read before it is judged what is too late: what was cut in time is found, and nothing new is.
      return reserve(request);
    },

    async releaseUndecided(request) {
      await giveUp(request);
    },

    endOf: ({ work }) => endOf(work),

    async untilDeadline({ work }) {
      return (await untilDeadlineMs(knex, { account: work.account, id: work.generation })) ?? 0;
    },

    async pendingReports({ work: { account, generation } }) {
      const pending = await pendingReports(knex, { account, generation, limit: REPORTS_AT_ONCE });
      return pending.filter((report) => reportProblem(report) === null);
    },

    async keepLateReport({ work: { account, generation }, report }) {
      await decideReport(knex, { account, generation, reportId: report.id, body: report, outcome: 'late' });
    },

    async keepRejectedReport({ account, generation, problem, said }) {
      const body = { problem, said };
      const reportId = `rejected:${requestHash({ method: 'report', route: generation, body }).slice(0, 32)}`;
      await decideReport(knex, { account, generation, reportId, body, outcome: 'rejected' });
      await raiseItem(knex, {
        account,
        kind: 'report_rejected',
        subject: `${generation} ${reportId}`,
        detail: body,
      });
    },
  };

  async function reserve({ input, workflowId, waitedMs }: ReserveRequest): Promise<Reserved> {
    const generation = verifiedId(input, workflowId);
    const outcome = await reservations
      .reserve({ input, arrivedMs: arrivalOf(waitedMs), workflowId })
      .catch((error: unknown) => {
        if (error instanceof TooManyRefused) return null;
        throw error;
      });
    if (outcome === null) return { kind: 'refused', code: 'overloaded', detail: REFUSED_TOO_OFTEN };
    if (outcome.kind === 'unknown_account') throw invalid(`There is no account ${input.account}.`);
    if (outcome.kind === 'conflict')
      throw invalid('This key was used with another request; use a new key.', 'idempotency_conflict');
    if (outcome.kind === 'refused') {
      const { code, detail, path } = outcome.refusal;
      return { kind: 'refused', code, detail, ...defined({ path }) };
    }
    if (outcome.kind !== 'answered') return { kind: 'too_late' };
    const { answer, text, hash, replayed, holdOpen } = outcome;
    const work = holdOpen ? workOf(answer, input) : null;
    const status = work === null ? await statusOf(answer, generation) : 'running';
    return { kind: 'answered', generation, answer: text, hash, replayed, status, work };
  }

  /** Gives back what a reservation that nobody waits for may have taken after all; with `epoch` only if nobody heard of it since. */
  async function giveUp({
    input,
    workflowId,
    epoch,
  }: Omit<ReserveRequest, 'waitedMs'> & { epoch?: number }): Promise<ReplyStatus | undefined> {
    // Only the hold of this very workflow: another one's is none of its business.
    const holdId = holdIdOf(verifiedId(input, workflowId));
    const message = 'The reservation was not decided in time; nothing was started.';
    const error = { code: UNDECIDED, message };
    // An unknown or closed hold is just what is hoped for: nothing was taken, or it is back.
    const reply = await ledger.run(
      input.account,
      releaseOperation({
        holdId,
        ...defined({ epoch }),
        cause: 'engine',
        reason: error.code,
        generation: { status: 'failed', error },
      }),
    );
    return reply?.status;
  }

  async function endOf(work: Pick<Work, 'account' | 'generation'>): Promise<Ended> {
    const found = await findGeneration(pool, { account: work.account, id: work.generation });
    if (found === undefined) throw new Error(`generation ${work.generation} has no row`);
    return shownEnd(found);
  }

  async function statusOf(answer: StoredAnswer, generation: string): Promise<GenerationStatus | 'refused'> {
    if (answer.status !== 'applied') return 'refused';
    return (await endOf({ account: answer.facts.generation.account, generation })).status;
  }
}

/** Credits, for people to read. */
function shownEnd({ status, error, captured, refunded, forfeited }: EndedGeneration): Ended {
  return {
    status,
    error,
    captured: toCredits(captured),
    refunded: toCredits(refunded),
    forfeited: toCredits(forfeited),
  };
}

/**
 * When a run began, in this process' monotonic milliseconds: before it came here it waited by the server's clock, and since then
 * by this machine's. Only spans of both are used: neither is the clock that decides. A regular activity comes when nobody waits
 * any more, and may hold nothing new.
 */
function arrivalOf(waitedMs: number): number {
  const { isLocal, scheduledTimestampMs } = activityInfo();
  const waitedHereMs = isLocal ? Math.max(0, Date.now() - scheduledTimestampMs) : TAKE_WITHIN_MS;
  return performance.now() - waitedMs - waitedHereMs;
}

/** Rule 6: whoever starts this workflow by hand must have derived its id from account and key. */
function verifiedId({ account, key }: GenerationInput, workflowId: string): string {
  if (!ACCOUNT_ID.test(account)) throw invalid(`Not an account id: ${JSON.stringify(account)}.`);
  if (key.length === 0 || key.length > MAX_KEY_LENGTH)
    throw invalid(`A key has 1 to ${MAX_KEY_LENGTH} characters.`);
  const id = generationId(account, key);
  if (id !== workflowId)
    throw invalid(`The workflow's id must be ${id} for this account and key, not ${workflowId}.`);
  return id;
}

/** `code`: the problem it is over HTTP, where it can be one. */
function invalid(message: string, code?: string): ApplicationFailure {
  const details = code === undefined ? {} : { details: [{ kind: 'refused', code, detail: message }] };
  return ApplicationFailure.create({ type: FAILURES.invalid, message, nonRetryable: true, ...details });
}

function termsOf({ account, generation, holdId, ordered, creditsPlanned, provider }: Work): WorkTerms {
  return {
    account,
    generation,
    holdId,
    ordered,
    plannedMilli: creditsPlanned === undefined ? null : toMilli(creditsPlanned),
    external: provider.type === 'external',
  };
}

function workOf({ facts, amount, draws }: StoredAnswer, input: GenerationInput): Work {
  const { generation, maxDurationSeconds } = facts;
  const { type } = generation.provider;
  if (typeof type !== 'string') throw new Error(`generation ${generation.id} names no provider`);
  return {
    account: generation.account,
    generation: generation.id,
    holdId: holdIdOf(generation.id),
    action: generation.action,
    model: generation.model,
    params: generation.params,
    input: input.request.input ?? null,
    ordered: generation.ordered,
    creditsHeld: toCredits(milli(amount ?? 0)),
    ...(facts.planned === undefined ? {} : { creditsPlanned: toCredits(milli(facts.planned)) }),
    draws: (draws ?? []).map(({ bucket, milli: drawn }) => ({ bucket, credits: toCredits(milli(drawn)) })),
    provider: { ...generation.provider, type },
    maxDurationSeconds,
    member: generation.member,
  };
}
