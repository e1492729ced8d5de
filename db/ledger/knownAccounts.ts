import { type Instant, type Snapshot, toMs } from '../../domain/account';
import type { Coming } from '../../domain/time/outlook';
import type { CatalogStore, CatalogVersion } from '../catalogs/catalogs';
import { type ClockReading, onDatabaseClock } from '../connection/databaseClock';
import type { TimedSnapshot } from './operations';
import { createOutlooks } from './outlooks';

/** An account as it was read, and what time it was then. */
export interface Known {
  snapshot: Snapshot;
  reading: ClockReading;
}

/** An account to decide on, with the catalog in force. */
export interface BuildContext extends Known {
  catalog: CatalogVersion;
  /** What comes to the account on its own, and how it stands at these instants beside. */
  coming: (also: readonly Instant[]) => Coming[];
}

/**
 * Accounts as they were lately. Rules change rarely and the database checks their version under the lock, so a remembered
 * snapshot saves a round trip and can never decide anything that no longer holds: a stale one is answered with a fresh one.
 */
export interface KnownAccounts {
  /** As it is now. Null: there is no such account. */
  read(account: string): Promise<Known | null>;
  /** As it was less than a minute ago, at the time it is now. */
  recent(account: string): Promise<Known | null>;
  /** What the database has just told. */
  remember(snapshot: TimedSnapshot): Known;
  forget(account: string): void;
  contextOf(known: Known): Promise<BuildContext>;
}

const MAX_CACHED_SNAPSHOTS = 10_000;
const SNAPSHOT_TTL_MS = 60_000;

export function createKnownAccounts({
  catalogs,
  find,
}: {
  catalogs: CatalogStore;
  find: (account: string) => Promise<TimedSnapshot | null>;
}): KnownAccounts {
  const cached = new Map<string, Known>();
  const outlookOf = createOutlooks();

  function remember(snapshot: TimedSnapshot): Known {
    const known = {
      snapshot,
      reading: { databaseMs: toMs(snapshot.clock), heardMs: performance.now() },
    };
    const { account, onTestClock } = snapshot;
    cached.delete(account);
    if (onTestClock) return known; // its `now` stands still and then jumps: always read it
    cached.set(account, known);
    if (cached.size > MAX_CACHED_SNAPSHOTS) {
      const [oldest] = cached.keys();
      if (oldest !== undefined) cached.delete(oldest);
    }
    return known;
  }

  async function read(account: string): Promise<Known | null> {
    const found = await find(account);
    return found === null ? null : remember(found);
  }

  return {
    read,
    remember,
    forget: (account) => void cached.delete(account),
    async recent(account) {
      const known = cached.get(account);
      if (known === undefined || performance.now() - known.reading.heardMs > SNAPSHOT_TTL_MS)
        return read(account);
      const { snapshot: then, reading } = known;
      // Journal time may be ahead of the clock, and no account's time runs backwards.
      const nowMs = Math.max(toMs(then.now), onDatabaseClock(reading, performance.now()));
      return { snapshot: { ...then, now: new Date(nowMs).toISOString() }, reading };
    },
    async contextOf(known) {
      const { snapshot } = known;
      const versions = await catalogs.inForceFrom(snapshot.rules.catalog, toMs(snapshot.now));
      const [catalog] = versions;
      return { ...known, catalog, coming: (also) => outlookOf(snapshot, versions, also) };
    },
  };
}
