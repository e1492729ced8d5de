import { parseArgs } from 'node:util';
import { parseSettings } from '../../domain/settings';
import { type CheckResult, runAudit } from './index';
import { explainAccount } from './explain';
import { runQuickAudit } from './quick';
import { type Database, openDatabase } from '../connection/connection';

/**
 * `npm run audit`: every invariant of the ledger, rebuilt from the journal, on the database of DATABASE_URL.
 *   --quick        only what moved since the last quick audit
 *   --account X    one account, explained
 *   --sample 5     rows shown of each violation
 * Exit code 0: all hold; 1: some do not, and their rows are shown; 2: it could not be run.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      account: { type: 'string' },
      quick: { type: 'boolean', default: false },
      sample: { type: 'string', default: '5' },
    },
  });
  const { databaseUrl } = parseSettings(process.env);
  const sample = Number(values.sample);
  if (!Number.isInteger(sample) || sample < 0) throw new Error('--sample must be a whole number of rows');
  const database = openDatabase({ url: databaseUrl, max: 2, applicationName: 'holdfast audit' });
  try {
    const { account, quick } = values;
    if (account !== undefined) return await explained(database, { account, sample });
    return quick ? await quickly(database, sample) : await wholly(database, sample);
  } finally {
    await database.close();
  }
}

async function wholly(database: Database, sample: number): Promise<number> {
  const startedMs = performance.now();
  const report = await runAudit(database.pool, { sample });
  show(report.checks);
  const { rows } = await database.pool.query<{ rows: number }>('SELECT count(*) AS rows FROM ledger.journal');
  const seconds = (performance.now() - startedMs) / 1000;
  const read = rows[0]?.rows ?? 0;
  const perMillion = read === 0 ? '' : `, ${((seconds / read) * 1_000_000).toFixed(1)} s per million`;
  console.log(`${seconds.toFixed(1)} s for ${read.toLocaleString('en')} journal rows${perMillion}`);
  return verdict(report.ok);
}

async function quickly(database: Database, sample: number): Promise<number> {
  const report = await runQuickAudit(database.pool, { sample });
  show(report.checks);
  console.log(
    `${report.accounts} account(s) moved since the last quick audit, by ${report.rows} journal row(s)`,
  );
  return verdict(report.ok);
}

async function explained(
  database: Database,
  { account, sample }: { account: string; sample: number },
): Promise<number> {
  const told = await explainAccount(database.knex, account);
  if (told === null) throw new Error(`there is no account ${account}`);
  console.log(told);
  const report = await runAudit(database.pool, { account, sample });
  show(report.checks.filter(({ violations }) => violations > 0));
  return verdict(report.ok);
}

function show(checks: readonly CheckResult[]): void {
  for (const { id, title, violations, sample, ms } of checks) {
    console.log(`${violations === 0 ? 'ok  ' : 'FAIL'}  ${id}: ${title} (${ms} ms)`);
    for (const row of sample) console.log(`        ${JSON.stringify(row)}`);
    if (violations > sample.length) console.log(`        … ${violations - sample.length} more`);
  }
}

function verdict(ok: boolean): number {
  console.log(
    ok ? 'All invariants hold.' : 'The ledger is not in order: keep the database as it is and look into it.',
  );
  return ok ? 0 : 1;
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
