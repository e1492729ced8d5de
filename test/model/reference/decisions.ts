import type {
  CaptureOperation,
  FreezeOperation,
  GenerationEnd,
  RulesOperation,
  UnfreezeOperation,
  ChargeOperation,
  LeaseOperation,
  RefundOperation,
  ReserveOperation,
  ReplyStatus,
  RevokeOperation,
} from '../../../db/ledger/operations';
import * as ledger from './account';
import type { Account, Hold, Lot, Move } from './account';
import { DAY, type Micros, microsOf, SECOND } from './instants';
import type { ModelOperation } from './model';

/** What one operation does to an account of the model, and what it says, by kind. */

export interface Decision {
  kind: string;
  status: ReplyStatus;
  /** Whether it leaves a journal row and uses its key up (rule 2). */
  recorded: boolean;
  holdId: string | null;
  reply: Record<string, unknown>;
  moves: Move[];
}

/** A hold as callers see it; null: there is none. */
export function holdState(account: Account, holdId: string): Record<string, unknown> | null {
  const hold = account.holds.get(holdId);
  if (hold === undefined) return null;
  const { amount, held, captured, released, forfeited, refunded, open, epoch, until } = hold;
  return { holdId, amount, held, captured, released, forfeited, refunded, open, epoch, expiresAt: until };
}

export function decide(account: Account, operation: ModelOperation, at: Micros): Decision {
  const context = { account, at, moves: [] };
  const decided = decideBy(context, operation);
  return {
    kind: operation.op,
    recorded: decided.status === 'applied',
    holdId: null,
    reply: {},
    ...context,
    ...decided,
  };
}

interface Context {
  account: Account;
  at: Micros;
  moves: Move[];
}

type Decided = Partial<Omit<Decision, 'moves'>> & { status: ReplyStatus };

function decideBy(context: Context, operation: ModelOperation): Decided {
  const { at } = context;
  switch (operation.op) {
    case 'reserve':
    case 'charge':
      return takeCredits(context, operation);
    case 'capture':
      return onHold(context, operation, (hold) => capture(context, operation, hold));
    case 'release':
      return onHold(context, operation, (hold) => {
        if (operation.epoch !== undefined && operation.epoch !== hold.epoch) return { status: 'hold_alive' };
        endGeneration(context, hold, operation.generation);
        return { status: 'applied', reply: close(context, hold, operation) };
      });
    case 'extend':
      return onHold(context, operation, (hold) => {
        hold.until = Math.max(
          hold.until ?? at,
          Math.min(at + operation.ttlSeconds * SECOND, hold.openedAt + 7 * DAY),
        );
        return { status: 'applied' };
      });
    case 'refund':
      return refund(context, operation);
    case 'grant':
    case 'adjust':
      return grant(context, operation);
    case 'revoke':
      return revoke(context, operation);
    case 'freeze':
      return freeze(context, operation);
    case 'unfreeze':
      return unfreeze(context, operation);
    default:
      return changeRules(context, operation);
  }
}

