import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { errorLines, openLog } from './logs.mjs';
import { startPostgres } from './postgres.mjs';
import { freePort, identify, isFree, isSame } from './processes.mjs';
import { runSamples } from './samples.mjs';
import { createSupervisor, endLeftovers } from './supervise.mjs';
import { findTemporal, startTemporal } from './temporal.mjs';

/**
 * `npm start`: the whole engine on one machine. This process is the supervisor; Postgres, Temporal, worker and API are
 * its children. A child that dies is started again; Ctrl-C stops them all, the last one first.
 */

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const DATA = path.resolve(process.env.HOLDFAST_DATA_DIR || path.join(ROOT, '.holdfast'));
const LOGS = path.join(DATA, 'logs');
const LOCK = path.join(DATA, 'supervisor.json');
const CHILDREN = path.join(DATA, 'children.json');
const READY_WITHIN_MS = 60_000;
/** npm passes a Ctrl-C on that the terminal has sent us already; only a later one is a second one. */
const SAME_SIGNAL_MS = 1_000;

/** A timed checkpoint every quarter of an hour writes far fewer full pages than the default does. */
const POSTGRES_SETTINGS = {
  max_connections: 200,
  checkpoint_timeout: '15min',
  max_wal_size: '2GB',
  wal_compression: 'on',
};

const say = (line) => console.log(line);
const step = (line) => console.log(`  ${line}`);
const supervisor = createSupervisor({ recordFile: CHILDREN, say: step });
const logs = new Map();
/** What says how another server is reached, and is not the business of one that was started here. */
const OTHER_TEMPORAL = /^TEMPORAL_(API_KEY|TLS|CONFIG_FILE|PROFILE|GRPC_META)/;
let lockHeld = false;
let stopAskedAt = null;

async function main() {
  if (process.env.HOLDFAST_MODE === 'live')
    throw new Error(
      'npm start is for development, and HOLDFAST_MODE is live: docs/running.md says how it runs in production.',
    );
  mkdirSync(LOGS, { recursive: true });
  takeDataDirectory();
  await endLeftovers({ recordFile: CHILDREN, say: step });
  say(`Holdfast, data in ${DATA}`);

  const ports = await choosePorts();
  const adminKey = process.env.HOLDFAST_ADMIN_KEY || keptAdminKey();
  const databaseUrl = await database(ports);
  const temporal = await temporalServer(ports);
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    ...(temporal.isOurs ? forgetting(OTHER_TEMPORAL) : {}),
    TEMPORAL_ADDRESS: temporal.address,
    ...(temporal.uiUrl === null ? {} : { TEMPORAL_UI_URL: temporal.uiUrl }),
    PORT: String(ports.api),
    HOLDFAST_ADMIN_KEY: adminKey,
  };
  step('migrations and catalogs');
  await setUp(env);
  const url = `http://127.0.0.1:${ports.api}`;
  step('worker');
  await runNode({
    name: 'worker',
    entry: 'dist/activities/worker.js',
    env,
    ready: says('worker is running'),
  });
  step('API');
  await runNode({ name: 'api', entry: 'dist/api/main.js', env, ready: answers(`${url}/readyz`) });

  const samples = await runSamples({ url, adminKey, say: step });
  if (samples !== null) showTable(samples);
  say('');
  say(`  API          ${url}/v1`);
  say(`  Docs         ${url}/docs`);
  say(`  Temporal UI  ${temporal.uiUrl ?? 'of the server at TEMPORAL_ADDRESS'}`);
  say(`  Admin key    ${process.env.HOLDFAST_ADMIN_KEY ? 'HOLDFAST_ADMIN_KEY' : adminKey}`);
  say(`  Logs         ${LOGS}`);
  say('\nReady. Ctrl-C stops it; nothing is lost.');
}

/** Two supervisors on one data directory would fight over it. */
function takeDataDirectory() {
  const other = readJson(LOCK);
  if (other !== null && isSame(other)) {
    throw new Error(
      `Holdfast already runs on ${DATA} (pid ${other.pid}). Stop it, or set HOLDFAST_DATA_DIR to another directory.`,
    );
  }
  rmSync(LOCK, { force: true });
  writeFileSync(LOCK, JSON.stringify(identify(process.pid)), { flag: 'wx' }); // fails if another one was faster
  lockHeld = true;
}

