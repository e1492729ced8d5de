import { SCOPE_INCLUDES, SCOPES } from '../routing/authenticate';
import { PROBLEMS } from '../problems/kinds';
import type { Route } from '../routing/route';

/** The tables of docs/api.md and /docs/problems, made from what the code does. Cells are Markdown. */

export interface Table {
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

export function problemTable(): Table {
  return {
    head: ['code', 'status', 'retryable', 'meaning'],
    rows: Object.entries(PROBLEMS).map(([code, { status, retryable, title, meaning }]) => [
      `\`${code}\``,
      String(status),
      retryable ? 'yes' : 'no',
      `${title}. ${meaning}`,
    ]),
  };
}

export function scopeTable(): Table {
  return {
    head: ['scope', 'includes'],
    rows: SCOPES.map((scope) => [
      `\`${scope}\``,
      SCOPE_INCLUDES[scope].map((included) => `\`${included}\``).join(', ') || 'nothing else',
    ]),
  };
}

export function routeTable(routes: readonly Route[]): Table {
  return {
    head: ['route', 'scope', 'key bound to an account', 'Idempotency-Key'],
    rows: routes.map((route) => [
      `\`${route.method} ${route.path}\``,
      route.scope === 'none' ? 'no key needed' : `\`${route.scope}\``,
      boundKeys(route),
      route.idempotency,
    ]),
  };
}

export function markdown({ head, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function boundKeys({ scope, account }: Route): string {
  if (scope === 'none') return '';
  if (account === 'shared') return 'yes';
  return account === 'all' ? 'no' : 'its account only';
}
