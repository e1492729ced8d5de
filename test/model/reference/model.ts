import type { GrantOperation, Operation, Reply } from '../../../db/ledger/operations';
import type { SettleStep, Settlement } from '../../../domain/time/settle';
import { type Account, openHolds, repayDebts, spendOrder, move, totals, type Move } from './account';
import { microsOf, type Micros } from './instants';
import { decide, type Decision, goOnWith, holdState } from './decisions';

/**
 * The rules that money depends on, once more and in the plainest way: what every operation answers and what becomes of the
 * account. It is written from the rules and not from the SQL, which is what makes comparing the two worth anything.
 */

/** A grant may take the place of what the same schedule granted before; from callers that is a renewal. */
/** Members are not credits: their rules are tested on their own (test/api/resources/accounts/members.test.ts). */
export type ModelOperation = Exclude<Operation, { op: 'member' }> | (GrantOperation & { replaces: true });

export interface Call {
  operations: readonly ModelOperation[];
  settlement: Settlement | null;
}

/** As the ledger's reply, but with instants in microseconds and without the stored text. */
export type ModelReply = Record<string, unknown> & Pick<Reply, 'status'>;

export type CallResult = { result: 'settle_required' | 'stale' } | { result: 'ok'; replies: ModelReply[] };

export function applyCall(account: Account, { operations, settlement }: Call): CallResult {
  // A key that is known is answered before anything else is looked at; a lease that has ended is written down first.
  const leaseOver = openHolds(account).some(
    ({ until }) => (until ?? Number.POSITIVE_INFINITY) <= Math.max(account.now, account.journalAt),
  );
  const onlyReplays =
    operations.length > 0 && !leaseOver && operations.every(({ key }) => account.answers.has(key));
  if (settlement === null) {
    if (account.now >= account.nextDueAt && !onlyReplays) return { result: 'settle_required' };
  } else {
    const { settleVersion, rulesVersion } = settlement;
    if (settleVersion !== account.settleVersion || rulesVersion !== account.rulesVersion)
      return { result: 'stale' };
    const now = Math.max(account.now, account.journalAt);
    if (operations.length > 0 && now >= microsOf(settlement.nextDueAt)) return { result: 'settle_required' };
    account.settleVersion += 1;
    account.nextDueAt = microsOf(settlement.nextDueAt);
    for (const step of settlement.steps) takeStep(account, step);
  }
  const writesNothing = onlyReplays && settlement === null;
  const now = Math.max(account.now, account.journalAt);
  if (!writesNothing) endWhatIsOver(account, now);
  return { result: 'ok', replies: operations.map((operation) => answer(account, operation, now)) };
}

function takeStep(account: Account, step: SettleStep): void {
  if ('op' in step) throw new Error(`the model's calendar only grants, and this is ${step.op}`);
  const boundary = microsOf(step.at);
  endWhatIsOver(account, boundary);
  if (account.answers.has(step.key)) return; // granted before, by another road
  const at = Math.max(boundary, account.journalAt);
  perform(account, { op: 'grant', ...step }, at);
}

function answer(account: Account, operation: ModelOperation, now: Micros): ModelReply {
  const holdId = 'holdId' in operation ? operation.holdId : null;
  const hold = () => (holdId === null ? null : holdState(account, holdId));
  const known = account.answers.get(operation.key);
  if (known !== undefined) {
    const same = known.hash === operation.hash;
    if (same) goOnWith(account, operation);
    const stored: ModelReply = same
      ? { ...known.reply, status: statusOf(known.reply) }
      : { status: 'idempotency_conflict' };
    return { ...stored, replayed: true, hold: hold() };
  }
  if ((account.claimed.get(operation.key)?.hash ?? operation.hash) !== operation.hash)
    return { status: 'idempotency_conflict', replayed: true, hold: hold() };
  const { reply, takes } = perform(account, operation, now);
  // A refused reservation names no hold of its own; there is none.
  return { ...reply, replayed: false, hold: takes && reply.status !== 'applied' ? null : hold() };
}

const statusOf = ({ status }: Record<string, unknown>): Reply['status'] => status as Reply['status']; // written below

/** Decides one operation and, where it is recorded, writes its journal row and keeps its answer. */
function perform(
  account: Account,
  operation: ModelOperation,
  at: Micros,
): { reply: ModelReply; takes: boolean } {
  const before = totals(account);
  const decision: Decision = decide(account, operation, at);
  const { status, recorded, reply } = decision;
  const takes = operation.op === 'reserve' || operation.op === 'charge';
  if (!recorded) return { reply: { ...reply, status }, takes };
  const row = write(account, { ...decision, before, at, key: operation.key });
  const told = {
    ...reply,
    ...row.told,
    op: decision.kind,
    status,
    seq: row.seq,
    at,
    ...totals(account),
  };
  account.answers.set(operation.key, { hash: operation.hash, reply: told });
  return { reply: { ...told, status }, takes };
}

interface Written {
  kind: string;
  status: string;
  holdId: string | null;
  moves: Move[];
  before: { available: number };
  at: Micros;
  key: string | null;
}

/** The journal row of an operation, debt repaid first. */
function write(account: Account, { kind, status, holdId, moves, before, at, key }: Written) {
  const repaid = kind === 'revoke' ? 0 : repayDebts(account, moves);
  const after = totals(account);
  const seq = account.journal.length + 1;
  account.journalAt = at;
  const credits = after.available - before.available;
  account.journal.push({ seq, at, kind, status, key, holdId, credits, ...after, moves });
  return { seq, told: repaid > 0 ? { repaid } : {} };
}

/** Everything that has ended by then ends, in the order of time; at one instant lots before leases. */
function endWhatIsOver(account: Account, until: Micros): void {
  for (;;) {
    const lots = spendOrder(account.lots.filter(({ available }) => available > 0));
    const lotEnd = Math.min(Number.POSITIVE_INFINITY, ...lots.map((lot) => lot.until));
    const leases = openHolds(account).filter((hold) => hold.until !== null);
    const ends = leases.map(({ until: end }) => end ?? Number.POSITIVE_INFINITY);
    const leaseEnd = Math.min(Number.POSITIVE_INFINITY, ...ends);
    const due = Math.min(lotEnd, leaseEnd);
    if (due > until) return;
    const at = Math.max(due, account.journalAt);
    const before = totals(account);
    const moves: Move[] = [];
    if (lotEnd <= leaseEnd) {
      const lot = lots.find((one) => one.until === lotEnd);
      if (lot === undefined) return;
      move(account, moves, { lot, source: 'available', target: 'expired', milli: lot.available });
      write(account, { kind: 'expire', status: 'applied', holdId: null, moves, before, at, key: null });
    } else {
      // Where leases end together, the one with the lesser id goes first.
      const [holdId] = leases
        .filter((hold) => hold.until === leaseEnd)
        .map((hold) => hold.holdId)
        .toSorted();
      if (holdId === undefined) return;
      const release = { op: 'release', key: '', hash: '', holdId, cause: 'customer' } as const;
      write(account, { ...decide(account, release, at), before, at, key: null });
    }
  }
}
