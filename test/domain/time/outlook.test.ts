import * as fc from 'fast-check';
import {
  type AccountRules,
  type CalendarState,
  type PlanSource,
  type Snapshot,
  toMs,
} from '../../../domain/account';
import type { Catalog } from '../../../domain/catalog/catalog';
import { toMilli } from '../../../domain/credits';
import { type Coming, outlook, standingsOf } from '../../../domain/time/outlook';
import { type GrantStep, type InForce, settle, settleBy } from '../../../domain/time/settle';
import { rezoned } from '../../../domain/time/zoneChange';
import { readProduct } from '../../products/product';
import { imagineart, parsed, smallest } from '../catalogs';
import { onPlan, OPENED, type SnapshotChange, snapshotOf } from '../snapshots';

/** What is told of the future is what settle will then do (rule 33). */

const catalog = imagineart();
const inForce = (of: Catalog, effectiveAt = '-infinity'): InForce => ({ catalog: of, effectiveAt });
const told = (change: SnapshotChange, versions: readonly InForce[] = [inForce(catalog)]) =>
  shown(outlook({ snapshot: snapshotOf(change), versions }));
const shown = (coming: readonly Coming[]) =>
  coming.map(({ at, plan, grants }) => [
    at,
    plan,
    Object.fromEntries(grants.map((grant) => [grant.bucket, grant.amountMilli / 1000])),
  ]);

describe('to a free account', () => {
  const calendar = { daily: { date: '2026-11-21', nextAt: '2026-11-22T00:00:00.000Z' } };

  it('its day’s credits come at local midnight, also on the days that are short or long', () => {
    const next = (change: SnapshotChange) => told(change)[0]?.[0];
    expect(told({ calendar })).toEqual([['2026-11-22T00:00:00.000Z', 'free', { daily: 100 }]]);
    expect(next({ now: '2027-03-28T12:00:00.000Z' })).toBe('2027-03-28T23:00:00.000Z');
    expect(next({ now: '2026-11-21T12:00:00.000Z', rules: { timezone: 'Asia/Tokyo' } })).toBe(
      '2026-11-21T15:00:00.000Z',
    );
  });

  it('they come when a change of zone put them, and a date never twice', () => {
    const nextAt = '2026-11-22T15:00:00.000Z';
    expect(told({ calendar: { daily: { nextAt } } })).toEqual([[nextAt, 'free', { daily: 100 }]]);
    expect(told({ calendar: { daily: { nextAt } }, now: nextAt })).toEqual([
      ['2026-11-23T00:00:00.000Z', 'free', { daily: 100 }],
    ]);
    // In Honolulu it is still the 21st at that instant.
    const back = { calendar: { daily: { date: '2026-11-21', nextAt: '2026-11-22T00:00:00.000Z' } } };
    expect(told({ ...back, rules: { timezone: 'Pacific/Honolulu' } })).toEqual([
      ['2026-11-22T10:00:00.000Z', 'free', { daily: 100 }],
    ]);
  });
});

describe('to a subscriber', () => {
  const calendar = { plan: { slotStart: OPENED, allotment: toMilli(3000), paid: true } };
  const end = '2026-12-21T09:00:00.000Z';
  const to = (plan: string, source: PlanSource, at = end) => ({
    pending: { plan, source, interval: source === 'free' ? null : ('month' as const), at },
  });

  it('the cycle brings what the plan gives, counted from the anchor', () => {
    const rules = onPlan('basic', { anchor: '2026-10-31T12:00:00.000Z' });
    expect(told({ rules })).toEqual([['2026-11-30T12:00:00.000Z', 'basic', { plan: 3000 }]]);
  });

  it('whose plan ends comes nothing of it, but what the free plan gives', () => {
    expect(told({ calendar, rules: onPlan('basic', to('free', 'free')) })).toEqual([
      [end, 'free', { daily: 100 }],
    ]);
    const draftly = readProduct('draftly');
    expect(told({ calendar, rules: onPlan('basic', to('free', 'free')) }, [inForce(draftly)])).toEqual([
      [end, 'free', { plan: 10 }],
    ]);
  });

  it('whose plan will be lower or higher comes what that gives', () => {
    const next = (plan: string) => told({ calendar, rules: onPlan('standard', to(plan, 'admin')) });
    expect(next('basic')).toEqual([[end, 'basic', { plan: 3000 }]]);
    expect(next('ultimate')).toEqual([[end, 'ultimate', { plan: 16_000 }]]);
  });

  it('whose year ends later comes the month before that as ever', () => {
    const rules = onPlan('basic', {
      planInterval: 'year',
      ...to('free', 'free', '2027-11-21T09:00:00.000Z'),
    });
    expect(told({ calendar, rules })).toEqual([
      [end, 'basic', { plan: 3000 }],
      ['2027-11-21T09:00:00.000Z', 'free', { daily: 100 }],
    ]);
  });

  it('comes what a version of the catalog gives that is in force by then', () => {
    const later = {
      ...catalog,
      plans: catalog.plans.map((one) =>
        one.plan === 'basic' ? { ...one, allotments: { plan: 4000 } } : one,
      ),
    };
    const rules = onPlan('basic');
    expect(told({ calendar, rules }, [inForce(catalog), inForce(later, end)])).toEqual([
      [end, 'basic', { plan: 4000 }],
    ]);
    const after = [inForce(catalog), inForce(later, '2026-12-21T09:00:00.001Z')];
    expect(told({ calendar, rules }, after)[0]).toEqual([end, 'basic', { plan: 3000 }]);
  });

  it('who paid until a day comes nothing that is not paid', () => {
    const paid = (paidUntil: string) =>
      told({ calendar, rules: onPlan('basic', { planSource: 'stripe', paidUntil }) });
    expect(paid(end)).toEqual([]);
    expect(paid('2027-01-21T09:00:00.000Z')).toEqual([[end, 'basic', { plan: 3000 }]]);
  });
});

