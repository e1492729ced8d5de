import { randomUUID } from 'node:crypto';
import { openDatabase } from '../../db/connection/connection';
import { createEngine } from '../../db/engine';
import { latencies, percentile } from '../kit/latency';
import { perSecond } from '../kit/measure';
import { defined } from '../../domain/defined';

/**
 * One process of the ledger bench: a number of callers, each reserving a leased hold and capturing it, over and over.
 * Prints its figures as the last line. Arguments: one JSON object.
 */
export interface ClientOptions {
  databaseUrl: string;
  /** Accounts `<prefix>-0` … to spread the callers over; 1 is the hot account. */
  prefix: string;
  accounts: number;
  callers: number;
  seconds: number;
  /** False: every operation is a call of its own. */
  batched: boolean;
}

export interface ClientFigures {
  pairsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '') as ClientOptions; // bench/ledger/ledger.ts wrote it
  const { databaseUrl, prefix, accounts, callers, seconds, batched } = options;
  const batching = batched ? undefined : { maxBatch: 1, callsAtOnce: callers, maxAccounts: 1 };
  const database = openDatabase({ url: databaseUrl, max: batched ? 10 : Math.min(callers, 64) });
  const { ledger } = createEngine({
    database,
    ring: () => undefined,
    namespaceId: 'bench',
    temporalUrl: () => null,
    ...defined({ batching }),
  });
  const times = latencies();

  const pair = async (caller: number) => {
    const account = `${prefix}-${caller % accounts}`;
    const name = randomUUID();
    const holdId = `hold_${account}.${name}`;
    const startedMs = performance.now();
    const held = await ledger.run(account, {
      op: 'reserve',
      key: `req:${name}`,
      hash: name,
      facts: { v: 1, id: holdId, excluded: [] },
      rulesVersion: 1,
      amount: 2_000 as never, // a whole number of millicredits
      holdId,
      excluded: [],
      maxOpen: 1_000_000,
      reserveBefore: 'infinity',
      ttlSeconds: 600,
      work: { action: 'image' },
    });
    if (held?.status !== 'applied') throw new Error(`the hold ended as ${held?.status ?? 'unknown account'}`);
    const captured = await ledger.run(account, {
      op: 'capture',
      key: `sys:capture:${holdId}:final`,
      hash: 'bench',
      holdId,
      leased: true,
      final: true,
      cause: 'provider',
    });
    if (captured?.status !== 'applied')
      throw new Error(`the capture ended as ${captured?.status ?? 'unknown account'}`);
    times.add(performance.now() - startedMs);
  };

  await perSecond({ clients: callers, seconds: 1, work: pair });
  times.clear();
  const pairsPerSecond = await perSecond({ clients: callers, seconds, work: pair });
  const figures: ClientFigures = {
    pairsPerSecond,
    p50Ms: percentile(times.all(), 50),
    p99Ms: percentile(times.all(), 99),
  };
  console.log(JSON.stringify(figures));
  await database.close();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
