import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Catalog } from '../domain/catalog/catalog';
import { liveProblems } from '../domain/publish/live';
import { parseSettings } from '../domain/settings';
import { openDatabase } from './connection/connection';
import { migrate } from './migrate/migrate';
import { migrationsDirectory } from './migrate/files';
import {
  publishShippedCatalogs,
  readShippedCatalogs,
  type ShippedCatalog,
  unreadableVersions,
} from './catalogs/shipped';

/**
 * `node dist/db/setup.js`: migrations, then the catalogs that have no version yet. Run before worker and API; running it
 * again is harmless. `--publish <catalog>` also publishes the shipped file of a catalog that has versions.
 */

/** Beyond this the dry run of POST /v1/catalogs is the place to look. */
const SHOWN_CHANGES = 20;

const log = (line: string) => console.log(line);

async function main(): Promise<void> {
  const { databaseUrl, mode } = parseSettings(process.env);
  const { values } = parseArgs({ options: { publish: { type: 'string', multiple: true, default: [] } } });
  // What is wrong with a catalog is found before anything is changed.
  const catalogs = readShippedCatalogs(path.join(migrationsDirectory(), '..', '..', 'catalogs'));
  refuseUnknown(values.publish, catalogs);
  const published = mode === 'live' ? forLive(catalogs, values.publish) : catalogs;
  await look(databaseUrl);
  await migrate({ url: databaseUrl, log });
  const database = openDatabase({ url: databaseUrl, max: 2, applicationName: 'holdfast setup' });
  try {
    const told = await publishShippedCatalogs(database.knex, {
      catalogs: published,
      publish: values.publish,
    });
    for (const line of told.flatMap(linesOf)) log(line);
  } finally {
    await database.close();
  }
}

function refuseUnknown(publish: readonly string[], catalogs: readonly Catalog[]): void {
  const known = catalogs.map(({ catalog }) => catalog);
  const strange = publish.find((id) => !known.includes(id));
  if (strange !== undefined)
    throw new Error(`--publish ${strange}: there is no such file; it can be one of: ${known.join(', ')}`);
}

/** A sample is not published in live mode. Throws an Error if it is asked for by name. */
function forLive(catalogs: readonly Catalog[], asked: readonly string[]): Catalog[] {
  return catalogs.filter((catalog) => {
    const [problem] = liveProblems(catalog);
    if (problem === undefined) return true;
    const { path: place, message } = problem;
    if (asked.includes(catalog.catalog))
      throw new Error(`--publish ${catalog.catalog}: not in live mode: ${place}: ${message}`);
    log(`catalog ${catalog.catalog}: a sample, which live mode leaves out (${place})`);
    return false;
  });
}

/** A stored version nobody can read stops its own accounts and not the deploy, which may be what they wait for. */
async function look(url: string): Promise<void> {
  const database = openDatabase({ url, role: null, max: 1, applicationName: 'holdfast setup' });
  try {
    for (const version of await unreadableVersions(database.knex))
      log(
        `catalog ${version} cannot be read by this release: publish a repaired version (POST /v1/catalogs)`,
      );
  } finally {
    await database.close();
  }
}

function linesOf({ catalog, version, outcome, changes }: ShippedCatalog): string[] {
  if (outcome !== 'differs')
    return [
      `catalog ${catalog}: version ${version}${outcome === 'published' ? ' published' : ', unchanged'}`,
    ];
  const shown = changes.slice(0, SHOWN_CHANGES).map(({ path: place, before, after }) => {
    const [was, is] = [before, after].map((value) => JSON.stringify(value));
    return `  ${place}: ${was} would be ${is}`;
  });
  const more = changes.length - shown.length;
  return [
    `catalog ${catalog}: version ${version} stays in force; catalogs/${catalog}.json differs from it and is not published:`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
    `  To publish it: npm run migrate -- --publish ${catalog} (node dist/db/setup.js --publish ${catalog})`,
  ];
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