describe('with what comes', () => {
  // A basic subscriber of the older terms: 50 credits each midnight, 3,000 at each cycle.
  const legacy = readProduct('imagineart-legacy');
  const coming = outlook({ snapshot: snapshotOf({ rules: onPlan('basic') }), versions: [inForce(legacy)] });
  const then = (debt: number) =>
    standingsOf({ coming, left: [], debtMilli: toMilli(debt), excluded: [] }).map(({ at, amountMilli }) => [
      at,
      amountMilli / 1000,
    ]);
  const [midnight, cycle] = ['2026-11-22T00:00:00.000Z', '2026-12-21T09:00:00.000Z'];

  it('there is a day’s credits, and later the cycle’s and that day’s', () => {
    expect(then(0)).toEqual([
      [midnight, 50],
      [cycle, 3050],
    ]);
  });

  it('a free month repays no debt of who was not there in it, so nothing of the next is promised for that', () => {
    const month = (at: string, until: string): Coming => ({
      at,
      plan: 'free',
      ends: false,
      grants: [
        {
          bucket: 'plan',
          schedule: 'plan',
          amountMilli: toMilli(400),
          until,
          replaces: true,
          ifThere: true,
        },
      ],
    });
    const months = [
      month(cycle, '2027-01-21T09:00:00.000Z'),
      month('2027-01-21T09:00:00.000Z', '2027-02-21T09:00:00.000Z'),
    ];
    const left = (debt: number) =>
      standingsOf({ coming: months, left: [], debtMilli: toMilli(debt), excluded: [] }).map(
        ({ amountMilli }) => amountMilli / 1000,
      );
    expect(left(100)).toEqual([300, 300]);
    expect(left(500)).toEqual([0, 0]);
  });

  it('debt is paid, but not by daily credits', () => {
    expect(then(2000)).toEqual([
      [midnight, 50],
      [cycle, 1050],
    ]);
  });
});

/** The same the long way: from boundary to boundary, all of them, for fourteen months. What each bucket is given first. */
function firstGrants(snapshot: Snapshot, versions: readonly InForce[]): Map<string, [string, number]> {
  const found = new Map<string, [string, number]>();
  const untilMs = toMs(snapshot.now) + 430 * 86_400_000;
  let now = snapshot;
  let present = true;
  for (;;) {
    let granted: GrantStep[] = [];
    for (;;) {
      // A version's time settles what was due before it, for those who pay: also what is due only now, as in the ledger.
      const { settlement: due } = settleBy({ snapshot: now, versions, touch: true });
      let { rules } = now;
      for (const step of due.steps) {
        if (!('op' in step)) granted.push(step);
        else if (step.op === 'rules') {
          rules = { ...rules, ...(step.rules as Partial<AccountRules>) };
          // A slot that is granted only now, and ends with its plan, gives nobody anything.
          if (step.ends) granted = granted.filter(({ source }) => !source.startsWith('plan:'));
        }
      }
      const calendar: CalendarState = { ...now.calendar, ...due.calendar };
      now = { ...now, rules, calendar, nextDueAt: due.nextDueAt };
      if (due.until === null) break;
    }
    for (const { bucket, amount } of present ? [] : granted)
      if (!found.has(bucket)) found.set(bucket, [now.now, amount]);
    const dueMs = toMs(now.nextDueAt);
    if (dueMs > untilMs || found.size === 2) return found; // of two buckets that are filled
    present = false;
    now = { ...now, now: new Date(dueMs).toISOString() };
  }
}

