import { z } from 'zod';
import { rfc3339 } from '../../../domain/account';
import { milli, toCredits } from '../../../domain/credits';
import type { GenerationFacts } from '../../../domain/generations/generation';
import { REPORT_LIMITS, runsAsScript, shownReport } from '../../../domain/generations/reports';
import {
  accountId,
  boundedJson,
  callerName,
  carriedId,
  creditsFromZero,
  creditsOut,
  instantOut,
  metadata,
} from '../../routing/schemas';

/** Requests and answers of the generation routes, as `api.md` fixes them. */

/** Opaque to us and handed to the provider: prompt, seed, references to images. */
const MAX_INPUT_BYTES = 64 * 1024;

const providerChoice = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('simulated'),
      delayMs: z.int().min(0).max(3_600_000).optional(),
      fail: z.enum(['error', 'timeout', 'crash-once']).optional(),
      deliver: z.int().min(0).max(1000).optional(),
    }),
    z.strictObject({
      type: z.literal('external'),
      deadlineSeconds: z
        .int()
        .min(1)
        .max(7 * 86_400),
    }),
  ])
  .meta({ id: 'ProviderChoice' });

export const optionValues = z
  .record(z.string().max(64), z.unknown())
  .describe('The options that change the price');

export const newGeneration = z
  .strictObject({
    account: accountId,
    action: z.string().min(1).max(64),
    model: z.string().min(1).max(64).optional(),
    params: optionValues.optional(),
    input: boundedJson(z.unknown(), MAX_INPUT_BYTES)
      .optional()
      .describe('Handed to the provider, not priced'),
    member: callerName.optional(),
    project: callerName.optional(),
    feature: callerName.optional(),
    parent: carriedId.optional().describe('The generation this one was made from'),
    quote: carriedId.optional(),
    confirm: z.boolean().optional(),
    metadata: metadata.optional(),
    provider: providerChoice.optional(),
  })
  .meta({ id: 'GenerationRequest' });

const bucketCredits = z.object({ bucket: z.string(), credits: creditsOut });
const failure = z.object({ code: z.string(), message: z.string() });

const lateCharge = z.object({
  charge: z.string().describe('The id of the charge, which can be refunded'),
  credits: creditsOut,
  at: instantOut.nullable(),
  by: z.string().describe('The API key'),
  reason: z.string(),
});

export const generation = z
  .object({
    id: z.string(),
    account: z.string(),
    member: z.string().nullable(),
    project: z.string().nullable(),
    feature: z.string().nullable(),
    parent: z.string().nullable(),
    action: z.string(),
    model: z.string().nullable(),
    params: z.record(z.string(), z.unknown()),
    status: z.enum(['running', 'succeeded', 'partial', 'failed', 'canceled']),
    credits: z.object({
      quoted: creditsOut,
      held: creditsOut,
      captured: creditsOut,
      refunded: creditsOut,
      forfeited: creditsOut,
    }),
    draws: z.array(bucketCredits),
    refunds: z.array(
      z.object({ at: instantOut.nullable(), credits: creditsOut, reason: z.string().nullable() }),
    ),
    phases: z
      .array(
        z.object({
          phase: z.string(),
          credits: creditsOut.nullable().describe('Null: what it took is in an archive'),
        }),
      )
      .optional()
      .describe('Phases of a pipeline that were captured so far, in order'),
    outputs: z.array(
      z.object({
        index: z.number(),
        status: z.string(),
        url: z.string().optional(),
        error: failure.optional(),
      }),
    ),
    error: failure.nullable(),
    provider: z.record(z.string(), z.unknown()),
    providerCost: z.object({ amount: z.number(), currency: z.string() }).nullable(),
    progress: z.number().nullable(),
    deadlineAt: instantOut.nullable(),
    lateReports: z.array(
      z.object({
        reportId: z.string(),
        receivedAt: instantOut.nullable(),
        body: z.unknown(),
        applied: lateCharge.nullable().describe('What was charged for it by hand; null: nothing'),
      }),
    ),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    workflowId: z.string().nullable(),
    temporalUrl: z.string().nullable(),
    catalogVersion: z.number(),
    createdAt: instantOut.nullable(),
    finishedAt: instantOut.nullable(),
  })
  .meta({ id: 'Generation' });