function takeCredits(
  { account, at, moves }: Context,
  operation: ReserveOperation | LeaseOperation | ChargeOperation,
): Decided {
  const { op, amount, holdId, excluded } = operation;
  if (operation.rulesVersion !== account.rulesVersion) return { status: 'stale' };
  if (operation.reserveBefore === '-infinity') return { status: 'too_late' };
  const lots = ledger.spendOrder(account.lots.filter(({ bucket }) => !excluded.includes(bucket)));
  const all = ledger.sum(lots.map(({ available }) => available));
  const refused = { required: amount, spendable: Math.min(all, amount) };
  // What is listed as free is done at once; all else has a hold, be it of nothing.
  const runs = amount > 0 || ('runs' in operation && operation.runs);
  const whole = { required: amount, spendable: all, left: ledger.leftOf(lots) };
  if (operation.refusal !== undefined) return { status: operation.refusal, recorded: true, reply: whole };
  const { counts = [] } = operation;
  const limited = counts.find(
    (count) => count.limit !== null && ledger.used(account, count) + count.units > count.limit,
  );
  if (limited !== undefined) {
    const reply = { ...whole, limited: { ...limited, used: ledger.used(account, limited) } };
    return { status: limited.refusal, recorded: true, reply };
  }
  if (op === 'reserve' && runs && ledger.openHolds(account).length >= operation.maxOpen)
    return { status: 'too_many_open_generations', reply: refused };
  if (all < amount) return { status: 'insufficient_credits', recorded: true, reply: whole };
  if (runs && 'refuseOnly' in operation && operation.refuseOnly)
    return { status: 'would_hold', reply: refused };

  // Counted whether a limit is set or not: another plan may set one.
  for (const count of counts) ledger.countUp(account, count, count.units);
  const target = op === 'charge' ? 'spent' : 'held';
  const taken = ledger.takeFrom(account, moves, { lots, amount, target });
  const draws = ledger.drawsOf(taken);
  const reply = 'work' in operation ? { amount } : { amount, draws };
  if ('generation' in operation)
    account.generations.set(operation.generation.id, {
      status: runs ? 'running' : 'succeeded',
      holdId: runs ? holdId : null,
    });
  if (!runs) return { status: 'applied', reply };
  const charged = op === 'charge';
  const hold: Hold = {
    holdId,
    generation: 'generation' in operation ? operation.generation.id : null,
    amount,
    held: charged ? 0 : amount,
    captured: charged ? amount : 0,
    released: 0,
    forfeited: 0,
    refunded: 0,
    open: !charged,
    epoch: 0,
    owner: ownerIn(operation),
    openedAt: at,
    until: 'ttlSeconds' in operation ? at + operation.ttlSeconds * SECOND : null,
    closedAt: charged ? at : null,
    cuts: taken.map(({ lot, milli }) => ({
      lot: lot.lot,
      held: charged ? 0 : milli,
      captured: charged ? milli : 0,
    })),
    phases: [],
    draws: 'work' in operation ? draws : null,
    counts,
  };
  account.holds.set(holdId, hold);
  return { status: 'applied', holdId, reply: { ...reply, ...after(account, hold) } };
}

/** The run that asks for a hold; of a lease, and where nobody may hold, there is none. */
function ownerIn(operation: ModelOperation): Hold['owner'] {
  if (operation.op !== 'reserve' || !('workflowId' in operation)) return null;
  const { workflowId, namespaceId } = operation;
  return workflowId === null || namespaceId === null ? null : [workflowId, namespaceId];
}

/** A run that asks again continues with the hold if it is open, and owns it from then on: a sign of life (rule 17). */
export function goOnWith(account: Account, operation: ModelOperation): void {
  const hold = operation.op === 'reserve' ? account.holds.get(operation.holdId) : undefined;
  const owner = ownerIn(operation);
  if (hold?.open !== true || hold.generation === null || owner === null) return;
  hold.owner = owner;
  hold.epoch += 1;
}

/** A hold that no generation owns is shown as it was right after. */
function after(account: Account, hold: Hold): Record<string, unknown> {
  if (hold.draws === null) return {};
  return { after: { ...holdState(account, hold.holdId), draws: hold.draws } };
}

/** What the hold's being closed, unknown or somebody else's refuses; otherwise a sign of life. */
function onHold(
  { account }: Context,
  operation: { holdId: string; leased?: true },
  decideOpen: (hold: Hold) => Decided,
): Decided {
  const hold = account.holds.get(operation.holdId);
  if (hold === undefined) return { status: 'unknown_hold' };
  if (operation.leased && hold.generation !== null) return { status: 'not_leased' };
  if (!hold.open)
    return {
      status: hold.closedAt !== null && hold.closedAt === hold.until ? 'hold_expired' : 'hold_closed',
    };
  return touched(account, hold, decideOpen(hold));
}

function touched(account: Account, hold: Hold, decided: Decided): Decided {
  if (decided.status !== 'applied') return decided;
  hold.epoch += 1;
  return { ...decided, holdId: hold.holdId, reply: { ...decided.reply, ...after(account, hold) } };
}

function capture(context: Context, operation: CaptureOperation, hold: Hold): Decided {
  const { account, moves } = context;
  const { amount, delivered, ordered, phase, clamp = false, final } = operation;
  if (phase !== undefined && hold.phases.includes(phase)) return { status: 'phase_captured' };
  let wanted = amount ?? hold.held;
  if (amount === undefined && delivered !== undefined && ordered !== undefined) {
    // The delivered share of the whole price, down to whole millicredits, less what phases took already.
    const share = Number((BigInt(hold.amount) * BigInt(delivered)) / BigInt(ordered));
    wanted = Math.max(0, share - hold.captured);
  }
  if (wanted > hold.held && !clamp) return { status: 'exceeds_hold' };
  const captured = Math.min(wanted, hold.held);
  let left = captured;
  for (const cut of hold.cuts) {
    const milli = Math.min(left, cut.held);
    cut.held -= milli;
    cut.captured += milli;
    left -= milli;
    const lot = ledger.lotNumbered(account, cut.lot);
    ledger.move(account, moves, { lot, source: 'held', target: 'spent', milli });
  }
  hold.held -= captured;
  hold.captured += captured;
  if (phase !== undefined) hold.phases.push(phase);
  endGeneration(context, hold, operation.generation);
  const rest = final ? close(context, hold, operation) : {};
  return { status: 'applied', reply: { captured, clamped: wanted > captured, ...rest } };
}

