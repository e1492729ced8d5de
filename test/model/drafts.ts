import fc from 'fast-check';
import type { CaptureOperation, HeldWork } from '../../db/ledger/operations';
import { milli } from '../../domain/credits';
import type { Count } from '../../domain/access/limits';
import { reservation } from '../support/ledger/ledger';
import { type Account, totals } from './reference/account';
import { DAY, HOUR, instantText, type Micros, SECOND } from './reference/instants';
import type { ModelOperation } from './reference/model';
import { defined } from '../../domain/defined';

/**
 * Operations as a property test draws them: which hold and how much is said in relation to the account as it will be found,
 * so that amounts fall on and beside what there is, and shrinking stays possible.
 */

/** A share of what there is, and a millicredit beside it. */
interface Amount {
  percent: number;
  shift: number;
}

const pick = <T>(values: readonly T[], n: number): T => {
  const value = values[n % values.length];
  if (value === undefined) throw new Error('nothing to choose from');
  return value;
};

const amount = fc.record<Amount>({
  percent: fc.oneof({ arbitrary: fc.constantFrom(0, 25, 50, 100), weight: 2 }, fc.nat(100)),
  shift: fc.constantFrom(0, 0, 0, -1, 1),
});
const small = fc.record<Amount>({ percent: fc.constantFrom(1, 3, 7, 20), shift: fc.nat(2) });
const rarely = fc.nat(11).map((n) => n === 11);
const hold = fc.nat(40);
const cause = fc.constantFrom('customer', 'provider', 'engine', 'operator');

/** What is counted beside the balance, mostly nothing; of `COUNTED` below. */
const counted = fc.nat(9);

const KINDS = {
  grant: fc.record({
    milli: fc.oneof(fc.constantFrom(1, 999, 1_000), fc.integer({ min: 1, max: 50_000 })),
    bucket: fc.nat(3),
    rank: fc.integer({ min: 1, max: 3 }),
    life: fc.nat(20),
    grace: fc.nat(3),
    source: fc.nat(8),
    replaces: rarely,
  }),
  reserve: fc.record({
    amount: fc.oneof({ arbitrary: small, weight: 3 }, amount),
    excluded: fc.constantFrom(0, 0, 0, 1, 2, 5, 15),
    oddity: fc.nat(40),
    priced: fc.nat(9),
    counted,
  }),
  lease: fc.record({
    amount: fc.oneof({ arbitrary: small, weight: 3 }, amount),
    excluded: fc.constantFrom(0, 0, 0, 2),
    ttl: fc.nat(3),
    oddity: fc.nat(40),
    counted,
  }),
  charge: fc.record({
    amount: small,
    excluded: fc.constantFrom(0, 0, 0, 4),
    oddity: fc.nat(40),
    counted,
  }),
  capture: fc.record({
    hold,
    amount,
    how: fc.nat(5),
    final: fc.boolean(),
    phase: fc.nat(5),
    clamp: rarely,
    cause,
    delivered: fc.nat(7),
    ordered: fc.integer({ min: 1, max: 6 }),
    foreign: rarely,
  }),
  release: fc.record({ hold, cause, epoch: fc.nat(6), foreign: rarely }),
  extend: fc.record({ hold, ttl: fc.nat(3) }),
  refund: fc.record({
    hold,
    amount,
    whole: fc.boolean(),
    spendable: fc.constantFrom(60, 3_600, 2_592_000),
    named: fc.nat(3),
    foreign: rarely,
  }),
  adjust: fc.record({ amount, bucket: fc.nat(3), up: fc.boolean() }),
  revoke: fc.record({ amount, cause: fc.nat(5), source: fc.nat(8), buckets: fc.nat(15) }),
  freeze: fc.record({ amount, cause: fc.nat(5), source: fc.nat(8), whole: fc.boolean() }),
  unfreeze: fc.record({ cause: fc.nat(5) }),
  rules: fc.record({ of: fc.constantFrom('plan', 'email', 'suspend', 'unsuspend') }),
  again: fc.record({ back: fc.nat(30), altered: rarely, moved: fc.boolean() }),
};

