import type { Knex } from 'knex';
import type { Pool } from 'pg';

/** Keys to the HTTP interface (holdfast.api_keys). A deleted key is a row with `revokedAt`. */

export interface ApiKeyRow {
  id: string;
  name: string;
  scopes: string[];
  account: string | null;
  createdAt: Date;
  createdBy: string;
  revokedAt: Date | null;
}

const COLUMNS = {
  id: 'id',
  name: 'name',
  scopes: 'scopes',
  account: 'account_id',
  createdAt: 'created_at',
  createdBy: 'created_by',
  revokedAt: 'revoked_at',
} as const;

export interface NewApiKey {
  id: string;
  secretSha256: Buffer;
  name: string;
  scopes: readonly string[];
  account: string | null;
  createdBy: string;
}

export async function insertApiKey(transaction: Knex.Transaction, key: NewApiKey): Promise<ApiKeyRow> {
  const rows = await transaction('holdfast.api_keys')
    .insert({
      id: key.id,
      secret_sha256: key.secretSha256,
      name: key.name,
      scopes: [...key.scopes],
      account_id: key.account,
      created_by: key.createdBy,
    })
    .returning<ApiKeyRow[]>(returning());
  const [row] = rows;
  if (row === undefined) throw new Error('insert into holdfast.api_keys returned no row');
  return row;
}

/** The hash that authentication compares with. A revoked key is not found. */
export async function findApiKeySecret(
  points: Pick<Pool, 'query'>,
  id: string,
): Promise<ApiKeySecret | null> {
  const { rows } = await points.query<ApiKeySecret>({
    name: 'find_api_key_secret',
    text: `SELECT secret_sha256 AS "secretSha256", scopes, account_id AS account
             FROM holdfast.api_keys WHERE id = $1 AND revoked_at IS NULL`,
    values: [id],
  });
  return rows[0] ?? null;
}

interface ApiKeySecret {
  secretSha256: Buffer;
  scopes: string[];
  account: string | null;
}

export async function findApiKey(knex: Knex, id: string): Promise<ApiKeyRow | null> {
  const row = await knex('holdfast.api_keys').where({ id }).first<ApiKeyRow | undefined>(COLUMNS);
  return row ?? null;
}

/** Newest first, without the revoked ones. `after` is the last row of the page before. */
export async function listApiKeys(
  knex: Knex,
  { limit, after }: { limit: number; after: { createdAt: string; id: string } | undefined },
): Promise<ApiKeyRow[]> {
  return knex('holdfast.api_keys')
    .whereNull('revoked_at')
    .modify((query) => {
      if (after === undefined) return;
      void query.whereRaw('(created_at, id) < (?::timestamptz, ?)', [after.createdAt, after.id]);
    })
    .orderBy([
      { column: 'created_at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .limit(limit)
    .select<ApiKeyRow[]>(COLUMNS);
}

/** Null when there is no such key. Revoking a second time keeps the first instant. */
export async function revokeApiKey(knex: Knex, id: string): Promise<ApiKeyRow | null> {
  const rows = await knex('holdfast.api_keys')
    .where({ id })
    .update({ revoked_at: knex.raw("coalesce(revoked_at, date_trunc('milliseconds', now()))") })
    .returning<ApiKeyRow[]>(returning());
  return rows[0] ?? null;
}

export async function accountIsKnown(knex: Knex, account: string): Promise<boolean> {
  const row: unknown = await knex('ledger.accounts').where({ account_id: account }).first('account_id');
  return row !== undefined;
}

/** `returning` takes `column as alias` strings where `select` takes an object. */
function returning(): string[] {
  return Object.entries(COLUMNS).map(([alias, column]) => `${column} as ${alias}`);
}
