import { ApplicationFailure } from '@temporalio/common';
import type { Knex } from 'knex';
import { findGeneration, untilDeadlineMs } from '../db/generations';
import type { Ledger } from '../db/ledger';
import type { CaptureOperation, GenerationEnd, Reply } from '../db/operations';
import { raiseItem } from '../db/operationsItems';
import { decideReport, keepReport } from '../db/reports';
import type { Reservations, StoredAnswer } from '../db/reservations';
import { milli, toCredits, toMilli } from '../domain/credits';
import { ACCOUNT_ID, generationId, holdIdOf, MAX_KEY_LENGTH, requestHash } from '../domain/ids';
import { REPORT_LIMITS } from '../domain/reports';
import { storable } from '../domain/text';
import { FAILURES, type GenerationInput, type GenerationStatus, type Output } from '../workflows/contract';
import type { CaptureReply, CaptureRequest, Ended, FailureReason, LedgerActivities, Work } from './types';

export interface GenerationDeps {
  ledger: Ledger;
  reservations: Reservations;
  knex: Knex;
}

/** The ledger's side of a generation. Every one may run more than once: its key makes it one effect. */
export function createGenerationActivities(deps: GenerationDeps): LedgerActivities {
  const { ledger, reservations, knex } = deps;

  return {
    async reserve({ input, workflowId, reserveBefore }) {
      const generation = verifiedId(input, workflowId);
      const outcome = await reservations.reserve({ input, reserveBefore, workflowId });
      if (outcome.kind === 'unknown_account') throw invalid(`There is no account ${input.account}.`);
      if (outcome.kind === 'conflict')
        throw invalid('This key was used with another request; use a new key.', 'idempotency_conflict');
      if (outcome.kind === 'refused') {
        const { code, detail, path } = outcome.refusal;
        return { kind: 'refused', code, detail, ...(path === undefined ? {} : { path }) };
      }
      if (outcome.kind !== 'answered') return { kind: 'too_late' };
      const { answer, text, replayed, holdOpen } = outcome;
      const work = holdOpen ? workOf(answer, input) : null;
      const status = work === null ? await statusOf(answer, generation) : 'running';
      return { kind: 'answered', generation, answer: text, replayed, status, work };
    },

    async captureGeneration(request) {
      const { work, reportId } = request;
      const reply = await ledger.run(work.account, captureOperation(request));
      const answered = await captureReply(request, reply);
      if (reportId !== undefined) {
        const outcome =
          answered.kind === 'applied' ? 'applied' : answered.kind === 'closed' ? 'late' : 'rejected';
        const body = { kind: 'complete', id: reportId, ...figuresOf(request) };
        await decided({ work, reportId, body, outcome });
      }
      return answered;
    },

    async releaseGeneration({ work, cause, status, error, reportId }) {
      const reply = await ledger.run(work.account, {
        op: 'release',
        key: `sys:release:${work.holdId}`,
        hash: 'release', // there is one way to release a hold, whoever asks for it first
        holdId: work.holdId,
        cause,
        reason: keepable(error).code,
        generation: { status, error: keepable(error) },
      });
      if (reportId !== undefined) {
        const outcome = reply?.status === 'applied' ? 'applied' : 'late';
        await decided({ work, reportId, body: { kind: 'fail', id: reportId, ...keepable(error) }, outcome });
      }
      return endOf(work);
    },

    async releaseUndecided({ input, workflowId }) {
      // Only the hold of this very workflow: another one's is none of its business.
      const holdId = holdIdOf(verifiedId(input, workflowId));
      const error = {
        code: 'undecided',
        message: 'The reservation was not decided in time; nothing was started.',
      };
      // An unknown or closed hold is just what is hoped for: nothing was taken, or it is back.
      await ledger.run(input.account, {
        op: 'release',
        key: `sys:release:${holdId}`,
        hash: 'release',
        holdId,
        cause: 'engine',
        reason: error.code,
        generation: { status: 'failed', error },
      });
    },

    endOf: ({ work }) => endOf(work),

    async untilDeadline({ work }) {
      return (await untilDeadlineMs(knex, { account: work.account, id: work.generation })) ?? 0;
    },

    async keepLateReport({ work, report }) {
      const key = { account: work.account, generation: work.generation, reportId: report.id };
      await keepReport(knex, { ...key, body: report, outcome: 'late' });
      await decideReport(knex, { ...key, outcome: 'late' });
    },

    async keepRejectedReport({ account, generation, problem, said }) {
      const body = { problem, said };
      const reportId = `rejected:${requestHash({ method: 'report', route: generation, body }).slice(0, 32)}`;
      await keepReport(knex, { account, generation, reportId, body, outcome: 'rejected' });
      await raiseItem(knex, {
        account,
        kind: 'report_rejected',
        subject: `${generation} ${reportId}`,
        detail: body,
      });
    },
  };

  /** A signal's report is not kept before it is acted upon; what came of nothing is kept now, for operations. */
  async function decided(options: {
    work: Work;
    reportId: string;
    body: unknown;
    outcome: 'applied' | 'late' | 'rejected';
  }): Promise<void> {
    const { work, reportId, body, outcome } = options;
    const key = { account: work.account, generation: work.generation, reportId };
    if (outcome !== 'applied') await keepReport(knex, { ...key, body, outcome });
    await decideReport(knex, { ...key, outcome });
  }

  async function captureReply(request: CaptureRequest, reply: Reply | null): Promise<CaptureReply> {
    const { work, creditsMilli, reportId } = request;
    switch (reply?.status) {
      case 'applied':
        if (reply.clamped === true) {
          await raiseItem(knex, {
            account: work.account,
            kind: 'capture_clamped',
            subject: `${work.generation} ${stepOf(request)}`,
            detail: { holdId: work.holdId, askedMilli: creditsMilli, takenMilli: reply.captured, reportId },
          });
        }
        return { kind: 'applied', ended: await endOf(work) };
      case 'exceeds_hold':
      case 'phase_captured':
        return { kind: reply.status };
      case 'idempotency_conflict':
        if (reply.hold?.open === true) return { kind: 'phase_captured' };
        break;
      default:
    }
    await raiseItem(knex, {
      account: work.account,
      kind: 'capture_of_closed_hold',
      subject: work.generation,
      detail: { holdId: work.holdId, ledger: reply?.status ?? 'unknown_account' },
    });
    return { kind: 'closed', ended: await endOf(work) };
  }

  async function endOf(work: Pick<Work, 'account' | 'generation'>): Promise<Ended> {
    const found = await findGeneration(knex, { account: work.account, id: work.generation });
    if (found === undefined) throw new Error(`generation ${work.generation} has no row`);
    return {
      status: found.status,
      error: found.error,
      captured: toCredits(found.captured),
      refunded: toCredits(found.refunded),
      forfeited: toCredits(found.forfeited),
    };
  }

  async function statusOf(answer: StoredAnswer, generation: string): Promise<GenerationStatus | 'refused'> {
    if (answer.status !== 'applied') return 'refused';
    return (await endOf({ account: answer.facts.generation.account, generation })).status;
  }
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

/** `code`: the problem that it is over HTTP, where it can be one. */
function invalid(message: string, code?: string): ApplicationFailure {
  const details = code === undefined ? {} : { details: [{ kind: 'refused', code, detail: message }] };
  return ApplicationFailure.create({ type: FAILURES.invalid, message, nonRetryable: true, ...details });
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

/** The step of the work that a capture pays for, so that a phase may be called final. */
function stepOf({ phase }: CaptureRequest): string {
  return phase === undefined ? 'final' : `phase:${phase}`;
}

/** What a report said, from what was asked of the ledger for it. */
function figuresOf({ outputs, creditsMilli, final, phase, providerCost }: CaptureRequest) {
  return { outputs: outputs.map(keepableOutput), creditsMilli, final, phase, providerCost };
}

/** A provider's words, or whoever's, as they can be kept: what cannot be would be tried for ever. */
function keepable({ code, message }: FailureReason): FailureReason {
  const { codeLength, messageLength } = REPORT_LIMITS;
  return { code: storable(code, codeLength), message: storable(message, messageLength) };
}

function keepableOutput({ url, error, ...output }: Output): Output {
  return {
    ...output,
    ...(url === undefined ? {} : { url: storable(url, REPORT_LIMITS.urlLength) }),
    ...(error === undefined ? {} : { error: keepable(error) }),
  };
}

function captureOperation(request: CaptureRequest): CaptureOperation {
  const { work, final, phase, creditsMilli, clamp } = request;
  const outputs = request.outputs.map(keepableOutput);
  const delivered = Math.min(outputs.filter(({ status }) => status === 'succeeded').length, work.ordered);
  const planned = work.creditsPlanned === undefined ? {} : { price: toMilli(work.creditsPlanned) };
  const share =
    creditsMilli === undefined
      ? { delivered, ordered: work.ordered, ...planned }
      : { amount: milli(creditsMilli) };
  const step = stepOf(request);
  return {
    op: 'capture',
    key: `sys:capture:${work.holdId}:${step}`,
    hash: requestHash({ method: 'capture', route: step, body: { ...share, final, outputs } }),
    holdId: work.holdId,
    ...share,
    ...(clamp === undefined ? {} : { clamp }),
    ...(phase === undefined ? {} : { phase }),
    final,
    // A pipeline that delivers less than was ordered is the customer's doing, like its `fail` (rule 14).
    cause: work.provider.type === 'external' ? 'customer' : 'provider',
    generation: final ? endOfWork({ ...request, outputs }, delivered) : {},
  };
}

function endOfWork({ work, outputs, providerCost }: CaptureRequest, delivered: number): GenerationEnd {
  const missing: Output[] = Array.from({ length: Math.max(0, work.ordered - outputs.length) }, (_, n) => ({
    index: outputs.length + n,
    status: 'failed',
    error: { code: 'not_delivered', message: 'The provider delivered fewer outputs than were ordered.' },
  }));
  const status = delivered === work.ordered ? 'succeeded' : delivered === 0 ? 'failed' : 'partial';
  const error =
    delivered === 0 ? { code: 'nothing_delivered', message: 'The provider delivered no output.' } : null;
  return { status, outputs: [...outputs, ...missing], error, ...(providerCost && { providerCost }) };
}
