import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The law is in the repository: what code and tests cite is there, and what is built is shown. */

const ROOT = path.join(__dirname, '../..');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const page = read('docs/rules.md');
const [built = '', notYet = ''] = page.split('## Not built yet');

/** `rule 9`, `rules 2, 5 and 8`, `rules 18-20`. */
function cited(text: string): number[] {
  return [...text.matchAll(/\b[Rr]ules? (\d+(?:(?:-|, | and )\d+)*)/g)].flatMap(([, list = '']) =>
    list.split(/, | and /).flatMap((part) => {
      const [from = 0, to = from] = part.split('-').map(Number);
      return Array.from({ length: to - from + 1 }, (_, n) => from + n);
    }),
  );
}

const rules = built.split(/^(?=\*\*\d+\.\*\*)/m).slice(1);
const numberOf = (rule: string) => Number(/^\*\*(\d+)/.exec(rule)?.[1]);
const waiting = [...notYet.matchAll(/^\| (\d+) \|/gm)].map(([, number]) => Number(number));

test('the rules are numbered without gaps', () => {
  expect(rules.map(numberOf)).toEqual(rules.map((_, n) => n + 1));
});

test('every rule that is cited is there', () => {
  const files = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).split('\n');
  const code = files.filter((file) => /\.(ts|mjs|sql)$/.test(file) && existsSync(path.join(ROOT, file)));
  const unknown = code.flatMap((file) =>
    cited(read(file)).flatMap((number) => (number > rules.length ? [`${file}: rule ${number}`] : [])),
  );
  expect([code.length > 300, unknown]).toEqual([true, []]);
});

test.each(rules.map((rule) => [numberOf(rule), rule] as const))(
  'rule %i is kept, and cited by a test that fails without it, or it waits in the list',
  (number, rule) => {
    const tests = [...rule.matchAll(/`(test\/[\w/.]+)`/g)].map(([, file = '']) => file);
    expect([number, tests.length > 0, /Kept by /.test(rule)]).toEqual([
      number,
      !waiting.includes(number),
      !waiting.includes(number),
    ]);
    expect(tests.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
    const citing = tests.filter((file) => cited(read(file)).includes(number));
    expect([number, citing.length > 0 || tests.length === 0]).toEqual([number, true]);
  },
);
