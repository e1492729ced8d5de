import { type AccountRules, type Snapshot, toMs } from '../domain/account';
import { cycleStart } from '../domain/time/calendar';
import type { Catalog } from '../domain/catalog/catalog';
import { milli } from '../domain/credits';
import { jitterMs } from '../domain/jitter';
import { type Settlement, settle } from '../domain/time/settle';

/**
 * Midnights and renewals of a million accounts in simulated time: the engine's own `settle` says what is due and when
 * each account wakes next, its own jitter when the timer fires, and a queue with a measured rate how late that is.
 */

const SECOND = 1_000;
const DAY = 86_400 * SECOND;

export interface Crowd {
  catalog: Catalog;
  accounts: number;
  /** Everybody's plan; `free` for one that costs nothing. */
  plan: string;
  fromMs: number;
  days: number;
  jitterWindowMs: number;
  /** When the cycle of the account with this number began. */
  anchorMs: (account: number) => number;
}

export interface Wakings {
  /** How many timers fire in each second after `fromMs`. */
  perSecond: Uint32Array;
  timers: number;
  grants: number;
  notices: number;
}

/** Every timer of the crowd. Accounts whose cycles began together have one calendar, and each its own jitter. */
export function wakingsOf(crowd: Crowd): Wakings {
  const { accounts, fromMs, days, jitterWindowMs } = crowd;
  const perSecond = new Uint32Array((days * DAY + jitterWindowMs) / SECOND + 1);
  const all = { perSecond, timers: 0, grants: 0, notices: 0 };
  const calendars = new Map<number, Calendar>();
  for (let n = 0; n < accounts; n += 1) {
    const anchorMs = crowd.anchorMs(n);
    const calendar = calendars.get(anchorMs) ?? calendarOf(crowd, anchorMs);
    calendars.set(anchorMs, calendar);
    all.grants += calendar.grants;
    all.notices += calendar.notices;
    all.timers += calendar.wakesMs.length;
    const lateMs = jitterMs({ account: `account-${n}`, windowMs: jitterWindowMs });
    for (const wakeMs of calendar.wakesMs) {
      const second = Math.floor((wakeMs + lateMs - fromMs) / SECOND);
      perSecond[second] = (perSecond[second] ?? 0) + 1;
    }
  }
  return all;
}

interface Calendar {
  wakesMs: number[];
  grants: number;
  notices: number;
}

/** One account's, settlement by settlement. What it was granted it leaves untouched until it ends. */
function calendarOf(crowd: Crowd, anchorMs: number): Calendar {
  const { fromMs, days, catalog } = crowd;
  const untilMs = fromMs + days * DAY;
  const calendar: Calendar = { wakesMs: [], grants: 0, notices: 0 };
  let snapshot = newcomer(crowd, 'account', anchorMs);
  for (;;) {
    const due = settle({ snapshot, catalog, touch: false });
    // How it came to be here is not a load of these days.
    if (toMs(snapshot.now) >= fromMs) {
      calendar.grants += due.steps.filter((step) => !('op' in step)).length;
      calendar.notices += due.steps.filter((step) => 'op' in step && step.op === 'notice').length;
    }
    const wakeMs = toMs(due.wakeAt);
    if (wakeMs >= untilMs) return calendar;
    if (wakeMs >= fromMs) calendar.wakesMs.push(wakeMs);
    snapshot = { ...snapshot, now: new Date(wakeMs).toISOString(), ...leftBy(snapshot, due, wakeMs) };
  }
}

/** What the ledger has of the account after a settlement; notices are told once, as their keys ensure. */
function leftBy(snapshot: Snapshot, due: Settlement, nowMs: number): Pick<Snapshot, 'calendar' | 'ending'> {
  const granted = due.steps.flatMap((step) =>
    'op' in step || step.expiresAt === null ? [] : [{ at: step.expiresAt, since: step.at, of: 'plan' }],
  );
  const ending = [...snapshot.ending, ...granted].filter(({ at }) => toMs(at) > nowMs);
  return { calendar: { ...snapshot.calendar, ...due.calendar }, ending };
}

function newcomer({ plan, catalog, fromMs }: Crowd, account: string, anchorMs: number): Snapshot {
  const free = plan === 'free';
  const rules: AccountRules = {
    catalog: catalog.catalog,
    plan,
    planSource: free ? 'free' : 'admin',
    planInterval: free ? null : 'month',
    paidUntil: null,
    pending: null,
    periodFrom: null,
    endedAt: null,
    testClock: null,
    timezone: 'UTC',
    zoneChange: null,
    anchor: new Date(anchorMs).toISOString(),
    createdAt: new Date(anchorMs).toISOString(),
    suspended: false,
    maxOpen: null,
    creditsPerDay: null,
    email: null,
    stripeCustomer: null,
  };
  const now = new Date(Math.max(anchorMs, cycleStart(fromMs, -1))).toISOString();
  return {
    account,
    now,
    rules,
    onTestClock: false,
    seq: 0,
    openHolds: 0,
    settleVersion: 0,
    rulesVersion: 1,
    available: milli(0),
    held: milli(0),
    debt: milli(0),
    members: {},
    calendar: {},
    ending: [],
    nextDueAt: '-infinity',
    endsAt: 'infinity',
    wakeAt: 'infinity',
  };
}

export interface Lateness {
  /** The most that came in one second. */
  peakPerSecond: number;
  peakQueue: number;
  /** From the first timer until the last account was settled. */
  seconds: number;
  /** How long the account waited that waited longest. */
  longestWaitSeconds: number;
}

/** A queue that is processed at a fixed rate, first come, first served. */
export function worked(perSecond: ArrayLike<number>, rate: number): Lateness {
  let [queue, peakQueue, peakPerSecond, longest] = [0, 0, 0, 0];
  let first: number | null = null;
  let last = 0;
  for (let second = 0; second < perSecond.length || queue > 0; second += 1) {
    const came = perSecond[second] ?? 0;
    if (came > 0) first ??= second;
    queue += came;
    peakPerSecond = Math.max(peakPerSecond, came);
    longest = Math.max(longest, queue / rate);
    peakQueue = Math.max(peakQueue, queue - rate);
    if (queue > 0) last = second + Math.min(1, queue / rate);
    queue = Math.max(0, queue - rate);
  }
  const seconds = first === null ? 0 : last - first;
  return { peakPerSecond, peakQueue: Math.round(peakQueue), seconds, longestWaitSeconds: longest };
}
