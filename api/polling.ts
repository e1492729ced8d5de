export interface Patience {
  withinMs: number;
  everyMs: number;
  /** Of who asked, who may leave. */
  signal?: AbortSignal;
}

/** Asks until the answer is good, the time is over or who asked has left; the last answer, which may not be good. */
export async function pollUntil<T>(
  ask: () => Promise<T>,
  good: (answer: T) => boolean,
  { withinMs, everyMs, signal }: Patience,
): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (good(answer) || Date.now() >= until || signal?.aborted === true) return answer;
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
