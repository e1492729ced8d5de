import { REFUSED_TOO_OFTEN } from '../../db/ledger/accountQueue';
import { metReplacement } from '../../db/migrate/replacedFunctions';
import { ProblemError } from './problem';
import { isTemporals } from './temporalError';

/** What may be thrown below a route, as the problem it is. Anything not known here is `internal`. */

/** SQLSTATEs of a database that is away, restarting or overloaded; the transaction was not carried out. */
const DATABASE_UNAVAILABLE = new Set([
  '08000', // connection_exception
  '08001', // sqlclient_unable_to_establish_sqlconnection
  '08003', // connection_does_not_exist
  '08006', // connection_failure
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53300', // too_many_connections
  '55P03', // lock_not_available: lock_timeout passed
  '57014', // query_canceled: statement_timeout passed
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now: starting up
]);

/** Node's names for a server that cannot be reached. */
const NETWORK_UNAVAILABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** pg and knex give these no code. */
const UNAVAILABLE_MESSAGE =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed and is not queryable|Knex: Timeout acquiring a connection)/;

export function problemOf(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  const type = memberOf(error, 'type');
  if (type === 'entity.too.large') {
    return new ProblemError('body_too_large', { detail: 'A body has at most 256 KiB.', cause: error });
  }
  if (type === 'entity.parse.failed') {
    return new ProblemError('invalid_json', { detail: 'The body is not valid JSON.', cause: error });
  }
  if (type === 'encoding.unsupported' || type === 'charset.unsupported') {
    return new ProblemError('unsupported_media_type', {
      detail: 'Send the body uncompressed and in UTF-8.',
      cause: error,
    });
  }
  if (type === 'request.aborted' || type === 'request.size.invalid') {
    return new ProblemError('invalid_json', { detail: 'The body did not arrive whole.', cause: error });
  }
  if (error instanceof URIError) {
    return new ProblemError('not_found', { detail: 'The path is not validly encoded.', cause: error });
  }
  if (memberOf(error, 'name') === 'LedgerOverloaded') {
    return new ProblemError('overloaded', {
      detail: 'Too many requests on this account are queued; nothing was done. Retry later.',
      cause: error,
    });
  }
  if (memberOf(error, 'name') === 'TooManyRefused') {
    return new ProblemError('overloaded', {
      detail: REFUSED_TOO_OFTEN,
      headers: { 'Retry-After': '60' },
      cause: error,
    });
  }
  if (memberOf(error, 'name') === 'AbortError')
    return new ProblemError('overloaded', {
      detail: 'The client left before it had its answer.',
      cause: error,
    });
  if (memberOf(error, 'name') === 'TooManyWatchers') {
    return new ProblemError('overloaded', {
      detail: 'Too many requests wait already; ask again later, or without `wait`.',
      cause: error,
    });
  }
  if (memberOf(error, 'name') === 'HistoryArchived') {
    return new ProblemError('history_archived', {
      detail: 'The history of that time is archived and no longer in the database.',
      extensions: { until: memberOf(error, 'until') },
      cause: error,
    });
  }
  if (memberOf(error, 'name') === 'UsageUnderWay') {
    return new ProblemError('unavailable', {
      detail:
        'So much was used in this range that it is still being added up. What is added up stays; ask again.',
      cause: error,
    });
  }
  if (isUnavailable(error)) {
    return new ProblemError('unavailable', {
      detail: 'The database or Temporal is unavailable.',
      cause: error,
    });
  }
  return new ProblemError('internal', { detail: 'An unexpected failure, which was logged.', cause: error });
}

/**
 * Whatever the Temporal server answers instead of doing what it was asked, in any of its status codes, is not a fault of the
 * caller's: what a caller may not do is found out before. Whoever wraps an error keeps it as the cause: what matters is what
 * went wrong at the bottom.
 */
function isUnavailable(error: unknown): boolean {
  if (isTemporals(error)) return true;
  for (let cause = error; cause !== null && typeof cause === 'object'; cause = memberOf(cause, 'cause')) {
    const [name, code, message] = ['name', 'code', 'message'].map((member) => memberOf(cause, member));
    if (name === 'LedgerContended' || metReplacement(cause)) return true;
    if (typeof code === 'string' && (DATABASE_UNAVAILABLE.has(code) || NETWORK_UNAVAILABLE.has(code)))
      return true;
    if (typeof message === 'string' && UNAVAILABLE_MESSAGE.test(message)) return true;
  }
  return false;
}

function memberOf(error: unknown, name: string): unknown {
  return error !== null && typeof error === 'object' ? Reflect.get(error, name) : undefined;
}
