import fc from 'fast-check';
import type { ClaimEnd } from './claims';
import { drafts, type Kind } from './drafts';
import { DAY, HOUR, SECOND } from './reference/instants';
import type { ClaimRequest, ClockMove, Entry, World } from './world';

/** What a property test does to a world, as commands that print themselves and shrink. */

/** How often what comes: the kinds of operations, and moves of the clock, settlements and claims among calls. */
export interface Weights {
  kinds: Readonly<Record<Kind, number>>;
  clock: number;
  settle: number;
  claim: number;
}

type Command = fc.AsyncCommand<object, World>;

const CALLS = 10;
const MAX_COMMANDS = 66;

export function commands(weights: Weights): fc.Arbitrary<Iterable<Command>> {
  const account = fc.nat(2);
  const operations = fc.array(drafts(weights.kinds), { minLength: 1, maxLength: 12, size: 'max' });
  const entry = fc.record<Entry>({ account, drafts: operations });
  const call = fc
    .record({
      entries: fc.array(entry, { minLength: 1, maxLength: 3, size: 'max' }),
      path: fc.constantFrom('together', 'apart'),
    })
    .map(callOf);
  const boundary = fc.record({ boundary: fc.nat(5), shift: fc.constantFrom(-1, 0, 1) });
  const ahead = fc.record({ ahead: fc.constantFrom(1, SECOND, HOUR, 7 * HOUR, DAY, 40 * DAY) });
  const clock = fc
    .record({ account, to: fc.oneof<fc.Arbitrary<ClockMove>[]>(boundary, boundary, ahead) })
    .map(clockOf);
  const settle = fc.record({ account, stale: fc.boolean() }).map(settleOf);
  const end = fc.constantFrom<ClaimEnd[]>('keep', 'free', 'crash');
  const request = drafts({ ...weights.kinds, again: 10 });
  const claim = fc
    .record({ account, draft: request, again: fc.boolean(), altered: fc.boolean(), end })
    .map(claimOf);
  const step = fc.oneof(
    { arbitrary: call, weight: CALLS },
    { arbitrary: clock, weight: weights.clock },
    { arbitrary: settle, weight: weights.settle },
    { arbitrary: claim, weight: weights.claim },
  );
  return fc.commands<object, World, false>([step], { maxCommands: MAX_COMMANDS, size: 'max' });
}

const always = () => true;

function callOf({ entries, path }: { entries: Entry[]; path: 'together' | 'apart' }): Command {
  return {
    check: always,
    run: (_, world) => world.call(entries, path),
    toString: () => `call(${JSON.stringify(entries)}, '${path}')`,
  };
}

function clockOf({ account, to }: { account: number; to: ClockMove }): Command {
  return {
    check: always,
    run: (_, world) => world.moveClock(account, to),
    toString: () => `moveClock(${account}, ${JSON.stringify(to)})`,
  };
}

function settleOf({ account, stale }: { account: number; stale: boolean }): Command {
  return {
    check: always,
    run: (_, world) => world.settle(account, { stale }),
    toString: () => `settle(${account}, ${JSON.stringify({ stale })})`,
  };
}

function claimOf(claim: { account: number } & ClaimRequest): Command {
  const { account, ...request } = claim;
  return {
    check: always,
    run: (_, world) => world.claim(account, request),
    toString: () => `claim(${account}, ${JSON.stringify(request)})`,
  };
}
