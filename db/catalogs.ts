import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { type Instant, toMs } from '../domain/account';
import { type Catalog, freePlan, planOf } from '../domain/catalog';
import { parseCatalog } from '../domain/parseCatalog';
import { canonicalJson } from '../domain/ids';

export interface CatalogVersion {
  catalog: Catalog;
  version: number;
  effectiveAt: Instant;
}

export interface Scheduled {
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
  /** The versions that come into force after an instant, in their order. */
  scheduled(catalog: string, atMs: number): Promise<Scheduled[]>;
  /** When a version that is published already takes the plan away; null: none does. */
  planLeavesAt(of: { catalog: string; plan: string }, atMs: number): Promise<Instant | null>;
}

/** No account can be on a catalog that does not exist, so this is a broken database, not bad input. */
export class UnknownCatalog extends Error {
  override readonly name = 'UnknownCatalog';
}

/** A catalog without a plan that accounts are on would take their credits away. */
export class PlanInUse extends Error {
  override readonly name = 'PlanInUse';
}

/** How long a process may go on with the versions it knows after another one was published. */
export const LIST_TTL_MS = 2_000;

interface CatalogRow {
  catalog: string;
  version: number;
  effective_at: string;
}

/** A catalog's versions: all of them, and in their order those that are ever in force. */
interface Versions {
  all: CatalogRow[];
  inForce: { fromMs: number; row: CatalogRow }[];
}

/**
 * Reads through the raw pool: a handler that holds a knex transaction may ask for a catalog without waiting for a
 * second connection of the same pool, which others in its place may all be holding.
 */
export function createCatalogStore({ pool }: { pool: Pool }): CatalogStore {
  // A version never changes, so a parsed one is kept; only the list of versions is read again. What is being read is
  // kept, too: whoever asks meanwhile waits for it, and hundreds of accounts that are settled together ask once.
  const bodies = new Map<string, Promise<Catalog>>();
  let listing: { catalogs: Promise<Map<string, Versions>>; sinceMs: number } | null = null;

  function listed(): Promise<Map<string, Versions>> {
    if (listing === null || Date.now() - listing.sinceMs > LIST_TTL_MS) {
      const begun = { catalogs: readList(), sinceMs: Date.now() };
      listing = begun;
      begun.catalogs.catch(() => {
        if (listing === begun) listing = null; // a failure is not kept
      });
    }
    return listing.catalogs;
  }

  async function readList(): Promise<Map<string, Versions>> {
    const sql = `SELECT catalog, version, to_json(effective_at) #>> '{}' AS effective_at
                   FROM holdfast.catalogs ORDER BY catalog, version`;
    const { rows } = await pool.query<CatalogRow>(sql);
    const ids = [...new Set(rows.map((row) => row.catalog))];
    return new Map(ids.map((id) => [id, versionsOf(rows.filter((row) => row.catalog === id))]));
  }

  async function load(row: CatalogRow): Promise<CatalogVersion> {
    const id = `${row.catalog}@${row.version}`;
    let body = bodies.get(id);
    if (body === undefined) {
      body = readBody(row, id);
      bodies.set(id, body);
      body.catch(() => bodies.delete(id));
    }
    return { catalog: await body, version: row.version, effectiveAt: row.effective_at };
  }

  async function readBody({ catalog, version }: CatalogRow, id: string): Promise<Catalog> {
    const sql = 'SELECT body FROM holdfast.catalogs WHERE catalog = $1 AND version = $2';
    const { rows } = await pool.query<{ body: unknown }>(sql, [catalog, version]);
    return readStored(rows[0]?.body, id);
  }

  async function laterThan(catalog: string, atMs: number): Promise<CatalogRow[]> {
    const { inForce = [] } = (await listed()).get(catalog) ?? {};
    return inForce.filter(({ fromMs }) => fromMs > atMs).map(({ row }) => row);
  }

  return {
    async inForce(catalog, atMs) {
      const row = inForceAt((await listed()).get(catalog), atMs);
      if (row === undefined) throw new UnknownCatalog(`there is no catalog ${catalog}`);
      return load(row);
    },
    async version(catalog, version) {
      const row = (await listed()).get(catalog)?.all.find((one) => one.version === version);
      return row === undefined ? undefined : load(row);
    },
    async list(atMs) {
      const all = [...(await listed()).values()];
      return Promise.all(all.flatMap((versions) => inForceAt(versions, atMs) ?? []).map(load));
    },
    async scheduled(catalog, atMs) {
      const later = await laterThan(catalog, atMs);
      return later.map((row) => ({ version: row.version, effectiveAt: row.effective_at }));
    },
    async planLeavesAt({ catalog, plan }, atMs) {
      for (const row of await laterThan(catalog, atMs)) {
        if (planOf((await load(row)).catalog, plan) === undefined) return row.effective_at;
      }
      return null;
    },
  };
}

