import type { Instant, Snapshot } from '../../domain/account';
import { toMs } from '../../domain/account';
import { type Coming, outlook } from '../../domain/time/outlook';
import type { CatalogVersion } from '../catalogs/catalogs';

/**
 * Every refusal says what the account will receive, and refusals, like all requests, are decided under the lock. So it
 * is worked out once for the rules and calendar that were read, and again when a boundary has passed or a catalog is published.
 */

type Versions = readonly [CatalogVersion, ...CatalogVersion[]];

interface Known {
  coming: Coming[];
  versions: string;
  untilMs: number;
}

export function createOutlooks() {
  // By the rules as they were read: a snapshot that is cached keeps them, and what is read again brings its own.
  const known = new WeakMap<Snapshot['rules'], Map<string, Known>>();

  return function outlookOf(snapshot: Snapshot, versions: Versions, also: readonly Instant[]): Coming[] {
    const numbers = versions.map(({ version }) => version).join();
    const of = known.get(snapshot.rules) ?? new Map<string, Known>();
    known.set(snapshot.rules, of);
    const key = also.join();
    const found = of.get(key);
    if (found !== undefined && found.versions === numbers && toMs(snapshot.now) < found.untilMs)
      return found.coming;
    const coming = outlook({ snapshot, versions, also });
    const untilMs = coming[0] === undefined ? Number.POSITIVE_INFINITY : toMs(coming[0].at);
    of.set(key, { coming, versions: numbers, untilMs });
    return coming;
  };
}