/** The generation of `api.md`, credits as JSON numbers. At its end captured + refunded + forfeited = quoted. */
export function generationBody(facts: GenerationFacts) {
  return {
    id: facts.id,
    account: facts.account,
    member: facts.member,
    project: facts.project,
    feature: facts.feature,
    parent: facts.parent,
    action: facts.action,
    model: facts.model,
    params: facts.params,
    status: facts.status,
    credits: {
      quoted: toCredits(facts.quoted),
      held: toCredits(facts.held),
      captured: toCredits(facts.captured),
      refunded: toCredits(facts.refunded),
      forfeited: toCredits(facts.forfeited),
    },
    draws: facts.draws.map(({ bucket, milli: drawn }) => ({ bucket, credits: toCredits(drawn) })),
    refunds: facts.refunds.map(({ at, milli: refunded, reason }) => ({
      at: rfc3339(at),
      credits: toCredits(refunded),
      reason,
    })),
    ...(facts.phases === undefined
      ? {}
      : { phases: facts.phases.map(({ phase, milli }) => ({ phase, credits: milli && toCredits(milli) })) }),
    outputs: facts.outputs,
    error: facts.error,
    provider: facts.provider,
    providerCost: facts.providerCost,
    progress: facts.progress,
    deadlineAt: rfc3339(facts.deadlineAt),
    lateReports: facts.lateReports.map(({ reportId, receivedAt, body, charge }) => ({
      reportId,
      receivedAt: rfc3339(receivedAt),
      body: shownReport(body),
      applied:
        charge === null
          ? null
          : {
              charge: charge.id,
              credits: toCredits(milli(charge.milli)),
              at: rfc3339(charge.at),
              by: charge.by,
              reason: charge.reason,
            },
    })),
    metadata: facts.metadata,
    workflowId: facts.workflowId,
    temporalUrl: facts.temporalUrl,
    catalogVersion: facts.catalogVersion,
    createdAt: rfc3339(facts.createdAt),
    finishedAt: rfc3339(facts.finishedAt),
  };
}

const outputUrl = z
  .string()
  .min(1)
  .max(REPORT_LIMITS.urlLength)
  .refine(
    (url) => !runsAsScript(url),
    'A URL names where the output lies, and is not itself a script or document.',
  )
  .describe('Where the output lies; kept as it is. `javascript:`, `vbscript:` and `data:` are refused');

export const completion = z
  .strictObject({
    outputs: z.array(z.strictObject({ url: outputUrl.optional() })).max(REPORT_LIMITS.outputs),
    credits: creditsFromZero
      .optional()
      .describe('What to capture, also nothing; without it the delivered share of the price'),
    final: z.boolean().default(true),
    phase: z.string().min(1).max(REPORT_LIMITS.phaseLength).optional(),
    providerCost: z.strictObject({ amount: z.number().min(0), currency: z.string().length(3) }).optional(),
  })
  .refine(({ final, phase }) => final || phase !== undefined, {
    path: ['phase'],
    message: 'A report that is not final names its phase.',
  })
  .refine(({ final, credits }) => final || credits !== undefined, {
    path: ['credits'],
    message: 'A report that is not final says how many credits its phase costs.',
  })
  .meta({ id: 'Completion' });

export const failed = z
  .strictObject({
    code: z.string().min(1).max(REPORT_LIMITS.codeLength),
    message: z.string().max(REPORT_LIMITS.messageLength),
  })
  .meta({ id: 'Failure' });

export const beat = z
  .strictObject({
    progress: z.number().min(0).max(1).optional(),
    extendSeconds: z
      .int()
      .min(1)
      .max(7 * 86_400)
      .optional()
      .describe('The new deadline, from now'),
  })
  .meta({ id: 'Heartbeat' });
