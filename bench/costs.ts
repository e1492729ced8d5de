import { Client } from 'pg';
import type { Work } from './bare/bare';
import { latencies, percentile } from './kit/latency';
import { perSecond } from './kit/measure';
import { processorMs } from './kit/processor';
import { columns } from './kit/report';

/** What one unit of a load costs: processor time by process, transactions and WAL of the database, and the wait for the answer. */

interface Load {
  name: string;
  /** Makes the work, which says of each unit how long its answer took. */
  work: (onAnswer: (ms: number) => void) => Work;
  /** The processes that serve it, by name. */
  processes: Record<string, number>;
}

export interface CostsOptions {
  loads: readonly Load[];
  databaseUrl: string;
  clients: number;
  seconds: number;
  /** Each load in every round, in turns. */
  rounds: number;
}

interface Sum {
  units: number;
  processorMs: Map<string, number | null>;
  transactions: number;
  walBytes: number;
}

/** One line for each load, all in one run. */
export async function costs({ loads, databaseUrl, clients, seconds, rounds }: CostsOptions): Promise<string> {
  const database = new Client({ connectionString: databaseUrl });
  await database.connect();
  try {
    const measured = loads.map((load) => {
      const sum: Sum = { units: 0, processorMs: new Map(), transactions: 0, walBytes: 0 };
      return { load, answers: latencies(), sum };
    });
    for (let round = 0; round < rounds; round += 1)
      for (const { load, answers, sum } of round % 2 === 0 ? measured : measured.toReversed())
        await measure({ load, sum, onAnswer: (ms) => answers.add(ms), database, clients, seconds });
    const names = [...new Set(loads.flatMap(({ processes }) => Object.keys(processes)))];
    return columns([
      [
        '',
        ...names.map((name) => `${name} ms`),
        'all ms',
        'transactions',
        'WAL kB',
        'answer p50 ms',
        'p99 ms',
      ],
      ...measured.map(({ load, sum, answers }) => [
        load.name,
        ...names.map((name) => each(sum.processorMs.get(name), sum.units)),
        each(totalOf(sum.processorMs), sum.units),
        each(sum.transactions, sum.units),
        each(sum.walBytes / 1024, sum.units),
        percentile(answers.all(), 50).toFixed(1),
        percentile(answers.all(), 99).toFixed(1),
      ]),
    ]);
  } finally {
    await database.end();
  }
}

async function measure(options: {
  load: Load;
  sum: Sum;
  onAnswer: (ms: number) => void;
  database: Client;
  clients: number;
  seconds: number;
}): Promise<void> {
  const { load, sum, onAnswer, database, clients, seconds } = options;
  const before = await readings(load, database);
  const work = load.work(onAnswer);
  await perSecond({
    clients,
    seconds,
    async work(client) {
      await work(client);
      sum.units += 1;
    },
  });
  const after = await readings(load, database);
  sum.transactions += after.transactions - before.transactions;
  sum.walBytes += after.walBytes - before.walBytes;
  for (const [name, ms] of after.processorMs) {
    const then = before.processorMs.get(name) ?? null;
    const known = sum.processorMs.get(name);
    const more = ms === null || then === null || known === null ? null : (known ?? 0) + ms - then;
    sum.processorMs.set(name, more);
  }
}

async function readings({ processes }: Load, database: Client): Promise<Omit<Sum, 'units'>> {
  const { rows } = await database.query<{ transactions: string; wal: string }>(
    `SELECT xact_commit + xact_rollback AS transactions, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal
       FROM pg_stat_database WHERE datname = current_database()`,
  );
  const [row] = rows;
  if (row === undefined) throw new Error('the database has no statistics of its own');
  return {
    processorMs: new Map(Object.entries(processes).map(([name, pid]) => [name, processorMs(pid)])),
    transactions: Number(row.transactions),
    walBytes: Number(row.wal),
  };
}

function totalOf(processes: Map<string, number | null>): number | null {
  const all = [...processes.values()];
  return all.some((ms) => ms === null) ? null : all.reduce<number>((sum, ms) => sum + (ms ?? 0), 0);
}

/** Not known, where the system does not tell; a dash where the load has no such process. */
function each(total: number | null | undefined, units: number): string {
  return total === undefined ? '-' : total === null ? 'not known' : (total / units).toFixed(1);
}
