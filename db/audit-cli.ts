import { parseArgs } from 'node:util';
import { parseSettings } from '../domain/settings';
import { runAudit } from './audit';
import { openDatabase } from './connection';

/**
 * `npm run audit [-- --account X]`: every invariant of the ledger, on the database of DATABASE_URL. Exit code 0: all
 * hold; 1: some do not, and their rows are shown; 2: it could not be run.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { account: { type: 'string' }, sample: { type: 'string', default: '5' } },
  });
  const { databaseUrl } = parseSettings(process.env);
  const sample = Number(values.sample);
  if (!Number.isInteger(sample) || sample < 0) throw new Error('--sample must be a whole number of rows');
  const database = openDatabase({ url: databaseUrl, max: 1, applicationName: 'holdfast audit' });
  try {
    const { account } = values;
    const report = await runAudit(database.pool, { sample, ...(account === undefined ? {} : { account }) });
    for (const { id, title, violations, sample: rows } of report.checks) {
      console.log(`${violations === 0 ? 'ok  ' : 'FAIL'}  ${id}: ${title}`);
      for (const row of rows) console.log(`        ${JSON.stringify(row)}`);
      if (violations > rows.length) console.log(`        … ${violations - rows.length} more`);
    }
    console.log(
      report.ok
        ? 'All invariants hold.'
        : 'The ledger is not in order: keep the database as it is and look into it.',
    );
    return report.ok ? 0 : 1;
  } finally {
    await database.close();
  }
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(`The audit could not be run: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 2;
  },
);
