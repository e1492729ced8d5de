import type { ProblemCode } from '../problems/kinds';
import { problemKind } from '../problems/problem';
import type { Route } from '../routing/route';

/** What the router itself may answer on a route, beyond the route's own `errors`. */
export function commonErrors(route: Route): ProblemCode[] {
  const keyed: ProblemCode[] = route.scope === 'none' ? [] : ['unauthorized', 'scope_missing'];
  const withBody: ProblemCode[] =
    route.method === 'GET' ? [] : ['invalid_json', 'body_too_large', 'unsupported_media_type'];
  const withKey: ProblemCode[] =
    route.idempotency === 'none' ? [] : ['idempotency_key_invalid', 'idempotency_conflict', 'overloaded'];
  const keyRequired: ProblemCode[] = route.idempotency === 'required' ? ['idempotency_key_required'] : [];
  const namesItsOwn = route.errors.some((code) => problemKind(code).status === 404);
  const withLoad: ProblemCode[] = route.load !== undefined ? ['overloaded'] : [];
  const withId: ProblemCode[] = route.params === null || namesItsOwn ? [] : ['not_found'];
  return [
    ...withBody,
    ...keyRequired,
    ...withKey,
    ...keyed,
    ...withId,
    ...withLoad,
    'invalid_request',
    'internal',
    'unavailable',
  ];
}

/** What is answered where the table has no route, and where no request could be read (httpServer.ts). */
export const OUTSIDE_ROUTES: readonly ProblemCode[] = [
  'not_found',
  'method_not_allowed',
  'bad_request',
  'request_timeout',
  'expectation_failed',
  'headers_too_large',
];
