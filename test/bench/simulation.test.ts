import { wakingsOf, worked } from '../../bench/simulation';
import { cycleStart } from '../../domain/time/calendar';
import { imagineart } from '../domain/catalogs';

/** The simulation of many accounts, on few. */

const fromMs = Date.parse('2026-12-01T00:00:00Z');
const crowd = {
  catalog: imagineart(),
  accounts: 1_000,
  fromMs,
  days: 31,
  jitterWindowMs: 900_000,
  anchorMs: () => cycleStart(fromMs, -1),
};
const sum = (of: Uint32Array, from: number, to: number) =>
  of.subarray(from, to).reduce((all, one) => all + one, 0);

it('renews each account once a month, within the window after its boundary, and announces what ends', () => {
  const { perSecond, timers, grants, notices } = wakingsOf({ ...crowd, plan: 'basic' });
  expect({ timers, grants, notices }).toEqual({ timers: 2_000, grants: 1_000, notices: 1_000 });
  expect(sum(perSecond, 0, 900)).toBe(1_000);
  const announced = 24 * 86_400; // a week before the next cycle
  expect(sum(perSecond, announced, announced + 900)).toBe(1_000);
  expect(perSecond.every((timers) => timers < 10)).toBe(true); // spread, not all at once
});

it('never wakes an account that pays nothing', () => {
  expect(wakingsOf({ ...crowd, plan: 'free' }).timers).toBe(0);
});

it('knows how long a queue is and how late the last of it', () => {
  expect(worked([10, 0, 0, 0], 4)).toEqual({
    peakPerSecond: 10,
    peakQueue: 6,
    seconds: 2.5,
    longestWaitSeconds: 2.5,
  });
  expect(worked([1, 1, 1], 4)).toMatchObject({ peakQueue: 0, longestWaitSeconds: 0.25 });
  expect(worked([0, 0], 4)).toMatchObject({ peakPerSecond: 0, seconds: 0 });
});
