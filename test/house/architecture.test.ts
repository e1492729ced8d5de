import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  FLOORS,
  forbiddenImports,
  forbiddenText,
  importsOf,
  MAX_FILES,
  MAX_LINES,
  MAX_SQL_LINES,
} from './architectureChecks';
import { filesBelow, ROOT } from './files';

const sources = filesBelow('')
  .filter((file) => !file.endsWith('.log'))
  .map((file) => ({ file, source: readFileSync(path.join(ROOT, file), 'utf8') }));

describe('the house', () => {
  it('has imports that point one way only', () => {
    const code = sources.filter(({ file }) => file.endsWith('.ts'));
    expect(code.length).toBeGreaterThan(20);
    expect(code.flatMap(forbiddenImports)).toEqual([]);
  });

  it(`has no source file beyond ${MAX_LINES} lines, no machine's path, and no registry's host`, () => {
    expect(sources.flatMap(forbiddenText)).toEqual([]);
  });

  it(`has no room with more than ${MAX_FILES} files, and none that the floors do not know`, () => {
    const rooms = new Map<string, number>();
    for (const { file } of sources) {
      const room = path.posix.dirname(file);
      if (/^(activities|api|db|domain|workflows)(\/|$)/.test(room) && file.endsWith('.ts'))
        rooms.set(room, (rooms.get(room) ?? 0) + 1);
    }
    expect([...rooms].filter(([, files]) => files > MAX_FILES)).toEqual([]);
    expect([...rooms.keys()].toSorted()).toEqual(FLOORS.flat(2).toSorted());
  });

  it('has rooms that docs/architecture.md explains', () => {
    const page = readFileSync(path.join(ROOT, 'docs/architecture.md'), 'utf8');
    const rooms = FLOORS.flat(2).map((room) => room.replace(/^api\/resources\/.*/, 'api/resources/…'));
    expect(rooms.filter((room) => room.includes('/') && !page.includes(`\`${room}\``))).toEqual([]);
  });

  it('has no folder at its root that the arrows do not know of', () => {
    const folders = new Set(
      sources.map(({ file }) => file.split('/')).flatMap(([top, next]) => (next ? [top] : [])),
    );
    const known = [
      '.ci',
      '.github',
      'activities',
      'api',
      'bench',
      'catalogs',
      'client',
      'console',
      'db',
      'dev',
      'docs',
    ];
    expect(
      [...folders].filter(
        (folder) => ![...known, 'domain', 'examples', 'test', 'workflows'].includes(folder ?? ''),
      ),
    ).toEqual([]);
  });
});

test.each(['.holdfast', 'dist'])('what a run leaves behind is nobody’s to format: %s', (folder) => {
  const biome = path.join(ROOT, 'node_modules', '.bin', 'biome');
  const check = (file: string) =>
    spawnSync(biome, ['format', '--no-errors-on-unmatched', file], { cwd: ROOT });
  mkdirSync(path.join(ROOT, folder), { recursive: true });
  const left = mkdtempSync(path.join(ROOT, folder, 'left-'));
  writeFileSync(path.join(left, 'ports.json'), '{"api":1}');
  expect(check(path.join(left, 'ports.json')).status).toBe(0);
  rmSync(left, { recursive: true });
});

