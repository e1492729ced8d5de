import { shows, stepsOf } from './walk';

/** How the walk of a page is read; test/dev/start.test.ts takes the walks of ours. */

const shown = '{"id":"ada",…"credits":\n"held":20,…}\n…\nAll is well.\n';

it.each([
  ['the same', true, '{"id":"ada","plan":"free","credits":"held":20,"x":1}\nok\nok\nAll is well.\n'],
  ['no lines where any may be', true, '{"id":"ada","credits":"held":20,}\nAll is well.\n'],
  ['another number', false, '{"id":"ada","plan":"free","credits":"held":200,"x":1}\nok\nAll is well.\n'],
  ['a value from another line', false, '{"id":"ada",}\n"credits":"held":20,}\nAll is well.\n'],
  ['a line too many', false, '{"id":"ada","credits":"held":20,}\nAll is well.\n{"status":500}\n'],
  ['nothing', false, ''],
])('An answer with %s matches what the page shows: %s', (_, same, answered) => {
  expect(shows({ shown, answered })).toBe(same);
});

it('Commands without an answer in the page must answer nothing', () => {
  expect(shows({ shown: null, answered: '' })).toBe(true);
  expect(shows({ shown: null, answered: 'hf: not found\n' })).toBe(false);
});

it('A step is a block of commands and the block right after it', () => {
  const page = 'Text.\n```sh\nK=1\n```\nMore.\n```sh\nhf /a\n  -d b\n```\n```\n{…}\n```\n```json\n{}\n```\n';
  expect(stepsOf(page)).toEqual([
    { commands: 'K=1\n', shown: null },
    { commands: 'hf /a\n  -d b\n', shown: '{…}\n' },
  ]);
});