/** Of all that have begun the newest is in force: one that begins after a newer one did never is. */
function versionsOf(all: CatalogRow[]): Versions {
  const inForce: Versions['inForce'] = [];
  let untilMs = Number.POSITIVE_INFINITY;
  for (const row of all.toReversed()) {
    const fromMs = toMs(row.effective_at);
    if (fromMs >= untilMs) continue;
    inForce.unshift({ fromMs, row });
    untilMs = fromMs;
  }
  return { all, inForce };
}

/** A first version always applies. */
function inForceAt(versions: Versions | undefined, atMs: number): CatalogRow | undefined {
  return (versions?.inForce.findLast(({ fromMs }) => fromMs <= atMs) ?? { row: versions?.all[0] }).row;
}

export interface Published {
  catalog: string;
  version: number;
  /** False: a version already says the same. */
  changed: boolean;
}

interface Publication {
  catalog: Catalog;
  effectiveAt?: Instant | undefined;
  /** Also where an older version said the same, and not only the newest. */
  unlessEverSaid?: boolean;
}

/** Publishes a catalog as a new version unless the newest already says the same. Throws PlanInUse. */
export async function publishCatalog(
  knex: Knex,
  { catalog, effectiveAt, unlessEverSaid = false }: Publication,
): Promise<Published> {
  const id = catalog.catalog;
  const hash = createHash('sha256').update(canonicalJson(catalog)).digest('hex');
  return knex.transaction(async (trx) => {
    // Two processes that start at once publish one after the other.
    await trx.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [`holdfast catalog ${id}`]);
    const versions = await trx('holdfast.catalogs')
      .where({ catalog: id })
      .orderBy('version', 'desc')
      .select<{ version: number; hash: string }[]>('version', 'hash');
    const [newest] = versions;
    const said = newest?.hash === hash || (unlessEverSaid && versions.some((one) => one.hash === hash));
    if (newest !== undefined && said) return { catalog: id, version: newest.version, changed: false };
    const [inUse] = await plansLeftOut(trx, catalog);
    if (inUse !== undefined) throw new PlanInUse(inUse);
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

/** Plans that accounts are on, or will be, and the catalog no longer has, as sentences that say what to do. */
export async function plansLeftOut(knex: Knex, { catalog, plans }: Catalog): Promise<string[]> {
  const before = await newestVersion(knex, catalog);
  const free = before === undefined ? undefined : freePlan(before.catalog).plan;
  if (free !== undefined && !plans.some(({ plan }) => plan === free))
    return [`keep plan ${free}: who opens an account, or cancels, comes to be on it`];
  const rows = await knex
    .from(
      knex('ledger.account_rules')
        .where({ catalog })
        .select('plan')
        .unionAll(
          knex('ledger.account_rules')
            .where({ catalog })
            .whereNotNull('pending')
            .select(knex.raw("pending ->> 'plan'")),
        )
        .as('p'),
    )
    .whereNotIn(
      'plan',
      plans.map(({ plan }) => plan),
    )
    .groupBy('plan')
    .orderBy('plan')
    .select<{ plan: string; accounts: number }[]>('plan', knex.raw('count(*)::int AS accounts'));
  return rows.map(({ plan, accounts }) => `keep plan ${plan}: ${accounts} account(s) are on it, or will be`);
}

/** The newest version of a catalog, in force or not yet; undefined where there is none. */
export async function newestVersion(
  knex: Knex,
  catalog: string,
): Promise<{ catalog: Catalog; version: number } | undefined> {
  const row = await knex('holdfast.catalogs')
    .where({ catalog })
    .orderBy('version', 'desc')
    .first<{ version: number; body: unknown } | undefined>('version', 'body');
  if (row === undefined) return undefined;
  return { catalog: readStored(row.body, `${catalog}@${row.version}`), version: row.version };
}

/**
 * Publishes every `*.json` of a folder. Throws, before anything is written, if one of them is not valid. A file
 * that was published before stays superseded by what an administrator published since.
 */
export async function loadCatalogs({ knex }: { knex: Knex }, directory: string): Promise<Published[]> {
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'));
  const catalogs = files.toSorted().map((name) => readCatalog(path.join(directory, name)));
  const published = [];
  for (const catalog of catalogs)
    published.push(await publishCatalog(knex, { catalog, unlessEverSaid: true }));
  return published;
}

/** Reads and checks one catalog file. Errors name the file and the path inside it. */
export function readCatalog(file: string): Catalog {
  const parsed = parseCatalog(readJson(file));
  if (!parsed.ok) throw new Error(`${file} is not a valid catalog: ${describe(parsed.errors)}`);
  return parsed.catalog;
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Error(`${file} is not JSON: ${error.message}`, { cause: error });
  }
}

function readStored(body: unknown, id: string): Catalog {
  const parsed = parseCatalog(body);
  if (!parsed.ok) throw new UnknownCatalog(`stored catalog ${id} is not valid: ${describe(parsed.errors)}`);
  return parsed.catalog;
}

function describe(errors: readonly { path: string; message: string }[]): string {
  return errors.map(({ path, message }) => `${path}: ${message}`).join('; ');
}
