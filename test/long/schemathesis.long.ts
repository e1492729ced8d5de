import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { runAudit } from '../../db/audit';
import { publishCatalog, readCatalog } from '../../db/catalogs/catalogs';
import { type Engine, startEngine } from '../support/processes/engine';
import { defined } from '../../domain/defined';

/**
 * Schemathesis (from PyPI) reads /openapi.json and asks a running engine what it may and may not: every answer has a status, a
 * content type, headers and a schema that the document names, nothing is a 500, nothing against the schema is taken, no route
 * forgets its key. With every kind of key, and without one; the books are audited when it has ended.
 */

const SECONDS = Number(process.env['SCHEMATHESIS_SECONDS'] ?? 60);
const SEED = process.env['SCHEMATHESIS_SEED'] ?? String(Math.floor(Math.random() * 1e9));
const CATALOG = path.join(__dirname, '../support/catalogs/atelier.json');
/** What an id in the document's examples is the id of; the tool sends them as they are. */
const ACCOUNT = 'lumen';

/** A body that is too large is refused before anybody knows what is in it. */
const CONFIG = `[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "5xx"]
`;

let engine: Engine;
let work: string;
const made = async (scopes: string[], account?: string) => {
  const { body } = await engine.call<{ secret: string }>('POST', '/v1/api-keys', {
    body: { scopes, ...defined({ account }) },
  });
  return body.secret;
};

const hasPython = spawnSync('python3', ['-c', 'import venv, ensurepip']).status === 0;
if (!hasPython) process.stderr.write('skipped: there is no python3 with venv here\n');
const withPython = hasPython ? describe : describe.skip;

withPython('schemathesis', () => {
  beforeAll(async () => {
    work = mkdtempSync(path.join(os.tmpdir(), 'holdfast-schemathesis-'));
    for (const [command = '', ...args] of [
      ['python3', '-m', 'venv', 'venv'],
      ['venv/bin/pip', 'install', '--quiet', 'schemathesis==4.32.5'],
    ]) {
      const { status, stderr } = spawnSync(command, args, { cwd: work, encoding: 'utf8' });
      if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
    }
    writeFileSync(path.join(work, 'schemathesis.toml'), CONFIG);
    engine = await startEngine();
    await publishCatalog(engine.database.db.knex, { catalog: readCatalog(CATALOG) });
    const opened = { id: ACCOUNT, catalog: 'atelier', plan: 'team' };
    await engine.call('POST', '/v1/accounts', { body: opened });
  }, 300_000);
  afterAll(async () => {
    await engine.stop();
    rmSync(work, { recursive: true });
  });

  test.each<[string, () => Promise<string | null>]>([
    ['the admin key', () => Promise.resolve(engine.adminKey)],
    ['a key that reads', () => made(['read'])],
    ['a key that generates', () => made(['generate'])],
    ['a key that bills', () => made(['billing'])],
    ['a key of one account', () => made(['read', 'generate', 'billing'], ACCOUNT)],
    ['an admin key of one account', () => made(['admin'], ACCOUNT)],
    ['no key', () => Promise.resolve(null)],
  ])(
    'with %s',
    async (_name, keyed) => {
      const key = await keyed();
      // Not spawnSync: connections that the engine closes meanwhile must be noticed.
      const tool = spawn(
        'venv/bin/schemathesis',
        [
          ...['--config-file', 'schemathesis.toml', 'run', `${engine.url}/openapi.json`],
          ...(key === null ? [] : ['--header', `Authorization: Bearer ${key}`]),
          ...['--seed', SEED, '--max-time', String(SECONDS), '--phases', 'examples,coverage,fuzzing'],
          // What is well-formed may still be refused: the account is unknown, the generation has ended.
          ...['--exclude-checks', 'positive_data_acceptance', '--request-timeout', '40'],
          ...['--continue-on-failure', '--no-shrink', '--generation-database', 'none'],
          ...['--no-color', '--warnings', 'off'],
        ],
        { cwd: work, stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const [said, [status]] = await Promise.all([text(tool.stdout), once(tool, 'exit')]);
      const found = said.slice(said.search(/={5,} (ERRORS|FAILURES)/));
      expect([status, status === 0 ? '' : found]).toEqual([0, '']);
      expect(Number(/(\d+) generated/.exec(said)?.[1])).toBeGreaterThan(300);
    },
    (SECONDS + 180) * 1_000,
  );

  test('and the books are right', async () => {
    const { checks } = await runAudit(engine.database.owner.pool);
    expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
  }, 300_000);
});
