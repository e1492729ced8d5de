import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { type Instant, toMs } from '../../domain/account';
import { type Catalog, freePlan, planOf } from '../../domain/catalog/catalog';
import { parseCatalog, readStoredCatalog } from '../../domain/publish/parse';
import { canonicalJson } from '../../domain/ids';

export interface CatalogVersion {
  catalog: Catalog;
  version: number;
  effectiveAt: Instant;
  /** `shipped`, or the id of the key; null: before this was kept. */
  publishedBy: string | null;
}

/** A stored version that publishing would refuse today. */
interface RefusedVersion {
  catalog: string;
  version: number;
  /** False: it has not even the shape of a catalog, and whoever needs it fails. */
  readable: boolean;
  /** What would be refused. */
  message: string;
}

interface Scheduled {
  version: number;
  effectiveAt: Instant;
}

export interface CatalogStore {
  /** The newest version in force at an instant of the account's clock; a first version always applies. */
  inForce(catalog: string, atMs: number): Promise<CatalogVersion>;
  /** One version, for ever the same. Undefined: there is none. */
  version(catalog: string, version: number): Promise<CatalogVersion | undefined>;
  /** Every catalog's version in force at the instant, without those that cannot be read: `refused` has them. */
  list(atMs: number): Promise<CatalogVersion[]>;
  /** Versions, in force or to come, that publishing would refuse today. */
  refused(atMs: number): Promise<RefusedVersion[]>;
  /** The versions that come into force after an instant, in their order. */
  scheduled(catalog: string, atMs: number): Promise<Scheduled[]>;
  /** The version in force at an instant, and those that come into force after it, in their order. */
  inForceFrom(catalog: string, atMs: number, nowMs?: number): Promise<[CatalogVersion, ...CatalogVersion[]]>;
  /** When a version that is published already takes the plan away; null: none does. */
  planLeavesAt(of: { catalog: string; plan: string }, atMs: number): Promise<Instant | null>;
}

/** No account can be on a catalog that does not exist, so this is a broken database, not bad input. */
export class UnknownCatalog extends Error {
  override readonly name = 'UnknownCatalog';
}

/** A stored version has not the shape of a catalog: no binary ever published it so, and a repaired one must be published. */
export class UnreadableCatalog extends Error {
  override readonly name = 'UnreadableCatalog';
}

/** A catalog without a plan that accounts are on would take their credits away. */
export class PlanInUse extends Error {
  override readonly name = 'PlanInUse';
}

/** How long a process may continue with the versions it knows after another one was published. */
export const LIST_TTL_MS = 2_000;

interface CatalogRow {
  catalog: string;
  version: number;
  effective_at: string;
  published_by: string | null;
}

/** A catalog's versions: all of them, and in their order those that are ever in force. */
interface Versions {
  all: CatalogRow[];
  inForce: { fromMs: number; row: CatalogRow }[];
}

/**
 * Reads through the pool for points: a handler that holds a transaction may ask for a catalog without waiting for a
 * second connection of the same pool, which others in its place may all be holding.
 */
