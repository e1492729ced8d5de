import { ServiceError } from '@temporalio/client';
import { problemOf } from '../../../api/problems/ofError';

/** Every status code of gRPC but OK, as the Temporal client throws them: as they came, and wrapped. */
const STATUSES = Array.from({ length: 16 }, (_, n) => n + 1);

function grpcError(code: number): Error {
  return Object.assign(new Error(`${code} REFUSED: the server says no`), {
    code,
    details: 'the server says no',
    metadata: {},
  });
}

test.each(STATUSES)('status %d of Temporal reaches no caller as a 500', (code) => {
  for (const error of [grpcError(code), new ServiceError('it failed', { cause: grpcError(code) })])
    expect(problemOf(error)).toMatchObject({ code: 'unavailable', cause: error });
});

test('what is not known is an internal error, and says nothing of what it was', () => {
  const problem = problemOf(new Error('secret'));
  expect(problem.code).toBe('internal');
  expect(problem.facts.detail).not.toContain('secret');
});
