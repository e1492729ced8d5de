import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

const READY_WITHIN_MS = 120_000;
const END_WITHIN_MS = 90_000;

/** Starts a Node program and waits until its output matches; if it ends or takes too long, throws with what it said. */
export async function startNode(
  args: string[],
  { env, ready }: { env: Record<string, string>; ready: RegExp },
): Promise<{ child: ChildProcess; match: RegExpExecArray }> {
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const match = await new Promise<RegExpExecArray>((resolve, reject) => {
    const failed = (why: string) => reject(new Error(`${args[0]} ${why}:\n${said}`));
    const timer = setTimeout(() => failed(`did not say ${ready} in time`), READY_WITHIN_MS);
    const read = (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-20_000);
      const found = ready.exec(said);
      if (found === null) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', (code) => {
      clearTimeout(timer);
      failed(`ended with ${code}`);
    });
  });
  return { child, match };
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
  await gone;
  clearTimeout(timer);
}

/** Below the ports that systems give away, and apart from those of the other workers: what is free now stays so. */
let lastPort = 12_000 + Number(process.env['JEST_WORKER_ID'] ?? 1) * 2_000 + (process.pid % 1_000);

export async function freePort(): Promise<number> {
  for (;;) {
    const port = (lastPort += 1);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
