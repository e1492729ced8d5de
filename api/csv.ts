import { z } from 'zod';
import { ProblemError } from './problems';
import type { TextAnswer } from './route';

/** CSV by RFC 4180, made so that a spreadsheet shows what callers wrote and never runs it. */

export type Cell = string | number | null;

/** A table's columns: the name in the first line, and the cell of a row. */
export type Columns<Row> = Record<string, (row: Row) => Cell>;

/** Of an answer that is not paged. */
export const MAX_ROWS = 10_000;

/** Of the query of a route with `csv: true`. */
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

export function csvAnswer<Row>(options: {
  /** Without `.csv`. */
  filename: string;
  columns: Columns<Row>;
  rows: readonly Row[];
}): TextAnswer {
  const { filename, columns, rows } = options;
  return {
    status: 200,
    text: csv(columns, rows),
    contentType: 'text/csv; charset=utf-8; header=present',
    headers: { 'Content-Disposition': `attachment; filename="${filename.replaceAll(/[^\w.-]/g, '_')}.csv"` },
  };
}

export function csv<Row>(columns: Columns<Row>, rows: readonly Row[]): string {
  const read = Object.values(columns);
  const lines = [Object.keys(columns), ...rows.map((row) => read.map((cell) => cell(row)))];
  return lines.map((line) => `${line.map(written).join(',')}\r\n`).join('');
}

/** What a spreadsheet takes for the beginning of a formula, in the full-width forms that some read alike too. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;

function written(cell: Cell): string {
  if (cell === null) return '';
  if (typeof cell === 'number') return String(cell);
  // The apostrophe says that text follows; it is the usual price, and only such cells pay it.
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
