import { builtinModules } from 'node:module';
import path from 'node:path';
import { parseSync } from '@swc/core';

/** Which file may import which: the arrows of the house, as a table, and a checker that reads imports from syntax. */

export interface Import {
  specifier: string;
  /** Gone after compilation: `import type`, or only `type` specifiers. */
  typeOnly: boolean;
}

/** What one kind of file may import. Files are matched by the longest prefix of their path. */
interface Rule {
  files: string;
  /** Prefixes of our own files; `types:` in front allows types only. */
  ours: readonly string[];
  nodeBuiltins: boolean;
  /** Packages, when they are limited; workflow and domain code must stay free of I/O. */
  packages?: readonly string[];
}

const CONTRACT = 'domain/contract.ts';
const TEMPORAL = 'activities/temporal/';

const RULES: readonly Rule[] = [
  { files: 'domain/', ours: ['domain/'], nodeBuiltins: false, packages: ['zod', 'luxon', 'js-sha256'] },
  { files: CONTRACT, ours: [], nodeBuiltins: false, packages: [] },
  { files: 'db/', ours: ['db/', 'domain/'], nodeBuiltins: true },
  {
    files: 'workflows/',
    ours: ['workflows/', 'domain/', 'types:activities/'],
    nodeBuiltins: false,
    packages: ['@temporalio/workflow', '@temporalio/common'],
  },
  { files: 'activities/', ours: ['activities/', 'db/', 'domain/'], nodeBuiltins: true },
  // How Temporal is reached, by whatever process: it knows nothing of what is done there.
  { files: TEMPORAL, ours: [TEMPORAL, 'domain/'], nodeBuiltins: true },
  { files: 'api/', ours: ['api/', 'db/', 'domain/', 'types:activities/', TEMPORAL], nodeBuiltins: true },
];

/**
 * The rooms of each folder, floor by floor from the ground: a file imports from its own room and from those on floors below. So
 * no room needs another that needs it.
 */
export const FLOORS: readonly (readonly (readonly string[])[])[] = [
  [
    ['domain'],
    ['domain/catalog'],
    ['domain/prices', 'domain/time'],
    ['domain/access', 'domain/books', 'domain/publish', 'domain/generations', 'domain/stripe'],
  ],
  [
    ['db/connection'],
    ['db/accounts', 'db/books', 'db/catalogs', 'db/migrate'],
    ['db/audit', 'db/ledger', 'db/support'],
    ['db/archive', 'db/idempotency', 'db/generations'],
    ['db/reserve'],
    ['db'],
  ],
  [['workflows/common'], ['workflows/generation'], ['workflows']],
  [['activities/temporal', 'activities/stripe'], ['activities/providers'], ['activities']],
  [
    ['api/observe', 'api/problems'],
    ['api/http', 'api/workflows'],
    ['api/routing'],
    ['api/resources/generations'],
    ['api/resources/accounts', 'api/resources/catalogs', 'api/resources/operations', 'api/reference'],
    ['api/resources/books'],
    ['api'],
  ],
];
/** Types that providers share with the workflows. */
const SEEN_FROM_BELOW = 'activities/types.ts';

/** As many files lie side by side in a room; numbered migrations and catalogs may be more. */
export const MAX_FILES = 12;

/** Everything this file imports that it may not, as sentences. */
export function forbiddenImports({ file, source }: { file: string; source: string }): string[] {
  const rule = ruleFor(file);
  if (rule === undefined) return [];
  return importsOf(source).flatMap((one) => {
    const problem = problemOf({ file, rule, ...one });
    return problem === null ? [] : [`${file} imports ${one.specifier}: ${problem}`];
  });
}

function ruleFor(file: string): Rule | undefined {
  return RULES.filter(({ files }) => file.startsWith(files)).toSorted(
    (a, b) => b.files.length - a.files.length,
  )[0];
}

function problemOf({
  file,
  rule,
  specifier,
  typeOnly,
}: Import & { file: string; rule: Rule }): string | null {
  if (specifier.startsWith('.')) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    if (!mayImport({ rule, target, typeOnly }))
      return `${rule.files} may import ${rule.ours.join(', ') || 'nothing of ours'}`;
    return isUphill({ file, target, typeOnly }) ? 'that room is not on a floor below' : null;
  }
  if (isBuiltin(specifier)) return rule.nodeBuiltins ? null : `no Node built-ins in ${rule.files}`;
  // A type is gone after compilation, so it brings no I/O in.
  if (rule.packages === undefined || typeOnly || rule.packages.includes(packageOf(specifier))) return null;
  return `${rule.files} may use ${rule.packages.join(', ') || 'no package'}`;
}

function mayImport(options: { rule: Rule; target: string; typeOnly: boolean }): boolean {
  const { rule, target, typeOnly } = options;
  return rule.ours.some((allowed) => {
    const prefix = allowed.replace(/^types:/, '');
    const reached = prefix.endsWith('/') ? `${target}/`.startsWith(prefix) : `${target}.ts` === prefix;
    return reached && (typeOnly || !allowed.startsWith('types:'));
  });
}

