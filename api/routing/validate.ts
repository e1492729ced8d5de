import { z } from 'zod';
import { findUnstorable } from '../http/body';
import { PROBLEMS, type ProblemCode } from '../problems/kinds';
import { type FieldError, ProblemError } from '../problems/problem';

/** From zod's issues to the `errors` of a problem document. */

/** Parses query and body together, so that one answer lists everything that is wrong with both. */
export function validate<Q extends z.ZodType, B extends z.ZodType>(
  schemas: { query: Q; body: B },
  request: { query: unknown; body: unknown },
): { query: z.output<Q>; body: z.output<B> } {
  const query = schemas.query.safeParse(withNumbers(schemas.query, request.query));
  const unstorable = findUnstorable(request.query);
  // A POST whose fields are all optional may come without a body.
  const body = schemas.body.safeParse(request.body === undefined ? {} : request.body);
  if (query.success && body.success && unstorable === null) return { query: query.data, body: body.data };
  const issues = [query.error, body.error].flatMap((error) => (error ? fieldErrors(error.issues) : []));
  const errors = unstorable === null ? issues : [unstorable, ...issues];
  const [first] = errors;
  throw new ProblemError('invalid_request', {
    detail: first ? `${first.path || 'the request'}: ${first.message}` : 'The request has a wrong shape.',
    errors,
  });
}

const DECIMAL = /^-?\d{1,15}(\.\d{1,15})?$/;

/** A query is text: what its schema wants a number for is one where it is written in plain decimal digits, and else stays wrong. */
function withNumbers(schema: z.ZodType, query: unknown): unknown {
  if (!(schema instanceof z.ZodObject) || query === null || typeof query !== 'object') return query;
  return Object.fromEntries(
    Object.entries(query).map(([name, value]: [string, unknown]) => {
      const field: unknown = schema.shape[name];
      const isNumber = field instanceof z.ZodType && innermost(field) instanceof z.ZodNumber;
      return [name, isNumber && typeof value === 'string' && DECIMAL.test(value) ? Number(value) : value];
    }),
  );
}

function innermost(field: z.ZodType): unknown {
  let inner: unknown = field;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodNullable)
    inner = inner.unwrap();
  return inner;
}

/** An id that is not spelled as an id is an id that nothing has: 404, by the code the route has for that. */
export function validateParams<P extends z.ZodType>(
  schema: P,
  params: unknown,
  routeErrors: readonly ProblemCode[],
): z.output<P> {
  const parsed = schema.safeParse(params);
  if (parsed.success) return parsed.data;
  const code = routeErrors.find((candidate) => PROBLEMS[candidate].status === 404) ?? 'not_found';
  throw new ProblemError(code, { detail: 'No such id.' });
}

function fieldErrors(issues: readonly z.core.$ZodIssue[], above: readonly PropertyKey[] = []): FieldError[] {
  return issues.flatMap((issue) => {
    const path = [...above, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: dotted([...path, key]), message: 'There is no such field.' }));
    }
    if (issue.code === 'invalid_union') {
      // The alternative that fits best is the one the caller meant.
      const [closest] = issue.errors.toSorted((a, b) => a.length - b.length);
      if (closest !== undefined && closest.length > 0) return fieldErrors(closest, path);
    }
    return [{ path: dotted(path), message: messageOf(issue) }];
  });
}

const KINDS: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
  tuple: 'a list',
};

/** In words of the interface; a message that a schema gives itself stays. */
function messageOf(issue: z.core.$ZodIssue): string {
  const { message } = issue;
  if (issue.code === 'invalid_type' && message.startsWith('Invalid input: expected')) {
    const missing = message.endsWith('received undefined') ? 'is missing, and ' : '';
    return `This ${missing}must be ${KINDS[issue.expected] ?? issue.expected}.`;
  }
  if (message === 'Invalid ISO datetime')
    return 'This is not an instant by RFC 3339, such as 2026-11-21T09:30:00Z.';
  if (/^Too (small|big): expected/.test(message)) return sizeProblem(issue);
  if (issue.code === 'invalid_value' && message.startsWith('Invalid '))
    return `This must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}.`;
  if (issue.code === 'invalid_format' && message.startsWith('Invalid '))
    return issue.format === 'regex'
      ? `This must match ${issue.pattern ?? 'its pattern'}.`
      : `This is not a valid ${issue.format}.`;
  if (issue.code === 'not_multiple_of' && message.startsWith('Invalid '))
    return `This must be a multiple of ${issue.divisor}.`;
  return message === 'Invalid input' ? 'This has a wrong shape.' : message;
}

const UNITS: Record<string, string> = {
  string: ' characters',
  array: ' items',
  set: ' items',
  object: ' fields',
  record: ' fields',
};

function sizeProblem(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'too_small' && issue.code !== 'too_big') return issue.message;
  const [bound, word] =
    issue.code === 'too_small'
      ? [issue.minimum, issue.inclusive === false ? 'more than' : 'at least']
      : [issue.maximum, issue.inclusive === false ? 'less than' : 'at most'];
  const unit = UNITS[issue.origin];
  if (unit !== undefined && word === 'at least' && bound === 1) return 'This must not be empty.';
  return unit === undefined ? `This must be ${word} ${bound}.` : `This must have ${word} ${bound}${unit}.`;
}

function dotted(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}
