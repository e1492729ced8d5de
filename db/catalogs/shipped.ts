import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Knex } from 'knex';
import type { Catalog } from '../../domain/catalog/catalog';
import { catalogChanges, type Change } from '../../domain/publish/diff';
import { readStoredCatalog } from '../../domain/publish/parse';
import { catalogHash, newestVersion, publishCatalog, readCatalog } from './catalogs';

/** The catalogs that come with a release: where a product starts from, and never what supersedes somebody's prices (rule 33). */

export interface ShippedCatalog {
  catalog: string;
  /** The newest that is stored. */
  version: number;
  /**
   * `published`, as its first version or because it was asked for; `unchanged`, also where somebody has published something
   * else since; `differs`: the file says what no version said, and stays unpublished.
   */
  outcome: 'published' | 'unchanged' | 'differs';
  /** What publishing the file would change. */
  changes: Change[];
}

/** Reads and checks every `*.json` of a folder. Throws an Error that names the file and the place in it. */
export function readShippedCatalogs(directory: string): Catalog[] {
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'));
  return files.toSorted().map((name) => readCatalog(path.join(directory, name)));
}

/** Publishes what has no version yet, and what is named in `publish`. Throws PlanInUse for one that is named only. */
export async function publishShippedCatalogs(
  knex: Knex,
  { catalogs, publish = [] }: { catalogs: readonly Catalog[]; publish?: readonly string[] },
): Promise<ShippedCatalog[]> {
  const told: ShippedCatalog[] = [];
  for (const catalog of catalogs) {
    const onlyFirst = !publish.includes(catalog.catalog);
    const published = await publishCatalog(knex, { catalog, publishedBy: 'shipped', onlyFirst });
    told.push(published.changed ? outcome(published, 'published') : await compared(knex, catalog));
  }
  return told;
}

async function compared(knex: Knex, catalog: Catalog): Promise<ShippedCatalog> {
  const id = catalog.catalog;
  const newest = await newestVersion(knex, id);
  const said = await knex('holdfast.catalogs')
    .where({ catalog: id, hash: catalogHash(catalog) })
    .first('version');
  const version = newest?.version ?? 0;
  const changes = said === undefined ? catalogChanges(newest?.catalog ?? null, catalog) : [];
  return outcome({ catalog: id, version }, changes.length > 0 ? 'differs' : 'unchanged', changes);
}

function outcome(
  { catalog, version }: { catalog: string; version: number },
  what: ShippedCatalog['outcome'],
  changes: Change[] = [],
): ShippedCatalog {
  return { catalog, version, outcome: what, changes };
}

/** Versions that this release cannot read, before it touches anything: `<catalog> version <n>`. None where nothing is set up yet. */
export async function unreadableVersions(knex: Knex): Promise<string[]> {
  const table = await knex.raw<{ rows: { found: string | null }[] }>(
    "SELECT to_regclass('holdfast.catalogs')::text AS found",
  );
  if (table.rows[0]?.found == null) return [];
  const rows = await knex('holdfast.catalogs')
    .orderBy(['catalog', 'version'])
    .select<{ catalog: string; version: number; body: unknown }[]>('catalog', 'version', 'body');
  const bad = rows.filter(({ body }) => !readStoredCatalog(body).ok);
  return bad.map(({ catalog, version }) => `${catalog} version ${version}`);
}
