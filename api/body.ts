import express, { type Request, type RequestHandler } from 'express';
import { isStorable } from '../domain/text';
import { type FieldError, ProblemError } from './problems';

/** Reading a JSON body within limits, before anyone looks at its shape. */

export const MAX_BODY_BYTES = 256 * 1024;
/** Deep enough for any real request; what hashes or stores a body recurses once per level. */
export const MAX_BODY_DEPTH = 32;

const JSON_TYPES = ['application/json', 'application/*+json'];

/** Parses the body, or passes body-parser's error on (`failures.ts` turns it into a problem). */
export const parseJson: RequestHandler = express.json({
  limit: MAX_BODY_BYTES,
  type: JSON_TYPES,
  // A bare `3` is JSON, so it is a wrong shape (422) and not a syntax error (400).
  strict: false,
  // A few compressed bytes must not become megabytes.
  inflate: false,
});

/** Throws `unsupported_media_type` for a body that is not declared to be JSON. */
export const requireJsonType: RequestHandler = (request, _response, next) => {
  // `is` answers null when there is no body at all, but takes the empty one that fetch announces for one.
  if (request.is(JSON_TYPES) === false && request.get('content-length') !== '0') {
    throw new ProblemError('unsupported_media_type', {
      detail: 'Send the body as `Content-Type: application/json`.',
    });
  }
  next();
};

/** The parsed body, undefined when there is none. Throws `invalid_request` for what could never be stored. */
export function storableBody(request: Request): unknown {
  const body: unknown = request.body;
  const error = findUnstorable(body);
  if (error !== null) throw new ProblemError('invalid_request', { detail: error.message, errors: [error] });
  return body;
}

export function findUnstorable(value: unknown, path: readonly string[] = []): FieldError | null {
  const at = path.join('.');
  if (typeof value === 'string') {
    return !isStorable(value)
      ? { path: at, message: 'Text may not contain NUL or half a surrogate pair.' }
      : null;
  }
  if (typeof value === 'number' && !Number.isFinite(value))
    return { path: at, message: 'This number is too large.' };
  if (value === null || typeof value !== 'object') return null;
  if (path.length >= MAX_BODY_DEPTH) {
    return { path: at, message: `A body may be nested at most ${MAX_BODY_DEPTH} levels deep.` };
  }
  for (const [name, item] of Object.entries(value)) {
    const found = nameProblem(name, at) ?? findUnstorable(item, [...path, name]);
    if (found !== null) return found;
  }
  return null;
}

/** A field called `__proto__` is lost wherever an object is copied, and so would be no part of what was asked. */
function nameProblem(name: string, at: string): FieldError | null {
  if (name === '__proto__') return { path: at, message: 'A field may not be called __proto__.' };
  if (isStorable(name)) return null;
  return { path: at, message: 'A field name may not contain NUL or half a surrogate pair.' };
}
