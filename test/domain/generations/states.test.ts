import { workStateProblem } from '../../../domain/generations/states';

/** What a provider's adapter or a worker in another language answers is JSON of any form. */

test.each([
  { state: 'done', outputs: [] },
  {
    state: 'done',
    outputs: [
      { index: 0, status: 'succeeded', url: 'a' },
      { index: 1, status: 'failed' },
    ],
  },
  { state: 'failed', error: { code: 'oom', message: '' } },
  { state: 'pending', pollAfterMs: 0 },
  { state: 'pending', pollAfterMs: -1, giveUpAfterMs: null },
  { state: 'done', outputs: [{ status: 'succeeded', url: null, error: null }] },
  { state: 'pending', pollAfterMs: 1000, giveUpAfterMs: 5000 },
  { state: 'hold_closed' },
])('%j can be worked with', (state) => {
  expect(workStateProblem(state)).toBeNull();
});

test.each([
  [undefined, /object/],
  ['done', /object/],
  [[], /object/],
  [{ state: 'finished' }, /state must be/],
  [{ state: 'pending' }, /pollAfterMs/],
  [{ state: 'pending', pollAfterMs: Number.NaN }, /pollAfterMs/],
  [{ state: 'pending', pollAfterMs: 1, giveUpAfterMs: '5' }, /giveUpAfterMs/],
  [{ state: 'done' }, /outputs/],
  [{ state: 'done', outputs: [{ url: 'a' }] }, /outputs/],
  [{ state: 'failed' }, /error/],
  [{ state: 'failed', error: { code: 1, message: '' } }, /error/],
])('%j is told apart, in a sentence', (state, problem) => {
  expect(workStateProblem(state)).toMatch(problem);
});