type Kinds = typeof KINDS;
export type Kind = keyof Kinds;
export type Draft = { [K in Kind]: { kind: K } & (Kinds[K] extends fc.Arbitrary<infer T> ? T : never) }[Kind];

/** How often each kind comes, unless a swarm draws another mix. */
export const USUAL: Readonly<Record<Kind, number>> = {
  grant: 4,
  reserve: 5,
  lease: 4,
  charge: 3,
  capture: 7,
  release: 4,
  extend: 1,
  refund: 3,
  adjust: 1,
  revoke: 2,
  freeze: 1,
  unfreeze: 1,
  rules: 1,
  again: 4,
};

export function drafts(weights: Readonly<Record<Kind, number>>): fc.Arbitrary<Draft> {
  const kinds = Object.keys(KINDS) as Kind[]; // keys of the constant above
  const weighted = kinds.map((kind) => {
    // Kind and fields belong together by the table above, which a union cannot say of a loop.
    const arbitrary = KINDS[kind].map((fields: object) => ({ kind, ...fields }) as Draft);
    return { arbitrary, weight: weights[kind] };
  });
  return fc.oneof(...weighted);
}

/** What is known of an account when its next operations are made. */
export interface Hand {
  account: string;
  model: Account;
  /** Everything that was asked so far, the present call included. */
  asked: ModelOperation[];
  /** Every hold that was asked for, and of what sort it is. */
  holds: { holdId: string; sort: 'generation' | 'lease' | 'charge' }[];
}

const BUCKETS = ['daily', 'plan', 'pack', 'promo'];
const SOURCES = ['pack:1', 'pack:2', 'pack:3', 'plan:1', 'plan:2', 'daily:1', 'daily:2', 'promo', 'gift'];
/** Few, so that many lots and leases end at one instant. The first two have ended before they begin. */
const LIVES = [0, -1, 1, SECOND, 60 * SECOND, HOUR, DAY, 30 * DAY];
const TTL_SECONDS = [1, 60, 3_600, 86_400];
const NOBODYS = { holdId: 'nobodys', sort: 'lease' } as const;

const ofAll = (all: number, { percent, shift }: Amount) => {
  const share = Math.floor((all * percent) / 100) + shift;
  return milli(Math.max(0, share));
};
const bucketsOf = (bits: number) => BUCKETS.filter((_, n) => (bits >> n) % 2 === 1);

/** One counter with a limit and without, as plans differ; and a member's credits, with a limit and without. */
const COUNTED: readonly (readonly { of: 'sites' | 'clips' | 'max'; limit: number | null }[])[] = [
  ...[[], [], [], [], []],
  [{ of: 'sites', limit: 5 }],
  [{ of: 'sites', limit: null }],
  [
    { of: 'clips', limit: null },
    { of: 'max', limit: null },
  ],
  [{ of: 'max', limit: 15_000 }],
  [
    { of: 'sites', limit: 5 },
    { of: 'max', limit: null },
  ],
];

function countsOf(draft: number, { amount, at }: { amount: number; at: Micros }): Count[] {
  const today = `day:${Math.floor(at / DAY)}`;
  return pick(COUNTED, draft).flatMap(({ of, limit }): Count[] => {
    const common = { name: of, limit, resetsAt: null };
    if (of === 'max' && amount === 0) return [];
    if (of === 'max')
      return [
        {
          ...common,
          counter: 'member:max',
          period: today,
          of: 'credits',
          units: amount,
          refusal: 'member_limit_reached',
        },
      ];
    const period = of === 'sites' ? today : 'ever';
    return [
      {
        ...common,
        counter: `quota:${of}`,
        period,
        of: 'uses',
        units: 1,
        refusal: 'quota_reached',
      },
    ];
  });
}

