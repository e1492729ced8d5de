import type { Count } from '../../../domain/access/limits';
import type { ClaimedKey } from '../claims';
import { type Micros, SECOND } from './instants';

/**
 * What an account is made of, for the model: lots with their parts, holds with what each lot gave them, debts, freezes,
 * and the journal. Written from the rules, in the plainest way there is; speed and SQL do not matter here.
 */

export type Part = 'available' | 'held' | 'frozen' | 'spent' | 'expired' | 'revoked';

export interface Lot extends Record<Part, number> {
  lot: number;
  bucket: string;
  rank: number;
  from: Micros;
  until: Micros;
  /** Ended before its time by a grant that took its place. */
  ended: Micros | null;
  graceSeconds: number | null;
  parent: number | null;
  source: string;
  granted: number;
}

/** What one lot gave to a hold, and where that is now. */
interface Cut {
  lot: number;
  held: number;
  /** Less what was refunded. */
  captured: number;
}

export interface Draw {
  bucket: string;
  milli: number;
}

export interface Hold {
  holdId: string;
  generation: string | null;
  amount: number;
  released: number;
  forfeited: number;
  refunded: number;
  captured: number;
  held: number;
  open: boolean;
  epoch: number;
  /** Workflow and namespace of the run that continues with it. */
  owner: [workflow: string, namespace: string] | null;
  openedAt: Micros;
  /** When a lease ends. */
  until: Micros | null;
  closedAt: Micros | null;
  cuts: Cut[];
  phases: string[];
  /** For holds without a generation. */
  draws: Draw[] | null;
  /** What was counted when it was taken. */
  counts: readonly Count[];
}

export interface Move {
  lot: number;
  source: Part | 'outside';
  target: Part;
  milli: number;
}

interface Row {
  seq: number;
  at: Micros;
  kind: string;
  status: string;
  key: string | null;
  holdId: string | null;
  credits: number;
  available: number;
  held: number;
  debt: number;
  moves: Move[];
}

interface Debt {
  owed: number;
  repaid: number;
  /** For the operation that first took back: the oldest is repaid first. */
  seq: number;
}

interface Freeze {
  frozen: Map<number, number>;
  open: boolean;
}

/** The work of a reservation, as its row says. */
interface Generation {
  status: string;
  /** Null: a free action, which was done at once. */
  holdId: string | null;
}

export interface Account {
  now: Micros;
  journalAt: Micros;
  rulesVersion: number;
  settleVersion: number;
  nextDueAt: Micros;
  lots: Lot[];
  holds: Map<string, Hold>;
  generations: Map<string, Generation>;
  debts: Map<string, Debt>;
  freezes: Map<string, Freeze>;
  /** What each key was asked and answered. */
  answers: Map<string, { hash: string; reply: Record<string, unknown> }>;
  /** Keys of requests that are answered as text. */
  claimed: Map<string, ClaimedKey>;
  /** What is used, by counter and period. */
  counters: Map<string, number>;
  journal: Row[];
}

export function newAccount(now: Micros): Account {
  return {
    now,
    journalAt: Number.NEGATIVE_INFINITY,
    rulesVersion: 1,
    settleVersion: 0,
    nextDueAt: Number.NEGATIVE_INFINITY,
    lots: [],
    holds: new Map(),
    generations: new Map(),
    debts: new Map(),
    freezes: new Map(),
    answers: new Map(),
    claimed: new Map(),
    counters: new Map(),
    journal: [],
  };
}

export const sum = (amounts: Iterable<number>): number => [...amounts].reduce((all, one) => all + one, 0);

export function totals(account: Account): { available: number; held: number; debt: number } {
  return {
    available: sum(account.lots.map(({ available }) => available)),
    held: sum(account.lots.map(({ held }) => held)),
    debt: sum([...account.debts.values()].map(({ owed, repaid }) => owed - repaid)),
  };
}

export function openHolds(account: Account): Hold[] {
  return [...account.holds.values()].filter(({ open }) => open);
}

/** Rank, then earliest expiry, then oldest (invariant 9). */
export function spendOrder(lots: readonly Lot[]): Lot[] {
  return lots.toSorted((a, b) => a.rank - b.rank || compare(a.until, b.until) || a.lot - b.lot);
}

/** Two lots that never end are alike, which a difference of infinities would not say. */
const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

export function lotNumbered(account: Account, number: number): Lot {
  const lot = account.lots[number - 1];
  if (lot === undefined) throw new Error(`the model has no lot ${number}`);
  return lot;
}

/** Moves credits between the parts of one lot, and writes it down. Nothing moves where nothing is. */
export function move(
  account: Account,
  moves: Move[],
  { lot, source, target, milli }: Omit<Move, 'lot'> & { lot: Lot },
): void {
  if (milli === 0) return;
  if (source === 'outside') lot.granted += milli;
  else lot[source] -= milli;
  lot[target] += milli;
  if (source !== 'outside' && lot[source] < 0)
    throw new Error(`the model overdrew lot ${lot.lot} of ${account.lots.length}`);
  moves.push({ lot: lot.lot, source, target, milli });
}

