import type { GenerationStarter, Started } from './starter';

/**
 * Where no reservation is decided in time, starting more of them helps nobody: each is a workflow that the workers have to get
 * rid of when they are back, before they come to those that somebody waits for (rule 10). So after some in a row one a second is
 * started, and the others are told at once; the first one that is decided closes it again.
 */

/** This many accounts, and nobody decided in between: one whose row is locked holds up itself alone (rule 36). */
const ACCOUNTS_IN_A_ROW = 5;
const PROBE_EVERY_MS = 1_000;

export interface BreakerOptions {
  /** In monotonic milliseconds. */
  now?: () => number;
  /** It opened, or closed. */
  onChange: (isOpen: boolean) => void;
}

export function withBreaker(starter: GenerationStarter, options: BreakerOptions): GenerationStarter {
  const { now = () => performance.now(), onChange } = options;
  const undecided = new Set<string>();
  let decidedMs = -Infinity;
  let probedMs = -Infinity;
  const isOpen = () => undecided.size >= ACCOUNTS_IN_A_ROW;

  function heard(started: Started, { account, begunMs }: { account: string; begunMs: number }): void {
    const wasOpen = isOpen();
    if (started.kind === 'undecided') {
      // What began before another was decided says nothing of what is now.
      if (begunMs > decidedMs && !wasOpen) undecided.add(account);
      if (isOpen() && !wasOpen) probedMs = now();
    } else {
      undecided.clear();
      decidedMs = now();
    }
    if (isOpen() !== wasOpen) onChange(isOpen());
  }

  return {
    ...starter,
    async start(input) {
      const begunMs = now();
      if (isOpen()) {
        if (begunMs - probedMs < PROBE_EVERY_MS) return { kind: 'not_started' };
        probedMs = begunMs;
      }
      const started = await starter.start(input);
      heard(started, { account: input.account, begunMs });
      return started;
    },
  };
}
