import { type CalendarState, type Snapshot, toMs } from './account';
import { firstResetAfterZoneChange } from './calendar';

/** When each daily bucket may be filled again after a change of zone (rule 21). */
export function rezoned(snapshot: Snapshot, zone: string): CalendarState {
  const nowMs = toMs(snapshot.now);
  const daily = Object.entries(snapshot.calendar).filter(([, done]) => done.from !== undefined);
  return Object.fromEntries(
    daily.map(([bucket, done]) => {
      const lastResetMs = toMs(done.from ?? snapshot.rules.createdAt);
      const nextMs = firstResetAfterZoneChange({ lastResetMs, nowMs, zone });
      return [bucket, { ...done, nextAt: new Date(nextMs).toISOString() }];
    }),
  );
}