/** Chosen once and kept, so that URLs stay the same; the API's is PORT's to say. */
async function choosePorts() {
  const file = path.join(DATA, 'ports.json');
  const kept = readJson(file) ?? {};
  const ports = { ...kept };
  for (const name of ['postgres', 'temporal', 'temporalUi']) {
    if (ports[name] === undefined || !(await isFree(ports[name], '127.0.0.1')))
      ports[name] = await freePort();
  }
  if (process.env.PORT) {
    ports.api = Number(process.env.PORT);
    if (!(ports.api >= 1 && ports.api <= 65_535)) throw new Error('PORT must be a number from 1 to 65535.');
    if (!(await isFree(ports.api))) throw new Error(`Port ${ports.api} is taken. Set PORT to a free one.`);
  } else {
    const wanted = kept.api ?? 3000;
    ports.api = (await isFree(wanted)) ? wanted : await freePort();
    if (ports.api !== wanted)
      step(`port ${wanted} is taken by another process; the API takes ${ports.api} (PORT says which)`);
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
  const options = { dataDir: DATA, port: ports.postgres, settings: POSTGRES_SETTINGS, detached: true };
  let url = null;
  await supervisor.run({
    name: 'postgres',
    signal: 'SIGINT', // ends sessions and writes everything; SIGTERM would wait for the sessions to end
    start: async (onSpawn) => {
      ({ url } = await startPostgres({ ...options, onSpawn, log: step, logFile: log('postgres') }));
    },
  });
  return url;
}

async function temporalServer(ports) {
  const address = process.env.TEMPORAL_ADDRESS;
  if (address) {
    step(`Temporal: ${address}`);
    return { address, uiUrl: process.env.TEMPORAL_UI_URL || null, isOurs: false };
  }
  step('Temporal');
  const options = {
    binary: await findTemporal({ log: step }),
    port: ports.temporal,
    uiPort: ports.temporalUi,
    namespace: process.env.TEMPORAL_NAMESPACE || 'default',
    dbFile: path.join(DATA, 'temporal.db'),
    detached: true,
  };
  let server = null;
  await supervisor.run({
    name: 'temporal',
    start: async (onSpawn) => {
      server = await startTemporal({ ...options, onSpawn, logFile: log('temporal') });
    },
  });
  return { ...server, isOurs: true };
}

/** Set to nothing, which is the same as not set. */
function forgetting(pattern) {
  const names = Object.keys(process.env).filter((name) => pattern.test(name));
  return Object.fromEntries(names.map((name) => [name, '']));
}

/** Migrations and catalogs, run to their end. */
async function setUp(env) {
  const running = spawn(process.execPath, [path.join(ROOT, 'dist/db/setup.js')], { env, cwd: ROOT });
  let said = '';
  for (const stream of [running.stdout, running.stderr]) stream.on('data', (chunk) => (said += chunk));
  const [code] = await once(running, 'close');
  if (code !== 0) throw new Error(`Setting up the database failed.\n${said}`);
  const expected = /^(applied |put in the functions|catalog \S+: version \d+( published|, unchanged)$)/;
  for (const line of said.split('\n')) if (line !== '' && !expected.test(line)) step(line);
}

function runNode({ name, entry, env, ready }) {
  return supervisor.run({
    name,
    start: async (onSpawn) => {
      const args = ['--enable-source-maps', path.join(ROOT, entry)];
      const stdio = ['ignore', 'pipe', 'pipe'];
      const running = spawn(process.execPath, args, { env, cwd: ROOT, stdio, detached: true });
      await once(running, 'spawn');
      onSpawn(running);
      const sayError = errorLines({ name, say: (line) => supervisor.stopping || step(line) });
      for (const stream of [running.stdout, running.stderr]) {
        stream.on('data', (chunk) => log(name).write(chunk));
        stream.on('data', sayError);
      }
      await untilReady({ running, ready });
    },
  });
}

/** Asks until the child is ready; throws with the end of what it said if it ends or takes too long instead. */
async function untilReady({ running, ready }) {
  let said = '';
  const listen = (chunk) => (said = (said + chunk).slice(-4000));
  for (const stream of [running.stdout, running.stderr]) stream.on('data', listen);
  const until = Date.now() + READY_WITHIN_MS;
  while (!(await ready(said))) {
    if (running.exitCode !== null || running.signalCode !== null) throw new Error(`it ended\n${said}`);
    if (Date.now() > until) throw new Error(`it was not ready in time\n${said}`);
    await delay(50);
  }
  for (const stream of [running.stdout, running.stderr]) stream.off('data', listen);
}

const says = (line) => (said) => said.includes(line);
const answers = (url) => () =>
  fetch(url).then(
    (response) => response.ok,
    () => false,
  );

function log(name) {
  if (!logs.has(name)) logs.set(name, openLog({ directory: LOGS, name, say: step }));
  return logs.get(name);
}

/** What an earlier run wrote down; null if nothing readable is there. */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

function showTable(rows) {
  const columns = ['account', 'what', 'outcome', 'credits'];
  const widths = columns.map((column) => Math.max(...rows.map((row) => row[column].length)));
  say('\n  What the samples did:');
  for (const row of rows) {
    say(
      `    ${columns
        .map((column, at) => row[column].padEnd(widths[at]))
        .join('  ')
        .trimEnd()}`,
    );
  }
}

async function leave(code) {
  if (stopAskedAt !== null) {
    if (Date.now() - stopAskedAt < SAME_SIGNAL_MS) return;
    supervisor.kill();
    process.exit(1);
  }
  stopAskedAt = Date.now();
  if (lockHeld) {
    say('\nStopping …');
    await supervisor.stop();
    rmSync(LOCK, { force: true });
    say('Stopped.');
  }
  process.exit(code);
}

function leaveNow(code) {
  leave(code).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => leaveNow(0));
process.stdout.on('error', () => {}); // the terminal may be closed before everything is stopped

main().catch((error) => {
  if (supervisor.stopping) return; // what was being started was stopped
  console.error(`\n${error.message}`);
  leaveNow(1);
});
