import { deepStrictEqual } from 'node:assert';
import type { Pool } from 'pg';
import { type Account, type Move, openHolds, totals } from './reference/account';
import { type Micros, microsOf } from './reference/instants';

/** An account as it is stored, in the model's words, and the model as it ought to be stored: the two are compared whole. */

const STATE = `
  SELECT jsonb_build_object(
    'account', to_jsonb(a),
    'lots', (SELECT jsonb_agg(to_jsonb(l) || jsonb_build_object('grace', extract(epoch FROM return_grace)) ORDER BY lot_no)
               FROM ledger.lots l WHERE account_id = $1),
    'holds', (SELECT jsonb_agg(to_jsonb(h) ORDER BY hold_id COLLATE "C") FROM ledger.holds h WHERE account_id = $1),
    'generations', (SELECT jsonb_agg(jsonb_build_array(generation_id, status, hold_id) ORDER BY generation_id COLLATE "C")
                      FROM ledger.generations WHERE account_id = $1),
    'debts', (SELECT jsonb_agg(to_jsonb(d) ORDER BY cause COLLATE "C") FROM ledger.debts d WHERE account_id = $1),
    'freezes', (SELECT jsonb_agg(to_jsonb(f) ORDER BY cause COLLATE "C") FROM ledger.freezes f WHERE account_id = $1),
    'journal', (SELECT jsonb_agg(to_jsonb(j) ORDER BY seq) FROM ledger.journal j WHERE account_id = $1),
    'claimed', (SELECT jsonb_agg(jsonb_build_array(key, request_hash, claims, convert_from(answer, 'UTF8')) ORDER BY key COLLATE "C")
                  FROM ledger.kept_answers WHERE account_id = $1),
    'counters', (SELECT jsonb_agg(jsonb_build_array(counter || ' ' || period, used) ORDER BY (counter || ' ' || period) COLLATE "C")
                   FROM ledger.counters WHERE account_id = $1 AND used <> 0),
    'keys', (SELECT jsonb_agg(to_jsonb(k) ORDER BY seq) FROM ledger.op_keys k WHERE account_id = $1)) AS state
    FROM ledger.accounts a WHERE account_id = $1`;

interface StoredRow {
  seq: number;
  at: string;
  recorded_at: string;
  kind: string;
  status: string;
  key: string | null;
  hold_id: string | null;
  credits: number;
  available_after: number;
  held_after: number;
  debt_after: number;
  moves: Move[];
}

interface StoredLot extends Record<Part, number> {
  lot_no: number;
  bucket: string;
  rank: number;
  effective_at: string;
  expires_at: string;
  ended_at: string | null;
  grace: number | null;
  parent_lot: number | null;
  source: string;
  granted: number;
}
type Part = 'available' | 'held' | 'frozen' | 'spent' | 'expired' | 'revoked';

interface StoredHold {
  hold_id: string;
  generation_id: string | null;
  amount: number;
  held: number;
  captured: number;
  released: number;
  forfeited: number;
  refunded: number;
  lots: number[];
  lots_held: number[];
  lots_captured: number[];
  open: boolean;
  epoch: number;
  workflow_id: string | null;
  namespace_id: string | null;
  opened_at: string;
  expires_at: string | null;
  closed_at: string | null;
  phases: string[];
}

export interface Stored {
  account: {
    seq: number;
    available: number;
    held: number;
    debt: number;
    open_holds: number;
    journal_at: string;
    lots_due_at: string;
    leases_due_at: string;
    next_due_at: string;
    rules_version: number;
    settle_version: number;
  };
  lots: StoredLot[] | null;
  holds: StoredHold[] | null;
  generations: [id: string, status: string, holdId: string | null][] | null;
  debts: { cause: string; owed: number; repaid: number; seq: number }[] | null;
  freezes: { cause: string; lots: number[]; amounts: number[]; open: boolean }[] | null;
  journal: StoredRow[] | null;
  claimed: [key: string, hash: string, claims: number, answer: string | null][] | null;
  counters: [name: string, used: number][] | null;
  keys: { key: string; request_hash: string; seq: number; answer: string }[] | null;
}

export async function readStored(pool: Pool, account: string): Promise<Stored> {
  const { rows } = await pool.query<{ state: Stored }>({
    name: 'model_state',
    text: STATE,
    values: [account],
  });
  const [row] = rows;
  if (row === undefined) throw new Error(`no account ${account}`);
  return row.state;
}

const orNever = (text: string | null): Micros | null => (text === null ? null : microsOf(text));

