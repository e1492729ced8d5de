import * as fc from 'fast-check';
import type { CalendarState } from '../../../domain/account';
import type { Catalog } from '../../../domain/catalog/catalog';
import { allotment, hasSubscription, MAX_STEPS, type Settlement, settle } from '../../../domain/time/settle';
import { imagineart, parsed, smallest } from '../catalogs';
import { grantsOf, onPlan, OPENED, type SnapshotChange, snapshotOf } from '../snapshots';

const catalog = imagineart();

const settled = (change: SnapshotChange = {}, touch = true) =>
  settle({ snapshot: snapshotOf(change), catalog, touch });

const grants = (due: Settlement) =>
  grantsOf(due).map(({ at, bucket, amount }) => [at, bucket, amount / 1000]);

/** The catalog with a free plan that gives 30 credits a month. */
function withFreeMonthly(): Catalog {
  const json = smallest();
  const [free, ...others] = json.plans;
  return parsed({ ...json, plans: [{ ...free, allotments: { plan: 30 } }, ...others] });
}

describe('the daily credits', () => {
  it('are granted once for a date, from the opening of the account to midnight', () => {
    const first = settled();
    expect(first.steps).toEqual([
      {
        at: OPENED,
        key: 'sys:daily:ada:2026-11-21',
        hash: 'sys:daily:ada:2026-11-21',
        bucket: 'daily',
        rank: 1,
        amount: 100_000,
        expiresAt: '2026-11-22T00:00:00.000Z',
        graceSeconds: null,
        source: 'daily:ada:2026-11-21',
        replaces: true,
      },
    ]);
    expect(first.nextDueAt).toBe('2026-11-22T00:00:00.000Z');
    const again = settled({ now: '2026-11-21T23:59:59.999Z', calendar: first.calendar });
    expect(again).toMatchObject({ steps: [], calendar: first.calendar, nextDueAt: first.nextDueAt });
  });

  it('come at midnight exactly on time, and end as the next ones begin: they are set, not added', () => {
    const first = settled();
    const next = settled({ now: '2026-11-22T00:00:00.000Z', calendar: first.calendar });
    expect(grants(next)).toEqual([['2026-11-22T00:00:00.000Z', 'daily', 100]]);
    expect(grantsOf(first)[0]?.expiresAt).toBe(next.steps[0]?.at);
  });

  it('of days when nobody was there are never granted', () => {
    const { calendar } = settled();
    const later = settled({ now: '2026-12-01T15:00:00.000Z', calendar });
    expect(later.steps.map((step) => [step.at, step.key])).toEqual([
      ['2026-12-01T00:00:00.000Z', 'sys:daily:ada:2026-12-01'],
    ]);
  });

  it('are not granted by a timer, which does not touch the account', () => {
    const { calendar } = settled();
    const timer = settled({ now: '2026-11-23T00:00:00.000Z', calendar }, false);
    expect(timer).toMatchObject({
      steps: [],
      calendar,
      nextDueAt: '2026-11-22T00:00:00.000Z',
      wakeAt: 'infinity',
    });
    expect(settled({}, false)).toMatchObject({ steps: [], nextDueAt: '-infinity', wakeAt: 'infinity' });
  });

  it.each([
    ['23 hours', '2027-03-28T12:00:00.000Z', '2027-03-28T00:00:00.000Z', '2027-03-28T23:00:00.000Z'],
    ['25 hours', '2027-10-31T12:00:00.000Z', '2027-10-30T23:00:00.000Z', '2027-11-01T00:00:00.000Z'],
  ])('last the day, also one of %s', (_, now, from, until) => {
    expect(settled({ now }).steps).toMatchObject([{ at: from, expiresAt: until }]);
  });

  it('stop while there is a subscription', () => {
    const subscribed = settled({ rules: onPlan('basic') });
    expect(grantsOf(subscribed).map((step) => step.bucket)).toEqual(['plan']);
  });

  it('resume at once when it ends, unless that day was granted before', () => {
    const { calendar } = settled();
    const sameDay = settled({ now: '2026-11-21T20:00:00.000Z', calendar });
    expect(sameDay.steps).toEqual([]);
    const nextDay = settled({ now: '2026-11-22T20:00:00.000Z', calendar });
    expect(nextDay.steps).toHaveLength(1);
  });

  it('never come twice for one date, wherever the account moves: dates only increase', () => {
    // 22 November in Kiritimati began at 10:00 UTC; in Honolulu it begins a day later.
    const east = settled({ now: '2026-11-21T10:00:00.000Z', rules: { timezone: 'Pacific/Kiritimati' } });
    expect(east.steps[0]?.key).toBe('sys:daily:ada:2026-11-22');
    const moved: CalendarState = {
      daily: { ...east.calendar['daily'], nextAt: '2026-11-22T10:00:00.000Z' },
    };
    const west = settled({
      now: '2026-11-22T10:00:00.000Z',
      calendar: moved,
      rules: { timezone: 'Pacific/Honolulu' },
    });
    expect(west).toMatchObject({
      steps: [],
      nextDueAt: '2026-11-23T10:00:00.000Z',
      calendar: { daily: { date: '2026-11-22', nextAt: '2026-11-23T10:00:00.000Z' } },
    });
  });

  it('wait for the reset that a change of zone moved', () => {
    const { calendar } = settled();
    const planned: CalendarState = {
      daily: { ...calendar['daily'], nextAt: '2026-11-22T15:00:00.000Z' },
    };
    const tokyo = { timezone: 'Asia/Tokyo' };
    const before = settled({ now: '2026-11-22T14:59:59.999Z', calendar: planned, rules: tokyo });
    expect(before).toMatchObject({ steps: [], nextDueAt: '2026-11-22T15:00:00.000Z' });
    const after = settled({ now: '2026-11-22T15:00:00.000Z', calendar: planned, rules: tokyo });
    expect(after.steps.map((step) => step.key)).toEqual(['sys:daily:ada:2026-11-23']);
  });

  it('are one grant a day at most, with dates that only increase, through touches at any time', () => {
    const touches = fc.array(fc.integer({ min: 0, max: 40 * 24 * 60 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(
        touches,
        fc.constantFrom('UTC', 'Africa/Cairo', 'America/Havana', 'Asia/Tokyo'),
        (minutes, timezone) => {
          let calendar: CalendarState = {};
          const keys: string[] = [];
          for (const minute of minutes.toSorted((a, b) => a - b)) {
            const now = new Date(Date.parse('2026-10-20T09:00:00Z') + minute * 60_000).toISOString();
            const result = settled({
              now,
              calendar,
              rules: { timezone, createdAt: '2026-10-20T09:00:00.000Z' },
            });
            for (const { key, at, expiresAt } of grantsOf(result)) {
              keys.push(key);
              expect(at <= now && now < String(expiresAt)).toBe(true);
            }
            expect(result.nextDueAt > now).toBe(true);
            calendar = result.calendar;
          }
          expect(keys).toEqual([...new Set(keys)].toSorted());
        },
      ),
    );
  });
});

describe('the plan credits of an administrator’s plan', () => {
  const rules = onPlan('standard', { anchor: '2026-10-31T12:00:00.000Z' });

  it('come for the current slot when the account is opened in the middle of one', () => {
    const first = settled({ rules });
    expect(first.steps).toEqual([
      {
        at: OPENED,
        key: 'sys:plan:ada:2026-10-31T12:00:00.000Z',
        hash: 'sys:plan:ada:2026-10-31T12:00:00.000Z',
        bucket: 'plan',
        rank: 2,
        amount: 8_000_000,
        expiresAt: '2026-11-30T12:00:00.000Z',
        graceSeconds: 86_400,
        source: 'plan:ada:2026-10-31T12:00:00.000Z',
        replaces: false,
      },
    ]);
    expect(first).toMatchObject({
      nextDueAt: '2026-11-30T12:00:00.000Z',
      wakeAt: '2026-11-23T12:00:00.000Z', // a week before what is left ends
    });
  });

  it('come every month from the anchor, clamped to the month’s end, each ending as the next begins', () => {
    const { calendar } = settled({ rules });
    const later = settled({ now: '2027-03-31T12:00:00.000Z', rules, calendar }, false);
    expect(grantsOf(later).map((step) => [step.at, step.expiresAt])).toEqual([
      ['2026-11-30T12:00:00.000Z', '2026-12-31T12:00:00.000Z'],
      ['2026-12-31T12:00:00.000Z', '2027-01-31T12:00:00.000Z'],
      ['2027-01-31T12:00:00.000Z', '2027-02-28T12:00:00.000Z'],
      ['2027-02-28T12:00:00.000Z', '2027-03-31T12:00:00.000Z'],
      ['2027-03-31T12:00:00.000Z', '2027-04-30T12:00:00.000Z'],
    ]);
    expect(later.calendar).toEqual({
      daily: {},
      plan: { slotStart: '2027-03-31T12:00:00.000Z', allotment: 8_000_000, paid: true },
    });
  });

  it('need nobody to be there: a timer grants them too', () => {
    expect(grants(settled({ rules }, false))).toEqual([[OPENED, 'plan', 8000]]);
  });

  it('come once for a slot, however often it is settled', () => {
    const { calendar } = settled({ rules });
    const again = settled({ now: '2026-11-30T11:59:59.999Z', rules, calendar });
    expect(again).toMatchObject({ steps: [], calendar, nextDueAt: '2026-11-30T12:00:00.000Z' });
  });

  it('of decades come in parts, none left out', () => {
    let calendar: CalendarState = settled({ rules }).calendar;
    const now = '2047-01-15T00:00:00.000Z';
    const starts: string[] = [];
    for (let part = 0; part < 4; part += 1) {
      const result = settled({ now, rules, calendar });
      expect(result.steps.length <= MAX_STEPS).toBe(true);
      starts.push(...result.steps.map((step) => step.at));
      calendar = result.calendar;
    }
    expect(starts).toEqual([...new Set(starts)].toSorted());
    expect([starts.length, starts[0], starts.at(-1)]).toEqual([
      242,
      '2026-11-30T12:00:00.000Z',
      '2046-12-31T12:00:00.000Z',
    ]);
  });

  it('come in the order of their boundaries with those of other buckets', () => {
    const json = smallest();
    const both = parsed(json);
    const snapshot = snapshotOf({
      now: '2026-11-21T12:30:00.000Z',
      rules: onPlan('one', { anchor: '2026-10-21T12:00:00.000Z', createdAt: '2026-10-21T12:00:00.000Z' }),
      calendar: { plan: { slotStart: '2026-10-21T12:00:00.000Z' } },
    });
    expect(grants(settle({ snapshot, catalog: both, touch: true }))).toEqual([
      ['2026-11-21T00:00:00.000Z', 'daily', 10],
      ['2026-11-21T12:00:00.000Z', 'plan', 100],
    ]);
  });
});

describe('the plan credits of a free plan', () => {
  const free = withFreeMonthly();
  const at = (now: string, touch: boolean, calendar: CalendarState = {}) => {
    const result = settle({ snapshot: snapshotOf({ now, calendar }), catalog: free, touch });
    return { ...result, steps: grantsOf(result).filter((step) => step.bucket === 'plan') };
  };

  it('come when somebody is there, for the current slot only', () => {
    expect(grants(at(OPENED, true))).toEqual([[OPENED, 'plan', 30]]);
    const { calendar } = at(OPENED, true);
    expect(grants(at('2027-03-01T00:00:00.000Z', true, calendar))).toEqual([
      ['2027-02-21T09:00:00.000Z', 'plan', 30],
    ]);
  });

  it('do not come by a timer, and do not wake anyone', () => {
    const { calendar } = at(OPENED, true);
    const timer = at('2027-03-01T00:00:00.000Z', false, calendar);
    expect(timer).toMatchObject({ steps: [], wakeAt: 'infinity' });
    expect(timer.calendar['plan']).toEqual(calendar['plan']);
    expect(at(OPENED, true).wakeAt).toBe('infinity');
  });

  it('come once for a slot', () => {
    const { calendar } = at(OPENED, true);
    expect(at('2026-12-21T08:59:59.999Z', true, calendar).steps).toEqual([]);
  });
});

describe('a settlement', () => {
  it('names the versions it was worked out from', () => {
    const { settleVersion, rulesVersion } = settled({ settleVersion: 7, rulesVersion: 3 });
    expect([settleVersion, rulesVersion]).toEqual([7, 3]);
  });

  it('of an account that nothing is ever due for says so', () => {
    const json = smallest();
    const plans = json.plans.map((one) => ({ ...one, allotments: {} }));
    const dry = parsed({ ...json, plans, buckets: json.buckets.filter((one) => one.refresh === null) });
    const result = settle({ snapshot: snapshotOf(), catalog: dry, touch: true });
    expect(result).toMatchObject({ steps: [], calendar: {}, nextDueAt: 'infinity', wakeAt: 'infinity' });
  });

  it('has nothing left to do when it is settled again at once', () => {
    const minute = fc.integer({ min: 0, max: 3 * 365 * 24 * 60 });
    fc.assert(
      fc.property(minute, fc.constantFrom('free', 'basic', 'standard'), (minutes, plan) => {
        const now = new Date(Date.parse(OPENED) + minutes * 60_000).toISOString();
        const rules = plan === 'free' ? {} : onPlan(plan);
        const first = settled({ now, rules });
        // What was granted, and ends one day, is in the account's lots by then.
        const ending = grantsOf(first).map(({ at, expiresAt, source }) => ({
          at: expiresAt ?? 'infinity',
          since: at,
          of: source.split(':')[0] ?? '',
        }));
        const second = settled({ now, rules, calendar: first.calendar, ending });
        const notices = first.steps.filter((step) => 'op' in step); // whose keys are known by then
        expect(second).toEqual({ ...first, steps: notices });
        expect(first.nextDueAt > now).toBe(true);
      }),
    );
  });
});

describe('who gets what', () => {
  const bucket = (id: string) => catalog.buckets.filter((one) => one.bucket === id);

  it('is decided by plan and subscription', () => {
    const amounts = (rules: SnapshotChange['rules']) =>
      ['daily', 'plan', 'pack'].flatMap((id) =>
        bucket(id).map((one) =>
          allotment({ bucket: one, catalog, rules: snapshotOf({ rules: rules ?? {} }).rules }),
        ),
      );
    expect(amounts({})).toEqual([100_000, 0, 0]);
    expect(amounts(onPlan('basic'))).toEqual([0, 3_000_000, 0]);
  });

  it('may be said by the plan, above the bucket', () => {
    const json = smallest();
    const [free, ...others] = json.plans;
    const more = parsed({ ...json, plans: [{ ...free, allotments: { daily: 25.5 } }, ...others] });
    const [daily] = more.buckets;
    const amount = daily && allotment({ bucket: daily, catalog: more, rules: snapshotOf().rules });
    expect(amount).toBe(25_500);
  });

  it('counts an administrator’s paid plan as a subscription, and a plan that is gone as none', () => {
    const has = (rules: SnapshotChange['rules']) =>
      hasSubscription(catalog, snapshotOf({ rules: rules ?? {} }).rules);
    expect([has({}), has(onPlan('basic')), has(onPlan('free')), has(onPlan('bygone'))]).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });
});
