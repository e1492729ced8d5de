import type { ProblemKind } from './kind';
import { type ProblemCode, PROBLEMS } from './kinds';
import { defined } from '../../domain/defined';

/** Problems as they are thrown and answered (RFC 9457); every kind there is lies in problemKinds.ts. */

export interface FieldError {
  /** Dotted, as the field is written in the request: `params.resolution`, `outputs.0.url`. */
  path: string;
  message: string;
}

export interface ProblemFacts {
  detail: string;
  errors?: readonly FieldError[];
  /** Further members of the document, such as `required` and `shortfall`. */
  extensions?: Readonly<Record<string, unknown>>;
}

export function problemKind(code: ProblemCode): ProblemKind {
  return PROBLEMS[code];
}

/** The body of an `application/problem+json` answer (RFC 9457). `instance` names the request in the log. */
export function problemDocument(
  code: ProblemCode,
  { detail, errors, extensions, instance }: ProblemFacts & { instance?: string },
): Record<string, unknown> {
  const { title, status, retryable } = problemKind(code);
  return {
    type: `/docs/problems#${code}`,
    title,
    status,
    detail,
    ...defined({ instance }),
    code,
    retryable,
    ...defined({ errors }),
    ...extensions,
  };
}

/** Thrown anywhere below a route; the router answers it as a problem document. */
export class ProblemError extends Error {
  readonly code: ProblemCode;
  readonly facts: ProblemFacts;
  /** Further response headers, such as `Allow`. */
  readonly headers: Readonly<Record<string, string>>;
  /** What was asked for may be carried out all the same: its Idempotency-Key stays with it. */
  readonly begun: boolean;

  constructor(
    code: ProblemCode,
    {
      headers,
      cause,
      begun = false,
      ...facts
    }: ProblemFacts & { headers?: Record<string, string>; cause?: unknown; begun?: boolean },
  ) {
    super(`${code}: ${facts.detail}`, { cause });
    this.name = 'ProblemError';
    this.code = code;
    this.facts = facts;
    this.headers = headers ?? {};
    this.begun = begun;
  }
}
