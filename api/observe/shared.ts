/**
 * One answer for all who ask at about the same time, so that an open route costs the same with a hundred callers as with one:
 * while it is being made, and for so long after it was begun. A failure is told to those who wait for it, and not kept.
 */
export function shared<T>(work: () => Promise<T>, freshMs: number): () => Promise<T> {
  let last: { answer: Promise<T>; begunMs: number; made: boolean } | null = null;
  return () => {
    if (last !== null && (!last.made || performance.now() - last.begunMs < freshMs)) return last.answer;
    const begun = { answer: work(), begunMs: performance.now(), made: false };
    last = begun;
    begun.answer.then(
      () => {
        begun.made = true;
      },
      () => {
        if (last === begun) last = null;
      },
    );
    return begun.answer;
  };
}

/** Rejects when the work takes longer; the work itself continues. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Numbers that are asked for once in a while, whoever wants them, and one after the other: together they take one connection, also
 * where an answer does not come. What failed is not asked for again before its time, and nobody waits longer than `withinMs`.
 */
export function createSamples({ everyMs, withinMs }: { everyMs: number; withinMs: number }) {
  let line: Promise<unknown> = Promise.resolve();
  return <T>(ask: () => Promise<T>): (() => Promise<T>) => {
    let last: { answer: Promise<T>; begunMs: number; ended: boolean } | null = null;
    return () => {
      if (last === null || (last.ended && performance.now() - last.begunMs >= everyMs)) {
        const sample = { answer: line.then(ask), begunMs: performance.now(), ended: false };
        const end = () => {
          sample.ended = true;
        };
        line = sample.answer.then(end, end);
        last = sample;
      }
      return within(Math.max(0, withinMs - (performance.now() - last.begunMs)), last.answer);
    };
  };
}
