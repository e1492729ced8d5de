import type { Pool } from 'pg';
import { type Instant, type Snapshot, toMs } from '../../domain/account';
import type { Settlement } from '../../domain/time/settle';
import { type GroupCommit, mayBeOneRequests } from './groupCommit';
import { BUSY, type LockWaits } from './lockWaits';
import type { ApplyResult } from './operations';
import { ask } from '../connection/prepared';
import { throughReplacement } from '../migrate/replacedFunctions';

/**
 * Advances the test clocks of many accounts at once (rule 23): each to the instant at which it is due, where it is settled as its
 * timer would do it. Two round trips for all of them, however many they are.
 */

/** An account, and where its clock is to stand. */
export interface Stop {
  account: string;
  at: Instant;
}

export type Advanced =
  /** `dueMs`: its next boundary. Not `settled`: somebody else changed it meanwhile, or there is more to settle here. */
  { account: string; nowMs: number; dueMs: number; settled: boolean } | { account: string; error: Error };

export interface ClockAdvanceDeps {
  pool: Pool;
  groupCommit: GroupCommit;
  locks: LockWaits;
  due: (snapshot: Snapshot) => Promise<Settlement>;
}

export function createClockAdvance({
  pool,
  groupCommit,
  locks,
  due,
}: ClockAdvanceDeps): (stops: readonly Stop[]) => Promise<Advanced[]> {
  /** A clock that is further already stays there: another process advances this account, too. */
  async function moveClocks(stops: readonly Stop[], { wait }: { wait: boolean }): Promise<Snapshot[]> {
    const move = () =>
      ask<{ value: Snapshot[] }>(pool, {
        name: 'ledger_move_clocks',
        text: 'SELECT ledger.move_clocks($1, $2) AS value',
        values: [JSON.stringify(stops), wait],
      });
    const { rows } = await throughReplacement(move);
    return rows[0]?.value ?? []; // the shape is what ledger.snapshot builds
  }

  /** For one that somebody else has locked, or that does not exist. */
  async function moveAlone(stop: Stop): Promise<Advanced[]> {
    try {
      const moved = await locks.through(stop.account, async (wait) => {
        const found = await moveClocks([stop], { wait });
        return found.length === 0 && !wait ? BUSY : found;
      });
      return await Promise.all(moved.map(settle));
    } catch (error) {
      return [{ account: stop.account, error: error instanceof Error ? error : new Error(String(error)) }];
    }
  }

  async function settle(snapshot: Snapshot): Promise<Advanced> {
    const { account } = snapshot;
    try {
      const settlement = await due(snapshot);
      const result = await groupCommit.call(account, () => ({ account, operations: [], settlement }));
      return { account, ...outcome({ snapshot, settlement, result }) };
    } catch (error) {
      return { account, error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  return async function advance(stops: readonly Stop[]): Promise<Advanced[]> {
    const moved = await moveClocks(stops, { wait: false }).catch((error: unknown) => {
      if (!mayBeOneRequests(error)) throw error;
      return []; // one of them spoiled it for all
    });
    const snapshots = new Map(moved.map((snapshot) => [snapshot.account, snapshot]));
    const advanced = await Promise.all(
      stops.map(async (stop) => {
        const snapshot = snapshots.get(stop.account);
        return snapshot === undefined ? moveAlone(stop) : [await settle(snapshot)];
      }),
    );
    return advanced.flat();
  };
}

function outcome(options: { snapshot: Snapshot; settlement: Settlement; result: ApplyResult }) {
  const { snapshot, settlement, result } = options;
  const nowMs = toMs(snapshot.now);
  if (result.result !== 'ok') return { nowMs, dueMs: nowMs, settled: false };
  const dueMs = Math.min(toMs(result.wakeAt), toMs(result.endsAt));
  return { nowMs, dueMs, settled: settlement.until === null };
}
