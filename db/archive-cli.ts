import { parseArgs } from 'node:util';
import { parseSettings } from '../domain/settings';
import { archiveMonth } from './archive';
import { runAudit } from './audit';
import { openDatabase } from './connection';

/**
 * `npm run archive -- --month 2026-01 --to <directory>`: takes a month that is over out of the journal of DATABASE_URL (the
 * owner's), into a file. The ledger is audited first: what is not in order is not put away.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { month: { type: 'string' }, to: { type: 'string' } } });
  const { month, to } = values;
  if (month === undefined || to === undefined) throw new Error('say --month 2026-01 --to <directory>');
  const { databaseUrl: url } = parseSettings(process.env);
  const database = openDatabase({ url, max: 1, applicationName: 'holdfast archive' });
  const report = await runAudit(database.pool);
  await database.close();
  const broken = report.checks.filter(({ violations }) => violations > 0).map(({ id }) => id);
  if (broken.length > 0)
    throw new Error(`the audit finds ${broken.join(', ')}: look into that first (npm run audit)`);
  const { file, rows, sha256 } = await archiveMonth({ url, month, directory: to });
  console.log(`${rows} rows of ${month} are in ${file}`);
  console.log(`sha256 of the rows: ${sha256}`);
}

main().catch((error: unknown) => {
  console.error(`Not archived: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
