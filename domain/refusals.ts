/**
 * Why a request is not carried out. `kept` refusals were decided under the account's lock: they are journal
 * rows and the answer to their key for ever (rule 2). The others never use a key up.
 */
export const REFUSALS = {
  insufficient_credits: { kept: true },
  plan_required: { kept: true },
  quota_reached: { kept: true },
  member_limit_reached: { kept: true },
  account_limit_reached: { kept: true },
  account_suspended: { kept: false },
  too_many_open_generations: { kept: false },
  confirmation_required: { kept: false },
  quote_expired: { kept: false },
  quote_mismatch: { kept: false },
  unknown_quote: { kept: false },
  unknown_action: { kept: false },
  unknown_model: { kept: false },
  unknown_option: { kept: false },
  provider_not_allowed: { kept: false },
} as const satisfies Record<string, { kept: boolean }>;

export type RefusalCode = keyof typeof REFUSALS;

/** A refusal is a value, never an exception. `facts` are what its problem document shows. */
export interface Refusal {
  code: RefusalCode;
  detail: string;
  /** Where in the request, for shape and option errors: `params.resolution`. */
  path?: string;
  facts?: Record<string, unknown>;
}
