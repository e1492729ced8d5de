import { deepStrictEqual } from 'node:assert';
import fc from 'fast-check';
import { runAudit } from '../../db/audit';
import { createCatalogStore } from '../../db/catalogs/catalogs';
import { type Database, openDatabase } from '../../db/connection/connection';
import { createLedger, type Ledger } from '../../db/ledger/ledger';
import type { Reply } from '../../db/ledger/operations';
import { patiently, type TestDatabase } from '../support/database';
import { ledgerOf } from '../support/ledger/ledger';
import { type Account, addLot, newAccount } from './reference/account';
import { drafts, type Hand, type Kind, operationOf, USUAL } from './drafts';
import { microsOf } from './reference/instants';
import { applyCall, type ModelOperation } from './reference/model';
import { compareStored, readStored, type Stored } from './stored';
import { inModelsWords } from './world';

/**
 * Concurrent clients of several ledgers on one account, and what they were told; afterwards, in the order of the journal,
 * whether one after the other it could have happened like that.
 */

/** As processes that know nothing of each other: each ledger has its own pool, queues and calls. */
export interface Process {
  ledger: Ledger;
  db: Database;
}

const PROCESSES = 3;
const CLIENTS = 24;
const CALLS_EACH = 100;

export function openProcesses({ url }: TestDatabase): Process[] {
  return Array.from({ length: PROCESSES }, () => {
    const db = openDatabase({ url: patiently(url), max: 4, onError: () => undefined });
    const catalogs = createCatalogStore(db);
    return { db, ledger: createLedger({ pool: db.pool, catalogs, ring: () => undefined }) };
  });
}

interface Event {
  operation: ModelOperation;
  reply: Reply;
  invokedMs: number;
  returnedMs: number;
}

export interface History {
  database: TestDatabase;
  processes: readonly Process[];
  weights: Partial<Record<Kind, number>>;
  seed: number;
}

/** Throws if what happened could not have happened one after the other. */
export async function playHistory({ database, processes, weights, seed }: History): Promise<void> {
  const account = await ledgerOf(database.db).open();
  const mix = { ...USUAL, rules: 0, grant: 8, revoke: 1, ...weights };
  const plan = fc.sample(drafts(mix), { numRuns: CLIENTS * CALLS_EACH, seed });
  const hand: Hand = { account, model: imagined(), asked: [], holds: [] };
  const events: Event[] = [];

  const client = async (number: number) => {
    const { ledger } = processes[number % processes.length] ?? {};
    for (const draft of plan.filter((_, n) => n % CLIENTS === number)) {
      hand.model.now = Date.now() * 1000;
      const drafted = operationOf(draft.kind === 'again' ? { ...draft, moved: false } : draft, hand);
      if (drafted === null || ledger === undefined) continue;
      const operation = draft.kind === 'again' ? asked(drafted) : drafted;
      hand.asked.push(operation);
      const invokedMs = performance.now();
      const reply = await ledger.run(account, operation);
      if (reply === null) throw new Error(`no account ${account}`);
      events.push({ operation, reply, invokedMs, returnedMs: performance.now() });
      if (operation.op === 'reserve' || operation.op === 'charge')
        forgetRefused(hand, operation.holdId, reply);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(n)));

  const stored = await readStored(database.owner.pool, account);
  const problems = [...againstRealTime(events), ...repliesBesideFirsts(events), ...againstTheLock(stored)];
  deepStrictEqual({ seed, problems }, { seed, problems: [] });
  const { checks } = await runAudit(database.db.pool, { account });
  deepStrictEqual(
    checks.filter(({ violations }) => violations > 0),
    [],
  );
  replayAgainstModel(stored, events);
}

/**
 * Who asks again is not a run that continues with the hold: that is a sign of life and no row of the journal, so nothing would say
 * where in the order it came.
 */
function asked(operation: ModelOperation): ModelOperation {
  return operation.op === 'reserve' && 'workflowId' in operation
    ? { ...operation, workflowId: null, refuseOnly: true }
    : operation;
}

