import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `npm run audit`, `npm run archive`: a command of db/ on the database of DATABASE_URL, or without one on that of a
 * Holdfast that `npm start` runs here. The first argument names it.
 */

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

function localDatabase() {
  const data = path.resolve(process.env.HOLDFAST_DATA_DIR || path.join(ROOT, '.holdfast'));
  const [ports, password] = ['ports.json', 'postgres-password'].map((name) => path.join(data, name));
  if (!existsSync(ports) || !existsSync(password)) {
    console.error(`There is no Holdfast in ${data}. Start one with \`npm start\`, or set DATABASE_URL.`);
    process.exit(2);
  }
  const { postgres } = JSON.parse(readFileSync(ports, 'utf8'));
  return `postgres://postgres:${readFileSync(password, 'utf8').trim()}@127.0.0.1:${postgres}/holdfast`;
}

const [command, ...rest] = process.argv.slice(2);
const { status } = spawnSync(process.execPath, [path.join(ROOT, 'dist', 'db', command, 'cli.js'), ...rest], {
  stdio: 'inherit',
  env: { ...process.env, DATABASE_URL: process.env.DATABASE_URL || localDatabase() },
});
process.exit(status ?? 2);
