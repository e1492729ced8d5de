import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * A page's walk: the commands in its `sh` blocks, and what the page shows of their answers in the block right after. Both are
 * used as a reader would: pasted into one shell, in their order.
 */

export interface Step {
  commands: string;
  /** Null where the page shows no answer, because there is none. */
  shown: string | null;
}

export function stepsOf(page: string): Step[] {
  return [...page.matchAll(/^```sh\n([^]*?)^```\n(?:```\n([^]*?)^```\n)?/gm)].map(
    ([, commands = '', shown]) => ({ commands, shown: shown ?? null }),
  );
}

/** What a shell answered to each step. */
export async function walk(
  steps: readonly Step[],
  options: { cwd: string; env: Record<string, string> },
): Promise<string[]> {
  const mark = '=== the next step ===';
  const script = steps.map(({ commands }) => commands).join(`\necho '${mark}'\n`);
  const { stdout, stderr } = await promisify(execFile)('sh', ['-c', script], {
    ...options,
    timeout: 120_000,
  });
  if (stderr !== '') throw new Error(`the shell complained: ${stderr}`);
  return stdout.split(`${mark}\n`);
}

/**
 * Whether a page shows what was answered. `…` stands for anything within a line, and on a line of its own for any lines;
 * a line that begins with `"` continues the one above.
 */
export function shows({ shown, answered }: { shown: string | null; answered: string }): boolean {
  const exactly = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  const lines = (shown ?? '').replaceAll('\n"', '"').split(/(?<=\n)/);
  const pattern = lines.map((line) =>
    line === '…\n' ? '(?:.*\n)*' : line.split('…').map(exactly).join('.*'),
  );
  return new RegExp(`^${pattern.join('')}$`).test(answered);
}
