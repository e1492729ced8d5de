import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

/** Processes that a bench starts, and ends again. */

export interface ChildOptions {
  /** A compiled entry point. */
  entry: string;
  args?: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** True once the child is of use; without it the child's own `ready` message is waited for. */
  isReady?: () => Promise<boolean>;
}

const READY_WITHIN_MS = 60_000;
const END_WITHIN_MS = 15_000;
const ASK_EVERY_MS = 200;

/** Starts a Node process and waits until it is of use. Its output is kept, and told if it dies on the way. */
export async function startChild({
  entry,
  args = [],
  env = process.env,
  isReady,
}: ChildOptions): Promise<ChildProcess> {
  const child = fork(entry, [...args], { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output.push(chunk.toString());
      if (output.length > 200) output.shift();
    });
  }
  let ready = false;
  child.on('message', (message) => {
    ready ||= message === 'ready';
  });
  const isOfUse = async () => ready || (await isReady?.()) === true;
  const deadlineMs = Date.now() + READY_WITHIN_MS;
  while (!(await isOfUse())) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${entry} ended before it was ready:\n${output.join('')}`);
    }
    if (Date.now() > deadlineMs) {
      await stopChild(child);
      throw new Error(`${entry} was not ready within ${READY_WITHIN_MS / 1000} s:\n${output.join('')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
  return child;
}

/** Runs a Node process to its end. Throws, with what it said, if that was not a success. */
export async function runChild({ entry, args = [], env = process.env }: ChildOptions): Promise<void> {
  const child = fork(entry, [...args], { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => output.push(chunk.toString()));
  }
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${entry} failed:\n${output.join('')}`);
}

/** Asks the process to end, and ends it if it does not. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await ended;
  clearTimeout(force);
}
