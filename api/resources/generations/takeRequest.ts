import { z } from 'zod';
import { accountId, callerName, creditsIn, metadata } from '../../routing/schemas';
import { optionValues } from './schemas';

/** What a hold or a charge asks for, and what both may be refused with. */

const MAX_TTL_SECONDS = 86_400;

export const what = {
  account: accountId,
  quote: z.string().max(200).optional(),
  credits: creditsIn.optional().describe('A bare amount, for server keys'),
  action: z.string().min(1).max(64).optional(),
  model: z.string().min(1).max(64).optional(),
  params: optionValues.optional(),
  confirm: z.boolean().optional(),
  member: callerName.optional(),
  project: callerName.optional(),
  feature: callerName.optional(),
  metadata: metadata.optional(),
};
export const ttlSeconds = z.int().min(1).max(MAX_TTL_SECONDS);

export type Taken = z.output<z.ZodObject<typeof what>>;

export const oneOfThree = ({ quote, credits, action }: Pick<Taken, 'quote' | 'credits' | 'action'>) =>
  [quote, credits, action].filter((one) => one !== undefined).length === 1;
export const SAY_WHAT = {
  path: ['action'],
  message: 'Say what to take by exactly one of quote, credits and action.',
};
export const onlyWithAction = ({ action, model, params }: Pick<Taken, 'action' | 'model' | 'params'>) =>
  action !== undefined || (model === undefined && params === undefined);
export const PARAMS_OF_WHAT = { path: ['params'], message: 'Model and params belong to an action.' };

export const TAKE_ERRORS = [
  'unknown_account',
  'insufficient_credits',
  'plan_required',
  'quota_reached',
  'member_limit_reached',
  'account_limit_reached',
  'account_suspended',
  'confirmation_required',
  'unknown_quote',
  'quote_expired',
  'unknown_action',
  'unknown_model',
  'unknown_option',
] as const;