function isUphill({ file, target, typeOnly }: { file: string; target: string; typeOnly: boolean }): boolean {
  if (typeOnly && `${target}.ts` === SEEN_FROM_BELOW) return false;
  const [from, to] = [path.posix.dirname(file), path.posix.dirname(target)];
  const floors = FLOORS.find((house) => floorOf(house, from) >= 0);
  if (floors === undefined || from === to) return false;
  const below = floorOf(floors, to);
  return below >= 0 && below >= floorOf(floors, from);
}

function floorOf(floors: readonly (readonly string[])[], room: string): number {
  return floors.findIndex((rooms) => rooms.includes(room));
}

function isBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(packageOf(specifier));
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Static and dynamic imports, re-exports, `require` and `import('...')` types, wherever they stand. */
export function importsOf(source: string): Import[] {
  const found: Import[] = [];
  visit(parseSync(source, { syntax: 'typescript', target: 'es2022' }));
  return found;

  function visit(node: unknown): void {
    if (Array.isArray(node)) for (const item of node) visit(item);
    if (!isRecord(node)) return;
    const one = importIn(node);
    if (one !== null) found.push(one);
    for (const child of Object.values(node)) visit(child);
  }
}

function importIn(node: Record<string, unknown>): Import | null {
  switch (node['type']) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration': {
      const specifier = literal(node['source']);
      return specifier === null ? null : { specifier, typeOnly: isTypeOnly(node) };
    }
    case 'TsImportType': {
      const specifier = literal(node['argument']);
      return specifier === null ? null : { specifier, typeOnly: true };
    }
    case 'TsExternalModuleReference': {
      const specifier = literal(node['expression']);
      return specifier === null ? null : { specifier, typeOnly: false };
    }
    case 'CallExpression': {
      const callee = node['callee'];
      if (!isRecord(callee) || (callee['type'] !== 'Import' && callee['value'] !== 'require')) return null;
      const [argument] = Array.isArray(node['arguments']) ? node['arguments'] : [];
      const specifier = isRecord(argument) ? literal(argument['expression']) : null;
      return specifier === null ? null : { specifier, typeOnly: false };
    }
    default:
      return null;
  }
}

function isTypeOnly(node: Record<string, unknown>): boolean {
  if (node['typeOnly'] === true) return true;
  const specifiers: unknown[] = Array.isArray(node['specifiers']) ? node['specifiers'] : [];
  return specifiers.length > 0 && specifiers.every((one) => isRecord(one) && one['isTypeOnly'] === true);
}

function literal(node: unknown): string | null {
  return isRecord(node) && typeof node['value'] === 'string' ? node['value'] : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** A file this long has more than one reason to exist. */
export const MAX_LINES = 400;

/** A function of the ledger fits on a screen or two; the call itself, which is its table of contents, may take a page more. */
export const MAX_SQL_LINES = { function: 120, apply: 150, column: 130 };

function longSql({ file, source }: { file: string; source: string }): string[] {
  const lines = source.split('\n');
  const wide = lines.flatMap((line, index) =>
    line.length > MAX_SQL_LINES.column
      ? [`${file}:${index + 1} is longer than ${MAX_SQL_LINES.column} characters`]
      : [],
  );
  const long = [
    ...source.matchAll(/^CREATE (?:OR REPLACE )?FUNCTION ledger\.(\w+)[\s\S]*?^(?:END )?\$\$;/gm),
  ].flatMap(([text, name = '']) => {
    const most = /^apply(_to)?$/.test(name) ? MAX_SQL_LINES.apply : MAX_SQL_LINES.function;
    const count = text.split('\n').length;
    return count > most ? [`${file}: ledger.${name} has ${count} lines, more than ${most}`] : [];
  });
  return [...wide, ...long];
}

/** What a file's text must not hold, wherever it stands. */
export function forbiddenText({ file, source }: { file: string; source: string }): string[] {
  const problems: string[] = [];
  const machinePath = /(?<![\w.-])\/(?:work|root)\/[\w.-]*/.exec(source)?.[0];
  if (machinePath !== undefined) problems.push(`${file} names a path of one machine: ${machinePath}`);
  const lines = source.split('\n').length;
  const functions = file.startsWith('db/migrations/functions/') && file.endsWith('.sql');
  if ((functions || /\.(?:ts|mjs)$/.test(file)) && lines > MAX_LINES)
    problems.push(`${file} has ${lines} lines, more than ${MAX_LINES}`);
  if (functions) problems.push(...longSql({ file, source }));
  if (path.posix.basename(file) === 'package-lock.json') {
    const host = /"resolved": "(https?:\/\/[^/"]+)/.exec(source)?.[1];
    if (host !== undefined) problems.push(`${file} names a registry: ${host}`);
  }
  return problems;
}
