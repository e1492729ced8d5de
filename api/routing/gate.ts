import { ProblemError } from '../problems/problem';

/**
 * In front of what grows with what there is: so much of it is at work at one time, of one API key less than all, and only so much
 * waits, of one key less than that. Whoever comes beyond that is told at once to come later; whoever leaves gives its place up.
 */

export interface Gate {
  /** Throws `overloaded` where too much waits already; who has `begun`, and comes for more, is never sent away. */
  through<T>(
    who: { holder: string; signal: AbortSignal; begun?: boolean },
    work: () => Promise<T>,
  ): Promise<T>;
}

interface Bounds {
  inAll: number;
  /** For one holder. */
  perHolder: number;
}

interface Waiting {
  holder: string;
  begin: () => void;
}

export function createGate({ atWork, atRest }: { atWork: Bounds; atRest: Bounds }): Gate {
  const waiting = new Set<Waiting>();
  const working = new Map<string, number>();
  let inAll = 0;

  function isFree(holder: string): boolean {
    return inAll < atWork.inAll && (working.get(holder) ?? 0) < atWork.perHolder;
  }

  function isFull(holder: string): boolean {
    if (waiting.size >= atRest.inAll) return true;
    let mine = 0;
    for (const one of waiting) if (one.holder === holder) mine += 1;
    return mine >= atRest.perHolder;
  }

  function start(): void {
    for (const next of waiting) {
      if (inAll >= atWork.inAll) return;
      if (!isFree(next.holder)) continue; // those behind it may be somebody else's
      waiting.delete(next);
      working.set(next.holder, (working.get(next.holder) ?? 0) + 1);
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
    async through({ holder, signal, begun = false }, work) {
      if (signal.aborted) throw hasLeft();
      if (!begun && !isFree(holder) && isFull(holder))
        throw new ProblemError('overloaded', {
          detail: 'More lists and reports are asked for than can be read at one time; ask again later.',
        });
      await new Promise<void>((resolve, reject) => {
        const leave = () => {
          waiting.delete(mine);
          reject(hasLeft());
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

/** Each part is read through the gate like any other report; the place is somebody else's while the client takes it. */
export async function* inTurns(
  more: AsyncIterable<string>,
  gate: Gate,
  who: { holder: string; signal: AbortSignal },
): AsyncGenerator<string, void> {
  const parts = more[Symbol.asyncIterator]();
  try {
    for (;;) {
      const part = await gate.through({ ...who, begun: true }, () => parts.next());
      if (part.done === true) return;
      yield part.value;
    }
  } finally {
    await parts.return?.();
  }
}

function hasLeft(): ProblemError {
  return new ProblemError('overloaded', { detail: 'The client left before its turn came.' });
}
