import { z } from 'zod';
import { PLAN_INTERVALS } from '../../../domain/account';
import { isTimezone } from '../../../domain/time/calendar';
import { creditsOut, instantOut } from '../../routing/schemas';

/** Requests and answers of the account and balance routes, as `api.md` fixes them. */

export const timezone = z
  .string()
  .max(64)
  .refine(isTimezone, 'This is not a time zone, such as Europe/London.');

export const account = z
  .object({
    id: z.string(),
    catalog: z.string(),
    catalogVersion: z.number(),
    plan: z.string(),
    subscription: z.object({
      status: z.enum(['none', 'active', 'canceling', 'past_due', 'lapsed']),
      interval: z.enum(PLAN_INTERVALS).nullable(),
      paidUntil: instantOut.nullable(),
      pendingChange: z.object({ plan: z.string(), at: instantOut }).nullable(),
    }),
    suspended: z.boolean(),
    timezone: z.string(),
    cycle: z.object({ anchor: instantOut, start: instantOut, end: instantOut }),
    testClock: z.string().nullable(),
    now: instantOut,
    email: z.string().nullable(),
    stripeCustomer: z.string().nullable(),
    createdAt: instantOut,
  })
  .meta({ id: 'Account' });

const bucketBalance = z.object({
  bucket: z.string(),
  label: z.string(),
  available: creditsOut,
  held: creditsOut,
  granted: creditsOut.describe('What this period gave'),
  percentLeft: z
    .number()
    .nullable()
    .describe(
      'The share of what this period gave, returned credits included, that is left; null: not refreshed',
    ),
  expiresAt: instantOut.nullable(),
  nextRefresh: z
    .object({ at: instantOut, amount: creditsOut })
    .nullable()
    .describe('What is granted next, a pending change of plan included'),
});

export const balance = z
  .object({
    account: z.string(),
    asOf: instantOut,
    available: creditsOut,
    held: creditsOut,
    debt: creditsOut,
    buckets: z.array(bucketBalance).describe('In spend order'),
    expiringSoon: z.array(
      z.object({ bucket: z.string(), credits: creditsOut, expiresAt: instantOut.nullable() }),
    ),
    quotas: z
      .array(
        z.object({
          quota: z.string(),
          label: z.string(),
          limit: z.number(),
          used: z.number(),
          resetsAt: instantOut.nullable(),
        }),
      )
      .describe('Those that limit the present plan'),
    member: z
      .object({
        limit: creditsOut.nullable(),
        used: creditsOut,
        left: creditsOut.nullable(),
        resetsAt: instantOut.nullable(),
      })
      .nullable(),
    canGenerate: z.boolean().nullable().describe('Null of the past'),
    ways: z.array(z.string()),
    nextRefreshAt: instantOut.nullable(),
    lots: z
      .array(
        z.object({
          id: z.string(),
          bucket: z.string(),
          granted: creditsOut,
          available: creditsOut,
          held: creditsOut,
          effectiveAt: instantOut.nullable(),
          expiresAt: instantOut.nullable(),
          source: z.string(),
        }),
      )
      .optional(),
  })
  .meta({ id: 'Balance' });
