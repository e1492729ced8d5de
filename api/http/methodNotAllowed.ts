import type { RequestHandler } from 'express';
import { ProblemError } from '../problems/problem';

/** For what is there and does not take the request's method. HEAD is answered wherever GET is. */
export function methodNotAllowed(methods: readonly string[]): RequestHandler {
  const allowed = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return (request) => {
    throw new ProblemError('method_not_allowed', {
      detail: `${request.path} does not take ${request.method}.`,
      headers: { Allow: allowed.join(', ') },
    });
  };
}
