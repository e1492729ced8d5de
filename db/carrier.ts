import type { Pool } from 'pg';
import { type Instant, type Snapshot, toMs } from '../domain/account';
import type { Settlement } from '../domain/settle';
import { type Lanes, mayBeOneRequests } from './lanes';
import type { ApplyResult } from './operations';
import { throughReplacement } from './replacedFunctions';

/**
 * Carries accounts along their test clocks (rule 23): many at once, each to the instant it is due at, and settled
 * there as its timer would have it settled. Two round trips for all of them, however many they are.
 */

/** An account, and where its clock is to stand. */
export interface Stop {
  account: string;
  at: Instant;
}

export type Carried =
  /** `dueMs`: its next boundary. Not `settled`: somebody else changed it meanwhile, or there is more to settle here. */
  { account: string; nowMs: number; dueMs: number; settled: boolean } | { account: string; error: Error };

export interface CarrierDeps {
  pool: Pool;
  lanes: Lanes;
  due: (snapshot: Snapshot) => Promise<Settlement>;
}

export function createCarrier({
  pool,
  lanes,
  due,
}: CarrierDeps): (stops: readonly Stop[]) => Promise<Carried[]> {
  /** A clock that is further already stays there: another process carries this account, too. */
  async function moveClocks(stops: readonly Stop[]): Promise<Snapshot[]> {
    const move = () =>
      pool.query<{ value: Snapshot[] }>({
        name: 'ledger_move_clocks',
        text: 'SELECT ledger.move_clocks($1) AS value',
        values: [JSON.stringify(stops)],
      });
    const { rows } = await throughReplacement(move);
    return rows[0]?.value ?? []; // the shape is what ledger.snapshot builds
  }

  async function settle(snapshot: Snapshot): Promise<Carried> {
    const { account } = snapshot;
    try {
      const settlement = await due(snapshot);
      const result = await lanes.call(account, () => ({ account, operations: [], settlement }));
      return { account, ...outcome({ snapshot, settlement, result }) };
    } catch (error) {
      return { account, error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  return async function carry(stops: readonly Stop[]): Promise<Carried[]> {
    try {
      return await Promise.all((await moveClocks(stops)).map(settle));
    } catch (error) {
      const [only] = stops;
      if (only === undefined || !mayBeOneRequests(error)) throw error;
      if (stops.length === 1) return [{ account: only.account, error: error as Error }]; // the database's: it has a SQLSTATE
      // One of them spoiled it for all, such as an account that somebody keeps locked: each goes on its own.
      const alone = await Promise.all(stops.map((stop) => carry([stop])));
      return alone.flat();
    }
  };
}

function outcome(options: { snapshot: Snapshot; settlement: Settlement; result: ApplyResult }) {
  const { snapshot, settlement, result } = options;
  const nowMs = toMs(snapshot.now);
  if (result.result !== 'ok') return { nowMs, dueMs: nowMs, settled: false };
  const dueMs = Math.min(toMs(result.wakeAt), toMs(result.endsAt));
  return { nowMs, dueMs, settled: settlement.until === null };
}