/** What failed after something was captured of it, or a phase landed for nothing, was delivered in part. */
function endGeneration(
  { account }: Context,
  { generation, captured, phases }: Hold,
  { status }: GenerationEnd = {},
): void {
  const known = generation === null ? undefined : account.generations.get(generation);
  if (known === undefined || status === undefined) return;
  const delivered = captured > 0 || phases.length > 0;
  known.status = status === 'failed' && delivered ? 'partial' : status;
}

/** Gives back what the hold still holds, lot by lot, and closes it. */
function close(
  { account, at, moves }: Context,
  hold: Hold,
  { cause, generation }: { cause: string; generation?: GenerationEnd },
) {
  // From a hold of nothing nothing can be captured: there it is what was delivered that counts as a use (rule 22).
  const status = generation?.status ?? '';
  const landed = hold.amount === 0 && (hold.phases.length > 0 || ['succeeded', 'partial'].includes(status));
  ledger.uncount(account, hold, { credits: hold.held, unused: hold.captured === 0 && !landed });
  const parts = hold.cuts.map(({ lot, held }) => ({ lot, milli: held }));
  const back = ledger.giveBack(account, moves, { parts, source: 'held', at, cause });
  for (const cut of hold.cuts) cut.held = 0;
  hold.released += hold.held;
  hold.forfeited += back.forfeited;
  hold.held = 0;
  hold.open = false;
  hold.closedAt = at;
  return back;
}

function refund({ account, at, moves }: Context, operation: RefundOperation): Decided {
  const hold = account.holds.get(operation.holdId);
  if (hold === undefined) return { status: 'unknown_hold' };
  if (operation.leased === true && hold.generation !== null) return { status: 'not_leased' };
  const { amount = hold.captured - hold.refunded, expiresAt, spendableSeconds = 0 } = operation;
  if (amount <= 0 || amount > hold.captured - hold.refunded) return { status: 'refund_exceeds_captured' };
  const until = expiresAt === undefined ? at + spendableSeconds * SECOND : microsOf(expiresAt);
  if (until <= at) return { status: 'already_expired' };
  if (expiresAt !== undefined) {
    let wanted = amount;
    for (const { lot, captured } of hold.cuts.toReversed()) {
      if (Math.min(wanted, captured) > 0 && ledger.lives(account, lot, at)) return { status: 'lot_lives' };
      wanted -= Math.min(wanted, captured);
    }
  }
  let left = amount;
  const parts = hold.cuts.toReversed().map((cut) => {
    const milli = Math.min(left, cut.captured);
    cut.captured -= milli;
    left -= milli;
    return { lot: cut.lot, milli };
  });
  ledger.giveBack(account, moves, { parts, source: 'spent', at, cause: 'operator', until });
  hold.refunded += amount;
  ledger.uncount(account, hold, { credits: amount, unused: false });
  return touched(account, hold, { status: 'applied', reply: { amount } });
}

function grant(context: Context, operation: Extract<ModelOperation, { op: 'grant' | 'adjust' }>): Decided {
  const { account, at, moves } = context;
  const { amount, bucket, rank, source, graceSeconds = null } = operation;
  const until = microsOf(operation.expiresAt ?? 'infinity');
  if (amount < 0) {
    const lots = ledger.spendOrder(account.lots.filter((lot) => lot.bucket === bucket));
    const spendable = ledger.sum(lots.map(({ available }) => available));
    const taken = Math.abs(amount);
    if (spendable < taken) return { status: 'adjustment_exceeds_available', reply: { amount, spendable } };
    ledger.takeFrom(account, moves, { lots, amount: taken, target: 'revoked' });
    return { status: 'applied', reply: { amount } };
  }
  if (until <= at) return { status: 'already_expired', reply: { amount } };
  if ('replaces' in operation) endSchedule(context, { bucket, source });
  const terms = { bucket, rank, source, graceSeconds, from: at, until, parent: null };
  const { lot } = ledger.addLot(account, moves, { ...terms, amount });
  return { status: 'applied', reply: { amount, lot } };
}

