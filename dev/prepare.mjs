import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What `npm start` and `npm test` need before they begin: the packages, and the build. Only Node's own modules here,
 * because the packages may not be there yet. Does nothing, in well under a second, when nothing is to be done.
 */

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const SOURCES = [
  'domain',
  'db',
  'workflows',
  'activities',
  'api',
  'bench',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
];

function stampOf(files) {
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${path.relative(ROOT, file)}\n`).update(readFileSync(file));
  return hash.digest('hex');
}

function filesBelow(name) {
  const at = path.join(ROOT, name);
  if (!existsSync(at)) return [];
  if (!statSync(at).isDirectory()) return [at];
  return readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|sql|json)$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}

function upToDate(stampFile, stamp) {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
}

function run(what, command, args) {
  console.log(what);
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error !== undefined) throw error;
  if (status !== 0) {
    console.error(`${command} ${args.join(' ')} failed.`);
    process.exit(status ?? 1);
  }
}

const lock = stampOf([path.join(ROOT, 'package-lock.json')]);
const lockStamp = path.join(ROOT, 'node_modules', '.holdfast-lock');
if (!upToDate(lockStamp, lock)) {
  run('Installing packages …', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(lockStamp, lock);
}

if (process.argv.includes('--build')) {
  const build = stampOf(SOURCES.flatMap(filesBelow));
  const buildStamp = path.join(ROOT, 'dist', '.holdfast-build');
  if (!upToDate(buildStamp, build)) {
    run('Building …', 'npm', ['run', '--silent', 'build']);
    writeFileSync(buildStamp, build);
  }
}
