import { once } from 'node:events';
import path from 'node:path';
import { Client } from 'pg';
import type { AtEnd } from '../bare/bare';
import { runChild } from '../kit/children';
import { type BenchPostgres, startEngine, startPostgresAlone } from '../engine';
import { bytesPerOperation, fillJournal, openFunded } from './ledgerData';
import type { ClientFigures, ClientOptions } from './ledgerClient';
import type { HttpFigures, HttpPairOptions } from './httpPairs';
import { median } from '../kit/measure';
import { findPgbench, type Pgbench, preparePgbench, type Script } from '../kit/pgbench';
import { columns, machine } from '../kit/report';
import { requestParts } from './requestParts';
import { usageBench } from './usage';

/**
 * `npm run bench:ledger`: the ledger's speed as ratios. A pair is a leased hold and its capture, two durable commits.
 * Everything runs on one Postgres in turns, medians over rounds; the rates mean something on this machine only.
 *
 *   --rounds=3 --seconds=4    how often and how long each contender runs
 *   --rows=10000000           journal rows for the growth part; 0 leaves it out
 *   --no-http                 leaves out the part over HTTP, which needs Temporal beside
 *   --growth-only             only the growth part
 *   --usage-only              only what questions about usage take, beside --generations=10000000
 */

const options = readOptions(process.argv.slice(2));
const COLD_ACCOUNTS = 1_000;

interface Contender {
  name: string;
  /** Units per second, and how long one took where that is known. */
  run: () => Promise<{ rate: number; p50Ms?: number; p99Ms?: number }>;
}

