import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** What processes have used of the processor, from /proc; elsewhere it is not known. */

/** Ticks of a second in /proc: USER_HZ, which is 100 wherever Linux runs Node. */
const TICKS = 100;

interface Stat {
  parent: number;
  /** Milliseconds in user and kernel mode, of its own and of its children that have ended. */
  ownMs: number;
  endedMs: number;
}

/** Milliseconds of a process and of all that it started, living or ended. Null: this system does not tell. */
export function processorMs(pid: number): number | null {
  const root = statOf(pid);
  if (root === null) return null;
  const all = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        const stat = statOf(Number(name));
        return stat === null ? [] : [[Number(name), stat] as const];
      }),
  );
  let ms = root.ownMs + root.endedMs;
  let parents = new Set([pid]);
  while (parents.size > 0) {
    const children = [...all].filter(([, stat]) => parents.has(stat.parent));
    for (const [, stat] of children) ms += stat.ownMs + stat.endedMs;
    parents = new Set(children.map(([child]) => child));
  }
  return ms;
}

function statOf(pid: number): Stat | null {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return null;
  try {
    // The name of the command stands in parentheses and may hold anything.
    const fields = readFileSync(file, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    const [, parent = 0, , , , , , , , , , user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields;
    const ms = (ticks: number) => (ticks * 1000) / TICKS;
    return { parent, ownMs: ms(user + system), endedMs: ms(endedUser + endedSystem) };
  } catch {
    return null; // it ended between the two looks
  }
}
