/**
 * One look for all who wait for something to change. Whoever waits says what for; while somebody does, one query at a time
 * asks for all of it together, and each hears of its own only when it has changed. What a waiter costs is then an entry of that
 * query, and a client that waits holds no connection of the database.
 */

export interface Watching<Value> {
  /** Whose it is: an API key. */
  holder: string;
  /** Told the value as it is now, and whenever it is another; undefined where there is none. */
  seen: (value: Value | undefined) => void;
}

export interface Watcher<Value> {
  /** Watches until the function that it returns is called. Throws TooManyWatchers. */
  watch(subject: string, watching: Watching<Value>): () => void;
}

export interface WatcherOptions<Value> {
  /** The values of these subjects; those that there are not are missing. */
  read: (subjects: readonly string[]) => Promise<ReadonlyMap<string, Value>>;
  /** A look that failed; the next one comes. The callers keep waiting. */
  onError: (error: unknown) => void;
  /** From the beginning of one look to the next. */
  everyMs?: number;
  /** Who may watch at one time. */
  limits?: { holder: number; inAll: number };
}

/** Too many wait already, of this key or in this process. Nothing was done. */
export class TooManyWatchers extends Error {
  override readonly name = 'TooManyWatchers';
}

const DEFAULT_EVERY_MS = 25;
const DEFAULT_LIMITS = { holder: 2_000, inAll: 10_000 };
/** Subjects of one query. */
const AT_ONCE = 1_000;
/** A database that takes long is asked less often: looks take a quarter of one connection's time at most. */
const REST_PER_LOOK = 3;
const AFTER_ERROR_MS = 250;

interface Subject<Value> {
  watchers: Set<Watching<Value>>;
  /** Those that have not been told anything yet. */
  fresh: Set<Watching<Value>>;
  /** As it was seen last, by those that are not fresh. */
  value: Value | undefined;
}

export function createWatcher<Value extends string | number>({
  read,
  onError,
  everyMs = DEFAULT_EVERY_MS,
  limits = DEFAULT_LIMITS,
}: WatcherOptions<Value>): Watcher<Value> {
  const subjects = new Map<string, Subject<Value>>();
  const held = new Map<string, number>();
  let inAll = 0;
  let running = false;
  let lookedMs = Number.NEGATIVE_INFINITY;

  /** Looks for as long as anybody waits. */
  async function run(): Promise<void> {
    running = true;
    await pause(lookedMs + everyMs - performance.now());
    while (subjects.size > 0) {
      lookedMs = performance.now();
      let restMs = 0;
      try {
        await look([...subjects.keys()]);
        restMs = REST_PER_LOOK * (performance.now() - lookedMs);
      } catch (error) {
        onError(error);
        restMs = AFTER_ERROR_MS;
      }
      await pause(Math.max(lookedMs + everyMs - performance.now(), restMs));
    }
    running = false;
  }

  async function look(asked: readonly string[]): Promise<void> {
    for (let from = 0; from < asked.length; from += AT_ONCE) {
      const some = asked.slice(from, from + AT_ONCE);
      // Whoever comes while the query is at work may have seen something newer already: it is told by the next one.
      const known = some.map((name) => [name, new Set(subjects.get(name)?.watchers)] as const);
      const values = await read(some);
      for (const [name, watchers] of known) tell(name, { watchers, value: values.get(name) });
    }
  }

  function tell(
    name: string,
    { watchers, value }: { watchers: ReadonlySet<Watching<Value>>; value: Value | undefined },
  ): void {
    const subject = subjects.get(name);
    if (subject === undefined) return;
    const changed = subject.value !== value;
    subject.value = value;
    for (const watching of watchers) {
      if (!subject.watchers.has(watching)) continue;
      if (subject.fresh.delete(watching) || changed) watching.seen(value);
    }
  }

  function leave(name: string, watching: Watching<Value>): void {
    const subject = subjects.get(name);
    if (subject?.watchers.delete(watching) !== true) return;
    subject.fresh.delete(watching);
    if (subject.watchers.size === 0) subjects.delete(name);
    inAll -= 1;
    const left = (held.get(watching.holder) ?? 0) - 1;
    if (left > 0) held.set(watching.holder, left);
    else held.delete(watching.holder);
  }

  return {
    watch(name, { holder, seen }) {
      const mine = held.get(holder) ?? 0;
      if (mine >= limits.holder || inAll >= limits.inAll)
        throw new TooManyWatchers(
          mine >= limits.holder
            ? `${mine} requests of this key wait already`
            : `${inAll} requests wait already`,
        );
      const watching = { holder, seen };
      const subject = subjects.get(name) ?? { watchers: new Set(), fresh: new Set(), value: undefined };
      subjects.set(name, subject);
      subject.watchers.add(watching);
      subject.fresh.add(watching);
      held.set(holder, mine + 1);
      inAll += 1;
      if (!running) void run();
      return () => leave(name, watching);
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