/** The operation a draft becomes on this account now; null where there is nothing it could name. */
export function operationOf(draft: Draft, hand: Hand): ModelOperation | null {
  if (draft.kind === 'again') {
    const asked = hand.asked.at(-1 - (draft.back % Math.max(1, hand.asked.length)));
    if (asked === undefined) return null;
    // A run in another namespace asks the same.
    const moved =
      draft.moved && 'namespaceId' in asked ? { namespaceId: `namespace-${hand.asked.length}` } : {};
    return { ...asked, ...moved, ...(draft.altered ? { hash: `${asked.hash}!` } : {}) };
  }
  const name = `${hand.asked.length}`;
  const keyed = { key: `req:${name}`, hash: draft.kind };
  switch (draft.kind) {
    case 'grant':
    case 'adjust':
    case 'revoke':
    case 'freeze':
    case 'unfreeze':
    case 'rules':
      return onAccount(draft, hand, keyed);
    case 'reserve':
    case 'lease':
    case 'charge':
      return taking(draft, hand, { ...keyed, name });
    default:
      return onHold(draft, hand, keyed);
  }
}

interface Keyed {
  key: string;
  hash: string;
}

type Of<K extends Kind> = Extract<Draft, { kind: K }>;

function rulesOf(of: Of<'rules'>['of'], name: string): Record<string, unknown> {
  return of === 'plan' || of === 'email' ? { [of]: name } : { suspended: of === 'suspend' };
}

function onAccount(
  draft: Of<'grant' | 'adjust' | 'revoke' | 'freeze' | 'unfreeze' | 'rules'>,
  { model }: Hand,
  keyed: Keyed,
): ModelOperation {
  const now: Micros = Math.max(model.now, model.journalAt);
  const { available } = totals(model);
  switch (draft.kind) {
    case 'grant': {
      const life = LIVES[draft.life];
      const terms = {
        bucket: pick(BUCKETS, draft.bucket),
        rank: draft.rank,
        amount: milli(draft.milli),
        expiresAt: life === undefined ? null : instantText(now + life),
        graceSeconds: pick([null, 60, 3_600, 86_400], draft.grace),
        source: pick(SOURCES, draft.source),
      };
      return { ...keyed, op: 'grant', ...terms, ...(draft.replaces ? { replaces: true } : {}) };
    }
    case 'adjust': {
      const size = Math.max(1, ofAll(available, draft.amount));
      const terms = { bucket: pick(BUCKETS, draft.bucket), rank: 2, source: 'adjustment' };
      return { ...keyed, op: 'adjust', ...terms, amount: milli(draft.up ? size : -size) };
    }
    case 'revoke': {
      // Up to twice what there is, so that debt is common.
      const size = milli(Math.max(1, ofAll(available * 2 + 500, draft.amount)));
      const of = { cause: `c${draft.cause}`, source: pick(SOURCES, draft.source) };
      return { ...keyed, op: 'revoke', amount: size, ...of, buckets: bucketsOf(draft.buckets) };
    }
    case 'freeze': {
      const of = { cause: `c${draft.cause}`, source: pick(SOURCES, draft.source) };
      const size = ofAll(available, draft.amount);
      return { ...keyed, op: 'freeze', ...of, ...(draft.whole ? {} : { amount: size }) };
    }
    case 'unfreeze':
      return { ...keyed, op: 'unfreeze', cause: `c${draft.cause}` };
    default:
      return { ...keyed, op: 'rules', rules: rulesOf(draft.of, keyed.key) };
  }
}

