import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** docs/reliability.md names a test for each thing that went wrong: what it names must be there. */

const ROOT = path.join(__dirname, '..', '..');
const page = readFileSync(path.join(ROOT, 'docs', 'reliability.md'), 'utf8');
const straight = (text: string) => text.replaceAll('’', "'");

/** Files and names of the last column: `test/x.test.ts: name; name; test/y.test.ts`; an ellipsis stands for anything. */
const named = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| finding'))
  .flatMap((line) => {
    let file = '';
    const cell = line.split('|').at(-2)?.trim() ?? '';
    return cell.split(/; |\. (?=test\/)/).map((part) => {
      const found = /^(test\/\S+?\.ts)(?:: (.*))?$/.exec(part);
      file = found?.[1] ?? file;
      return { file, name: found === null ? part : (found[2] ?? '') };
    });
  });

test('it names tests for many things', () => {
  expect(named.length).toBeGreaterThan(80);
});

test.each(named)('$file has: $name', ({ file, name }) => {
  expect(file === '' ? [] : [file].filter((one) => existsSync(path.join(ROOT, one)))).toEqual([file]);
  const text = straight(readFileSync(path.join(ROOT, file), 'utf8'));
  for (const part of straight(name).split('…')) expect(text).toContain(part.trim());
});