const counterName = ({ counter, period }: Pick<Count, 'counter' | 'period'>) => `${counter} ${period}`;

export function used(account: Account, count: Pick<Count, 'counter' | 'period'>): number {
  return account.counters.get(counterName(count)) ?? 0;
}

export function countUp(account: Account, count: Count, units: number): void {
  account.counters.set(counterName(count), used(account, count) + units);
}

/** What a hold counted is given back to the period it was counted in: credits as they come, a use once (rule 22). */
export function uncount(account: Account, hold: Hold, back: { credits: number; unused: boolean }): void {
  for (const count of hold.counts) {
    if (count.of === 'credits') countUp(account, count, -back.credits);
    else if (back.unused) countUp(account, count, -count.units);
  }
}

/** What could be spent, put together where it is of one kind and ends at one time. */
export function leftOf(lots: readonly Lot[]) {
  const left: { bucket: string; schedule: string | undefined; until: Micros; milli: number }[] = [];
  for (const { bucket, source, until, available } of lots) {
    const [schedule] = source.split(':');
    const same = left.find(
      (one) => one.bucket === bucket && one.schedule === schedule && one.until === until,
    );
    if (available > 0 && same !== undefined) same.milli += available;
    else if (available > 0) left.push({ bucket, schedule, until, milli: available });
  }
  return left;
}

export type Terms = Pick<Lot, 'bucket' | 'rank' | 'from' | 'until' | 'graceSeconds' | 'parent' | 'source'>;

export function addLot(account: Account, moves: Move[], terms: Terms & { amount: number }): Lot {
  const { amount, ...rest } = terms;
  const parts = { available: 0, held: 0, frozen: 0, spent: 0, expired: 0, revoked: 0 };
  const lot: Lot = { lot: account.lots.length + 1, ended: null, granted: 0, ...parts, ...rest };
  account.lots.push(lot);
  move(account, moves, { lot, source: 'outside', target: 'available', milli: amount });
  return lot;
}

/** Takes `amount` from these lots, in their order; gives what each lot gave. */
export function takeFrom(
  account: Account,
  moves: Move[],
  { lots, amount, target }: { lots: readonly Lot[]; amount: number; target: Part },
): { lot: Lot; milli: number }[] {
  let left = amount;
  return lots.flatMap((lot) => {
    const milli = Math.min(left, lot.available);
    left -= milli;
    move(account, moves, { lot, source: 'available', target, milli });
    return milli > 0 ? [{ lot, milli }] : [];
  });
}

/** What was taken, by bucket, in the order of taking. */
export function drawsOf(taken: readonly { lot: Lot; milli: number }[]): Draw[] {
  const draws: Draw[] = [];
  for (const { lot, milli } of taken) {
    const last = draws.at(-1);
    if (last?.bucket === lot.bucket) last.milli += milli;
    else draws.push({ bucket: lot.bucket, milli });
  }
  return draws;
}

export function lives(account: Account, number: number, at: Micros): boolean {
  const { ended, until } = lotNumbered(account, number);
  return ended === null && until > at;
}

/** Where credits return to (rule 14): to their lot while it lives; else they expire, and may come back in a linked lot. */
export function giveBack(
  account: Account,
  moves: Move[],
  back: {
    parts: readonly { lot: number; milli: number }[];
    source: Part;
    at: Micros;
    cause: string;
    /** An administrator's refund always yields spendable credits, until then. */
    until?: Micros;
  },
): { returned: number; forfeited: number } {
  const { parts, source, at, cause } = back;
  let returned = 0;
  let forfeited = 0;
  for (const { lot: number, milli } of parts) {
    if (milli === 0) continue;
    const lot = lotNumbered(account, number);
    if (lives(account, number, at)) {
      move(account, moves, { lot, source, target: 'available', milli });
      returned += milli;
      continue;
    }
    move(account, moves, { lot, source, target: 'expired', milli });
    const byPolicy = cause === 'customer' || lot.parent !== null ? null : lot.graceSeconds;
    const until = back.until ?? (byPolicy === null ? null : at + byPolicy * SECOND);
    if (until === null) {
      forfeited += milli;
      continue;
    }
    const { bucket, rank } = lot;
    const linked = { from: at, until, graceSeconds: null, parent: number };
    addLot(account, moves, { bucket, rank, source: 'return', ...linked, amount: milli });
    returned += milli;
  }
  return { returned, forfeited };
}

/** Credits that became available repay the oldest debt first, daily ones aside (rule 27). What was repaid. */
export function repayDebts(account: Account, moves: Move[]): number {
  const returned = moves.filter(
    ({ lot, target }) => target === 'available' && !lotNumbered(account, lot).source.startsWith('daily:'),
  );
  let repaid = 0;
  for (const { lot, milli } of returned) {
    let left = milli;
    for (const debt of [...account.debts.values()].toSorted((a, b) => a.seq - b.seq)) {
      const part = Math.min(left, debt.owed - debt.repaid);
      debt.repaid += part;
      left -= part;
    }
    const paid = { source: 'available', target: 'revoked', milli: milli - left } as const;
    move(account, moves, { lot: lotNumbered(account, lot), ...paid });
    repaid += milli - left;
  }
  return repaid;
}
