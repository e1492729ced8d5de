import type { AccountRules } from '../../../domain/account';
import { type Settlement, settle } from '../../../domain/time/settle';
import { imagineart } from '../catalogs';
import { grantsOf, onPlan, OPENED, type SnapshotChange, snapshotOf } from '../snapshots';

/** Paid slots, plans that end, and what is announced (rules 14, 18). The catalog's renewalGrace is two hours. */

const catalog = imagineart();
const settled = (change: SnapshotChange = {}, touch = false) =>
  settle({ snapshot: snapshotOf(change), catalog, touch });
const slots = (due: Settlement) => grantsOf(due).map(({ at, expiresAt }) => [at, expiresAt]);

const anchor = '2026-01-31T12:00:00.000Z';
const bought = (paidUntil: string, more: Partial<AccountRules> = {}) =>
  onPlan('basic', { planSource: 'stripe', anchor, createdAt: anchor, paidUntil, ...more });

describe('a plan that invoices pay for', () => {
  it('grants the slots whose start is paid, and waits with the others for their invoice', () => {
    const due = settled({ now: '2026-04-15T00:00:00.000Z', rules: bought('2026-02-28T12:00:00.000Z') });
    expect(slots(due)).toEqual([]); // the slot that runs is not paid, and what has passed does not matter at a first look
    const calendar = { plan: { slotStart: anchor, allotment: 3_000_000 as never, paid: true } };
    const paid = settled({
      now: '2026-04-15T00:00:00.000Z',
      calendar,
      rules: bought('2026-03-31T12:00:00.000Z'),
    });
    expect(slots(paid)).toEqual([['2026-02-28T12:00:00.000Z', '2026-03-31T14:00:00.000Z']]);
    expect(paid.nextDueAt).toBe('infinity');
  });

  it('has its credits two hours longer where an invoice is due then, and not in the months that were paid before', () => {
    const year = bought('2027-01-31T12:00:00.000Z', { planInterval: 'year' });
    expect(slots(settled({ now: anchor, rules: year }))).toEqual([[anchor, '2026-02-28T12:00:00.000Z']]);
    const last = '2026-12-31T12:00:00.000Z';
    const calendar = { plan: { slotStart: '2026-11-30T12:00:00.000Z', paid: true } };
    expect(slots(settled({ now: last, calendar, rules: year }))).toEqual([
      [last, '2027-01-31T14:00:00.000Z'],
    ]);
  });

  it('renews in the place of what is left, also of what lives on in those two hours', () => {
    const calendar = { plan: { slotStart: anchor, paid: true } };
    const rules = bought('2026-03-31T12:00:00.000Z');
    const [renewal] = grantsOf(settled({ now: '2026-02-28T13:00:00.000Z', calendar, rules }));
    expect(renewal).toMatchObject({ at: '2026-02-28T12:00:00.000Z', replaces: true });
  });
});

describe('a plan that ends', () => {
  const pending = { plan: 'free', source: 'free', interval: null, at: '2026-12-21T09:00:00.000Z' } as const;
  const rules = onPlan('basic', { anchor: OPENED, pending });
  const calendar = { plan: { slotStart: OPENED, paid: true } };

  it('ends at its instant, after all that came before it, and leaves the rest to be worked out from there', () => {
    const early = settled({ now: '2026-12-21T08:59:59.999Z', calendar, rules });
    expect(early).toMatchObject({ nextDueAt: pending.at, wakeAt: pending.at, until: null });
    const due = settled({ now: '2027-02-01T00:00:00.000Z', calendar, rules }, true);
    expect(due.until).toBe(pending.at);
    expect(due.steps).toEqual([
      {
        op: 'rules',
        at: pending.at,
        key: `sys:plan-end:ada:${pending.at}`,
        hash: 'free free null',
        ends: 'plan',
        forfeits: true,
        rules: {
          plan: 'free',
          planSource: 'free',
          planInterval: null,
          pending: null,
          endedAt: pending.at,
          paidUntil: null,
          periodFrom: pending.at,
        },
      },
    ]);
  });

  it('grants nothing of the slot that would have begun then', () => {
    const due = settled({ now: pending.at, calendar, rules });
    expect(grantsOf(due)).toEqual([]);
  });
});

describe('what ends', () => {
  const rules = onPlan('basic', { anchor: OPENED });
  const calendar = { plan: { slotStart: OPENED, paid: true } };
  const ending = [{ at: '2026-12-21T09:00:00+00:00', since: OPENED, of: 'plan' }];

  it('wakes the account a week before it does, and when it does', () => {
    const before = settled({ now: '2026-12-14T08:59:59.999Z', calendar, rules, ending });
    expect(before).toMatchObject({ steps: [], wakeAt: '2026-12-14T09:00:00.000Z' });
    const then = settled({ now: '2026-12-14T09:00:00.000Z', calendar, rules, ending });
    expect(then.steps).toMatchObject([{ op: 'notice', at: '2026-12-14T09:00:00.000Z' }]);
    expect(then.wakeAt).toBe('2026-12-21T09:00:00.000Z');
  });

  it('is not announced where it came within the week', () => {
    const soon = [{ ...ending[0], at: '2026-11-25T00:00:00Z', since: OPENED, of: 'return' }];
    const due = settled({ now: '2026-11-21T12:00:00.000Z', calendar, rules, ending: soon });
    expect(due).toMatchObject({ steps: [], wakeAt: '2026-11-25T00:00:00.000Z' });
  });

  it('wakes nobody where it is the plan of somebody who pays nothing', () => {
    expect(settled({ ending }).wakeAt).toBe('infinity');
  });
});

it('a balance is low below a fifth of what a period gives', () => {
  expect(settled({ rules: onPlan('basic') }).lowBelow).toBe(600_000);
  expect(settled().lowBelow).toBe(20_000); // of the 100 a day
});