async function main(): Promise<void> {
  const stops: (() => Promise<void>)[] = [];
  const atEnd: AtEnd = (stop) => stops.push(stop);
  try {
    await Promise.race([run(atEnd), interrupted()]);
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

async function run(atEnd: AtEnd): Promise<void> {
  console.log(`holdfast bench:ledger on ${machine()}`);
  const postgres = await startPostgresAlone(atEnd);
  if (options.usageOnly) {
    const databaseUrl = await postgres.migrated('usage');
    return usageBench({ databaseUrl, generations: options.generations });
  }
  console.log(`${options.rounds} rounds of ${options.seconds} s each, medians; every commit is durable`);
  const databaseUrl = await postgres.migrated('empty');
  await openFunded({ databaseUrl, prefix: 'cold', count: COLD_ACCOUNTS });
  await openFunded({ databaseUrl, prefix: 'hot', count: 1 });
  if (options.growthOnly) return growth(postgres, databaseUrl);
  const binary = await findPgbench();
  if (binary === null)
    console.log("\nNo pgbench was found, so its lines are missing: Debian's package postgresql brings it.");
  const pgbench =
    binary === null ? null : await preparePgbench({ binary, url: await postgres.createDatabase('pgbench') });
  const hotRow =
    binary === null
      ? null
      : await preparePgbench({ binary, url: await postgres.createDatabase('pgbench_hot'), scale: 1 });

  for (const callers of [1, 16, 64, 256]) {
    console.log(`\nCold accounts, ${callers} callers, one process: pairs/s against transactions/s`);
    await contest([
      pairs('pairs', { databaseUrl, prefix: 'cold', accounts: COLD_ACCOUNTS, callers }),
      ...scripts(pgbench, { 'pgbench -N': 'simple', 'plain update': 'update' }, Math.min(callers, 64)),
    ]);
  }

  console.log('\nOne hot account, 256 callers: pairs/s against transactions/s on one row by 16 clients');
  const hot = { databaseUrl, prefix: 'hot', accounts: 1 };
  await contest([
    pairs('batched', { ...hot, callers: 256 }),
    pairs('not batched', { ...hot, callers: 16, batched: false }),
    pairs('one caller', { ...hot, callers: 1 }),
    ...scripts(hotRow, { 'pgbench -s 1': 'hot-row' }, 16),
    ...scripts(pgbench, { 'plain update of one row': 'update-one' }, 16),
  ]);

  console.log('\nSeveral processes, 64 callers each: pairs/s in all');
  await contest(
    [1, 4, 16].flatMap((processes) => [
      severally(`${processes} hot`, processes, { ...hot, callers: 64 }),
      severally(`${processes} cold`, processes, {
        databaseUrl,
        prefix: 'cold',
        accounts: COLD_ACCOUNTS,
        callers: 64,
      }),
    ]),
  );
  console.log(`\n${await bytesPerOperation(databaseUrl)}`);
  if (options.rows > 0) await growth(postgres, databaseUrl);
  if (options.http) await overHttp(atEnd);
}

/** The cost of an operation beside ten million journal rows, and beside none, in turns. */
async function growth(postgres: BenchPostgres, empty: string): Promise<void> {
  console.log(`\nFilling a second database with ${options.rows.toLocaleString('en')} journal rows ...`);
  const full = await postgres.migrated('full');
  console.log(`  ${await fillJournal({ databaseUrl: full, rows: options.rows })}`);
  await openFunded({ databaseUrl: full, prefix: 'cold', count: COLD_ACCOUNTS });
  await openFunded({ databaseUrl: full, prefix: 'hot', count: 1 });
  for (const [what, load] of Object.entries({
    'one caller, cold accounts': { prefix: 'cold', accounts: COLD_ACCOUNTS, callers: 1 },
    '64 callers, cold accounts': { prefix: 'cold', accounts: COLD_ACCOUNTS, callers: 64 },
    '256 callers, one hot account': { prefix: 'hot', accounts: 1, callers: 256 },
  })) {
    console.log(`\nBeside those rows, and beside nearly none: pairs/s, ${what}`);
    await contest([
      pairs('full', { ...load, databaseUrl: full }),
      pairs('empty', { ...load, databaseUrl: empty }),
    ]);
  }
  const client = new Client({ connectionString: full });
  await client.connect();
  const { rows } = await client.query<{ size: string }>(
    'SELECT pg_size_pretty(pg_database_size(current_database())) AS size',
  );
  await client.end();
  console.log(`  the database is ${rows[0]?.size} now`);
}

/** Leased pairs over HTTP on one hot account, the load generator on this machine too. */
async function overHttp(atEnd: AtEnd): Promise<void> {
  console.log('\nOver HTTP, leased hold and capture on one hot account: pairs/s, and ms for a pair');
  const engine = await startEngine(atEnd);
  await openFunded({ databaseUrl: engine.databaseUrl, prefix: 'hot', count: 1 });
  console.log(`Processor time of a request, by how far it gets\n${await requestParts(engine)}`);
  for (const clients of [1, 16, 50]) {
    await contest([
      {
        name: `${clients} clients`,
        run: async () => {
          const asked: HttpPairOptions = {
            baseUrl: engine.baseUrl,
            adminKey: engine.adminKey,
            account: 'hot-0',
            clients,
            seconds: options.seconds,
          };
          const figures = await child<HttpFigures>('httpPairs.js', asked);
          return { rate: figures.pairsPerSecond, p50Ms: figures.p50Ms, p99Ms: figures.p99Ms };
        },
      },
    ]);
  }
}

type Load = Omit<ClientOptions, 'seconds' | 'batched'> & { batched?: boolean };

function pairs(name: string, load: Load): Contender {
  return severally(name, 1, load);
}

function severally(name: string, processes: number, load: Load): Contender {
  const asked: ClientOptions = { batched: true, ...load, seconds: options.seconds };
  return {
    name,
    run: async () => {
      const all = await Promise.all(
        Array.from({ length: processes }, () => child<ClientFigures>('ledgerClient.js', asked)),
      );
      return {
        rate: all.reduce((sum, { pairsPerSecond }) => sum + pairsPerSecond, 0),
        p50Ms: median(all.map(({ p50Ms }) => p50Ms)),
        p99Ms: Math.max(...all.map(({ p99Ms }) => p99Ms)),
      };
    },
  };
}

function scripts(pgbench: Pgbench | null, which: Record<string, Script>, clients: number): Contender[] {
  if (pgbench === null) return [];
  return Object.entries(which).map(([name, what]) => ({
    name,
    run: async () => ({ rate: await pgbench.perSecond({ clients, seconds: options.seconds, what }) }),
  }));
}

async function child<T>(entry: string, asked: object): Promise<T> {
  const said = await runChild({ entry: path.join(__dirname, entry), args: [JSON.stringify(asked)] });
  return JSON.parse(said.trim().split('\n').at(-1) ?? '') as T; // the child's last line, which it wrote for us
}

/** Runs the contenders in turns, the order reversed every other round, and prints medians and shares of each. */
async function contest(contenders: readonly Contender[]): Promise<void> {
  const rates = new Map<string, number[]>();
  const times = new Map<string, { p50: number[]; p99: number[] }>();
  for (let round = 0; round < options.rounds; round += 1) {
    for (const { name, run: measure } of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const { rate, p50Ms, p99Ms } = await measure();
      rates.set(name, [...(rates.get(name) ?? []), rate]);
      if (p50Ms === undefined || p99Ms === undefined) continue;
      const known = times.get(name) ?? { p50: [], p99: [] };
      times.set(name, { p50: [...known.p50, p50Ms], p99: [...known.p99, p99Ms] });
    }
  }
  const first = contenders[0]?.name ?? '';
  const shareOf = (name: string) =>
    median((rates.get(first) ?? []).map((rate, round) => rate / (rates.get(name)?.[round] ?? Number.NaN)));
  const rows = contenders.map(({ name }) => {
    const time = times.get(name);
    return [
      name,
      Math.round(median(rates.get(name) ?? [])).toLocaleString('en'),
      name === first ? '' : shareOf(name).toFixed(2),
      time === undefined ? '' : median(time.p50).toFixed(1),
      time === undefined ? '' : median(time.p99).toFixed(1),
    ];
  });
  console.log(columns([['', 'per second', `${first} ÷ it`, 'p50 ms', 'p99 ms'], ...rows]));
}

function readOptions(args: readonly string[]) {
  const numberOf = (name: string, otherwise: number) =>
    Number(args.find((arg) => arg.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise);
  const read = {
    rounds: numberOf('rounds', 3),
    seconds: numberOf('seconds', 4),
    rows: numberOf('rows', 10_000_000),
    http: !args.includes('--no-http'),
    growthOnly: args.includes('--growth-only'),
    usageOnly: args.includes('--usage-only'),
    generations: numberOf('generations', 10_000_000),
  };
  if (
    [read.rounds, read.seconds, read.rows, read.generations].some(
      (value) => !Number.isInteger(value) || value < 0,
    )
  )
    throw new RangeError('--rounds, --seconds, --rows and --generations are whole numbers');
  return read;
}

async function interrupted(): Promise<never> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  throw new Error('interrupted');
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1); // children that were interrupted are still at it
  },
);
