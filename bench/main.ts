import { once } from 'node:events';
import { startBare } from './bare';
import { type Engine, startEngine } from './engine';
import { generationsOverHttp, openAccounts } from './generations';
import { ledgerPairs } from './ledgerPairs';
import { inTurns, perSecond, type Result } from './measure';
import { findPgbench, preparePgbench } from './pgbench';
import { machine, table } from './report';

/**
 * `npm run bench`: what Holdfast adds to the machinery it stands on, as ratios. Both sides of a ratio run on the
 * same server in turns, so the ratio means something on any machine; the rates mean something on this one only.
 */

const CLIENTS = [1, 16];
const ROUNDS = 3;
const WORKFLOW_SECONDS = 7;
const LEDGER_SECONDS = 4;
const WARM_UP_SECONDS = 3;

async function main(): Promise<void> {
  console.log(`holdfast bench on ${machine()}`);
  console.log('Starting an engine of its own in a temporary directory ...');
  const engine = await startEngine();
  try {
    await Promise.race([measure(engine), interrupted()]);
  } finally {
    await engine.stop();
  }
}

async function measure(engine: Engine): Promise<void> {
  const accounts = await openAccounts(engine, Math.max(...CLIENTS));

  console.log(`\nGenerations over HTTP against a bare Temporal workflow of the same shape, all steps empty`);
  console.log(await againstBareWorkflow(engine, accounts));

  console.log(
    `\nReserve + capture from Node (two commits) against pgbench -N (one commit), on the same Postgres`,
  );
  console.log(await againstPgbench(engine, accounts));
}

/** Ctrl-C ends the bench, but not before what it started has ended too. */
async function interrupted(): Promise<never> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  throw new Error('interrupted');
}

async function againstBareWorkflow(engine: Engine, accounts: readonly string[]): Promise<string> {
  const ours = generationsOverHttp(engine, accounts);
  const bare = await startBare({ address: engine.temporalAddress });
  try {
    const results: Result[] = [];
    for (const clients of CLIENTS) {
      const load = { clients, seconds: WORKFLOW_SECONDS };
      await perSecond({ clients, seconds: WARM_UP_SECONDS, work: ours.work });
      await perSecond({ clients, seconds: WARM_UP_SECONDS, work: bare.work });
      const contest = {
        clients,
        ours: () => perSecond({ ...load, work: ours.work }),
        theirs: () => perSecond({ ...load, work: bare.work }),
      };
      results.push(await inTurns(contest, ROUNDS));
    }
    return table({ ours: 'generations', theirs: 'bare workflows' }, results);
  } finally {
    await bare.stop();
  }
}

async function againstPgbench(engine: Engine, accounts: readonly string[]): Promise<string> {
  const binary = await findPgbench();
  const pgbench =
    binary === null ? null : await preparePgbench({ binary, url: await engine.createDatabase('pgbench') });
  const pairs = ledgerPairs({ databaseUrl: engine.databaseUrl, accounts, clients: Math.max(...CLIENTS) });
  try {
    const results: Result[] = [];
    const alone: string[] = [];
    for (const clients of CLIENTS) {
      const load = { clients, seconds: LEDGER_SECONDS };
      await perSecond({ clients, seconds: WARM_UP_SECONDS, work: pairs.work });
      const ours = () => perSecond({ ...load, work: pairs.work });
      if (pgbench === null) alone.push(`  ${clients} clients: ${(await ours()).toFixed(0)} pairs/s`);
      else results.push(await inTurns({ clients, ours, theirs: () => pgbench.perSecond(load) }, ROUNDS));
    }
    if (pgbench !== null) return table({ ours: 'pairs', theirs: 'pgbench' }, results);
    return [
      ...alone,
      "  No pgbench was found, so there is no ratio: Debian's package postgresql brings it.",
    ].join('\n');
  } finally {
    await pairs.stop();
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1); // clients that were interrupted are still at it
});
