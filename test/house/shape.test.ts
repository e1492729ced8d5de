import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { filesBelow, ROOT } from './files';
import { functionsOf, literalSpreads, MAX_HANDLER_LINES, MAX_OWN_LINES } from './shapeChecks';

/** A function fits on a screen, a request's on less; and an object says what it has, one thing a line. */

const FOLDERS = ['activities', 'api', 'bench', 'db', 'domain', 'test', 'workflows'];

const sources = FOLDERS.flatMap(filesBelow)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, source: readFileSync(path.join(ROOT, file), 'utf8') }));

const product = sources.filter(({ file }) => !/^(?:test|bench)\//.test(file));

test(`what a request does has at most ${MAX_HANDLER_LINES} lines`, () => {
  const handlers = product.flatMap(({ file, source }) =>
    functionsOf(source)
      .filter(({ handles }) => handles)
      .map((shape) => ({ file, ...shape })),
  );
  expect(handlers.length).toBeGreaterThan(60);
  expect(handlers.filter(({ lines }) => lines > MAX_HANDLER_LINES)).toEqual([]);
});

test(`no function has more than ${MAX_OWN_LINES} lines of its own`, () => {
  const long = product.flatMap(({ file, source }) =>
    functionsOf(source)
      .filter(({ own }) => own > MAX_OWN_LINES)
      .map(({ name, own }) => `${file}: ${name} has ${own} lines`),
  );
  expect(long).toEqual([]);
});

test('no object literal is spread into another', () => {
  expect(
    sources.flatMap(({ file, source }) => literalSpreads(source).map((line) => `${file}:${line}`)),
  ).toEqual([]);
});

test('lengths and spreads are read from the syntax', () => {
  const source = `// a comment
const made = () => {
  const inner = () => {
    return 1;
  };
  return inner;
};
route({}).handle(async () => {
  return { ...{ a: 1 }, ...made };
});
`;
  expect(functionsOf(source)).toEqual([
    { name: 'made', line: 2, lines: 6, own: 3, handles: false },
    { name: 'inner', line: 3, lines: 3, own: 3, handles: false },
    expect.objectContaining({ line: 8, lines: 3, handles: true }),
  ]);
  expect(literalSpreads(source)).toEqual([9]);
});

test('every program that a bench starts is there', () => {
  const named = sources
    .filter(({ file }) => file.startsWith('bench/'))
    .flatMap(({ file, source }) =>
      [...source.matchAll(/(?:entry\(|__dirname, |child<\w+>\()'([\w./-]+)\.js'/g)].map(([, name = '']) => ({
        file,
        places: [path.join(ROOT, path.dirname(file), `${name}.ts`), path.join(ROOT, `${name}.ts`)],
      })),
    );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter(({ places }) => !places.some((place) => existsSync(place)))).toEqual([]);
});
