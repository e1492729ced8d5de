import fc from 'fast-check';
import { createBatches, LedgerOverloaded } from '../../db/ledger/accountQueue';
import { createGroupCommit } from '../../db/ledger/groupCommit';
import { createLockWaits } from '../../db/ledger/lockWaits';
import type {
  ApplyRequest,
  ChargeOperation,
  GrantOperation,
  Operation,
  RulesOperation,
} from '../../db/ledger/operations';
import { milli } from '../../domain/credits';
import {
  CONNECTION_FAILURE,
  createFakeLedger,
  type FakeLedger,
  type Fate,
  isPoison,
  RAISED,
  Refused,
} from './fakeLedger';

const ACCOUNTS = ['a', 'b', 'c', 'nobody'];
const LIMITS = { maxBatch: 3, maxWaiting: 5, maxWaitingInAll: 9 };
const SIZES = { callsAtOnce: 2, maxAccounts: 2, maxOperations: 5 };

interface Arrival {
  account: number;
  kind: 'grant' | 'charge' | 'rules' | 'poison';
}

const arrivals = fc.array(
  fc.record<Arrival>({
    account: fc.nat(ACCOUNTS.length - 1),
    kind: fc.constantFrom('grant', 'charge', 'charge', 'rules', 'poison'),
  }),
  { minLength: 1, maxLength: 40, size: 'max' },
);
const fates = fc.infiniteStream(
  fc.constantFrom<Fate[]>(
    ...(['well', 'well', 'well', 'well', 'lost before', 'lost after', 'settled elsewhere'] as const),
    ...(['locked elsewhere', 'locked elsewhere'] as const),
  ),
);

/** One caller, and what became of it. */
interface Caller {
  account: string;
  operation: Operation;
  /** The journal number of its reply: 0 if none was written, null if there is no such account. */
  outcomes: ({ seq: number | null } | { error: unknown })[];
  /** Faults of calls that carried it. */
  faults: Set<unknown>;
  /** When it came, callers of its account, and of all, that had no answer yet. */
  ahead: { account: number; all: number };
}

interface Run {
  callers: Caller[];
  fake: FakeLedger;
  problems: string[];
}

test('in any order of arrivals, answers and failures, each operation is answered once and for itself', async () => {
  const property = fc.asyncProperty(fc.scheduler(), arrivals, fates, async (scheduler, plan, fate) => {
    const run = await play(scheduler, plan, fate);
    expect(run.problems).toEqual([]);
    expect(run.callers.flatMap(wrongWith)).toEqual([]);
    expect(ACCOUNTS.flatMap((account) => outOfOrder(account, run))).toEqual([]);
  });
  await fc.assert(property, { numRuns: 2_000 });
}, 240_000);

/** Lets everything happen in the scheduler's order, until nothing is left to happen. */
async function play(scheduler: fc.Scheduler, plan: readonly Arrival[], fate: fc.Stream<Fate>): Promise<Run> {
  const fake = createFakeLedger(ACCOUNTS.slice(0, -1));
  const problems: string[] = [];
  const callers: Caller[] = [];
  const inFlight = new Set<string>();

  async function send(requests: readonly ApplyRequest[], { wait }: { wait: boolean }) {
    problems.push(...wrongWithCall(requests, inFlight));
    const aboard = callers.filter(({ operation }) =>
      requests.some(({ operations }) => operations.includes(operation)),
    );
    for (const { operation, faults } of aboard)
      if ([...faults].some(isLostConnection)) problems.push(`${operation.key} was tried again at once`);
    for (const { account } of requests) inFlight.add(account);
    try {
      await scheduler.schedule(Promise.resolve(), 'the call arrives');
      return fake.send(requests, { fate: fate.next().value, wait });
    } catch (error) {
      for (const { faults } of aboard) faults.add(error);
      throw error;
    } finally {
      await scheduler.schedule(Promise.resolve(), 'the answer arrives');
      for (const { account } of requests) inFlight.delete(account);
    }
  }

  const pause = () => scheduler.schedule(Promise.resolve(), 'a pause');
  const locks = createLockWaits({ atOnce: 1, patienceMs: 60_000, pause });
  const groupCommit = createGroupCommit({ ...SIZES, locks, send });
  const due = (account: string) => scheduler.schedule(Promise.resolve(), `steps of ${account}`);
  const batches = createBatches({
    ...LIMITS,
    groupCommit,
    onResult: () => undefined,
    due: async ({ account }) => {
      await due(account);
      return fake.settlement(account);
    },
  });
  const arrive = (account: string, operation: Operation) => {
    const unanswered = callers.filter(({ outcomes }) => outcomes.length === 0);
    const own = unanswered.filter((caller) => caller.account === account);
    const ahead = { account: own.length, all: unanswered.length };
    const caller: Caller = { account, operation, outcomes: [], faults: new Set(), ahead };
    callers.push(caller);
    batches.submit(account, operation).then(
      (reply) => caller.outcomes.push({ seq: reply === null ? null : (reply.seq ?? 0) }),
      (error: unknown) => caller.outcomes.push({ error }),
    );
  };
  plan.forEach(({ account, kind }, n) => {
    const name = ACCOUNTS[account] ?? 'nobody';
    void scheduler.schedule(Promise.resolve(), `${kind} ${n}`).then(() => {
      arrive(name, operationNamed(`${kind}-${n}`, kind));
    });
  });
  await scheduler.waitIdle();
  if (inFlight.size > 0) problems.push('a call never ended');

  // Whatever happened, the next comer is served: nothing is stuck, and nothing counts as waiting that is not.
  for (const account of ACCOUNTS) arrive(account, operationNamed(`last-${account}`, 'grant'));
  await scheduler.waitIdle();
  return { callers, fake, problems };
}

