import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Processes and ports of this machine: whether they are there, and ending those that an earlier run left behind. */

/** False also for one that has ended and whose parent has not taken notice: it holds nothing any more. */
export function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  return statOf(pid)?.[0] !== 'Z';
}

/** The fields of /proc/<pid>/stat that follow the name, which may itself have spaces; null where there is no /proc. */
function statOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function ps(pid, column) {
  try {
    return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null; // no such process
  }
}

/** How the process was started, or null if there is none (any more). */
export function commandLine(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ps(pid, 'command');
  }
}

/** When the process began: with its pid it is this process and no other, also after the machine was restarted. */
function begunAt(pid) {
  const stat = statOf(pid);
  if (stat === null) return ps(pid, 'lstart');
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${stat[19]}`;
}

/** What to write down about a process in order to find exactly it again. */
export function identify(pid) {
  return { pid, begunAt: begunAt(pid) };
}

/** A pid that was written down may belong to somebody else by now; this says whether it is still the same process. */
export function isSame({ pid, begunAt: then }) {
  return Number.isInteger(pid) && pid > 1 && then !== null && isAlive(pid) && begunAt(pid) === then;
}

/** Ends a process and returns when it is gone; with SIGKILL if it does not exit on its own. */
export async function endPid({ pid, signal = 'SIGTERM', withinMs = 20_000 }) {
  const until = Date.now() + withinMs;
  send(pid, signal);
  for (let forced = false; isAlive(pid); ) {
    if (!forced && Date.now() > until) {
      send(pid, 'SIGKILL');
      forced = true;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function send(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error; // it exited on its own, which is what was wanted
  }
}

/**
 * Ends the child when this process is gone, however it went, kill -9 included: a shell waits for the end of a pipe
 * that only we hold.
 */
export function endWithUs(child, signal) {
  if (process.platform === 'win32') return; // there the next start ends what is left
  const script = 'while read -r _; do :; done; kill -s "$0" "$1"';
  const shell = spawn('sh', ['-c', script, signal.replace('SIG', ''), String(child.pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.once('error', () => {}); // without a shell, too
  shell.stdin?.once('error', () => {}); // somebody ended the shell, which is theirs to do
  shell.unref();
  child.once('exit', () => shell.kill('SIGKILL'));
}

/** Without a host: whether a server could listen on all of the machine's addresses. */
export function isFree(port, host) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host }, () => server.close(() => resolve(true)));
  });
}

/** Below the ports that systems give to outgoing connections: one that is free now is not taken a moment later by a client. */
const LOWEST_PORT = 20_000;
const PORTS = 10_000;

/** A port nobody uses. */
export async function freePort() {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORTS);
    if (await isFree(port, '127.0.0.1')) return port;
  }
}
