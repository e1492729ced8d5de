import { readFileSync } from 'node:fs';
import path from 'node:path';
import { filesBelow } from './files';

/** The English of comments, messages, test titles and pages (CONTRIBUTING.md has the rules): what must not come back. */

const BANNED: readonly [pattern: RegExp, instead: string][] = [
  [/(?<!\bthere )\b(?:is|are|was|were) no (?!(?:longer|more|less|one)\b)[a-z]/i, '"is not a …"'],
  [/\bso many\b/i, 'a number, "this many", "too many"'],
  [/\ban?ew\b|\bafresh\b/i, 'again'],
  [/\bby (?:itself|themselves)\b/i, 'on its own'],
  [/\bto the instant\b(?! at which)/i, 'exactly on time'],
  [/\breckon/i, 'calculate, extrapolate'],
  [/\bby halves\b/i, 'binary search'],
  [/\b(?:come|comes|came) about\b/i, 'happen, fail'],
  [/\bworked off\b/i, 'processed'],
  [/\b(?:go|goes|went|gone|going) on\b/i, 'continue, resume'],
  [/\b(?:sees|saw|seen) to\b/i, 'handle, repair, ensure'],
  [/(?:^|[.!?] |\/\*\* |\/\/ |-- |["'`])Of (?!course\b)/, 'a sentence that begins with its subject'],
  [/\b(?:carriers?|doorbells?|passengers?|surely)\b/i, 'the field’s word'],
];

/** History, recorded data, and the two places that quote what is banned. */
const EXCEPT =
  /^(?:db\/migrations\/0|test\/support\/fixtures\/|test\/workflows\/histories\/|CHANGELOG\.md|CONTRIBUTING\.md|test\/house\/prose\.test\.ts)/;
const TEXTS = /\.(?:ts|mjs|md|sql|yml)$/;

function banned(file: string, source: string): string[] {
  return source
    .split('\n')
    .flatMap((line, index) =>
      BANNED.flatMap(([pattern, instead]) =>
        pattern.test(line) ? [`${file}:${index + 1} say ${instead}: ${line.trim().slice(0, 100)}`] : [],
      ),
    );
}

test('comments, messages, titles and pages are plain English', () => {
  const files = filesBelow('').filter((file) => TEXTS.test(file) && !EXCEPT.test(file));
  expect(files.length).toBeGreaterThan(400);
  const found = files.flatMap((file) =>
    banned(file, readFileSync(path.join(__dirname, '..', '..', file), 'utf8')),
  );
  expect(found).toEqual([]);
});

test.each([
  '2026-13 is no month',
  'After a kill it goes on where things stood.',
  '/** Of a lease: when it ends. */',
  'The tables are made anew.',
  'It ends by itself.',
  'of one key only so many may wait',
  "describe('Of a month', () => {",
])('is noticed: %s', (line) => {
  expect(banned('a.ts', line)).toHaveLength(1);
});

test.each([
  'There is no account 7.',
  'It is no longer open.',
  'Of course it is.',
  'a new account, and the newest one',
  'each to the instant at which it is due',
  'The sum of a lease',
])('is fine: %s', (line) => {
  expect(banned('a.ts', line)).toEqual([]);
});
