import type { Pool } from 'pg';
import { findGeneration, generationStatuses } from '../../db/generations/generations';
import { createWatcher, TooManyWatchers } from '../../db/generations/watcher';
import type { GenerationFacts } from '../../domain/generations/generation';
import { accountOf } from '../../domain/ids';

/** Generations as they are, and as they are once they have ended. */

export interface GenerationWatch {
  find(id: string): Promise<GenerationFacts | undefined>;
  /** The generation once it has ended, or as it is when the patience does. Throws TooManyWatchers, unless it `isDone`. */
  ended(id: string, patience: Patience): Promise<GenerationFacts | undefined>;
}

export interface Patience {
  withinMs: number;
  /** The API key of whoever waits: each key may have a bounded number of them. */
  holder: string;
  /** Aborted when the client leaves. */
  signal?: AbortSignal;
  /** What was asked for is done: where no more may wait, the generation as it is, and no refusal. */
  isDone?: boolean;
}

export interface GenerationWatchDeps {
  pool: Pick<Pool, 'query'>;
  /** A look at the generations that are waited for failed; the next one comes. */
  onError: (error: unknown) => void;
}

export function createGenerationWatch({ pool, onError }: GenerationWatchDeps): GenerationWatch {
  const statuses = createWatcher({ read: (ids) => generationStatuses(pool, ids), onError });
  const finding = new Map<string, Promise<GenerationFacts | undefined>>();

  async function find(id: string): Promise<GenerationFacts | undefined> {
    const account = accountOf(id);
    return account === null ? undefined : findGeneration(pool, { account, id });
  }

  /** What ends is read once for all who waited for it: it was read after it had ended. */
  function findOnce(id: string): Promise<GenerationFacts | undefined> {
    const begun = finding.get(id) ?? find(id).finally(() => finding.delete(id));
    finding.set(id, begun);
    return begun;
  }

  return {
    find,
    async ended(id, patience) {
      const found = await find(id);
      if (found?.status !== 'running' || patience.withinMs <= 0) return found;
      const seen = await untilEnded(id, patience).catch((error: unknown) => {
        if (patience.isDone === true && error instanceof TooManyWatchers) return false;
        throw error;
      });
      return seen ? findOnce(id) : find(id);
    },
  };

  /** False: the patience ended first. */
  function untilEnded(id: string, { withinMs, holder, signal }: Patience): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (ended: boolean) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', leave);
        unwatch();
        resolve(ended);
      };
      const leave = () => end(false);
      const unwatch = statuses.watch(id, {
        holder,
        seen(status) {
          if (status !== 'running') end(true);
        },
      });
      const timer = setTimeout(leave, withinMs);
      signal?.addEventListener('abort', leave);
      if (signal?.aborted === true) leave();
    });
  }
}
