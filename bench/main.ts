import { once } from 'node:events';
import { type AtEnd, type Bare, startBare } from './bare/bare';
import { costs } from './costs';
import { type Engine, startEngine } from './engine';
import { generationsOverHttp, openAccounts } from './generations';
import { ledgerPairs } from './ledger/ledgerPairs';
import { inTurns, median, perSecond, type Result } from './kit/measure';
import { findPgbench, preparePgbench } from './kit/pgbench';
import { machine, table } from './kit/report';
import { waiting } from './waiting';

/**
 * `npm run bench`: what Holdfast adds to the machinery it stands on, as ratios. Both sides of a ratio run on the
 * same server in turns, so the ratio means something on any machine; the rates mean something on this one only.
 */

const CLIENTS = [1, 16];
const ROUNDS = 3;
const WORKFLOW_SECONDS = 7;
const LEDGER_SECONDS = 4;
const WARM_UP_SECONDS = 3;

interface Bench {
  engine: Engine;
  accounts: readonly string[];
  bare: Bare;
  atEnd: AtEnd;
}

async function main(): Promise<void> {
  const stops: (() => Promise<void>)[] = [];
  try {
    await Promise.race([run((stop) => stops.push(stop)), interrupted()]);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

async function run(atEnd: AtEnd): Promise<void> {
  console.log(`holdfast bench on ${machine()}`);
  console.log('Starting an engine of its own in a temporary directory ...');
  const engine = await startEngine(atEnd);
  const accounts = await openAccounts(engine, Math.max(...CLIENTS));
  const bare = await startBare({ address: engine.temporalAddress, atEnd });
  const bench = { engine, accounts, bare, atEnd };

  console.log('\nGenerations over HTTP against a bare Temporal workflow of the same shape, all steps empty');
  console.log(await againstBareWorkflow(bench));

  console.log(
    '\nWhat one of each costs: processor time by process, the database, and the wait for its first answer',
  );
  for (const clients of CLIENTS)
    console.log(`${clients === 1 ? '1 client' : `${clients} clients`}\n${await costOfEach(bench, clients)}`);

  console.log('\nHearing of an end: one who waits alone, and among a thousand');
  console.log(await waiting({ engine, atEnd, bareQueues: bare }));

  console.log('\nReserve + capture from Node (two commits) against pgbench -N (one), on the same Postgres');
  console.log(await againstPgbench(bench));
}

/** Ctrl-C ends the bench, but not before what it started has ended too. */
async function interrupted(): Promise<never> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  throw new Error('interrupted');
}

async function againstBareWorkflow({ engine, accounts, bare }: Bench): Promise<string> {
  const generation = generationsOverHttp(engine, accounts);
  const results: Result[] = [];
  for (const clients of CLIENTS) {
    const load = { clients, seconds: WORKFLOW_SECONDS };
    for (const work of [generation, bare.work]) await perSecond({ clients, seconds: WARM_UP_SECONDS, work });
    const ours = () => perSecond({ ...load, work: generation });
    const theirs = () => perSecond({ ...load, work: bare.work });
    results.push(await inTurns({ clients, ours, theirs }, ROUNDS));
  }
  return table({ ours: 'generations', theirs: 'bare workflows' }, results);
}

function costOfEach({ engine, accounts, bare }: Bench, clients: number): Promise<string> {
  const { api, worker, postgres, temporal } = engine.processes;
  return costs({
    loads: [
      {
        name: 'generation',
        work: (onAnswer) => generationsOverHttp(engine, accounts, onAnswer),
        processes: { api, worker, postgres, temporal },
      },
      { name: 'bare workflow', work: bare.timed, processes: { worker: bare.worker, temporal } },
    ],
    databaseUrl: engine.databaseUrl,
    clients,
    seconds: WORKFLOW_SECONDS,
    rounds: ROUNDS,
  });
}

async function againstPgbench({ engine, accounts, atEnd }: Bench): Promise<string> {
  const { databaseUrl } = engine;
  const pair = ledgerPairs({ databaseUrl, accounts, clients: Math.max(...CLIENTS), atEnd });
  const ourRate = (clients: number) => perSecond({ clients, seconds: LEDGER_SECONDS, work: pair });
  const binary = await findPgbench();
  if (binary === null) return pairsAlone(ourRate);

  const pgbench = await preparePgbench({ binary, url: await engine.createDatabase('pgbench') });
  const results: Result[] = [];
  for (const clients of CLIENTS) {
    await perSecond({ clients, seconds: WARM_UP_SECONDS, work: pair });
    const theirs = () => pgbench.perSecond({ clients, seconds: LEDGER_SECONDS });
    results.push(await inTurns({ clients, ours: () => ourRate(clients), theirs }, ROUNDS));
  }
  return table({ ours: 'pairs', theirs: 'pgbench' }, results);
}

async function pairsAlone(rate: (clients: number) => Promise<number>): Promise<string> {
  const lines = ["  No pgbench was found, so there is no ratio: Debian's package postgresql brings it."];
  for (const clients of CLIENTS) {
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) rates.push(await rate(clients));
    lines.push(`  ${clients} clients: ${median(rates).toFixed(0)} pairs/s`);
  }
  return lines.join('\n');
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1); // clients that were interrupted are still at it
  },
);