/** Then nobody knows whether the call was carried out, and only its callers may decide to ask again. */
const isLostConnection = (fault: unknown) => fault instanceof Refused && fault.code === CONNECTION_FAILURE;

function wrongWithCall(requests: readonly ApplyRequest[], inFlight: Set<string>): string[] {
  const names = requests.map(({ account }) => account);
  const sizes = requests.map(({ operations }) => operations.length);
  const full = sizes.reduce((all, size) => all + size, 0);
  return [
    ...(new Set(names).size < names.length ? ['an account is in one call twice'] : []),
    ...names.filter((name) => inFlight.has(name)).map((name) => `two calls of ${name} are in flight`),
    ...sizes.filter((size) => size > LIMITS.maxBatch).map((size) => `${size} operations in a batch`),
    ...(names.length > SIZES.maxAccounts ? [`${names.length} accounts in a call`] : []),
    // It is full with the account that fills it.
    ...(full >= SIZES.maxOperations + LIMITS.maxBatch ? [`${full} operations in a call`] : []),
  ];
}

function wrongWith({ account, operation, outcomes, faults, ahead }: Caller): string[] {
  const [outcome] = outcomes;
  const { key } = operation;
  if (outcome === undefined || outcomes.length > 1) return [`${key} was answered ${outcomes.length} times`];
  if ('seq' in outcome) {
    if (isPoison(operation) && account !== 'nobody') return [`${key} was answered`];
    return (outcome.seq === null) === (account === 'nobody') ? [] : [`${key}: no such account?`];
  }
  const { error } = outcome;
  if (error instanceof LedgerOverloaded)
    return ahead.account >= LIMITS.maxWaiting || ahead.all >= LIMITS.maxWaitingInAll
      ? []
      : [`${key} was shed`];
  if (!(error instanceof Refused)) return [`${key} failed with ${String(error)}`];
  if (!faults.has(error)) return [`${key} was told of another call's failure`];
  return error.code === RAISED && !isPoison(operation) ? [`${key} was harmed by a poison`] : [];
}

/** What was carried out on one account, in the order in which it came; and answered as what it is. */
function outOfOrder(account: string, { callers, fake }: Run): string[] {
  const journal = fake.accounts.get(account)?.journal ?? [];
  const seqOf = new Map(journal.map(({ key, seq }) => [key, seq]));
  let last = 0;
  return callers
    .filter((caller) => caller.account === account)
    .flatMap(({ operation, outcomes: [outcome] }) => {
      const seq = seqOf.get(operation.key);
      if (seq === undefined) return [];
      const before = last;
      last = seq;
      const wrong = outcome !== undefined && 'seq' in outcome && outcome.seq !== seq;
      return [
        ...(seq < before ? [`${operation.key} overtook another`] : []),
        ...(wrong ? [`${operation.key} had another's answer`] : []),
      ];
    });
}

function operationNamed(name: string, kind: Arrival['kind']): Operation {
  const keyed = { key: `req:${name}`, hash: kind };
  const charge: ChargeOperation = {
    ...keyed,
    op: 'charge',
    rulesVersion: 1,
    amount: milli(100),
    holdId: name,
    excluded: [],
    work: {},
    reserveBefore: 'infinity',
  };
  const grant: GrantOperation = {
    ...keyed,
    op: 'grant',
    bucket: 'pack',
    rank: 3,
    amount: milli(250),
    source: name,
  };
  const rules: RulesOperation = { ...keyed, op: 'rules', rules: { plan: name } };
  return { grant, charge, rules, poison: grant }[kind];
}
