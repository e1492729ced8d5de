import type { Pool, QueryResult, QueryResultRow } from 'pg';

/**
 * Statements that are asked so often that parsing and planning them would cost more than they do. A connection prepares one
 * under its name and keeps it, so a name stands for one text.
 */

/** How often a statement's name was renewed, by the name it was given. */
const renewals = new Map<string, number>();

/**
 * Asks under the name given. Where a migration has changed what the statement answers, it is prepared again, once, under a new
 * name: a connection cannot use the old one any more.
 */
export async function prepared<T>(name: string, ask: (name: string) => PromiseLike<T>): Promise<T> {
  const asked = current(name);
  try {
    return await ask(asked);
  } catch (error) {
    if (!isInvalidated(error)) throw error;
    // Whoever finds the name renewed already uses the new one.
    if (current(name) === asked) renewals.set(name, (renewals.get(name) ?? 0) + 1);
    return ask(current(name));
  }
}

/** The same of one statement. */
export function ask<R extends QueryResultRow>(
  pool: Pick<Pool, 'query'>,
  { name, text, values }: { name: string; text: string; values: unknown[] },
): Promise<QueryResult<R>> {
  return prepared(name, (named) => pool.query<R>({ name: named, text, values }));
}

function current(name: string): string {
  const renewed = renewals.get(name);
  return renewed === undefined ? name : `${name}_${renewed}`;
}

/** feature_not_supported, which Postgres says of a prepared statement whose columns have changed. */
function isInvalidated(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('cached plan must not change result type');
}