function taking(
  draft: Of<'reserve' | 'lease' | 'charge'>,
  { account, model, holds }: Hand,
  { name, ...keyed }: Keyed & { name: string },
): ModelOperation {
  const holdId = `h${name}`;
  const excluded = bucketsOf(draft.excluded);
  const { oddity } = draft;
  // Some are free actions, and some work that happens to cost nothing.
  const nothing = draft.kind === 'reserve' && draft.priced < 2;
  const amount = nothing ? milli(0) : ofAll(totals(model).available, draft.amount);
  const counts = countsOf(draft.counted, { amount, at: Math.max(model.now, model.journalAt) });
  const common = {
    ...keyed,
    holdId,
    excluded,
    amount,
    ...(counts.length === 0 ? {} : { counts }),
    rulesVersion: model.rulesVersion - (oddity === 1 ? 1 : 0),
    reserveBefore: oddity === 2 ? '-infinity' : 'infinity',
    facts: { excluded },
    ...(oddity === 3 ? { refusal: 'plan_required' as const } : {}),
  };
  const sort = draft.kind === 'reserve' ? 'generation' : draft.kind;
  holds.push({ holdId, sort });
  const maxOpen = oddity === 4 ? 2 : 1000;
  const work: HeldWork = { action: 'edit' };
  if (draft.kind === 'charge') return { ...common, op: 'charge', work };
  if (draft.kind === 'lease')
    return { ...common, op: 'reserve', maxOpen, ttlSeconds: pick(TTL_SECONDS, draft.ttl), work };
  const terms = { runs: draft.priced > 0, maxOpen, refuseOnly: oddity === 5 };
  const { generation, ...reserve } = reservation(account, { ...common, ...terms });
  return { ...reserve, generation: { ...generation, id: `g${name}` } };
}

function onHold(
  draft: Of<'capture' | 'release' | 'extend' | 'refund'>,
  { model, holds }: Hand,
  keyed: Keyed,
): ModelOperation {
  const { holdId, sort } = holds.at(-1 - draft.hold) ?? holds.at(0) ?? NOBODYS;
  const known = model.holds.get(holdId);
  const named = { ...keyed, holdId };
  switch (draft.kind) {
    case 'capture': {
      const { final, cause, clamp, delivered, ordered } = draft;
      const end: Pick<CaptureOperation, 'generation' | 'leased'> =
        sort === 'generation'
          ? { generation: final ? { status: delivered === 0 ? 'failed' : 'succeeded' } : {} }
          : { leased: true };
      const much = [
        { amount: ofAll(known?.held ?? 100, draft.amount) },
        { amount: ofAll(known?.held ?? 100, draft.amount) },
        { delivered, ordered },
        { delivered: Math.min(delivered, ordered), ordered },
      ][draft.how];
      const phase = ['first', 'second', 'third'][draft.phase];
      return {
        ...named,
        op: 'capture',
        final,
        cause,
        clamp,
        ...end,
        ...much,
        ...defined({ phase }),
        ...(draft.foreign ? { leased: true } : {}),
      };
    }
    case 'release': {
      const { cause } = draft;
      const epoch = [known?.epoch ?? 0, (known?.epoch ?? 0) + 1][draft.epoch];
      return {
        ...named,
        op: 'release',
        cause,
        ...(sort === 'generation'
          ? { generation: { status: cause === 'customer' ? 'canceled' : 'failed' } }
          : { leased: true }),
        ...defined({ epoch }),
        ...(draft.foreign ? { leased: true } : {}),
      };
    }
    case 'extend':
      return { ...named, op: 'extend', leased: true, ttlSeconds: pick(TTL_SECONDS, draft.ttl) };
    default: {
      const size = ofAll((known?.captured ?? 100) - (known?.refunded ?? 0), draft.amount);
      const much = draft.whole ? {} : { amount: size };
      // An instant that somebody names is one of ours, or lies behind.
      const until =
        draft.named < 2
          ? { spendableSeconds: draft.spendable }
          : { expiresAt: instantText(model.now + (draft.named === 2 ? draft.spendable : -60) * SECOND) };
      return {
        ...named,
        op: 'refund',
        ...until,
        ...much,
        ...(sort === 'generation' && !draft.foreign ? {} : { leased: true }),
      };
    }
  }
}
