import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPostgres } from './postgres.mjs';
import { endOrphan, freePort, isFree, isOurs } from './processes.mjs';
import { runSamples } from './samples.mjs';
import { findTemporal, readJson, startTemporal } from './temporal.mjs';

/**
 * `npm start`: the whole engine on one machine. This process is the supervisor; Postgres, Temporal, worker and API are
 * its children. A child that dies is started again; Ctrl-C stops them all, the last one first.
 */

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const DATA = path.resolve(process.env.HOLDFAST_DATA_DIR || path.join(ROOT, '.holdfast'));
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 20_000;
const LONGEST_PAUSE_MS = 30_000;

const say = (line) => console.log(line);
const step = (line) => console.log(`  ${line}`);

/** Children in the order they were started; each knows how it is started again. */
const children = [];
let stopping = false;

async function main() {
  mkdirSync(path.join(DATA, 'logs'), { recursive: true });
  takeDataDirectory();
  await endLeftovers();
  say(`Holdfast, data in ${DATA}`);

  const ports = await choosePorts();
  const adminKey = process.env.HOLDFAST_ADMIN_KEY || keptAdminKey();
  const databaseUrl = await database(ports);
  const temporal = await temporalServer(ports);
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporal.address,
    ...(temporal.uiUrl === null ? {} : { TEMPORAL_UI_URL: temporal.uiUrl }),
    PORT: String(ports.api),
    HOLDFAST_ADMIN_KEY: adminKey,
  };
  step('migrations and catalogs');
  await once('setup', 'dist/db/setup.js', env);
  step('worker');
  await child({
    name: 'worker',
    sign: 'dist/activities/worker.js',
    start: () => node('worker', 'dist/activities/worker.js', env),
    ready: logged('worker is running'),
  });
  step('API');
  await child({
    name: 'api',
    sign: 'dist/api/main.js',
    start: () => node('api', 'dist/api/main.js', env),
    ready: answering(ports.api),
  });

  const url = `http://127.0.0.1:${ports.api}`;
  const samples = await runSamples({ url, adminKey });
  if (samples !== null) showTable(samples);
  say('');
  say(`  API          ${url}/v1`);
  say(`  Docs         ${url}/docs`);
  say(`  Temporal UI  ${temporal.uiUrl ?? 'of the server at TEMPORAL_ADDRESS'}`);
  say(`  Admin key    ${process.env.HOLDFAST_ADMIN_KEY ? 'HOLDFAST_ADMIN_KEY' : adminKey}`);
  say(`  Logs         ${path.join(DATA, 'logs')}`);
  say('\nReady. Ctrl-C stops it; nothing is lost.');
}

/** Two supervisors on one data directory would fight over it. */
function takeDataDirectory() {
  const file = path.join(DATA, 'supervisor.pid');
  const other = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  if (other !== process.pid && isOurs(other, ['dev/start.mjs'])) {
    throw new Error(
      `Holdfast already runs on ${DATA} (pid ${other}). Stop it, or set HOLDFAST_DATA_DIR to another directory.`,
    );
  }
  writeFileSync(file, String(process.pid));
}

/** After a kill -9 of the supervisor its children may live on; they are ended, so that there is one of each. */
async function endLeftovers() {
  const known = readJson(path.join(DATA, 'children.json')) ?? [];
  for (const { pid, sign } of known.toReversed()) await endOrphan({ pid, signs: [sign], log: step });
}

function writeDownChildren() {
  const known = children.flatMap(({ process: running, sign }) =>
    running === null ? [] : [{ pid: running.pid, sign }],
  );
  writeFileSync(path.join(DATA, 'children.json'), JSON.stringify(known));
}

/** Chosen once and kept, so that URLs stay the same; the API's is PORT's to say. */
async function choosePorts() {
  const file = path.join(DATA, 'ports.json');
  const kept = readJson(file) ?? {};
  const ports = { ...kept };
  for (const name of ['postgres', 'temporal', 'temporalUi']) {
    if (ports[name] === undefined || !(await isFree(ports[name]))) ports[name] = await freePort();
  }
  if (process.env.PORT) {
    ports.api = Number(process.env.PORT);
    if (!(await isFree(ports.api, '::')))
      throw new Error(`Port ${ports.api} is taken. Set PORT to a free one.`);
  } else {
    const wanted = kept.api ?? 3000;
    ports.api = (await isFree(wanted, '::')) ? wanted : await freePort();
    if (ports.api !== wanted) step(`port ${wanted} is taken by another process; the API takes ${ports.api}`);
  }
  writeFileSync(file, JSON.stringify(ports));
  return ports;
}

