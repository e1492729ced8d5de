import { isUtf8 } from 'node:buffer';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { isStorable } from '../../domain/text';
import { isGivenUp } from './httpServer';
import { type FieldError, ProblemError } from '../problems/problem';

/** Reading a JSON body within limits, before anyone looks at its shape. */

const MAX_BODY_BYTES = 256 * 1024;
/** Read and thrown away in a moment, so that the connection can be used again. */
const SMALL_BODY_BYTES = 64 * 1024;
/** Deep enough for any real request; what hashes or stores a body recurses once per level. */
const MAX_BODY_DEPTH = 32;

const JSON_TYPES = ['application/json', 'application/*+json'];

const parse: RequestHandler = express.json({
  limit: MAX_BODY_BYTES,
  type: JSON_TYPES,
  // A bare `3` is JSON, so it is a wrong shape (422) and not a syntax error (400).
  strict: false,
  // A few compressed bytes must not become megabytes.
  inflate: false,
  // Two bodies that differ must not become one: what is not UTF-8 would be read as U+FFFD wherever it is wrong.
  verify(_request, _response, bytes, encoding) {
    if (encoding !== 'utf-8')
      throw new ProblemError('unsupported_media_type', { detail: 'Send the body in UTF-8.' });
    if (!isUtf8(bytes)) throw new ProblemError('invalid_json', { detail: 'The body is not valid UTF-8.' });
    const twice = nameSaidTwice(bytes.toString('utf8'));
    if (twice !== null)
      throw new ProblemError('invalid_json', {
        detail: `An object of the body has ${twice} twice: say each field once.`,
      });
  },
});

/** A text that does not end goes to the end of the body, so that nothing is read twice, whatever was sent. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*(?:"(\s*:)?|\\?$)|[{}[\]]/gs;

/** The first name, as it is written, that an object has twice: of two amounts nobody knows which was meant. For what is not JSON, anything. */
function nameSaidTwice(text: string): string | null {
  const around: Set<unknown>[] = [];
  for (const [token, isName] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') around.push(new Set());
    else if (token === '}' || token === ']') around.pop();
    else if (isName !== undefined) {
      const written = token.slice(0, token.lastIndexOf('"') + 1);
      const names = around.at(-1);
      const name = unescaped(written);
      if (names?.has(name) === true) return written;
      names?.add(name);
    }
  }
  return null;
}

function unescaped(written: string): unknown {
  if (!written.includes('\\')) return written.slice(1, -1);
  try {
    return JSON.parse(written);
  } catch {
    return written; // an escape that JSON does not have, which the parser will say
  }
}

/**
 * Reads the body; only for a caller who may send one. Throws `unsupported_media_type` for one that is not declared to be JSON,
 * `body_too_large` before any of it is read where its length is told, or body-parser's error (`failures.ts` turns it into a problem).
 */
export async function readBody(request: Request, response: Response): Promise<void> {
  // `is` answers null when there is no body at all, but takes the empty one that fetch announces for one.
  if (request.is(JSON_TYPES) === false && request.get('content-length') !== '0') {
    throw new ProblemError('unsupported_media_type', {
      detail: 'Send the body as `Content-Type: application/json`.',
    });
  }
  if (Number(request.get('content-length') ?? 0) > MAX_BODY_BYTES)
    throw new ProblemError('body_too_large', { detail: 'A body has at most 256 KiB.' });
  if (request.headers.expect !== undefined) response.writeContinue(); // any other expectation never came here
  await new Promise<void>((resolve, reject) => {
    const next: NextFunction = (error?: unknown) => {
      if (error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error('the body could not be read', { cause: error }));
    };
    void parse(request, response, next);
  });
  if (isGivenUp(request))
    throw new ProblemError('request_timeout', {
      detail: 'The body came when the client had been told that it had not.',
    });
}

/** What was sent and not read is not worth reading: more than a little of it, or nobody knows how much. */
export function leavesBodyUnread(request: Request): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
  return !request.complete && (coding !== undefined || Number(length ?? 0) > SMALL_BODY_BYTES);
}

/** The parsed body, undefined when there is none. Throws `invalid_request` for what could never be stored. */
export function storableBody(request: Request): unknown {
  const body: unknown = request.body;
  const error = findUnstorable(body);
  if (error !== null) throw new ProblemError('invalid_request', { detail: error.message, errors: [error] });
  return body;
}

/** The first place that could never be stored. Its path is put together on the way back: most bodies have none. */
export function findUnstorable(value: unknown): FieldError | null {
  const found = unstorable(value, 0);
  return found === null ? null : { path: found.names.toReversed().join('.'), message: found.message };
}

interface Unstorable {
  /** From the inside out. */
  names: string[];
  message: string;
}

function unstorable(value: unknown, depth: number): Unstorable | null {
  if (typeof value === 'string')
    return isStorable(value) ? null : here('Text may not contain NUL or half a surrogate pair.');
  if (typeof value === 'number') return Number.isFinite(value) ? null : here('This number is too large.');
  if (value === null || typeof value !== 'object') return null;
  if (depth >= MAX_BODY_DEPTH) return here(`A body may be nested at most ${MAX_BODY_DEPTH} levels deep.`);
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const found = unstorable(value[index], depth + 1);
      if (found !== null) return inside(found, String(index));
    }
    return null;
  }
  for (const name of Object.keys(value)) {
    const message = nameProblem(name);
    if (message !== null) return here(message);
    const found = unstorable(Reflect.get(value, name), depth + 1);
    if (found !== null) return inside(found, name);
  }
  return null;
}

function here(message: string): Unstorable {
  return { names: [], message };
}

function inside(found: Unstorable, name: string): Unstorable {
  found.names.push(name);
  return found;
}

/** A field called `__proto__` is lost wherever an object is copied, and so would be no part of what was asked. */
function nameProblem(name: string): string | null {
  if (name === '__proto__') return 'A field may not be called __proto__.';
  return isStorable(name) ? null : 'A field name may not contain NUL or half a surrogate pair.';
}
