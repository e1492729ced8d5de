import { ProblemError } from './problems';

/**
 * In front of what grows with what there is: so much of it is at work at one time, of one API key less than all, and only so much
 * waits. Whoever comes beyond that is told at once to come later; whoever leaves gives its place up.
 */

export interface Gate {
  /** Throws `overloaded` where too much waits already. */
  through<T>(who: { holder: string; signal: AbortSignal }, work: () => Promise<T>): Promise<T>;
}

export interface GateLimits {
  atOnce: number;
  /** Of one holder. */
  perHolder: number;
  waiting: number;
}

interface Waiting {
  holder: string;
  begin: () => void;
}

export function createGate({ atOnce, perHolder, waiting: mostWaiting }: GateLimits): Gate {
  const waiting = new Set<Waiting>();
  const working = new Map<string, number>();
  let inAll = 0;

  function start(): void {
    for (const next of waiting) {
      if (inAll >= atOnce) return;
      const mine = working.get(next.holder) ?? 0;
      if (mine >= perHolder) continue; // those behind it may be somebody else's
      waiting.delete(next);
      working.set(next.holder, mine + 1);
      inAll += 1;
      next.begin();
    }
  }

  function end(holder: string): void {
    const left = (working.get(holder) ?? 0) - 1;
    if (left > 0) working.set(holder, left);
    else working.delete(holder);
    inAll -= 1;
    start();
  }

  return {
    async through({ holder, signal }, work) {
      if (waiting.size >= mostWaiting)
        throw new ProblemError('overloaded', {
          detail: 'More lists and reports are asked for than can be read at one time; ask again later.',
        });
      await new Promise<void>((resolve, reject) => {
        const leave = () => {
          waiting.delete(mine);
          reject(new ProblemError('overloaded', { detail: 'The client left before its turn came.' }));
        };
        const mine = {
          holder,
          begin() {
            signal.removeEventListener('abort', leave);
            resolve();
          },
        };
        waiting.add(mine);
        signal.addEventListener('abort', leave);
        start();
      });
      try {
        return await work();
      } finally {
        end(holder);
      }
    },
  };
}
