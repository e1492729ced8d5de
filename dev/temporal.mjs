import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/**
 * The Temporal dev server: found on this machine, or obtained once and kept in a cache outside the checkout. In this
 * order: `temporal` on the PATH; one cached by an earlier run; the vendor's download, which the SDK uses as well;
 * `go install` where Go is present.
 */

const GO_MODULE = 'github.com/temporalio/cli/cmd/temporal@v1.5.1'; // later ones carry a replace directive and cannot be installed so
const DOWNLOAD = 'https://temporal.download/cli/archive/latest';
const DOWNLOAD_TIMEOUT_MS = 120_000;
const CONNECT_TIMEOUT_MS = 8_000;
const READY_WITHIN_MS = 60_000;
const RETENTION = '720h';
const run = promisify(execFile);

function cacheDirectory() {
  const base = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  return path.join(base, 'holdfast', 'bin');
}

/** The path of a Temporal CLI that runs. Says what it is doing while that takes minutes. */
export async function findTemporal({ log = () => {} } = {}) {
  if (works('temporal')) return 'temporal';
  const cached = path.join(cacheDirectory(), os.platform() === 'win32' ? 'temporal.exe' : 'temporal');
  if (existsSync(cached) && works(cached)) return cached;
  mkdirSync(cacheDirectory(), { recursive: true });
  const reasons = [];
  for (const obtain of [download, goInstall]) {
    try {
      await obtain({ target: cached, log });
      if (works(cached)) return cached;
      reasons.push('what was obtained does not run');
    } catch (error) {
      log(error.message);
      reasons.push(error.message);
    }
  }
  throw new Error(
    `No Temporal server: ${reasons.join('; ')}.\nInstall the Temporal CLI (https://docs.temporal.io/cli) so that \`temporal\` is on the PATH, ` +
      'install Go so that it can be built, or set TEMPORAL_ADDRESS to a server that runs.',
  );
}

function works(binary) {
  return spawnSync(binary, ['--version'], { stdio: 'ignore', timeout: 15_000 }).status === 0;
}

