import os from 'node:os';
import type { Result } from './measure';

/** What the bench prints. */

/** `2 cores (model), 24 GB, Node 22.1.0`: without it a rate means nothing. */
export function machine(): string {
  const cores = os.availableParallelism();
  const model = os.cpus()[0]?.model.trim() ?? 'unknown processor';
  const memoryGb = Math.round(os.totalmem() / 2 ** 30);
  return `${cores} ${cores === 1 ? 'core' : 'cores'} (${model}), ${memoryGb} GB, Node ${process.versions.node}`;
}

export interface Labels {
  ours: string;
  theirs: string;
}

/** One line per number of clients: both rates, and ours as a share of theirs. */
export function table({ ours, theirs }: Labels, results: readonly Result[]): string {
  const rows = [
    ['clients', `${ours}/s`, `${theirs}/s`, 'ratio'],
    ...results.map((result) => [
      String(result.clients),
      rate(result.ours),
      rate(result.theirs),
      result.ratio.toFixed(2),
    ]),
  ];
  return columns(rows);
}

/** Rows of cells, the first row their headings, each column as wide as its widest cell. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('   ')}`)
    .join('\n');
}

function rate(perSecond: number): string {
  return perSecond < 100 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString('en');
}
