import type { RefusalCode } from '../../domain/refusals';
import type { ProblemKind } from './kind';
import { REQUEST_PROBLEMS } from './requestProblems';

/**
 * Every way in which the API says no. This is the only list: HTTP answers, the OpenAPI document, the page
 * /docs/problems and docs/api.md are made from it, and a test holds them together.
 */

export const PROBLEMS = {
  ...REQUEST_PROBLEMS,
  insufficient_credits: {
    status: 402,
    title: 'Not enough credits',
    retryable: false,
    meaning: 'The account cannot pay the price. `required`, `available` and `shortfall` say by how much.',
  },
  scope_missing: {
    status: 403,
    title: 'The key lacks a scope',
    retryable: false,
    meaning: '`requiredScope` names the scope; or the key is bound to another account.',
  },
  plan_required: {
    status: 403,
    title: 'The plan does not include this',
    retryable: false,
    meaning: '`requiredPlan` is the smallest plan that includes what was asked for.',
  },
  member_limit_reached: {
    status: 403,
    title: 'The member’s limit is reached',
    retryable: false,
    meaning: 'This member has used its allowance for the period. An owner can raise the limit.',
  },
  account_limit_reached: {
    status: 403,
    title: 'The account’s daily limit is reached',
    retryable: false,
    meaning: 'The account has used its daily allowance of credits. An administrator can raise the limit.',
  },
  account_suspended: {
    status: 403,
    title: 'The account is suspended',
    retryable: false,
    meaning: 'An administrator suspended the account. The key is not used up.',
  },
  provider_not_allowed: {
    status: 403,
    title: 'The request may not choose a provider',
    retryable: false,
    meaning: 'Only a key with scope `admin`, or a catalog that allows it, may set `provider`.',
  },
  not_found: {
    status: 404,
    title: 'Not found',
    retryable: false,
    meaning: 'The path or the id in it is unknown.',
  },
  unknown_account: {
    status: 404,
    title: 'No such account',
    retryable: false,
    meaning: 'The account must be created before it is used.',
  },
  unknown_report: {
    status: 404,
    title: 'No such late report',
    retryable: false,
    meaning: 'The generation has no late report with this id; `lateReports` lists those it has.',
  },
  unknown_generation: {
    status: 404,
    title: 'No such generation',
    retryable: false,
    meaning: 'No generation has this id.',
  },
  unknown_quote: {
    status: 404,
    title: 'No such quote',
    retryable: false,
    meaning: 'No quote has this id. Ask for a new one.',
  },
  method_not_allowed: {
    status: 405,
    title: 'The path does not take this method',
    retryable: false,
    meaning: 'The `Allow` header lists the methods that it takes.',
  },
  account_exists: {
    status: 409,
    title: 'The account exists',
    retryable: false,
    meaning: 'Another request created an account with this id.',
  },
  test_clock_advancing: {
    status: 409,
    title: 'The test clock is advancing',
    retryable: false,
    meaning: 'The clock is moving to another instant. Wait until its `status` is `ready`.',
  },
  idempotency_conflict: {
    status: 409,
    title: 'The Idempotency-Key belongs to another request',
    retryable: false,
    meaning: 'The key was used with another method, path or body. Use a new key for a new request.',
  },
  confirmation_required: {
    status: 409,
    title: 'The price must be confirmed',
    retryable: false,
    meaning:
      'Show `quote` to the user and send the request again with `confirm: true`. The key is not used up.',
  },
  generation_ended: {
    status: 409,
    title: 'The generation has ended',
    retryable: false,
    meaning:
      'An ended generation takes no reports. A late report is kept for operations and moves no credits.',
  },
  not_external: {
    status: 409,
    title: 'The pipeline does not do this work',
    retryable: false,
    meaning: 'Only a generation whose provider is `external` takes reports and heartbeats.',
  },
  adjustment_exceeds_available: {
    status: 409,
    title: 'More than is available',
    retryable: false,
    meaning: 'An adjustment takes at most what the bucket has available.',
  },
  balance_limit_reached: {
    status: 409,
    title: 'The account would have too many credits',
    retryable: false,
    meaning:
      'An account has at most a million million credits, available and held. Purchases, adjustments and refunds that would lift it further are refused. The key is not used up.',
  },
  unknown_member: {
    status: 404,
    title: 'No such member',
    retryable: false,
    meaning: 'The account has no member with this id.',
  },
  seat_limit_reached: {
    status: 409,
    title: 'All seats are taken',
    retryable: false,
    meaning: 'All seats of the plan are taken. Remove a member, or take a plan with more.',
  },
  no_subscription: {
    status: 409,
    title: 'The account has no subscription',
    retryable: false,
    meaning: 'An account on its free plan has nothing to cancel or to resume. Put it on a paid plan first.',
  },
  last_owner: {
    status: 409,
    title: 'A team needs an owner',
    retryable: false,
    meaning: 'The last owner can neither leave nor become a member while others are in the team.',
  },
  unknown_purchase: {
    status: 404,
    title: 'No such purchase',
    retryable: false,
    meaning: 'The account has no purchase with this id.',
  },
  unknown_hold: {
    status: 404,
    title: 'No such hold',
    retryable: false,
    meaning: 'No hold and no charge has this id.',
  },
  hold_expired: {
    status: 409,
    title: 'The lease has expired',
    retryable: false,
    meaning: 'The hold ended exactly at its `expiresAt`, and its credits were released.',
  },
  hold_closed: {
    status: 409,
    title: 'The hold is closed',
    retryable: false,
    meaning: 'The hold was captured or released before. Nothing is held any more.',
  },
  hold_has_workflow: {
    status: 409,
    title: 'A workflow owns this hold',
    retryable: false,
    meaning: 'The hold of a generation ends with it: report to the generation, or cancel it.',
  },
  namespace_not_lost: {
    status: 409,
    title: 'Temporal knows the namespace',
    retryable: false,
    meaning:
      'A namespace that the server knows cannot be declared lost: the server can be asked what became of its workflows.',
  },
  phase_captured: {
    status: 409,
    title: 'The phase was captured already',
    retryable: false,
    meaning: 'A phase is captured once; this report differs from the one that captured it.',
  },
  answer_lost: {
    status: 409,
    title: 'The answer to this key is lost',
    retryable: false,
    meaning:
      'The answer was given before the database was restored to an earlier point, and its workflow has ended since. Nothing is held under ' +
      'this key. Look at what was delivered, and send the order again under a new key.',
  },
  reservation_undone: {
    status: 409,
    title: 'The reservation was undone',
    retryable: false,
    meaning:
      'The database was unavailable while this was decided, for longer than any caller waits. Nothing is held and nothing ' +
      'was started. Send the order again under a new key.',
  },
  late_report_applied: {
    status: 409,
    title: 'The late work was charged already',
    retryable: false,
    meaning:
      'Late work of a generation is charged once. `charge` is the id of that charge, which can be refunded.',
  },
  refund_exceeds_captured: {
    status: 409,
    title: 'More than was captured',
    retryable: false,
    meaning: 'A refund gives back at most what was captured and has not been refunded.',
  },
  quote_expired: {
    status: 410,
    title: 'The quote has expired',
    retryable: false,
    meaning: 'Ask for a new quote. The key is not used up.',
  },
  history_archived: {
    status: 410,
    title: 'This part of the history is archived',
    retryable: false,
    meaning: 'What happened until `until` was moved into files. Ask for a later instant.',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    retryable: false,
    meaning:
      'The headers must arrive within 10 s, and the whole request within 30 s. The request was not processed.',
  },
  expectation_failed: {
    status: 417,
    title: 'The Expect header is not supported',
    retryable: false,
    meaning: 'An `Expect` header may say `100-continue` and nothing else. The request was not processed.',
  },
  headers_too_large: {
    status: 431,
    title: 'The headers are too large',
    retryable: false,
    meaning: 'Path, query and all headers may have 16 KiB together. The request was not processed.',
  },
  body_too_large: {
    status: 413,
    title: 'The body is too large',
    retryable: false,
    meaning: 'A body may have at most 256 KiB.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body is not declared as JSON',
    retryable: false,
    meaning: 'Send `Content-Type: application/json`, in UTF-8.',
  },
  invalid_request: {
    status: 422,
    title: 'The request has a wrong shape or value',
    retryable: false,
    meaning: '`errors` lists each place and what is wrong there. The key is not used up.',
  },
  unknown_action: {
    status: 422,
    title: 'The catalog has no such action',
    retryable: false,
    meaning: '`GET /v1/catalogs/{catalog}` lists the actions.',
  },
  unknown_model: {
    status: 422,
    title: 'The action has no such model',
    retryable: false,
    meaning: '`GET /v1/catalogs/{catalog}` lists the models of each action.',
  },
  unknown_option: {
    status: 422,
    title: 'The model has no such option',
    retryable: false,
    meaning: '`errors` names the option. Only combinations that have a rate can be ordered.',
  },
  unknown_catalog: {
    status: 422,
    title: 'No such catalog',
    retryable: false,
    meaning: '`GET /v1/catalogs` lists them.',
  },
  unknown_plan: {
    status: 422,
    title: 'The catalog has no such plan',
    retryable: false,
    meaning: '`GET /v1/catalogs/{catalog}` lists the plans.',
  },
  unknown_pack: {
    status: 422,
    title: 'The catalog has no such pack',
    retryable: false,
    meaning: '`GET /v1/catalogs/{catalog}` lists the packs.',
  },
  unknown_bucket: {
    status: 422,
    title: 'The catalog has no such bucket',
    retryable: false,
    meaning: '`GET /v1/catalogs/{catalog}` lists the buckets.',
  },
  too_many_rows: {
    status: 422,
    title: 'Too many rows for one answer',
    retryable: false,
    meaning: 'A statement or a table of usage has at most 10,000 rows. Ask for a shorter range of time.',
  },
  quote_mismatch: {
    status: 422,
    title: 'The quote is for something else',
    retryable: false,
    meaning: 'A quote is bound to its account, action, model and parameters.',
  },
  exceeds_hold: {
    status: 422,
    title: 'More than is held',
    retryable: false,
    meaning: 'A report may capture at most what the generation still holds.',
  },
  too_many_open_generations: {
    status: 429,
    title: 'Too many generations are running',
    retryable: true,
    meaning: 'Wait until one has ended. The key is not used up.',
    retryAfterSeconds: 5,
  },
  quota_reached: {
    status: 429,
    title: 'The plan’s quota is used up',
    retryable: false,
    meaning: 'The plan’s quota for this period is used up. Wait until `resetsAt`, or take a higher plan.',
  },
  overloaded: {
    status: 429,
    title: 'Too many requests are queued',
    retryable: true,
    meaning: 'Nothing was done. Retry the same request after `Retry-After` seconds.',
    retryAfterSeconds: 1,
  },
  internal: {
    status: 500,
    title: 'An unexpected failure',
    retryable: true,
    meaning: 'The log has it under the id in `instance`. Retry with the same Idempotency-Key.',
  },
  unavailable: {
    status: 503,
    title: 'Temporarily unavailable',
    retryable: true,
    meaning:
      'Retry the same request, with the same Idempotency-Key, after `Retry-After` seconds. It takes effect at most once.',
    retryAfterSeconds: 2,
  },
} as const satisfies Record<string, ProblemKind> & Record<RefusalCode, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;