async function download({ target, log }) {
  const platform = os.platform() === 'win32' ? 'windows' : os.platform();
  const arch = os.arch() === 'x64' ? 'amd64' : os.arch();
  log('downloading the Temporal CLI');
  const timeout = new AbortController();
  let timer = setTimeout(() => timeout.abort(), CONNECT_TIMEOUT_MS);
  try {
    const response = await fetch(`${DOWNLOAD}?platform=${platform}&arch=${arch}`, { signal: timeout.signal });
    if (!response.ok) throw new Error(`answered ${response.status}`);
    clearTimeout(timer);
    timer = setTimeout(() => timeout.abort(), DOWNLOAD_TIMEOUT_MS);
    await unpack({ archive: Buffer.from(await response.arrayBuffer()), target });
  } catch (error) {
    throw new Error(`the download failed (${error.cause?.message ?? error.message})`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function unpack({ archive, target }) {
  const draft = `${target}.${process.pid}`;
  mkdirSync(`${draft}.d`, { recursive: true });
  try {
    const file = path.join(`${draft}.d`, 'archive');
    writeFileSync(file, archive);
    await run('tar', ['-xf', file, '-C', `${draft}.d`]);
    const binary = path.join(`${draft}.d`, path.basename(target));
    chmodSync(binary, 0o755);
    renameSync(binary, target); // at once, so that two starts never see half a file
  } finally {
    rmSync(`${draft}.d`, { recursive: true, force: true });
  }
}

async function goInstall({ target, log }) {
  if (spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) throw new Error('Go is not installed');
  const draft = path.join(cacheDirectory(), `go-${process.pid}`);
  mkdirSync(draft, { recursive: true });
  log('building the Temporal CLI with Go: once, some minutes');
  const started = Date.now();
  const timer = setInterval(
    () => log(`  still building (${Math.round((Date.now() - started) / 1000)} s)`),
    20_000,
  );
  try {
    await run('go', ['install', GO_MODULE], {
      env: { ...process.env, GOBIN: draft },
      maxBuffer: 64 * 1024 * 1024,
      timeout: 20 * 60_000,
    });
    renameSync(path.join(draft, path.basename(target)), target);
  } catch (error) {
    const [last] = String(error.stderr ?? error.message)
      .trim()
      .split('\n')
      .toReversed();
    throw new Error(`go install failed (${last})`, { cause: error });
  } finally {
    clearInterval(timer);
    rmSync(draft, { recursive: true, force: true });
  }
}

/** What the CLI would read of another server, from variables or from a file of the user's, is not meant for this one. */
function onlyOurs() {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return { ...Object.fromEntries(others), TEMPORAL_CONFIG_FILE: os.devNull };
}

/** Our search attributes, as domain/contract.ts names them (in the build). */
async function searchAttributes() {
  const { SEARCH_ATTRIBUTES } = await import('../dist/domain/contract.js').then(
    (module) => module.default ?? module,
  );
  return Object.values(SEARCH_ATTRIBUTES);
}

/**
 * Starts a dev server. `dbFile` null keeps everything in memory. Without `uiPort` there is no UI. `onSpawn` is told
 * of the process before it is ready; `detached` gives it a process group of its own. `settings`: further dynamic
 * configuration, `key=value` each.
 */
export async function startTemporal({
  binary,
  port,
  namespace = 'default',
  uiPort = null,
  dbFile = null,
  logFile = null,
  onSpawn = () => {},
  detached = false,
  settings = [],
}) {
  const dynamic = [
    ...settings,
    'system.enableActivityEagerExecution=true',
    'matching.useNewMatcher=true',
    'matching.enableFairness=true',
  ];
  // Measured on two cores: a database file in its default mode runs a third of the workflows that WAL does.
  const file =
    dbFile === null
      ? []
      : [
          '--db-filename',
          dbFile,
          '--sqlite-pragma',
          'journal_mode=WAL',
          '--sqlite-pragma',
          'synchronous=NORMAL',
        ];
  const args = [
    ...[
      'server',
      'start-dev',
      '--namespace',
      namespace,
      '--ip',
      '127.0.0.1',
      '--port',
      String(port),
      '--log-level',
      'error',
      '--log-format',
      'json',
    ],
    ...(uiPort === null ? ['--headless'] : ['--ui-port', String(uiPort), '--ui-ip', '127.0.0.1']),
    ...file,
    ...dynamic.flatMap((value) => ['--dynamic-config-value', value]),
    ...(await searchAttributes()).flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
  ];
  const child = spawn(binary, args, { detached, stdio: ['ignore', 'pipe', 'pipe'], env: onlyOurs() });
  let said = '';
  const keep = (chunk) => {
    said = (said + chunk).slice(-4000);
    logFile?.write(chunk);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  await once(child, 'spawn');
  onSpawn(child);
  try {
    await ready({ binary, port, namespace, child, said: () => said });
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    address: `127.0.0.1:${port}`,
    uiUrl: uiPort === null ? null : `http://127.0.0.1:${String(uiPort)}`,
    child,
    pid: child.pid,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The port is open before the namespace is there, so both are asked for. Closed workflows are kept for a month. */
async function ready({ binary, port, namespace, child, said }) {
  const until = Date.now() + READY_WITHIN_MS;
  const update = ['operator', 'namespace', 'update', '-n', namespace, '--retention', RETENTION];
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`Temporal did not start:\n${said()}`);
    try {
      if (await answers(port)) {
        await run(binary, [...update, '--address', `127.0.0.1:${port}`], {
          timeout: 10_000,
          env: onlyOurs(),
        });
        return;
      }
    } catch (error) {
      if (Date.now() > until)
        throw new Error(`Temporal's namespace was not ready in time: ${error.message}`, { cause: error });
    }
    if (Date.now() > until) throw new Error(`Temporal was not ready in time:\n${said()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
