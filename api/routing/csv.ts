import { stringify } from 'csv-stringify/sync';
import { z } from 'zod';
import { ProblemError } from '../problems/problem';
import type { TextAnswer } from './route';

/** CSV by RFC 4180, made so that a spreadsheet shows what callers wrote and never runs it. */

type Cell = string | number | null;

/** A table's columns: the name in the first line, and the cell of a row. */
export type Columns<Row> = Record<string, (row: Row) => Cell>;

/** For an answer that is not paged. */
export const MAX_ROWS = 10_000;

/** The query of a route with `csv: true`. */
export const csvFields = {
  format: z.enum(['json', 'csv']).optional().describe('Instead of the Accept header'),
};

export function wantsCsv({
  query,
  prefersCsv,
}: {
  query: { format?: 'json' | 'csv' | undefined };
  prefersCsv: boolean;
}): boolean {
  return query.format === undefined ? prefersCsv : query.format === 'csv';
}

/** Callers read one row more than there may be. */
export function assertRows(rows: readonly unknown[]): void {
  if (rows.length > MAX_ROWS) throw tooManyRows();
}

export function tooManyRows(): ProblemError {
  return new ProblemError('too_many_rows', {
    detail: `There are more than ${MAX_ROWS} rows; ask for a shorter range with \`from\` and \`to\`.`,
  });
}

export function csvAnswer<Row>({
  filename,
  columns,
  rows,
}: Table<Row> & { rows: readonly Row[] }): TextAnswer {
  return answerWith(filename, written({ columns, rows, header: true }));
}

/** The rows in pages: what fits on the first is sent whole, more is sent page by page, each read when there is room for it. */
export async function csvPages<Row>(options: Table<Row> & { pages: AsyncGenerator<Page<Row>, void> }) {
  const { filename, columns, pages } = options;
  const first = await pages.next();
  if (first.done === true) return csvAnswer({ filename, columns, rows: [] });
  const { rows, last } = first.value;
  const answer = csvAnswer({ filename, columns, rows });
  return last ? answer : { ...answer, more: following() };

  async function* following(): AsyncGenerator<string, void> {
    for await (const page of pages) yield written({ columns, rows: page.rows, header: false });
  }
}

export interface Page<Row> {
  rows: readonly Row[];
  /** Nothing follows. */
  last: boolean;
}

interface Table<Row> {
  /** Without `.csv`. */
  filename: string;
  columns: Columns<Row>;
}

function answerWith(filename: string, text: string): TextAnswer {
  return {
    status: 200,
    text,
    contentType: 'text/csv; charset=utf-8; header=present',
    headers: { 'Content-Disposition': `attachment; filename="${filename.replaceAll(/[^\w.-]/g, '_')}.csv"` },
  };
}

function written<Row>(options: { columns: Columns<Row>; rows: readonly Row[]; header: boolean }): string {
  const { columns, rows, header } = options;
  const read = Object.values(columns);
  return stringify(
    rows.map((row) => read.map((cell) => cell(row))),
    {
      header,
      columns: Object.keys(columns),
      record_delimiter: 'windows',
      // On its own the library quotes only what has the whole delimiter in it.
      quoted_match: /[\r\n]/,
      escape_formulas: true,
      // The library leaves a line feed before a formula as it is; some spreadsheets look behind it.
      cast: { string: (text) => (text.startsWith('\n') ? `'${text}` : text) },
    },
  );
}
