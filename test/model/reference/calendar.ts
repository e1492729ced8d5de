import type { GrantStep, Settlement } from '../../../domain/time/settle';
import { milli } from '../../../domain/credits';
import type { Account } from './account';
import { DAY, HOUR, instantText, type Micros } from './instants';

/** A calendar as plain as can be: daily credits that replace yesterday's, and a plan's once in thirty days, late ones too. */

export interface Calendar {
  /** The steps that are due by then, with versions as the account was last seen. */
  due(account: Account, at: Micros): Settlement;
}

const SLOT = 30 * DAY;

export function createCalendar(start: Micros): Calendar {
  let granted = 0;
  return {
    due({ settleVersion, rulesVersion }, at) {
      const slot = Math.floor((at - start) / SLOT);
      // The present slot and day are named again each time: what was granted before must be known as done.
      const slots = Array.from({ length: slot - granted + 1 }, (_, n) => granted + n);
      granted = slot;
      const today = start + Math.floor((at - start) / DAY) * DAY;
      const steps = [...slots.map((n) => planStep(start + n * SLOT)), dailyStep(today)];
      return {
        settleVersion,
        rulesVersion,
        calendar: {},
        wakeAt: 'infinity',
        lowBelow: null,
        noticeSeconds: null,
        until: null,
        steps: steps.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)),
        nextDueAt: instantText(today + DAY),
      };
    },
  };
}

function dailyStep(from: Micros): GrantStep {
  const source = `daily:${instantText(from)}`;
  return {
    key: `sys:${source}`,
    hash: 'daily',
    bucket: 'daily',
    rank: 1,
    source,
    replaces: true,
    at: instantText(from),
    expiresAt: instantText(from + DAY),
    amount: milli(5_000),
    graceSeconds: null,
  };
}

/** Plan credits outlive their slot a little, so that a renewal finds and ends them. */
function planStep(from: Micros): GrantStep {
  const source = `plan:${instantText(from)}`;
  return {
    key: `sys:${source}`,
    hash: 'plan',
    bucket: 'plan',
    rank: 2,
    source,
    replaces: true,
    at: instantText(from),
    expiresAt: instantText(from + SLOT + 2 * HOUR),
    amount: milli(20_000),
    graceSeconds: 86_400,
  };
}
