import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { type Instant, toMs } from '../domain/account';
import type { Catalog } from '../domain/catalog';
import { parseCatalog } from '../domain/parseCatalog';
import { canonicalJson } from '../domain/ids';

export interface CatalogVersion {
  catalog: Catalog;
  version: number;
  effectiveAt: Instant;
}

export interface CatalogStore {
  /** The newest version in force at an instant of the account's clock; a first version always applies. */
  inForce(catalog: string, atMs: number): Promise<CatalogVersion>;
  /** One version, for ever the same. Undefined: there is none. */
  version(catalog: string, version: number): Promise<CatalogVersion | undefined>;
  /** Every catalog's version in force at the instant. */
  list(atMs: number): Promise<CatalogVersion[]>;
}

/** No account can be on a catalog that does not exist, so this is a broken database, not bad input. */
export class UnknownCatalog extends Error {
  override readonly name = 'UnknownCatalog';
}

/** How long a process may go on with the versions it knows after another one was published. */
const LIST_TTL_MS = 2_000;

interface CatalogRow {
  catalog: string;
  version: number;
  effective_at: string;
}

/**
 * Reads through the raw pool: a handler that holds a knex transaction may ask for a catalog without waiting for a
 * second connection of the same pool, which others in its place may all be holding.
 */
export function createCatalogStore({ pool }: { pool: Pool }): CatalogStore {
  // A version never changes, so a parsed one is kept; only the list of versions is read again.
  const bodies = new Map<string, Catalog>();
  let listed: CatalogRow[] = [];
  let listedMs = Number.NEGATIVE_INFINITY;

  async function versions(): Promise<CatalogRow[]> {
    if (Date.now() - listedMs > LIST_TTL_MS) {
      const sql = `SELECT catalog, version, to_json(effective_at) #>> '{}' AS effective_at
                     FROM holdfast.catalogs ORDER BY catalog, version`;
      listed = (await pool.query<CatalogRow>(sql)).rows;
      listedMs = Date.now();
    }
    return listed;
  }

  async function load(row: CatalogRow): Promise<CatalogVersion> {
    const id = `${row.catalog}@${row.version}`;
    let catalog = bodies.get(id);
    if (catalog === undefined) {
      const sql = 'SELECT body FROM holdfast.catalogs WHERE catalog = $1 AND version = $2';
      const { rows } = await pool.query<{ body: unknown }>(sql, [row.catalog, row.version]);
      const parsed = parseCatalog(rows[0]?.body);
      if (!parsed.ok)
        throw new UnknownCatalog(`stored catalog ${id} is not valid: ${describe(parsed.errors)}`);
      catalog = parsed.catalog;
      bodies.set(id, catalog);
    }
    return { catalog, version: row.version, effectiveAt: row.effective_at };
  }

  function pick(all: CatalogRow[], catalog: string, atMs: number): CatalogRow | undefined {
    const own = all.filter((row) => row.catalog === catalog);
    return own.findLast((row) => toMs(row.effective_at) <= atMs) ?? own[0];
  }

  return {
    async inForce(catalog, atMs) {
      const row = pick(await versions(), catalog, atMs);
      if (row === undefined) throw new UnknownCatalog(`there is no catalog ${catalog}`);
      return load(row);
    },
    async version(catalog, version) {
      const row = (await versions()).find((one) => one.catalog === catalog && one.version === version);
      return row === undefined ? undefined : load(row);
    },
    async list(atMs) {
      const all = await versions();
      const ids = [...new Set(all.map((row) => row.catalog))];
      const current = ids.flatMap((id) => pick(all, id, atMs) ?? []);
      return Promise.all(current.map(load));
    },
  };
}

/** Publishes a catalog as a new version unless the newest already says the same. */
export async function publishCatalog(
  knex: Knex,
  { catalog, effectiveAt }: { catalog: Catalog; effectiveAt?: Instant },
): Promise<{ catalog: string; version: number; changed: boolean }> {
  const id = catalog.catalog;
  const hash = createHash('sha256').update(canonicalJson(catalog)).digest('hex');
  return knex.transaction(async (trx) => {
    // Two processes that start at once publish one after the other.
    await trx.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [`holdfast catalog ${id}`]);
    const newest = await trx('holdfast.catalogs')
      .where({ catalog: id })
      .orderBy('version', 'desc')
      .first<{ version: number; hash: string } | undefined>('version', 'hash');
    if (newest?.hash === hash) return { catalog: id, version: newest.version, changed: false };
    const version = (newest?.version ?? 0) + 1;
    await trx('holdfast.catalogs').insert({
      catalog: id,
      version,
      body: JSON.stringify(catalog),
      hash,
      effective_at: effectiveAt ?? (newest === undefined ? '-infinity' : trx.raw('clock_timestamp()')),
    });
    return { catalog: id, version, changed: true };
  });
}

/** Publishes every `*.json` of a folder. Throws, before anything is written, if one of them is not valid. */
export async function loadCatalogs(
  { knex }: { knex: Knex },
  directory: string,
): Promise<{ catalog: string; version: number; changed: boolean }[]> {
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'));
  const catalogs = files.toSorted().map((name) => readCatalog(path.join(directory, name)));
  const published = [];
  for (const catalog of catalogs) published.push(await publishCatalog(knex, { catalog }));
  return published;
}

/** Reads and checks one catalog file. Errors name the file and the path inside it. */
export function readCatalog(file: string): Catalog {
  const parsed = parseCatalog(JSON.parse(readFileSync(file, 'utf8')));
  if (!parsed.ok) throw new Error(`${file} is not a valid catalog: ${describe(parsed.errors)}`);
  return parsed.catalog;
}

function describe(errors: readonly { path: string; message: string }[]): string {
  return errors.map(({ path, message }) => `${path}: ${message}`).join('; ');
}
