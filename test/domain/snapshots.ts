import type { AccountRules, BalanceSnapshot, LotView } from '../../domain/account';
import { milli } from '../../domain/credits';
import type { GrantStep, Settlement } from '../../domain/time/settle';

/** A free account in London, opened on the morning of 21 November 2026 and never settled. */

export const OPENED = '2026-11-21T09:00:00.000Z';

export interface SnapshotChange extends Omit<Partial<BalanceSnapshot>, 'rules'> {
  rules?: Partial<AccountRules>;
}

export function snapshotOf({ rules, ...change }: SnapshotChange = {}): BalanceSnapshot {
  return {
    account: 'ada',
    now: OPENED,
    onTestClock: true,
    seq: 0,
    available: milli(0),
    held: milli(0),
    debt: milli(0),
    openHolds: 0,
    nextDueAt: '-infinity',
    endsAt: 'infinity',
    wakeAt: 'infinity',
    rulesVersion: 1,
    settleVersion: 0,
    calendar: {},
    members: {},
    ending: [],
    lots: [],
    ...change,
    rules: {
      catalog: 'imagineart',
      plan: 'free',
      planSource: 'free',
      planInterval: null,
      paidUntil: null,
      pending: null,
      periodFrom: null,
      endedAt: null,
      testClock: null,
      timezone: 'Europe/London',
      anchor: OPENED,
      zoneChange: null,
      suspended: false,
      maxOpen: null,
      creditsPerDay: null,
      email: null,
      stripeCustomer: null,
      createdAt: OPENED,
      ...rules,
    },
  };
}

/** The grants that are due. */
export function grantsOf({ steps }: Settlement): GrantStep[] {
  return steps.filter((step): step is GrantStep => !('op' in step));
}

/** A plan an administrator set. */
export function onPlan(plan: string, more: Partial<AccountRules> = {}): Partial<AccountRules> {
  return { plan, planSource: 'admin', planInterval: 'month', ...more };
}

export function lotOf(
  change: Partial<Omit<LotView, 'granted' | 'available' | 'held'>> & LotAmounts,
): LotView {
  const { granted, available = granted, held = 0, ...more } = change;
  return {
    lot: 1,
    bucket: 'daily',
    rank: 1,
    effectiveAt: OPENED,
    expiresAt: '2026-11-22T00:00:00.000Z',
    source: 'daily:ada:2026-11-21',
    over: false,
    ...more,
    granted: milli(granted * 1000),
    available: milli(available * 1000),
    held: milli(held * 1000),
  };
}

/** In credits. */
interface LotAmounts {
  granted: number;
  available?: number;
  held?: number;
}
