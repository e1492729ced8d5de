import type { GenerationStarter, Started } from '../../../api/workflows/starter';
import { withBreaker } from '../../../api/workflows/startBreaker';

/** Finding 9: while no reservation is decided, starting more of them only lengthens what the workers come back to. */

let nowMs: number;
let answers: Started['kind'];
let changes: boolean[];
let waiting: (() => void)[];
let begun: string[];
let starter: GenerationStarter;

beforeEach(() => {
  [nowMs, answers, changes, waiting, begun] = [0, 'undecided', [], [], []];
  const inner = {
    start: async (input: { account: string }) => {
      begun.push(input.account);
      const kind = answers;
      if (input.account.startsWith('slow')) await new Promise<void>((resolve) => waiting.push(resolve));
      return { kind } as Started;
    },
  } as unknown as GenerationStarter; // only `start` is called here
  starter = withBreaker(inner, { now: () => nowMs, onChange: (isOpen) => changes.push(isOpen) });
});

const start = async (account: string) =>
  (await starter.start({ account, key: 'k', request: { action: 'image' } })).kind;
const open = async () => {
  for (const account of ['a', 'b', 'c', 'd', 'e']) expect(await start(account)).toBe('undecided');
};

test('five accounts in a row that nobody decided: from then on one a second is begun, until one is decided', async () => {
  await open();
  expect([changes, await start('f'), await start('g')]).toEqual([[true], 'not_started', 'not_started']);
  nowMs += 1_000;
  expect([await start('f'), await start('g')]).toEqual(['undecided', 'not_started']);
  nowMs += 1_000;
  answers = 'answered';
  expect([await start('f'), await start('g'), await start('h')]).toEqual([
    'answered',
    'answered',
    'answered',
  ]);
  expect([changes, begun.length]).toEqual([[true, false], 9]);
});

test('one account that is locked holds up nobody else, however often it asks', async () => {
  for (let n = 0; n < 50; n += 1) expect(await start('locked')).toBe('undecided');
  answers = 'refused';
  expect([await start('other'), changes]).toEqual(['refused', []]);
});

test('a decision in between is not a row', async () => {
  for (const account of ['a', 'b', 'c', 'd']) await start(account);
  answers = 'answered';
  await start('e');
  answers = 'undecided';
  for (const account of ['a', 'b', 'c', 'd']) await start(account);
  expect(changes).toEqual([]);
});

test('what began before the last decision, and was given up after it, says nothing of now', async () => {
  const old = ['slow-1', 'slow-2', 'slow-3', 'slow-4', 'slow-5'].map(start);
  nowMs += 5_000;
  answers = 'answered';
  await start('a');
  for (const resolve of waiting) resolve();
  expect([await Promise.all(old), changes]).toEqual([old.map(() => 'undecided'), []]);
});
