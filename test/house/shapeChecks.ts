import { parseSync } from '@swc/core';

/** How long functions are, and what of their form a reader stumbles over; read from the syntax. */

/** What a request does fits on a screen. */
export const MAX_HANDLER_LINES = 40;
/** A function's own lines, without the functions in it, which have names and lengths of their own. */
export const MAX_OWN_LINES = 85;

export interface Shape {
  name: string;
  line: number;
  lines: number;
  /** Without those of functions in it. */
  own: number;
  /** Given to `route(…).handle`. */
  handles: boolean;
}

interface Node {
  type?: string;
  span?: { start: number; end: number };
  [key: string]: unknown;
}

const FUNCTIONS = new Set([
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'MethodProperty',
  'ClassMethod',
]);

/** All functions of a source, from outside in. */
export function functionsOf(source: string): Shape[] {
  return read(source).functions;
}

/** Lines in which an object literal is spread into another. */
export function literalSpreads(source: string): number[] {
  return read(source).spreads;
}

function read(source: string): { functions: Shape[]; spreads: number[] } {
  const tree = parseSync(source, { syntax: 'typescript', target: 'es2022' }) as unknown as Node & {
    body: Node[];
  };
  const bytes = Buffer.from(source);
  // Positions count on from file to file, in bytes, and the module begins with its first statement.
  const [first] = tree.body;
  const offset = (first?.span?.start ?? 0) - Buffer.byteLength(source.slice(0, startOfCode(source)));
  const lineOf = (position: number) =>
    bytes
      .subarray(0, Math.max(0, position - offset))
      .toString()
      .split('\n').length;
  const functions: Shape[] = [];
  const spreads: number[] = [];
  visit(tree.body, { name: 'the module', handles: false, outer: null });
  return { functions, spreads };

  function visit(value: unknown, at: { name: string; handles: boolean; outer: Shape | null }): void {
    if (Array.isArray(value)) for (const item of value) visit(item, at);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return;
    const node = value as Node; // of the syntax tree
    const name = nameOf(node) ?? at.name;
    const span = node.span ?? (node['function'] as Node | undefined)?.span;
    let { outer } = at;
    if (FUNCTIONS.has(node.type ?? '') && span !== undefined) {
      const line = lineOf(span.start);
      const lines = lineOf(span.end) - line + 1;
      const shape = { name, line, lines, own: lines, handles: at.handles };
      if (outer !== null) outer.own -= lines;
      functions.push(shape);
      outer = shape;
    }
    if (isSpread(node)) spreads.push(lineOf((node['spread'] as { start: number }).start));
    const called = node.type === 'CallExpression' && isHandle(node['callee']);
    for (const [key, child] of Object.entries(node)) {
      // An argument stands in a record without a type of its own.
      const handles = called ? key === 'arguments' : node.type === undefined && at.handles;
      if (key !== 'span') visit(child, { name, handles, outer });
    }
  }
}

/** Where the first statement begins: comments before it are not in the tree. */
function startOfCode(source: string): number {
  const before = /^(?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n]*\n|#![^\n]*\n)*/.exec(source);
  return before?.[0].length ?? 0;
}

function nameOf(node: Node): string | null {
  const id = (node['identifier'] ?? node['id'] ?? node['key']) as { value?: unknown } | null | undefined;
  return typeof id?.value === 'string' ? id.value : null;
}

function isHandle(callee: unknown): boolean {
  const { type, property } = Object(callee) as { type?: string; property?: { value?: unknown } };
  return type === 'MemberExpression' && property?.value === 'handle';
}

function isSpread(node: Node): boolean {
  const { type } = Object(node['arguments']) as Node;
  return node.type === 'SpreadElement' && type === 'ObjectExpression';
}