/** What the same schedule granted before has ended now: credits of a period are set, not added. */
function endSchedule(
  { account, at, moves }: Context,
  { bucket, source }: Pick<Lot, 'bucket' | 'source'>,
): void {
  const [schedule] = source.split(':');
  for (const lot of ledger.spendOrder(account.lots)) {
    const same = lot.bucket === bucket && lot.source.split(':')[0] === schedule;
    if (!same || lot.ended !== null || lot.until <= at) continue;
    lot.ended = at;
    ledger.move(account, moves, { lot, source: 'available', target: 'expired', milli: lot.available });
  }
}

/** What the dispute froze first, then the lot itself, then lots of the buckets; the rest is debt (rule 27). */
function revoke({ account, moves }: Context, operation: RevokeOperation): Decided {
  const { amount, cause, source, buckets } = operation;
  let left: number = amount;
  const freeze = account.freezes.get(cause);
  for (const [number, milli] of freeze?.open === true ? freeze.frozen : []) {
    const part = Math.min(left, milli);
    freeze?.frozen.set(number, milli - part);
    left -= part;
    const lot = ledger.lotNumbered(account, number);
    ledger.move(account, moves, { lot, source: 'frozen', target: 'revoked', milli: part });
  }
  const own = ofSource(account, source);
  const others = account.lots.filter((lot) => !own.includes(lot) && buckets.includes(lot.bucket));
  const lots = [...ledger.spendOrder(own), ...ledger.spendOrder(others)];
  const taken = ledger.takeFrom(account, moves, { lots, amount: left, target: 'revoked' });
  const owed = left - ledger.sum(taken.map(({ milli }) => milli));
  if (owed > 0) {
    const debt = account.debts.get(cause) ?? { owed: 0, repaid: 0, seq: account.journal.length + 1 };
    account.debts.set(cause, { ...debt, owed: debt.owed + owed });
  }
  return { status: 'applied', reply: { amount, owed } };
}

/** What is left of the lot is set aside while the dispute lasts, once per dispute (rule 28). */
function freeze({ account, moves }: Context, operation: FreezeOperation): Decided {
  const { cause, source, amount = Number.POSITIVE_INFINITY } = operation;
  if (account.freezes.has(cause)) return { status: 'already_frozen', reply: { amount: 0 } };
  const lots = ledger.spendOrder(ofSource(account, source));
  const taken = ledger.takeFrom(account, moves, { lots, amount, target: 'frozen' });
  const frozen = new Map(taken.map(({ lot, milli }) => [lot.lot, milli]));
  account.freezes.set(cause, { frozen, open: true });
  return { status: 'applied', reply: { amount: ledger.sum(frozen.values()) } };
}

/** Exactly what the dispute froze and still has frozen returns, as every return does. */
function unfreeze({ account, at, moves }: Context, operation: UnfreezeOperation): Decided {
  const frozen = account.freezes.get(operation.cause);
  if (frozen?.open !== true) return { status: 'not_frozen' };
  frozen.open = false;
  const parts = [...frozen.frozen].map(([lot, milli]) => ({ lot, milli }));
  const back = { parts, source: 'frozen', at, cause: 'operator' } as const;
  return { status: 'applied', reply: ledger.giveBack(account, moves, back) };
}

/** Everything decided by the rules as they were is stale, and the next use settles first. A plan and a suspension are history. */
function changeRules({ account }: Context, { rules }: RulesOperation): Decided {
  account.rulesVersion += 1;
  account.nextDueAt = Number.NEGATIVE_INFINITY;
  if (rules['plan'] !== undefined) return { status: 'applied', kind: 'plan' };
  if (rules['suspended'] !== undefined)
    return { status: 'applied', kind: rules['suspended'] === true ? 'suspend' : 'unsuspend' };
  return { status: 'applied', recorded: false, reply: { op: 'rules' } };
}

/** A purchase's own lot, and what came back of it when that had ended. */
function ofSource(account: Account, source: string): Lot[] {
  const own = account.lots.filter((lot) => lot.source === source).map(({ lot }) => lot);
  return account.lots.filter(
    ({ lot, parent }) => own.includes(lot) || (parent !== null && own.includes(parent)),
  );
}
