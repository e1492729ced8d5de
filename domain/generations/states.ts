/**
 * What an adapter or a worker answers of its work is checked before it is used: types end at the wire, and an answer that
 * cannot be worked with must fail the work and not the workflow (rule 34). Pure, for workflow code.
 */

/** Null: it can be worked with; else what is wrong with it, in a sentence. */
export function workStateProblem(state: unknown): string | null {
  if (!isRecord(state)) return 'An answer is an object.';
  switch (state['state']) {
    case 'done':
      return Array.isArray(state['outputs']) && state['outputs'].every(isOutput)
        ? null
        : 'outputs must be a list of {status: succeeded | failed, index?, url?, error?}.';
    case 'failed':
      return isFailure(state['error']) ? null : 'error must have code and message, both text.';
    case 'pending':
      if (!isDuration(state['pollAfterMs'])) return 'pollAfterMs must be a number of milliseconds.';
      return isAbsent(state['giveUpAfterMs']) || isDuration(state['giveUpAfterMs'])
        ? null
        : 'giveUpAfterMs must be a number of milliseconds, or left out.';
    case 'hold_closed':
      return null;
    default:
      return 'state must be done, failed, pending or hold_closed.';
  }
}

function isOutput(output: unknown): boolean {
  if (!isRecord(output)) return false;
  const { index, status, url, error } = output;
  return (
    (isAbsent(index) || typeof index === 'number') &&
    (status === 'succeeded' || status === 'failed') &&
    (isAbsent(url) || typeof url === 'string') &&
    (isAbsent(error) || isFailure(error))
  );
}

function isFailure(error: unknown): boolean {
  return isRecord(error) && typeof error['code'] === 'string' && typeof error['message'] === 'string';
}

function isDuration(milliseconds: unknown): boolean {
  return typeof milliseconds === 'number' && Number.isFinite(milliseconds);
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
