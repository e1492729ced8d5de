import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { type Engine, startEngine } from '../support/processes/engine';

/**
 * Clients that other people's generators make from /openapi.json: each compiles, orders an image of a running engine, waits for
 * it, and reads balance, usage, catalog and a problem. The generators come from npm and PyPI; a language whose tools are not
 * here is said and skipped.
 */

const PROGRAMS = path.join(__dirname, 'clients');
const CATALOG = path.join(__dirname, '../support/catalogs/atelier.json');
/** More than 24 bits, and a fraction: what a client with 32-bit numbers gets wrong. */
const GIVEN = 20_000_000.125;

let engine: Engine;
let work: string;

function has(command: string, ...args: string[]): boolean {
  const found = spawnSync(command, args).status === 0;
  if (!found) process.stderr.write(`skipped: there is no ${command} here\n`);
  return found;
}
const withPython = has('python3', '-c', 'import venv, ensurepip') ? test : test.skip;
const withJava = has('java', '-version') && has('python3', '-c', 'import venv, ensurepip') ? test : test.skip;
const withGo = has('java', '-version') && has('go', 'version') ? test : test.skip;

/** Its stdout; its stderr is the error. */
function run(command: string, args: string[], options: SpawnSyncOptions = {}): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: work,
    maxBuffer: 1e8,
    encoding: 'utf8',
    ...options,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}:\n${String(stdout)}\n${String(stderr)}`);
  return String(stdout);
}

/** Makes a virtual environment with these packages: the folder with its commands. */
function python(name: string, ...packages: string[]): string {
  const bin = path.join(work, name, 'bin');
  if (!existsSync(bin)) run('python3', ['-m', 'venv', name]);
  run(path.join(bin, 'pip'), ['install', '--quiet', ...packages]);
  return bin;
}

function generate(generator: string, into: string, properties: string): void {
  const bin = python('generators', 'openapi-generator-cli==7.26.0');
  const options = ['-i', 'openapi.json', '-g', generator, '-o', into, '-p', properties];
  run(path.join(bin, 'openapi-generator-cli'), ['generate', ...options]);
}

/** Opens an account, runs the program as its client, and compares what it saw with what there is. */
async function orders(command: string, args: string[], cwd = work) {
  const account = engine.newId('client');
  const opened = { id: account, catalog: 'atelier', plan: 'team' };
  expect((await engine.call('POST', '/v1/accounts', { body: opened })).status).toBe(201);
  const adjustment = { bucket: 'pack', credits: GIVEN, reason: 'to see every digit' };
  const given = { body: adjustment, idempotencyKey: 'given' };
  expect((await engine.call('POST', `/v1/accounts/${account}/adjustments`, given)).status).toBe(201);
  const env = {
    ...process.env,
    HOLDFAST_URL: engine.url,
    HOLDFAST_KEY: engine.adminKey,
    HOLDFAST_ACCOUNT: account,
  };
  const saw: unknown = JSON.parse(run(command, args, { cwd, env }));
  const { available } = await engine.balance(account);
  expect(available).toBe(GIVEN + 3_000 - 20);
  const ended = { status: 'succeeded', captured: 20, available };
  expect(saw).toEqual({
    plan: 'free',
    quoted: 20,
    ...ended,
    used: ['image', null],
    problem: 'unknown_account',
  });
}

beforeAll(async () => {
  work = mkdtempSync(path.join(os.tmpdir(), 'holdfast-clients-'));
  engine = await startEngine();
  await publishCatalog(engine.database.db.knex, { catalog: readCatalog(CATALOG) });
  const { text } = await engine.call('GET', '/openapi.json');
  writeFileSync(path.join(work, 'openapi.json'), text);
}, 120_000);
afterAll(async () => {
  await engine.stop();
  rmSync(work, { recursive: true });
});

test('openapi-typescript and openapi-fetch', async () => {
  const place = path.join(work, 'typescript');
  mkdirSync(place);
  writeFileSync(path.join(place, 'package.json'), '{"type": "module", "private": true}');
  const packages = ['openapi-typescript@7', 'openapi-fetch@0.17', 'typescript@5', '@types/node@20'];
  run('npm', ['install', '--no-audit', '--no-fund', ...packages], { cwd: place });
  run('npx', ['openapi-typescript', '../openapi.json', '--output', 'api.d.ts'], { cwd: place });
  cpSync(path.join(PROGRAMS, 'typescript_client.mts'), path.join(place, 'client.mts'));
  const strictly = ['--strict', '--noUncheckedIndexedAccess', '--module', 'nodenext', '--target', 'es2022'];
  run('npx', ['tsc', ...strictly, 'client.mts'], { cwd: place });
  await orders(process.execPath, ['client.mjs'], place);
}, 300_000);

withPython(
  'openapi-python-client',
  async () => {
    const bin = python('python-client', 'openapi-python-client==0.29.1', 'httpx', 'attrs', 'python-dateutil');
    const into = ['--meta', 'none', '--output-path', 'holdfast_client'];
    run(path.join(bin, 'openapi-python-client'), ['generate', '--path', 'openapi.json', ...into], {
      env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
    });
    run(path.join(bin, 'python'), ['-m', 'compileall', '-q', 'holdfast_client']);
    cpSync(path.join(PROGRAMS, 'python_client.py'), path.join(work, 'python_client.py'));
    await orders(path.join(bin, 'python'), ['python_client.py']);
  },
  300_000,
);

withJava(
  'openapi-generator, Python',
  async () => {
    generate('python', 'generated-python', 'packageName=openapi_client');
    const bin = python('generated', './generated-python');
    cpSync(path.join(PROGRAMS, 'generator_client.py'), path.join(work, 'generator_client.py'));
    await orders(path.join(bin, 'python'), ['generator_client.py']);
  },
  300_000,
);

withGo(
  'openapi-generator, Go',
  async () => {
    const place = path.join(work, 'go');
    generate('go', 'go/client', 'packageName=holdfast,isGoSubmodule=false,enumClassPrefix=true');
    run('go', ['mod', 'edit', '-module', 'holdfast.example/client'], { cwd: path.join(place, 'client') });
    cpSync(path.join(PROGRAMS, 'main.go'), path.join(place, 'main.go'));
    run('go', ['mod', 'init', 'holdfast.example/program'], { cwd: place });
    run('go', ['mod', 'edit', '-replace', 'holdfast.example/client=./client'], { cwd: place });
    run('go', ['mod', 'tidy'], { cwd: place });
    run('go', ['vet', '.'], { cwd: place });
    run('go', ['vet', '.'], { cwd: path.join(place, 'client') });
    await orders('go', ['run', '.'], place);
  },
  300_000,
);
