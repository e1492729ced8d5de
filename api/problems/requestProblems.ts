import type { ProblemKind } from './kind';

/** Why a request is not looked at: it cannot be read, or nobody knows whose it is. */
export const REQUEST_PROBLEMS = {
  bad_request: {
    status: 400,
    title: 'The request is not valid HTTP',
    retryable: false,
    meaning: 'The request line, a header or a chunk could not be read. The request was not processed.',
  },
  invalid_json: {
    status: 400,
    title: 'The body is not JSON',
    retryable: false,
    meaning: 'The body could not be parsed. The request was not processed.',
  },
  idempotency_key_required: {
    status: 400,
    title: 'An Idempotency-Key is required',
    retryable: false,
    meaning: 'Send an Idempotency-Key header of your own making, and the same one when you retry.',
  },
  idempotency_key_invalid: {
    status: 400,
    title: 'The Idempotency-Key is not valid',
    retryable: false,
    meaning: 'A key has 1 to 255 characters.',
  },
  unauthorized: {
    status: 401,
    title: 'No valid key',
    retryable: false,
    meaning: 'Send `Authorization: Bearer <key>` with a key that exists and has not been deleted.',
  },
} as const satisfies Record<string, ProblemKind>;
