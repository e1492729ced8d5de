import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Client } from 'pg';
import { readCatalog } from '../db/catalogs/catalogs';
import { openDatabase } from '../db/connection/connection';
import { createEngine } from '../db/engine';
import { cycleStart } from '../domain/time/calendar';
import type { AtEnd } from './bare/bare';
import { type Engine, startEngine } from './engine';
import { columns, machine } from './kit/report';
import { type Crowd, wakingsOf, worked } from './simulation';

/**
 * `npm run bench:life`: what it takes to keep many accounts' calendars. First for real: accounts on a test clock, settled
 * in bulk by an advance, and some whose own timers fire; then a million in simulated time, at the rates just measured.
 *
 *   --accounts=20000    on the test clock
 *   --timers=400        whose own timers fire, all at one instant
 *   --crowd=1000000     simulated
 *   --bulk-rate=, --timer-rate=    accounts/s that were measured before: then only the simulation runs
 */

const options = readOptions(process.argv.slice(2));
const MINUTE_MS = 60_000;
const MINUTES_OF_A_MONTH = 31 * 24 * 60;
const JITTER_WINDOW_MS = 900_000; // HOLDFAST_TIMER_JITTER_SECONDS, unless it is set
const TIMERS_FIRE_IN_MS = 20_000;

async function main(): Promise<void> {
  const stops: (() => Promise<void>)[] = [];
  try {
    await run((stop) => stops.push(stop));
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
}

async function run(atEnd: AtEnd): Promise<void> {
  console.log(`holdfast bench:life on ${machine()}`);
  const { bulkRate, timerRate } = options;
  if (bulkRate > 0 && timerRate > 0) return simulated({ perSecond: bulkRate, bytesEach: null }, timerRate);
  const engine = await startEngine(atEnd, { HOLDFAST_TIMER_JITTER_SECONDS: '0' });
  const bulk = await settledInBulk(engine);
  const alone = await settledByTimers(engine);
  simulated(bulk, alone);
}

interface Bulk {
  /** Grants written in a second, each the settlement of one account's month. */
  perSecond: number;
  bytesEach: number | null;
}

/** A month's end of all accounts on one clock. */
async function settledInBulk(engine: Engine): Promise<Bulk> {
  const { accounts } = options;
  const from = new Date('2027-01-31T12:00:00Z');
  const clock = await call<{ id: string }>(engine, 'POST', '/v1/test-clocks', {
    frozenAt: from.toISOString(),
  });
  await openMany(engine, { count: accounts, clockAt: from.toISOString(), testClock: clock.id, anchor: from });
  const settledBefore = await sizeOf(engine);
  const to = new Date(cycleStart(from.getTime(), 1)).toISOString();
  const startedMs = performance.now();
  await call(engine, 'POST', `/v1/test-clocks/${clock.id}/advance`, { to });
  for (;;) {
    const { status } = await call<{ status: string }>(engine, 'GET', `/v1/test-clocks/${clock.id}`);
    if (status === 'ready') break;
    await pause(200);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const bytesEach = ((await sizeOf(engine)) - settledBefore) / accounts;
  console.log(`\n${accounts.toLocaleString('en')} accounts on a test clock, advanced over a month's end`);
  console.log(
    `  ${seconds.toFixed(1)} s, ${Math.round(accounts / seconds)} accounts/s: announced, expired, granted`,
  );
  console.log(`  the database grew by ${Math.round(bytesEach)} bytes for each`);
  return { perSecond: accounts / seconds, bytesEach };
}

/** Timers of accounts that all renew at one instant, with no jitter: each is a workflow, a settlement, a workflow again. */
async function settledByTimers(engine: Engine): Promise<number> {
  const { timers } = options;
  const atMs = Math.ceil((Date.now() + TIMERS_FIRE_IN_MS + timers * 25) / 1000) * 1000;
  const anchor = new Date(cycleStart(atMs, -1));
  const ids = await openMany(engine, { count: timers, anchor });
  // Somebody touches each, which starts its workflow, and its timer with it.
  for (const id of ids) await call(engine, 'GET', `/v1/accounts/${id}/balance`);
  await pause(Math.max(0, atMs - Date.now()));
  const client = new Client({ connectionString: engine.databaseUrl });
  await client.connect();
  const renewed = `SELECT extract(epoch FROM recorded_at - at) * 1000 AS late FROM ledger.journal
    WHERE account_id = ANY ($1) AND kind = 'grant' AND at = $2 ORDER BY 1`;
  let late: number[] = [];
  while (late.length < timers) {
    await pause(500);
    const { rows } = await client.query<{ late: string }>(renewed, [ids, new Date(atMs)]);
    late = rows.map((row) => Number(row.late));
    if (Date.now() - atMs > 300_000) throw new Error(`only ${late.length} of ${timers} timers were settled`);
  }
  await client.end();
  const at = (share: number) => `${((late[Math.floor((late.length - 1) * share)] ?? 0) / 1000).toFixed(1)} s`;
  const rate = timers / ((late.at(-1) ?? 1) / 1000);
  console.log(`\n${timers} accounts' own timers at one instant, without jitter`);
  console.log(`  late by ${at(0.5)} in the middle, ${at(1)} the last: ${rate.toFixed(1)} accounts/s`);
  return rate;
}

function simulated(bulk: Bulk, byTimers: number): void {
  const catalog = readCatalog(path.join(__dirname, '..', '..', 'catalogs', 'imagineart.json'));
  const fromMs = Date.parse('2026-12-01T00:00:00Z');
  const { crowd } = options;
  const base = { catalog, accounts: crowd, fromMs, jitterWindowMs: JITTER_WINDOW_MS, plan: 'standard' };
  const atOnce = () => cycleStart(fromMs, -1);
  const cases: [string, Crowd][] = [
    ['free, a day', { ...base, plan: 'free', days: 1, anchorMs: atOnce }],
    [
      'paid, cycles spread over the month',
      { ...base, days: 31, anchorMs: (n) => fromMs - ((n * 7919) % MINUTES_OF_A_MONTH) * MINUTE_MS },
    ],
    ['paid, all at one instant', { ...base, days: 1, anchorMs: atOnce }],
    ['the same without jitter', { ...base, days: 1, anchorMs: atOnce, jitterWindowMs: 0 }],
  ];
  console.log(`\n${crowd.toLocaleString('en')} accounts in simulated time`);
  const rows = cases.flatMap(([name, each]) => {
    const { perSecond, timers } = wakingsOf(each);
    return [
      { how: 'their timers', rate: byTimers },
      { how: 'in bulk', rate: bulk.perSecond },
    ].map(({ how, rate }) => {
      const { peakPerSecond, peakQueue, seconds, longestWaitSeconds } = worked(perSecond, rate);
      return [
        name,
        timers.toLocaleString('en'),
        String(peakPerSecond),
        `${how}, ${Math.round(rate)}/s`,
        peakQueue.toLocaleString('en'),
        timers === 0 ? '' : `${(longestWaitSeconds / 60).toFixed(1)} min`,
        timers === 0 ? '' : `${(seconds / 3600).toFixed(1)} h`,
      ];
    });
  });
  console.log(
    columns([['', 'timers', 'peak/s', 'settled by', 'queue', 'longest wait', 'first to last'], ...rows]),
  );
  if (bulk.bytesEach === null) return;
  const growth = (bulk.bytesEach * crowd) / 2 ** 30;
  console.log(
    `\n  ${growth.toFixed(1)} GiB a month for ${crowd.toLocaleString('en')} paying accounts that do nothing else`,
  );
}

/** Accounts on a paid plan, each granted the slot that runs. */
async function openMany(
  engine: Engine,
  asked: { count: number; anchor: Date; clockAt?: string; testClock?: string },
): Promise<string[]> {
  const { count, anchor, ...on } = asked;
  const database = openDatabase({
    url: engine.databaseUrl,
    max: 8,
    onError: (error) => console.error(error),
  });
  const { ledger } = createEngine({
    database,
    ring: () => undefined,
    namespaceId: 'none',
    temporalUrl: () => null,
  });
  const prefix = randomBytes(3).toString('hex');
  const ids = Array.from({ length: count }, (_, n) => `life-${prefix}-${n}`);
  const waiting = [...ids];
  const opener = async () => {
    for (let account = waiting.pop(); account !== undefined; account = waiting.pop()) {
      const plan = { plan: 'standard', planSource: 'admin', planInterval: 'month' } as const;
      await ledger.open({ account, catalog: 'imagineart', ...plan, ...on, anchor: anchor.toISOString() });
      if (on.clockAt !== undefined) await ledger.settle(account, { touch: true });
    }
  };
  await Promise.all(Array.from({ length: 32 }, opener));
  await database.close();
  return ids;
}

async function call<T>(engine: Engine, method: string, at: string, body?: object): Promise<T> {
  const response = await fetch(engine.baseUrl + at, {
    method,
    headers: { authorization: `Bearer ${engine.adminKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${at}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T; // as the API's own document says it is
}

async function sizeOf(engine: Engine): Promise<number> {
  const client = new Client({ connectionString: engine.databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ size: string }>(
    'SELECT pg_database_size(current_database()) AS size',
  );
  await client.end();
  return Number(rows[0]?.size);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function readOptions(args: readonly string[]) {
  const numberOf = (name: string, otherwise: number) =>
    Number(args.find((arg) => arg.startsWith(`--${name}=`))?.split('=')[1] ?? otherwise);
  const read = {
    accounts: numberOf('accounts', 20_000),
    timers: numberOf('timers', 400),
    crowd: numberOf('crowd', 1_000_000),
  };
  const rates = { bulkRate: numberOf('bulk-rate', 0), timerRate: numberOf('timer-rate', 0) };
  if (Object.values(read).some((value) => !Number.isInteger(value) || value <= 0))
    throw new RangeError('--accounts, --timers and --crowd are whole numbers above 0');
  return { ...read, ...rates };
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1); // whatever still runs is ended with it
  },
);