export function createCatalogStore({ points }: { points: Pick<Pool, 'query'> }): CatalogStore {
  // A version never changes, so a parsed one is kept; only the list of versions is read again. What is being read is
  // kept, too: whoever asks meanwhile waits for it, and hundreds of accounts that are settled together ask once.
  const bodies = new Map<string, Promise<Catalog>>();
  const checked = new Map<string, RefusedVersion | null>();
  let listing: { catalogs: Promise<Map<string, Versions>>; sinceMs: number } | null = null;

  function listed(): Promise<Map<string, Versions>> {
    if (listing === null || performance.now() - listing.sinceMs > LIST_TTL_MS) {
      const begun = { catalogs: readList(), sinceMs: performance.now() };
      listing = begun;
      begun.catalogs.catch(() => {
        if (listing === begun) listing = null; // a failure is not kept
      });
    }
    return listing.catalogs;
  }

  /** Looks again where it is missing: another process may have published it since the list was read. */
  async function found<T>(find: (known: Map<string, Versions>) => T | undefined): Promise<T | undefined> {
    const known = listed();
    const at = find(await known);
    if (at !== undefined) return at;
    if (listing?.catalogs === known) listing = null;
    return find(await listed());
  }

  async function versionsAt(catalog: string, atMs: number): Promise<{ row: CatalogRow; versions: Versions }> {
    const there = await found((known) => {
      const versions = known.get(catalog);
      const row = inForceAt(versions, atMs);
      return versions === undefined || row === undefined ? undefined : { row, versions };
    });
    if (there === undefined) throw new UnknownCatalog(`there is no catalog ${catalog}`);
    return there;
  }

  async function readList(): Promise<Map<string, Versions>> {
    const sql = `SELECT catalog, version, to_json(effective_at) #>> '{}' AS effective_at, published_by
                   FROM holdfast.catalogs ORDER BY catalog, version`;
    const { rows } = await points.query<CatalogRow>(sql);
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
    const { version, effective_at: effectiveAt, published_by: publishedBy } = row;
    return { catalog: await body, version, effectiveAt, publishedBy };
  }

  async function readBody({ catalog, version }: CatalogRow, id: string): Promise<Catalog> {
    const sql = 'SELECT body FROM holdfast.catalogs WHERE catalog = $1 AND version = $2';
    const { rows } = await points.query<{ body: unknown }>(sql, [catalog, version]);
    return readStored(rows[0]?.body, id);
  }

  async function loadIfReadable(row: CatalogRow): Promise<CatalogVersion[]> {
    try {
      return [await load(row)];
    } catch (error) {
      if (error instanceof UnreadableCatalog) return [];
      throw error;
    }
  }

  /** What publishing would refuse of one version; null: nothing. Versions never change, and so each is checked once. */
  async function check(row: CatalogRow): Promise<RefusedVersion | null> {
    const id = `${row.catalog}@${row.version}`;
    const known = checked.get(id);
    if (known !== undefined) return known;
    const [found] = await loadIfReadable(row);
    const parsed = found === undefined ? null : parseCatalog(found.catalog);
    const { catalog, version } = row;
    const refused = (message: string) => ({ catalog, version, readable: found !== undefined, message });
    const answer =
      parsed === null
        ? refused('it has not the shape of a catalog')
        : parsed.ok
          ? null
          : refused(describe(parsed.errors));
    checked.set(id, answer);
    return answer;
  }

  async function laterThan(catalog: string, atMs: number): Promise<CatalogRow[]> {
    return after((await listed()).get(catalog), atMs);
  }

  return {
    async inForce(catalog, atMs) {
      return load((await versionsAt(catalog, atMs)).row);
    },
    async inForceFrom(catalog, atMs, nowMs = atMs) {
      const { row, versions } = await versionsAt(catalog, atMs);
      const coming: [CatalogVersion, ...CatalogVersion[]] = [await load(row)];
      for (const later of after(versions, atMs)) {
        const begun = toMs(later.effective_at) <= nowMs;
        const [version] = begun ? [await load(later)] : await loadIfReadable(later);
        // The future is only told of: a version that this process cannot read stops nobody before it begins.
        if (version === undefined) break;
        coming.push(version);
      }
      return coming;
    },
    async version(catalog, version) {
      const row = await found((known) => known.get(catalog)?.all.find((one) => one.version === version));
      return row === undefined ? undefined : load(row);
    },
    async list(atMs) {
      const all = [...(await listed()).values()];
      const rows = all.flatMap((versions) => inForceAt(versions, atMs) ?? []);
      return (await Promise.all(rows.map(loadIfReadable))).flat();
    },
    async refused(atMs) {
      const ids = [...(await listed()).keys()];
      const rows = await Promise.all(
        ids.map(async (id) =>
          [inForceAt((await listed()).get(id), atMs) ?? [], await laterThan(id, atMs)].flat(),
        ),
      );
      return (await Promise.all(rows.flat().map(check))).filter((one) => one !== null);
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

/** The newest version that has begun is in force: one that begins after a newer one did never is. */
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

function after(versions: Versions | undefined, atMs: number): CatalogRow[] {
  return (versions?.inForce ?? []).filter(({ fromMs }) => fromMs > atMs).map(({ row }) => row);
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
  /** `shipped`, or the id of a key. */
  publishedBy?: string;
  /** Only where the catalog has no version at all. */
  onlyFirst?: boolean;
}

/** Publishes a catalog as a new version unless the newest already says the same. Throws PlanInUse. */
export async function publishCatalog(
  knex: Knex,
  { catalog, effectiveAt, publishedBy, onlyFirst = false }: Publication,
): Promise<Published> {
  const id = catalog.catalog;
  const hash = catalogHash(catalog);
  return knex.transaction(async (trx) => {
    // Two processes that start at once publish one after the other.
    await trx.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [`holdfast catalog ${id}`]);
    const newest = await newestVersion(trx, id);
    if (newest !== undefined && (onlyFirst || newest.hash === hash))
      return { catalog: id, version: newest.version, changed: false };
    const [inUse] = await plansLeftOut(trx, catalog);
    if (inUse !== undefined) throw new PlanInUse(inUse);
    const version = (newest?.version ?? 0) + 1;
    await trx('holdfast.catalogs').insert({
      catalog: id,
      version,
      body: JSON.stringify(catalog),
      hash,
      effective_at: effectiveAt ?? (newest === undefined ? '-infinity' : trx.raw('clock_timestamp()')),
      published_by: publishedBy ?? null,
    });
    return { catalog: id, version, changed: true };
  });
}

/** What two catalogs that say the same have in common, whatever the order of their fields. */
export function catalogHash(catalog: Catalog): string {
  return createHash('sha256').update(canonicalJson(catalog)).digest('hex');
}

/** Plans that accounts are on, or will be, and the catalog no longer has, as sentences that say what to do. */
export async function plansLeftOut(knex: Knex, { catalog, plans }: Catalog): Promise<string[]> {
  const before = (await newestVersion(knex, catalog))?.catalog ?? null;
  const free = before === null ? undefined : freePlan(before).plan;
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
export async function newestVersion(knex: Knex, catalog: string): Promise<NewestVersion | undefined> {
  const row = await knex('holdfast.catalogs')
    .where({ catalog })
    .orderBy('version', 'desc')
    .first<{ version: number; hash: string; body: unknown } | undefined>('version', 'hash', 'body');
  if (row === undefined) return undefined;
  const parsed = readStoredCatalog(row.body);
  return { catalog: parsed.ok ? parsed.catalog : null, version: row.version, hash: row.hash };
}

export interface NewestVersion {
  /** Null: it cannot be read, and what is published in its place is compared with nothing. */
  catalog: Catalog | null;
  version: number;
  hash: string;
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
  const parsed = readStoredCatalog(body);
  if (!parsed.ok)
    throw new UnreadableCatalog(
      `stored catalog ${id} cannot be read: ${describe(parsed.errors)}; publish a repaired version (POST /v1/catalogs)`,
    );
  return parsed.catalog;
}

function describe(errors: readonly { path: string; message: string }[]): string {
  return errors.map(({ path, message }) => `${path}: ${message}`).join('; ');
}
