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

const CONTRACT = 'workflows/contract.ts';
/** Modules beside the workflows that belong to the processes around them; workflow code imports none of them. */
const OUTSIDE_THE_SANDBOX = ['workflows/connect.ts', 'workflows/holdOwners.ts', 'workflows/payloads.ts'];

export const RULES: readonly Rule[] = [
  { files: 'domain/', ours: ['domain/'], nodeBuiltins: false, packages: ['zod', 'luxon', 'js-sha256'] },
  { files: 'db/', ours: ['db/', 'domain/', CONTRACT], nodeBuiltins: true },
  {
    files: 'activities/',
    ours: ['activities/', 'db/', 'domain/', CONTRACT, ...OUTSIDE_THE_SANDBOX, 'workflows/bundle.ts'],
    nodeBuiltins: true,
  },
  {
    files: 'workflows/',
    ours: ['workflows/', 'domain/', 'types:activities/'],
    nodeBuiltins: false,
    packages: ['@temporalio/workflow', '@temporalio/common'],
  },
  { files: CONTRACT, ours: [], nodeBuiltins: false, packages: [] },
  {
    files: 'workflows/holdOwners.ts',
    ours: ['workflows/connect.ts', 'workflows/payloads.ts'],
    nodeBuiltins: true,
  },
  { files: 'workflows/connect.ts', ours: ['domain/', CONTRACT], nodeBuiltins: true },
  { files: 'workflows/bundle.ts', ours: [], nodeBuiltins: true },
  {
    files: 'api/',
    ours: ['api/', 'db/', 'domain/', 'types:activities/', CONTRACT, ...OUTSIDE_THE_SANDBOX],
    nodeBuiltins: true,
  },
];

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
    return mayImport({ file, rule, target, typeOnly })
      ? null
      : `${rule.files} may import ${rule.ours.join(', ') || 'nothing of ours'}`;
  }
  if (isBuiltin(specifier)) return rule.nodeBuiltins ? null : `no Node built-ins in ${rule.files}`;
  // A type is gone after compilation, so it brings no I/O in.
  if (rule.packages === undefined || typeOnly || rule.packages.includes(packageOf(specifier))) return null;
  return `${rule.files} may use ${rule.packages.join(', ') || 'no package'}`;
}

function mayImport(options: { file: string; rule: Rule; target: string; typeOnly: boolean }): boolean {
  const { file, rule, target, typeOnly } = options;
  const inSandbox = file.startsWith('workflows/') && rule.files === 'workflows/';
  if (inSandbox && [...OUTSIDE_THE_SANDBOX, 'workflows/bundle.ts'].includes(`${target}.ts`)) return false;
  return rule.ours.some((allowed) => {
    const prefix = allowed.replace(/^types:/, '');
    const reached = prefix.endsWith('/') ? `${target}/`.startsWith(prefix) : `${target}.ts` === prefix;
    return reached && (typeOnly || !allowed.startsWith('types:'));
  });
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

/** What a file's text must not hold, wherever it stands. */
export function forbiddenText({ file, source }: { file: string; source: string }): string[] {
  const problems: string[] = [];
  const machinePath = /(?<![\w.-])\/(?:work|root)\/[\w.-]*/.exec(source)?.[0];
  if (machinePath !== undefined) problems.push(`${file} names a path of one machine: ${machinePath}`);
  const lines = source.split('\n').length;
  if (/\.(?:ts|mjs)$/.test(file) && lines > MAX_LINES)
    problems.push(`${file} has ${lines} lines, more than ${MAX_LINES}`);
  if (path.posix.basename(file) === 'package-lock.json') {
    const host = /"resolved": "(https?:\/\/[^/"]+)/.exec(source)?.[1];
    if (host !== undefined) problems.push(`${file} names a registry: ${host}`);
  }
  return problems;
}
