import { parseArgs } from 'node:util';
import { parseSettings } from '../../domain/settings';
import { archiveMonth, loadArchive } from './archive';
import { type AuditReport, runAudit } from '../audit/index';
import { openDatabase } from '../connection/connection';
import { awaitStandby, standingOf } from '../connection/standby';

const USAGE = `say --month 2026-01 --to <directory> [--audit-on <URL of a standby>]    to archive a month, or
    --load <file> --into <table>      to look into one`;

/**
 * `npm run archive`, on the database of DATABASE_URL, which must be the owner's.
 *   --month 2026-01 --to <directory>    takes a month that has ended out of the journal, into a file
 *     --audit-on <URL of a standby>     audits there first, and not on the primary
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
      'audit-on': { type: 'string' },
    },
  });
  const { month, to, load, into, 'audit-on': auditOn } = values;
  const { databaseUrl: url } = parseSettings(process.env);
  if (month !== undefined && to !== undefined) return archive({ url, month, directory: to, auditOn });
  if (load === undefined || into === undefined) throw new Error(USAGE);
  const loaded = await loadArchive({ url, file: load, table: into });
  console.log(`${loaded.rows} rows of ${loaded.month} are in the table ${into}; sha256 ${loaded.sha256}`);
}

/** The ledger is audited first: what is not in order is not put away. */
async function archive({
  auditOn,
  ...options
}: {
  url: string;
  month: string;
  directory: string;
  auditOn: string | undefined;
}): Promise<void> {
  const report = await audited(options.url, auditOn ?? options.url);
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

/** The database as it is now, read from it or from a standby that has caught up. */
async function audited(primaryUrl: string, url: string): Promise<AuditReport> {
  const open = (each: string) => openDatabase({ url: each, max: 1, applicationName: 'holdfast archive' });
  const [primary, database] = [open(primaryUrl), open(url)];
  try {
    if (url !== primaryUrl) {
      const standings = { primary: () => standingOf(primary.pool), standby: () => standingOf(database.pool) };
      await awaitStandby(standings);
    }
    return await runAudit(database.pool);
  } finally {
    await Promise.all([primary.close(), database.close()]);
  }
}

main().catch((error: unknown) => {
  console.error(`Not done: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
