import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Node processes that a bench starts, and ends again. */

export interface ChildOptions {
  /** A compiled entry point. */
  entry: string;
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
}

export interface Child {
  pid: number;
  stop: () => Promise<void>;
}

const READY_WITHIN_MS = 60_000;
const END_WITHIN_MS = 20_000;
/** What is kept of a child's output, to be told if it fails. */
const KEPT_CHARACTERS = 8_000;

/** Starts a process and waits until its output says `readyLine`. Throws, with what it said, if it dies before. */
export async function startChild({
  readyLine,
  ...options
}: ChildOptions & { readyLine: string }): Promise<Child> {
  const { child, said } = start(options);
  const ready = new Promise<void>((resolve) => {
    const look = () => {
      if (said().includes(readyLine)) resolve();
    };
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
  });
  const over = new AbortController();
  const ended = once(child, 'exit', { signal: over.signal }).then(() => 'ended before it was ready');
  const late = new Promise<string>((resolve) => {
    const timer = setTimeout(resolve, READY_WITHIN_MS, 'was not ready in time');
    over.signal.addEventListener('abort', () => clearTimeout(timer));
  });
  const failure = await Promise.race([ready, ended, late]);
  over.abort();
  ended.catch(() => undefined); // our own abort, now that nobody waits for it
  if (failure !== undefined) {
    await stop(child);
    throw new Error(`${options.entry} ${failure}:\n${said()}`);
  }
  if (child.pid === undefined) throw new Error(`${options.entry} has no process`);
  return { pid: child.pid, stop: () => stop(child) };
}

/** Runs a process to its end and returns what it said last. Throws, with that, if it was not a success. */
export async function runChild(options: ChildOptions): Promise<string> {
  const { child, said } = start(options);
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${options.entry} failed:\n${said()}`);
  return said();
}

function start({ entry, args = [], env = process.env }: ChildOptions): {
  child: ChildProcess;
  said: () => string;
} {
  const child = spawn(process.execPath, [entry, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-KEPT_CHARACTERS);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  return { child, said: () => output };
}

/** Asks the process to end, and ends it if it does not. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(force);
}
