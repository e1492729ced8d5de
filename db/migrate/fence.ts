import { type Asked, assertNotFenced, IncompatibleSchema } from './version';

/**
 * A process that was started before a release looks every so often whether it may still run: once a migration says that an
 * older binary must not (`min_compatible`), it may not, and that never changes back.
 */
export interface Fence {
  /** Why this process must not work any more; null: it may. */
  reason(): IncompatibleSchema | null;
  end(): void;
}

export interface FenceOptions {
  points: Asked;
  everySeconds: number;
  /** Called once. */
  onFenced: (reason: IncompatibleSchema) => void;
  /** A look that failed; the next one comes all the same. */
  onError: (error: unknown) => void;
}

export function startFence({ points, everySeconds, onFenced, onError }: FenceOptions): Fence {
  let found: IncompatibleSchema | null = null;
  const look = async () => {
    try {
      await assertNotFenced(points);
    } catch (error) {
      if (!(error instanceof IncompatibleSchema)) return onError(error);
      if (found !== null) return;
      found = error;
      clearInterval(timer);
      onFenced(error);
    }
  };
  const timer = setInterval(() => void look(), everySeconds * 1000);
  timer.unref();
  return { reason: () => found, end: () => clearInterval(timer) };
}