test('whatever the account and its catalog, what is told is what settle then grants', () => {
  const json = smallest();
  const amounts = fc.constantFrom(0, 10, 25);
  const one = fc.record({
    daily: amounts,
    free: amounts,
    lower: amounts,
    higher: amounts,
    eligibility: fc.constantFrom('everyone', 'without-subscription'),
  });
  const catalogOf = ({
    daily,
    free,
    lower,
    higher,
    eligibility,
  }: typeof one extends fc.Arbitrary<infer T> ? T : never) => {
    const [first, ...others] = json.buckets;
    const allotments = [free, lower, higher];
    return parsed({
      ...json,
      buckets: [{ ...first, amount: daily, eligibility }, ...others],
      plans: json.plans.map((plan, n) => ({ ...plan, allotments: { plan: allotments[n] ?? 0 } })),
    });
  };
  const hours = fc.integer({ min: -24 * 40, max: 24 * 70 });
  const zones = fc.constantFrom('UTC', 'Europe/London', 'Asia/Tokyo', 'Pacific/Honolulu', 'America/Havana');
  const account = fc.record({
    plan: fc.constantFrom('free', 'one', 'two'),
    source: fc.constantFrom('admin', 'stripe'),
    anchor: fc.integer({ min: -24 * 90, max: 0 }),
    settledAt: fc.integer({ min: -24 * 60, max: 0 }),
    zone: zones,
    moved: fc.option(zones),
    paidUntil: hours,
    pending: fc.option(
      fc.record({ plan: fc.constantFrom('free', 'one', 'two'), cycles: fc.integer({ min: 1, max: 13 }) }),
    ),
  });
  const at = (offset: number) =>
    new Date(toMs('2027-03-20T13:30:00.000Z') + offset * 3_600_000).toISOString();

  // Seen: paid until this very instant, a lower plan ahead, and a catalog that is in force from now.
  fc.assert(
    fc.property(
      account,
      one,
      fc.option(fc.tuple(one, fc.integer({ min: 0, max: 24 * 70 }))),
      (of, before, later) => {
        const free = of.plan === 'free';
        const versions = [
          inForce(catalogOf(before)),
          ...(later === null ? [] : [inForce(catalogOf(later[0]), at(later[1]))]),
        ];
        const anchor = at(of.anchor);
        const rules: Partial<AccountRules> = {
          plan: of.plan,
          planSource: free ? 'free' : of.source,
          planInterval: free ? null : 'month',
          anchor,
          createdAt: anchor,
          timezone: of.zone,
          paidUntil: !free && of.source === 'stripe' ? at(of.paidUntil) : null,
        };
        // As somebody left it who was there some time ago, and then perhaps moved.
        const opened = snapshotOf({ now: at(Math.max(of.anchor, of.settledAt)), rules });
        const first = settle({ snapshot: opened, catalog: catalogOf(before), touch: true });
        const left = { ...opened, calendar: first.calendar, nextDueAt: first.nextDueAt };
        const moved = of.moved === null ? null : rezoned(left, of.moved);
        const snapshot: Snapshot = {
          ...left,
          now: at(0),
          calendar: { ...left.calendar, ...moved?.calendar },
          rules: {
            ...left.rules,
            ...(moved === null ? {} : { timezone: moved.timezone, zoneChange: moved.zoneChange }),
            pending:
              of.pending === null || free
                ? null
                : {
                    plan: of.pending.plan,
                    source: of.pending.plan === 'free' ? 'free' : of.source,
                    interval: of.pending.plan === 'free' ? null : 'month',
                    at: cycleAfter(anchor, at(0), of.pending.cycles),
                  },
          },
        };
        const coming = outlook({ snapshot, versions });
        const next = new Map<string, [string, number]>();
        for (const { at: when, grants } of coming)
          for (const { bucket, amountMilli } of grants)
            if (!next.has(bucket)) next.set(bucket, [when, amountMilli]);
        expect(next).toEqual(firstGrants(snapshot, versions));
      },
    ),
    {
      numRuns: 300,
      examples: [
        [
          {
            plan: 'two',
            source: 'stripe',
            anchor: -673,
            settledAt: -2,
            zone: 'UTC',
            moved: null,
            paidUntil: 0,
            pending: { plan: 'one', cycles: 1 },
          },
          { daily: 0, free: 0, lower: 0, higher: 10, eligibility: 'everyone' },
          [{ daily: 0, free: 0, lower: 25, higher: 0, eligibility: 'everyone' }, 0],
        ],
      ],
    },
  );
}, 120_000);

/** The start of the cycle that comes `cycles` after the one that runs. */
function cycleAfter(anchor: string, now: string, cycles: number): string {
  const start = new Date(anchor);
  const day = start.getUTCDate();
  for (let n = 1; ; n += 1) {
    const month = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + n, 1));
    const last = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 0)).getUTCDate();
    const at =
      Date.UTC(month.getUTCFullYear(), month.getUTCMonth(), Math.min(day, last)) +
      (start.getTime() % 86_400_000);
    if (at > toMs(now) && --cycles === 0) return new Date(at).toISOString();
  }
}
