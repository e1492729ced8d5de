import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

const READY_WITHIN_MS = 120_000;
const END_WITHIN_MS = 20_000;

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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
