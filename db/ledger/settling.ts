import { type BalanceSnapshot, type Instant, type Snapshot, toMs } from '../../domain/account';
import { dueSince, type Settlement, settleBy } from '../../domain/time/settle';
import type { CatalogStore } from '../catalogs/catalogs';
import { LedgerContended, MAX_ATTEMPTS } from './accountQueue';
import type { GroupCommit } from './groupCommit';
import type { KnownAccounts } from './knownAccounts';

/** What is being asked about, and so what has to be written down first. */
export type Aspect = 'plan' | 'holds' | 'grants';

/** Brings accounts up to their clocks: the steps of the calendar that are due are worked out here and written by the ledger (rule 11). */
export interface Settling {
  due(known: Snapshot, touch: boolean): Promise<Settlement>;
  settle(account: string, options: { touch: boolean }): Promise<Settled | null>;
  current(account: string, aspect: Aspect): Promise<Snapshot | null>;
  balance(account: string): Promise<BalanceSnapshot | null>;
}

export interface Settled {
  wakeAt: Instant;
  now: Instant;
  onTestClock: boolean;
  plan: string;
}

export interface SettlingDeps {
  catalogs: CatalogStore;
  accounts: KnownAccounts;
  groupCommit: GroupCommit;
  /** Wakes the account's workflow. */
  ring: (account: string) => void;
  findBalance: (account: string) => Promise<BalanceSnapshot | null>;
}

export function createSettling({
  catalogs,
  accounts,
  groupCommit,
  ring,
  findBalance,
}: SettlingDeps): Settling {
  async function snapshot(account: string): Promise<Snapshot | null> {
    return (await accounts.read(account))?.snapshot ?? null;
  }

  async function due(known: Snapshot, touch: boolean): Promise<Settlement> {
    const versions = await catalogs.inForceFrom(known.rules.catalog, dueSince(known), toMs(known.now));
    return settleBy({ snapshot: known, versions, touch }).settlement;
  }

  async function settleAccount(account: string, { touch }: { touch: boolean }) {
    let known = await snapshot(account);
    for (let attempt = 0; attempt < MAX_ATTEMPTS && known !== null; attempt += 1) {
      const settlement = await due(known, touch);
      const result = await groupCommit.call(account, () => ({ account, operations: [], settlement }));
      if (result.result === 'unknown_account') return null;
      if (result.result !== 'ok') {
        known = accounts.remember(result.snapshot).snapshot;
        continue;
      }
      if (result.ring === true) ring(account);
      const settled: Snapshot | null = await snapshot(account);
      const done =
        settled === null ||
        (settlement.until === null && (!touch || toMs(settled.nextDueAt) > toMs(settled.now)));
      if (settled !== null && done) {
        const { wakeAt, now, onTestClock, rules } = settled;
        return { wakeAt, now, onTestClock, plan: rules.plan };
      }
      known = settled;
    }
    if (known === null) return null;
    throw new LedgerContended(
      `account ${account} could not be settled after ${MAX_ATTEMPTS} attempts; try again`,
    );
  }

  async function current(account: string, aspect: Aspect): Promise<Snapshot | null> {
    const found = await snapshot(account);
    if (found === null || !(await isBehind(found, aspect))) return found;
    await settleAccount(account, { touch: false });
    return snapshot(account);
  }

  async function isBehind(known: Snapshot, aspect: Aspect): Promise<boolean> {
    const nowMs = toMs(known.now);
    const { pending } = known.rules;
    switch (aspect) {
      case 'plan':
        return pending !== null && toMs(pending.at) <= nowMs;
      case 'holds':
        return toMs(known.endsAt) <= nowMs;
      default: // grants
        return toMs(known.nextDueAt) <= nowMs && (await due(known, false)).steps.length > 0;
    }
  }

  async function balance(account: string): Promise<BalanceSnapshot | null> {
    const found = await findBalance(account);
    if (found === null) return null;
    if (toMs(found.now) < Math.min(toMs(found.nextDueAt), toMs(found.endsAt))) return found;
    await settleAccount(account, { touch: true });
    return findBalance(account);
  }

  return { due, settle: settleAccount, current, balance };
}