describe('the checker of imports', () => {
  it.each([
    ['domain/prices/price.ts', "import { createLedger } from '../../db/ledger/ledger';"],
    ['domain/ids.ts', "import { createHash } from 'node:crypto';"],
    ['domain/ids.ts', "import { createHash } from 'crypto';"],
    ['domain/prices/price.ts', "import knex from 'knex';"],
    ['db/ledger/ledger.ts', "import { createApp } from '../../api/app';"],
    ['db/ledger/ledger.ts', "import type { Work } from '../../activities/types';"],
    ['db/ledger/ledger.ts', "import { reachTemporal } from '../../activities/temporal/connect';"],
    ['activities/generation.ts', "import { problem } from '../api/problems/problem';"],
    ['activities/generation.ts', "import { retryUntilDone } from '../workflows/common/proxies';"],
    ['activities/temporal/connect.ts', "import { openDatabase } from '../../db/connection/connection';"],
    ['workflows/sweep.ts', "import { createActivities } from '../activities/index';"],
    ['workflows/sweep.ts', "import { type Work, workOf } from '../activities/types';"],
    ['workflows/sweep.ts', "import { readFileSync } from 'fs';"],
    ['workflows/sweep.ts', "const os = require('node:os');"],
    ['workflows/sweep.ts', "export * from '../db/ledger/ledger';"],
    ['workflows/sweep.ts', "import { ringAccount } from '../activities/temporal/connect';"],
    ['workflows/sweep.ts', "import { Client } from '@temporalio/client';"],
    ['domain/contract.ts', "import { milli } from './credits';"],
    ['api/routes.ts', "import { generationWorkflow } from '../workflows/generation/generation';"],
    ['api/routes.ts', "export { Mailbox } from '../workflows/generation/mailbox';"],
    ['api/routes.ts', "const late = async () => import('../activities/worker');"],
    ['domain/time/settle.ts', "import { price } from '../prices/price';"],
    ['domain/catalog/catalog.ts', "import type { Priced } from '../prices/line';"],
    ['db/connection/connection.ts', "import { createEngine } from '../engine';"],
    ['api/routing/router.ts', "import { routes } from '../routes';"],
  ])('refuses, in %s: %s', (file, source) => {
    expect(forbiddenImports({ file, source })).toHaveLength(1);
  });

  it.each([
    ['domain/prices/price.ts', "import { z } from 'zod'; import { milli } from '../credits';"],
    [
      'db/ledger/ledger.ts',
      "import { settle } from '../../domain/time/settle'; import { readdirSync } from 'node:fs';",
    ],
    ['db/ledger/ledger.ts', "import type { GenerationInput } from '../../domain/contract';"],
    [
      'workflows/sweep.ts',
      "import type { Work } from '../activities/types'; import { FAILURES } from '../domain/contract';",
    ],
    ['workflows/sweep.ts', "type Work = import('../activities/types').Work;"],
    ['activities/providers/simulated.ts', "import type { Work } from '../types';"],
    [
      'activities/temporal/bundle.ts',
      "import { bundleWorkflowCode } from '@temporalio/worker'; import path from 'node:path';",
    ],
    [
      'api/main.ts',
      "import { TASK_QUEUES } from '../domain/contract'; import { findKey } from '../db/accounts/apiKeys';",
    ],
    ['test/db/ledger.test.ts', "import { anything } from '../../workflows/generation/generation';"],
  ])('allows, in %s: %s', (file, source) => {
    expect(forbiddenImports({ file, source })).toEqual([]);
  });

  it('tells an import of types from one that stays at run time', () => {
    const source =
      "import type { A } from 'a'; import { type B } from 'b'; import { type C, d } from 'c'; import 'e';";
    expect(importsOf(source).map(({ typeOnly }) => typeOnly)).toEqual([true, true, false, false]);
  });
});

describe('the checker of text', () => {
  it('refuses a path of one machine', () => {
    const machine = ['', 'work', 'main'].join('/');
    expect(forbiddenText({ file: 'docs/a.md', source: `run it in ${machine}` })).toHaveLength(1);
    expect(forbiddenText({ file: 'docs/a.md', source: `see https://example.org${machine}` })).toEqual([]);
  });

  it('refuses a file that is too long', () => {
    expect(forbiddenText({ file: 'api/long.ts', source: '\n'.repeat(MAX_LINES) })).toHaveLength(1);
    expect(forbiddenText({ file: 'docs/long.md', source: '\n'.repeat(MAX_LINES) })).toEqual([]);
  });

  it('refuses a function of the ledger that is too long, and a line of it', () => {
    const file = 'db/migrations/functions/05_decide.sql';
    const made = (name: string, lines: number) =>
      `CREATE FUNCTION ledger.${name}() RETURNS void LANGUAGE plpgsql AS $$\n${'\n'.repeat(lines - 2)}END $$;\n`;
    const { function: most, apply, column } = MAX_SQL_LINES;
    expect(forbiddenText({ file, source: made('decide', most) + made('apply_to', apply) })).toEqual([]);
    expect(forbiddenText({ file, source: made('decide', most + 1) })).toHaveLength(1);
    expect(forbiddenText({ file, source: made('apply', apply + 1) })).toHaveLength(1);
    expect(forbiddenText({ file, source: `-- ${'x'.repeat(column)}\n` })).toHaveLength(1);
    expect(forbiddenText({ file, source: '\n'.repeat(MAX_LINES) })).toHaveLength(1);
  });

  it('refuses a registry in the lock file', () => {
    const source = '"resolved": "https://registry.example/left-pad.tgz"';
    expect(forbiddenText({ file: 'package-lock.json', source })).toEqual([
      'package-lock.json names a registry: https://registry.example',
    ]);
  });
});