/** Holds that came to nothing are of no more interest. */
function forgetRefused(hand: Hand, holdId: string, { status }: Reply): void {
  if (status !== 'applied') hand.holds = hand.holds.filter((hold) => hold.holdId !== holdId);
}

/** What a client believes of the account: wrong most of the time, which is why it must ask. */
function imagined(): Account {
  const model = newAccount(Date.now() * 1000);
  const terms = { bucket: 'pack', rank: 3, source: 'pack:1', graceSeconds: null, parent: null };
  addLot(model, [], { ...terms, from: model.now, until: Number.POSITIVE_INFINITY, amount: 5_000 });
  return model;
}

/** What returned before another was invoked has the lower number (invariant 10). One pass from the last row back. */
function againstRealTime(events: readonly Event[]): string[] {
  const told = events.flatMap((event) =>
    event.reply.seq === undefined ? [] : [{ ...event, seq: event.reply.seq }],
  );
  let earliest = { returnedMs: Number.POSITIVE_INFINITY, seq: 0 };
  return told
    .toSorted((a, b) => b.seq - a.seq || a.returnedMs - b.returnedMs)
    .flatMap(({ seq, invokedMs, returnedMs, reply }) => {
      const late = !reply.replayed && earliest.seq > seq && earliest.returnedMs < invokedMs;
      const problem = late ? [`${seq} was asked after ${earliest.seq} had been answered`] : [];
      if (returnedMs < earliest.returnedMs) earliest = { returnedMs, seq };
      return problem;
    });
}

/** Time is read after the lock was granted: no row is of before what was written until then (invariant 10). */
function againstTheLock({ journal }: Stored): string[] {
  const rows = (journal ?? []).filter(({ key }) => key !== null); // others bear the instant at which something ended
  return rows.flatMap(({ seq, at }, n) => {
    const before = rows[n - 1];
    const early = before !== undefined && at !== before.at && microsOf(at) < microsOf(before.recorded_at);
    return early ? [`${seq} is of before ${before.seq} was written`] : [];
  });
}

/** For each key that was used up one caller has the first answer; the others have the same text, or a conflict. */
function repliesBesideFirsts(events: readonly Event[]): string[] {
  const firsts = new Map<string, Event>();
  const problems: string[] = [];
  for (const event of events) {
    if (event.reply.replayed || typeof event.reply.answer !== 'string') continue;
    if (firsts.has(event.operation.key)) problems.push(`${event.operation.key} took effect twice`);
    firsts.set(event.operation.key, event);
  }
  for (const { operation, reply } of events.filter((event) => event.reply.replayed)) {
    const first = firsts.get(operation.key);
    const same = first?.operation.hash === operation.hash;
    const right = same ? reply.answer === first.reply.answer : reply.status === 'idempotency_conflict';
    if (first === undefined || !right) problems.push(`${operation.key} was answered as another`);
  }
  return problems;
}

/** In the order of the journal the model answers the same, and comes to the same account. */
function replayAgainstModel(stored: Stored, events: readonly Event[]): void {
  const firsts = events.filter(({ reply }) => !reply.replayed && typeof reply.answer === 'string');
  const model = newAccount(Number.NEGATIVE_INFINITY);
  model.nextDueAt = Number.POSITIVE_INFINITY;
  model.settleVersion = 1; // by its being opened
  for (const { operation, reply } of firsts.toSorted((a, b) => (a.reply.seq ?? 0) - (b.reply.seq ?? 0))) {
    model.now = microsOf(reply.at ?? '');
    const result = applyCall(model, { operations: [operation], settlement: null });
    deepStrictEqual({ result: 'ok', replies: [inModelsWords(reply)] }, result);
  }
  // What ended after the last of them was written by calls that were refused.
  model.now = microsOf(stored.account.journal_at);
  applyCall(model, { operations: [], settlement: null });
  compareStored(stored, model);
}
