import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { shows, stepsOf, walk } from '../docs/walk';
import { eventually } from '../support/processes/engine';
import { endProcess, freePort, startNode } from '../support/processes/processes';

/** `npm start`, as a process of its own on a new data directory: one life of it, told in order. */

const ROOT = path.join(__dirname, '..', '..');
const START = path.join(ROOT, 'dev', 'start.mjs');

let data: string;
let url: string;
let env: Record<string, string>;
let engine: ChildProcess;
let slow: string;

beforeAll(async () => {
  data = mkdtempSync(path.join(os.tmpdir(), 'holdfast-start-'));
  chmodSync(data, 0o755); // run as root, Postgres is another user and must get in
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  env = {
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? '',
    HOLDFAST_DATA_DIR: data,
    PORT: String(port),
    // As in a shell whose Temporal CLI is set up for another server.
    TEMPORAL_API_KEY: 'of another server',
    TEMPORAL_PROFILE: 'cloud',
  };
});
afterAll(async () => {
  await endProcess(engine);
  rmSync(data, { recursive: true, force: true });
});

test('a first start shows a success, a failure that gives back, and a refusal', async () => {
  const { match } = await start();
  const screen = match.input;
  expect(screen).toMatch(/demo-studio .* succeeded +73\.5 captured, 0 given back/);
  expect(screen).toMatch(/demo-studio .* failed +0 captured, 100 given back/);
  expect(screen).toMatch(/demo-free .* refused: insufficient_credits +0 taken/);
  expect(screen).toContain(`${url}/docs`);
  expect((await fetch(`${url}/docs`)).status).toBe(200);
});

test('the walk of the README and of docs/walk.md, pasted into a shell, answers what the pages show', async () => {
  const [, inReadme = ''] = /^## A five-minute walk\n([^]*?)^## /m.exec(pageOf('README.md')) ?? [];
  const steps = [inReadme, pageOf('docs/walk.md')].flatMap(stepsOf);
  expect(steps.filter(({ shown }) => shown !== null).length).toBeGreaterThan(12);
  const { scripts } = JSON.parse(pageOf('package.json')) as { scripts: Record<string, string> }; // npm's own shape
  const here = steps.map(({ commands, shown }) => ({
    shown,
    commands: commands
      .replaceAll('http://localhost:3000', url)
      .replaceAll('.holdfast/', `${data}/`)
      // Without its `preaudit`, which would build while other tests use what is built.
      .replaceAll('npm run audit', scripts['audit'] ?? ''),
  }));
  const answers = await walk(here, { cwd: ROOT, env });
  const wrong = steps
    .map(({ commands, shown }, at) => ({ commands, shown, answered: answers[at] ?? 'nothing' }))
    .filter((step) => !shows(step));
  expect(wrong).toEqual([]);
});

test('the admin key is kept where only its owner can read it', () => {
  expect(statSync(path.join(data, 'admin-key')).mode & 0o777).toBe(0o600);
});

test('a second start on the same data is refused and disturbs nothing', async () => {
  const second = spawnSync(process.execPath, [START], { env: { ...env, PORT: '1' }, encoding: 'utf8' });
  expect(second.status).toBe(1);
  expect(second.stderr).toContain('already runs');
  expect(children()).toHaveLength(4);
  const ready = await eventually(
    () => fetch(`${url}/readyz`).catch(() => ({ status: 0 })), // its connection may have been closed meanwhile
    ({ status }) => status === 200,
  );
  expect(ready.status).toBe(200);
});

test('a worker that is killed is started again', async () => {
  slow = await generate(3_000);
  const worker = children().find(({ name }) => name === 'worker');
  process.kill(worker?.pid ?? 0, 'SIGKILL');
  expect(await ended(slow)).toBe('succeeded');
});

test('kill -9 of everything and a new start lose nothing and leave one of each', async () => {
  slow = await generate(5_000);
  const before = children();
  const gone = once(engine, 'exit');
  engine.kill('SIGKILL');
  await gone;
  const { match } = await start();
  expect(match.input).not.toContain('samples');
  expect(await ended(slow)).toBe('succeeded');
  expect(before.filter(({ pid }) => isAlive(pid))).toEqual([]);
});

test('a stop ends all of it', async () => {
  const before = children();
  await endProcess(engine);
  expect(engine.exitCode).toBe(0);
  expect(before.filter(({ pid }) => isAlive(pid))).toEqual([]);
  expect(existsSync(path.join(data, 'children.json'))).toBe(false);
});

test('a port that is taken is said, and the data directory is free again', async () => {
  const blocker = await startNode(
    ['-e', `require('http').createServer().listen(${env['PORT']}, () => console.log('taken'))`],
    { env, ready: /taken/ },
  );
  const refused = spawnSync(process.execPath, [START], { env, encoding: 'utf8' });
  await endProcess(blocker.child);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`Port ${env['PORT']} is taken`);
  expect(existsSync(path.join(data, 'supervisor.json'))).toBe(false);
});

async function start() {
  const started = await startNode([START], { env, ready: /^Ready\./m });
  engine = started.child;
  return started;
}

function pageOf(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8');
}

function children(): { name: string; pid: number }[] {
  return JSON.parse(readFileSync(path.join(data, 'children.json'), 'utf8')) as {
    name: string;
    pid: number;
  }[]; // we wrote it
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function generate(delayMs: number): Promise<string> {
  const response = await ask('/v1/generations', {
    account: 'demo-studio',
    action: 'image',
    provider: { type: 'simulated', delayMs },
  });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id; // the API's contract
}

async function ended(id: string): Promise<string> {
  const status = async () => {
    const response = await ask(`/v1/generations/${id}?wait=30`);
    return ((await response.json()) as { status: string }).status; // the API's contract
  };
  return eventually(status, (now) => now !== 'running', 120_000);
}

function ask(at: string, body?: unknown): Promise<Response> {
  const key = readFileSync(path.join(data, 'admin-key'), 'utf8');
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  if (body === undefined) return fetch(url + at, { headers });
  return fetch(url + at, {
    method: 'POST',
    headers: { ...headers, 'idempotency-key': `test-${process.hrtime.bigint()}` },
    body: JSON.stringify(body),
  });
}
