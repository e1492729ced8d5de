/** Milliseconds that single units took. */
export interface Latencies {
  add(ms: number): void;
  all(): readonly number[];
  clear(): void;
}

export function latencies(): Latencies {
  let times: number[] = [];
  return {
    add: (ms) => times.push(ms),
    all: () => times,
    clear: () => {
      times = [];
    },
  };
}

/** The nearest-rank percentile: the smallest value that at least `percent` of all are not above. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (found === undefined) throw new RangeError('there is no percentile of nothing');
  return found;
}
