import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';

/** Processes and ports of this machine: whether they are there, and ending those that an earlier run left behind. */

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** How the process was started, or null if there is none (any more). */
export function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    try {
      return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    } catch {
      return null; // no such process
    }
  }
}

/** A pid that was written down may long belong to somebody else: it is ours only if it was started with all the signs. */
export function isOurs(pid, signs) {
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return false;
  const command = commandLine(pid);
  return command !== null && signs.every((sign) => command.includes(sign));
}

/** Ends a process that outlived its supervisor; does nothing if the pid is not (or no longer) ours. */
export async function endOrphan({ pid, signs, signal = 'SIGTERM', log = () => {}, withinMs = 20_000 }) {
  if (!isOurs(pid, signs)) return;
  log(`ending a process that an earlier run left behind (${signs[0]}, pid ${pid})`);
  process.kill(pid, signal);
  const until = Date.now() + withinMs;
  while (isAlive(pid)) {
    if (Date.now() > until) {
      process.kill(pid, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 500));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function isFree(port, host = '127.0.0.1') {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

/** A port nobody uses, from the range the system gives away. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
