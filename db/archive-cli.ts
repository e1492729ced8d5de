import { parseArgs } from 'node:util';
import { parseSettings } from '../domain/settings';
import { archiveMonth, loadArchive } from './archive';
import { runAudit } from './audit';
import { openDatabase } from './connection';

const USAGE = `say --month 2026-01 --to <directory>    to archive a month, or
    --load <file> --into <table>      to look into one`;

/**
 * `npm run archive`, on the database of DATABASE_URL, which must be the owner's.
 *   --month 2026-01 --to <directory>    takes a month that is over out of the journal, into a file
 *   --load <file> --into <table>        puts such a file into a new table, to be looked into
 * Exit code 0: done. 1: not done, and said why; the journal is as it was.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      month: { type: 'string' },
      to: { type: 'string' },
      load: { type: 'string' },
      into: { type: 'string' },
    },
  });
  const { month, to, load, into } = values;
  const { databaseUrl: url } = parseSettings(process.env);
  if (month !== undefined && to !== undefined) return archive({ url, month, directory: to });
  if (load === undefined || into === undefined) throw new Error(USAGE);
  const loaded = await loadArchive({ url, file: load, table: into });
  console.log(`${loaded.rows} rows of ${loaded.month} are in the table ${into}; sha256 ${loaded.sha256}`);
}

/** The ledger is audited first: what is not in order is not put away. */
async function archive(options: { url: string; month: string; directory: string }): Promise<void> {
  const database = openDatabase({ url: options.url, max: 1, applicationName: 'holdfast archive' });
  const report = await runAudit(database.pool);
  await database.close();
  const broken = report.checks.filter(({ violations }) => violations > 0).map(({ id }) => id);
  if (broken.length > 0)
    throw new Error(`the audit finds ${broken.join(', ')}: look into that first (npm run audit)`);
  const { file, rows, sha256, before } = await archiveMonth({
    ...options,
    onStep: (step) => console.log(step),
  });
  console.log(`${rows} rows of ${options.month}${before ? ' were archived before, and' : ''} are in ${file}`);
  console.log(`sha256 ${sha256}`);
}

main().catch((error: unknown) => {
  console.error(`Not done: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