function keptAdminKey() {
  const file = path.join(DATA, 'admin-key');
  if (!existsSync(file))
    writeFileSync(file, `hfadmin_${randomBytes(24).toString('base64url')}`, { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

async function database(ports) {
  if (process.env.DATABASE_URL) {
    step('Postgres: DATABASE_URL');
    return process.env.DATABASE_URL;
  }
  step('Postgres');
  // A timed checkpoint every quarter of an hour writes far fewer full pages than the default does.
  const settings = {
    max_connections: 200,
    checkpoint_timeout: '15min',
    max_wal_size: '2GB',
    wal_compression: 'on',
  };
  const start = () =>
    startPostgres({ dataDir: DATA, port: ports.postgres, settings, log: step, logFile: logFile('postgres') });
  let url = null;
  await child({
    name: 'postgres',
    sign: 'postgres',
    start: async () => {
      const running = await start();
      url = running.url;
      return running.child;
    },
    ready: null,
    signal: 'SIGINT',
  });
  return url;
}

async function temporalServer(ports) {
  if (process.env.TEMPORAL_ADDRESS) {
    step(`Temporal: ${process.env.TEMPORAL_ADDRESS}`);
    return { address: process.env.TEMPORAL_ADDRESS, uiUrl: process.env.TEMPORAL_UI_URL ?? null };
  }
  step('Temporal');
  const binary = await findTemporal({ log: step });
  const dbFile = path.join(DATA, 'temporal.db');
  const options = {
    binary,
    port: ports.temporal,
    uiPort: ports.temporalUi,
    dbFile,
    logFile: logFile('temporal'),
  };
  await child({
    name: 'temporal',
    sign: 'start-dev',
    start: async () => (await startTemporal(options)).child,
    ready: null,
  });
  return { address: `127.0.0.1:${ports.temporal}`, uiUrl: `http://127.0.0.1:${ports.temporalUi}` };
}

/** Starts a child, waits until it is ready, and keeps it running from then on. */
async function child({ name, sign, start, ready, signal = 'SIGTERM' }) {
  const entry = { name, sign, signal, process: null, pauseMs: 500 };
  children.push(entry);
  const begin = async () => {
    const running = await start();
    entry.process = running;
    writeDownChildren();
    running.once('exit', (code, by) => {
      entry.process = null;
      if (stopping || !entry.kept) return;
      step(`${name} ended (${by ?? code}); starting it again in ${entry.pauseMs / 1000} s`);
      setTimeout(again, entry.pauseMs);
      entry.pauseMs = Math.min(entry.pauseMs * 2, LONGEST_PAUSE_MS);
    });
    if (ready !== null) await ready(running, name);
    setTimeout(() => (entry.pauseMs = 500), 60_000).unref();
  };
  const again = () => {
    if (stopping) return;
    begin().catch((error) => {
      step(`${name} did not start: ${error.message}`);
      if (entry.process === null) setTimeout(again, entry.pauseMs);
      entry.pauseMs = Math.min(entry.pauseMs * 2, LONGEST_PAUSE_MS);
    });
  };
  await begin();
  entry.kept = true;
}

function node(name, file, env) {
  const running = spawn(process.execPath, ['--enable-source-maps', path.join(ROOT, file)], {
    env,
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = logFile(name);
  running.stdout.on('data', (chunk) => log.write(chunk));
  running.stderr.on('data', (chunk) => log.write(chunk));
  return running;
}

function logFile(name) {
  return createWriteStream(path.join(DATA, 'logs', `${name}.log`), { flags: 'a' });
}

/** Runs a program to its end; its lines go to the screen, and its failure is ours. */
function once(name, file, env) {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [path.join(ROOT, file)], {
      env,
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [running.stdout, running.stderr]) stream.on('data', (chunk) => (said += chunk));
    running.once('error', reject);
    running.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${name} failed:\n${said}`))));
  });
}

function logged(line) {
  return (running, name) =>
    new Promise((resolve, reject) => {
      let said = '';
      const timer = setTimeout(
        () => reject(new Error(`${name} was not ready in time:\n${said.slice(-2000)}`)),
        READY_WITHIN_MS,
      );
      const read = (chunk) => {
        said = (said + chunk).slice(-8000);
        if (!said.includes(line)) return;
        clearTimeout(timer);
        running.stdout.off('data', read);
        resolve();
      };
      running.stdout.on('data', read);
      running.stderr.on('data', read);
      running.once('exit', () => {
        clearTimeout(timer);
        reject(new Error(`${name} ended:\n${said.slice(-2000)}`));
      });
    });
}

function answering(port) {
  return async (running, name) => {
    let said = '';
    running.stderr.on('data', (chunk) => (said = (said + chunk).slice(-4000)));
    const until = Date.now() + READY_WITHIN_MS;
    for (;;) {
      if (running.exitCode !== null || running.signalCode !== null)
        throw new Error(`${name} ended:\n${said}`);
      const ok = await fetch(`http://127.0.0.1:${port}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
      if (ok) return;
      if (Date.now() > until) throw new Error(`${name} was not ready in time:\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
}

function showTable(rows) {
  say('\n  What the samples did:');
  const widths = ['account', 'what', 'outcome', 'credits'].map((key) =>
    Math.max(...rows.map((row) => String(row[key]).length)),
  );
  for (const { account, what, outcome, credits } of rows) {
    say(
      `    ${[account, what, outcome, credits].map((cell, n) => String(cell).padEnd(widths[n] ?? 0)).join('  ')}`,
    );
  }
}

async function stop() {
  if (stopping) {
    for (const { process: running } of children) running?.kill('SIGKILL');
    process.exit(1);
  }
  stopping = true;
  say('\nStopping …');
  for (const { process: running, signal } of children.toReversed()) {
    if (running === null) continue;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    if (running.exitCode === null && running.signalCode === null) running.kill(signal);
    else continue;
    const timer = setTimeout(() => running.kill('SIGKILL'), STOP_WITHIN_MS);
    await gone;
    clearTimeout(timer);
  }
  for (const file of ['supervisor.pid', 'children.json']) rmSync(path.join(DATA, file), { force: true });
  say('Stopped.');
}

function leave(code) {
  return () => {
    stop().then(
      () => process.exit(code),
      (error) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
}

process.on('SIGINT', leave(0));
process.on('SIGTERM', leave(0));
process.on('SIGHUP', leave(0));

try {
  await main();
} catch (error) {
  console.error(`\n${error.message}`);
  leave(1)();
}
