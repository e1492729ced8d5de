import { type Columns, csvAnswer } from '../../../api/routing/csv';

/** RFC 4180, made so that a spreadsheet shows what callers wrote and never runs it. */

describe('CSV', () => {
  const columns: Columns<[string | number | null]> = { 'a,b': ([cell]) => cell };
  const cell = (value: string | number | null) =>
    csvAnswer({ filename: 'one', columns, rows: [[value]] }).text.replace(/^"a,b"\r\n/, '');

  test.each([
    ['plain', 'plain'],
    ['two words', 'two words'],
    ['a "quoted" word', '"a ""quoted"" word"'],
    ['a,b', '"a,b"'],
    ['a\nb', '"a\nb"'],
    ['a\rb', '"a\rb"'],
    ['=cmd|x', "'=cmd|x"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    ['\n=1', '"\'\n=1"'],
    ['\n', '"\'\n"'],
    ['＝1', "'＝1"],
    ['＋1', "'＋1"],
    ['－1', "'－1"],
    ['＠A', "'＠A"],
    ['a=1', 'a=1'],
    ['-"', '"\'-"""'],
    ['a\r\nb', '"a\r\nb"'],
    [-1.5, '-1.5'],
    [0, '0'],
    [null, ''],
    ['', ''],
  ])('writes %j as %j', (value, text) => {
    expect(cell(value)).toBe(`${text}\r\n`);
  });
});
