import { Writable } from 'node:stream';
import { runInNewContext } from 'node:vm';
import { ActivityFailure, ApplicationFailure, RetryState } from '@temporalio/common';
import { createWorkerLog, sdkLogger } from '../../activities/workerLog';

/** A line of the log says why. */

function logged(meta: Record<string, unknown>): Record<string, unknown> {
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString('utf8'));
      done();
    },
  });
  sdkLogger(createWorkerLog('info', destination)).warn('Workflow failed', meta);
  return JSON.parse(lines.join('')) as Record<string, unknown>;
}

test('the error of a workflow that failed is told with all that caused it', () => {
  const cause = ApplicationFailure.nonRetryable('no credits are left', 'insufficient_credits');
  const error = new ActivityFailure(
    'Activity task failed',
    'reserve',
    '1',
    RetryState.NON_RETRYABLE_FAILURE,
    'worker',
    cause,
  );
  expect(logged({ workflowId: 'gen_ada.1', error })).toMatchObject({
    msg: 'Workflow failed',
    workflowId: 'gen_ada.1',
    error: {
      type: 'ActivityFailure',
      message: 'Activity task failed',
      cause: { type: 'ApplicationFailure', message: 'no credits are left', failure: 'insufficient_credits' },
    },
  });
});

test('so is one that was thrown in the sandbox, where errors are of another realm', () => {
  const error: unknown = runInNewContext("new RangeError('not an instant')");
  expect(error instanceof Error).toBe(false);
  expect(logged({ error })).toMatchObject({ error: { type: 'RangeError', message: 'not an instant' } });
});

test('what is not an error is told as it is, and what a database quotes of its rows is not', () => {
  expect(logged({ error: 'gone' })).toMatchObject({ error: 'gone' });
  const broken = Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (id)=(secret)' });
  const line = logged({ error: broken });
  expect(line).toMatchObject({ error: { message: 'duplicate key', code: '23505' } });
  expect(JSON.stringify(line)).not.toContain('secret');
});
