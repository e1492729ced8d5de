import { deepStrictEqual } from 'node:assert';
import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import type { ApplyResult, HoldState, Reply } from '../../db/ledger/operations';
import type { Settlement } from '../../domain/time/settle';
import { type Account, newAccount, openHolds, totals } from './reference/account';
import { claimBoth, type ClaimEnd } from './claims';
import { type Calendar, createCalendar } from './reference/calendar';
import { type Draft, type Hand, operationOf } from './drafts';
import { instantText, type Micros, microsOf } from './reference/instants';
import { applyCall, type CallResult, type ModelOperation } from './reference/model';
import { compareStored, readStored } from './stored';
import { defined } from '../../domain/defined';

/** Some accounts twice, in Postgres and in the model, and what is done to both. Every difference throws. */

export interface World {
  /** Operations on several accounts: in one call, or each in a call of its own. */
  call(entries: readonly Entry[], path: 'together' | 'apart'): Promise<void>;
  /** Calendar steps nobody asked for, or on versions that are no longer true. */
  settle(account: number, options: { stale: boolean }): Promise<void>;
  /** The key of an operation is claimed for a request that is answered as text. */
  claim(account: number, request: ClaimRequest): Promise<void>;
  /** To just before, at, or after something that has ended then; or simply ahead. */
  moveClock(account: number, to: ClockMove): Promise<void>;
  /** Everything that is stored, against the model. */
  compare(): Promise<void>;
  operations(): number;
}

export interface Entry {
  account: number;
  drafts: readonly Draft[];
}

export interface ClaimRequest {
  draft: Draft;
  /** The key that was claimed last, if there is one, and not the draft's. */
  again: boolean;
  /** It is another request than the operation. */
  altered: boolean;
  end: ClaimEnd;
}

export type ClockMove = { boundary: number; shift: -1 | 0 | 1 } | { ahead: Micros };

interface Life extends Hand {
  calendar: Calendar | null;
  answers: Map<string, string>;
  /** The last whose key was claimed. */
  claimed: ModelOperation | null;
}

interface Request {
  life: Life;
  operations: ModelOperation[];
}

export const START = microsOf('2026-03-01T00:00:00Z');
/** State is compared at the end of a run, and every this many operations on the way. */
const COMPARE_EVERY = 150;

export async function createWorld(pool: Pool, accounts: number): Promise<World> {
  const lives = await Promise.all(Array.from({ length: accounts }, (_, n) => open(pool, n % 2 === 0)));
  const lifeOf = (account: number): Life => {
    const life = lives[account % lives.length];
    if (life === undefined) throw new Error('a world without accounts');
    return life;
  };
  let operations = 0;
  let compared = 0;

  async function compare(): Promise<void> {
    await Promise.all(
      lives.map(async ({ account, model }) => compareStored(await readStored(pool, account), model)),
    );
  }

  return {
    async call(entries, path) {
      // Each account once in a call, as every caller of the ledger must ensure.
      const named = new Map(entries.map((entry) => [lifeOf(entry.account), entry]));
      const requests = [...named].map(([life, { drafts }]) => ({ life, operations: planned(life, drafts) }));
      operations += requests.reduce((all, request) => all + request.operations.length, 0);
      if (path === 'together') {
        await callBoth(pool, requests);
      } else {
        for (const { life, operations: each } of requests)
          for (const operation of each) await callBoth(pool, [{ life, operations: [operation] }]);
      }
      if (operations - compared < COMPARE_EVERY) return;
      compared = operations;
      await compare();
    },
    async settle(account, { stale }) {
      const life = lifeOf(account);
      const due = settlementOf(life);
      const settlement = stale ? { ...due, settleVersion: due.settleVersion + 1 } : due;
      await callOnce(pool, [{ life, operations: [], settlement }]);
    },
    async claim(account, { draft, again, altered, end }) {
      const life = lifeOf(account);
      const operation = (again ? life.claimed : null) ?? planned(life, [draft])[0];
      if (operation === undefined) return;
      life.claimed = operation;
      const { key, hash } = operation;
      const request = { key, hash: altered ? `${hash}?` : hash, end, text: `${life.asked.length}` };
      operations += 1;
      await claimBoth(pool, { id: life.account, model: life.model }, request);
    },
    async moveClock(account, to) {
      const { model, account: id } = lifeOf(account);
      const at = 'ahead' in to ? model.now + to.ahead : boundaryOf(model, to.boundary) + to.shift;
      if (at < model.now || at === Number.POSITIVE_INFINITY) return;
      await pool.query('SELECT ledger.move_clock($1, $2)', [id, instantText(at)]);
      model.now = at;
    },
    compare,
    operations: () => operations,
  };
}

/** An account on a test clock; with a calendar its days and its plan are due, without one nothing ever is. */
async function open(pool: Pool, withCalendar: boolean): Promise<Life> {
  const account = `m-${randomBytes(8).toString('hex')}`;
  const rules = { catalog: 'none', plan: 'free', planSource: 'free' };
  await pool.query('SELECT ledger.open_account($1, $2, $3)', [
    account,
    JSON.stringify(rules),
    instantText(START),
  ]);
  const calendar = withCalendar ? createCalendar(START) : null;
  return {
    account,
    model: newAccount(START),
    asked: [],
    holds: [],
    calendar,
    answers: new Map(),
    claimed: null,
  };
}

