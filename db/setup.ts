import path from 'node:path';
import { parseSettings } from '../domain/settings';
import { loadCatalogs } from './catalogs';
import { openDatabase } from './connection';
import { migrate, migrationsDirectory } from './migrate';

/** `node dist/db/setup.js`: migrations, then the catalogs. Run before worker and API; running it again is harmless. */
async function main(): Promise<void> {
  const { databaseUrl } = parseSettings(process.env);
  const log = (line: string) => console.log(line);
  await migrate({ url: databaseUrl, log });
  const database = openDatabase({ url: databaseUrl, max: 2, applicationName: 'holdfast setup' });
  try {
    const catalogs = path.join(migrationsDirectory(), '..', '..', 'catalogs');
    for (const { catalog, version, changed } of await loadCatalogs(database, catalogs)) {
      log(`catalog ${catalog}: version ${version}${changed ? ' published' : ', unchanged'}`);
    }
  } finally {
    await database.close();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