/** What is stored, in the words of the model. */
function storedState(stored: Stored) {
  const { account } = stored;
  return {
    totals: { available: account.available, held: account.held, debt: account.debt },
    openHolds: account.open_holds,
    journalAt: microsOf(account.journal_at),
    nextDueAt: microsOf(account.next_due_at),
    lotsDueAt: microsOf(account.lots_due_at),
    versions: [account.rules_version, account.settle_version],
    seq: account.seq,
    lots: (stored.lots ?? []).map((l) => ({
      lot: l.lot_no,
      bucket: l.bucket,
      rank: l.rank,
      from: microsOf(l.effective_at),
      until: microsOf(l.expires_at),
      ended: orNever(l.ended_at),
      graceSeconds: l.grace,
      parent: l.parent_lot,
      source: l.source,
      granted: l.granted,
      available: l.available,
      held: l.held,
      frozen: l.frozen,
      spent: l.spent,
      expired: l.expired,
      revoked: l.revoked,
    })),
    holds: (stored.holds ?? []).map((h) => ({
      holdId: h.hold_id,
      generation: h.generation_id,
      amount: h.amount,
      held: h.held,
      captured: h.captured,
      released: h.released,
      forfeited: h.forfeited,
      refunded: h.refunded,
      open: h.open,
      epoch: h.epoch,
      owner: ownerOf(h),
      openedAt: microsOf(h.opened_at),
      until: orNever(h.expires_at),
      closedAt: orNever(h.closed_at),
      cuts: h.lots.map((lot, n) => ({ lot, held: h.lots_held[n], captured: h.lots_captured[n] })),
      phases: h.phases,
    })),
    generations: stored.generations ?? [],
    debts: (stored.debts ?? []).map(({ cause, owed, repaid, seq }) => ({ cause, owed, repaid, seq })),
    freezes: (stored.freezes ?? []).map(({ cause, open, lots, amounts }) => ({
      cause,
      open,
      frozen: lots.map((lot, n) => [lot, amounts[n]]),
    })),
    journal: (stored.journal ?? []).map((row) => ({
      seq: row.seq,
      at: microsOf(row.at),
      kind: row.kind,
      status: row.status,
      key: row.key,
      holdId: row.hold_id,
      credits: row.credits,
      available: row.available_after,
      held: row.held_after,
      debt: row.debt_after,
      moves: row.moves,
    })),
    claimed: stored.claimed ?? [],
    counters: stored.counters ?? [],
    keys: (stored.keys ?? []).map(({ key, request_hash: hash, seq }) => ({ key, hash, seq })),
  };
}

function ownerOf({ workflow_id: workflow, namespace_id: namespace }: StoredHold): [string, string] | null {
  return workflow === null || namespace === null ? null : [workflow, namespace];
}

/** How the model's account ought to be stored. */
function modelState(model: Account): ReturnType<typeof storedState> {
  const byName = <T>(entries: Map<string, T>) => [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const ends = model.lots.filter(({ available }) => available > 0).map(({ until }) => until);
  return {
    totals: totals(model),
    openHolds: openHolds(model).length,
    journalAt: model.journalAt,
    nextDueAt: model.nextDueAt,
    lotsDueAt: Math.min(Number.POSITIVE_INFINITY, ...ends),
    versions: [model.rulesVersion, model.settleVersion],
    seq: model.journal.length,
    lots: model.lots,
    holds: byName(model.holds).map(([, { draws: _draws, counts: _counts, ...hold }]) => hold),
    generations: byName(model.generations).map(([id, { status, holdId }]) => [id, status, holdId]),
    debts: byName(model.debts).map(([cause, debt]) => ({ cause, ...debt })),
    freezes: byName(model.freezes).map(([cause, { open, frozen }]) => ({ cause, open, frozen: [...frozen] })),
    journal: model.journal,
    claimed: byName(model.claimed).map(([key, { hash, claims, answer }]) => [key, hash, claims, answer]),
    counters: byName(model.counters).filter(([, used]) => used !== 0),
    keys: [...model.answers].map(([key, { hash, reply }]) => ({ key, hash, seq: Number(reply['seq']) })),
  };
}

/** Throws if the account is not stored exactly as the model has it, or its journal and keys contradict each other. */
export function compareStored(stored: Stored, model: Account): void {
  deepStrictEqual(storedState(stored), modelState(model));
  const leaseEnds = openHolds(model).map(({ until }) => until ?? Number.POSITIVE_INFINITY);
  if (microsOf(stored.account.leases_due_at) > Math.min(Number.POSITIVE_INFINITY, ...leaseEnds))
    throw new Error('the account does not know when its next lease ends');
  answersEqualJournal(stored);
  balancesEqualMoves(stored);
}

/** Every stored answer says what its journal row says (what was asked is in the row, what was answered under the key). */
function answersEqualJournal({ journal, keys }: Stored): void {
  const rows = new Map((journal ?? []).map((row) => [row.seq, row]));
  for (const { key, answer } of keys ?? []) {
    const told: Record<string, unknown> = JSON.parse(answer);
    const row = rows.get(Number(told['seq']));
    deepStrictEqual(
      [key, told['op'], told['status'], told['at'], told['available'], told['held'], told['debt']],
      [row?.key, row?.kind, row?.status, row?.at, row?.available_after, row?.held_after, row?.debt_after],
    );
  }
}

/** The balance after each row of the journal is what the moves up to there make of it. */
function balancesEqualMoves({ journal }: Stored): void {
  const balance = { available: 0, held: 0 };
  for (const row of journal ?? []) {
    const before = balance.available;
    for (const { source, target, milli } of row.moves) {
      for (const part of ['available', 'held'] as const) {
        if (source === part) balance[part] -= milli;
        if (target === part) balance[part] += milli;
      }
    }
    deepStrictEqual(
      [row.credits, row.available_after, row.held_after],
      [balance.available - before, balance.available, balance.held],
    );
  }
}