function planned(life: Life, drafts: readonly Draft[]): ModelOperation[] {
  return drafts.flatMap((draft) => {
    const operation = operationOf(draft, life);
    if (operation === null) return [];
    life.asked.push(operation);
    return [operation];
  });
}

function settlementOf({ model, calendar }: Life): Settlement {
  if (calendar !== null) return calendar.due(model, model.now);
  const { settleVersion, rulesVersion } = model;
  return {
    settleVersion,
    rulesVersion,
    steps: [],
    calendar: {},
    nextDueAt: 'infinity',
    wakeAt: 'infinity',
    lowBelow: null,
    noticeSeconds: null,
    until: null,
  };
}

/** Calls, and calls again with the calendar steps that are due where the ledger asks for them (rule 11). */
async function callBoth(pool: Pool, requests: readonly Request[]): Promise<void> {
  const unsettled = await callOnce(
    pool,
    requests.map((request) => ({ ...request, settlement: null })),
  );
  if (unsettled.length === 0) return;
  const again = unsettled.map((request) => ({ ...request, settlement: settlementOf(request.life) }));
  await callOnce(pool, again);
}

/** One call of the ledger and the same of the model. Returns the requests that must be settled first. */
async function callOnce(
  pool: Pool,
  requests: readonly (Request & { settlement: Settlement | null })[],
): Promise<Request[]> {
  const calls = requests.map(({ life, operations, settlement }) => ({
    account: life.account,
    ops: operations,
    settle: settlement,
  }));
  const { rows } = await pool.query<{ results: ApplyResult[] }>({
    name: 'model_apply',
    text: 'SELECT ledger.apply($1) AS results',
    values: [JSON.stringify(calls)],
  });
  const results = rows[0]?.results ?? [];
  return requests.filter(({ life, operations, settlement }, n) => {
    const expected = applyCall(life.model, { operations, settlement });
    compareResult({ life, operations, actual: results[n], expected });
    return expected.result === 'settle_required';
  });
}

function compareResult({
  life,
  operations,
  actual,
  expected,
}: Request & { actual: ApplyResult | undefined; expected: CallResult }): void {
  deepStrictEqual(actual?.result, expected.result);
  if (expected.result !== 'ok' || actual?.result !== 'ok') return;
  const { model, answers } = life;
  const { seq, available, held, debt } = actual as ApplyResult & Record<string, unknown>; // totals are told, too
  deepStrictEqual({ seq, available, held, debt }, { seq: model.journal.length, ...totals(model) });
  deepStrictEqual(actual.replies.map(inModelsWords), expected.replies);
  actual.replies.forEach((reply, n) => {
    const key = operations[n]?.key ?? '';
    if (typeof reply.answer === 'string') keepAnswer(answers, { key, ...reply, answer: reply.answer });
  });
}

/** The first answer is what is stored, and every later one is the same, byte for byte (rule 2). */
function keepAnswer(
  answers: Map<string, string>,
  { key, ...reply }: Reply & { key: string; answer: string },
) {
  const { answer, replayed: _replayed, hold: _hold, ...told } = reply;
  const stored: Record<string, unknown> = JSON.parse(answer);
  const { facts } = stored; // what was asked to be kept beside the decision
  deepStrictEqual({ ...told, ...defined({ facts }) }, stored);
  deepStrictEqual(answer, answers.get(key) ?? answer);
  answers.set(key, answer);
}

/** A reply with instants in microseconds and without the stored text, which is looked at on its own. */
export function inModelsWords({ answer: _answer, ...reply }: Reply): Record<string, unknown> {
  const hold = <T extends HoldState>(state: T) => ({
    ...state,
    expiresAt: state.expiresAt === null ? null : microsOf(state.expiresAt),
  });
  return {
    ...reply,
    ...(reply.at === undefined ? {} : { at: microsOf(reply.at) }),
    ...(reply.hold ? { hold: hold(reply.hold) } : {}),
    ...(reply.left === undefined
      ? {}
      : { left: reply.left.map((lot) => ({ ...lot, until: microsOf(lot.until) })) }),
    ...(reply.after === undefined ? {} : { after: hold(reply.after) }),
  };
}

/** An instant at which something of this account ends or is due; its own if there is none ahead. */
function boundaryOf(model: Account, choice: number): Micros {
  const ends = [
    ...model.lots.flatMap(({ until, available, held }) => (available + held > 0 ? [until] : [])),
    ...openHolds(model).flatMap(({ until }) => (until === null ? [] : [until])),
    model.nextDueAt,
  ].filter((end) => end >= model.now && end < Number.POSITIVE_INFINITY);
  return ends.toSorted((a, b) => a - b)[choice % Math.max(1, ends.length)] ?? model.now;
}
