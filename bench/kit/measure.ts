/** Rates, medians, and the loop that a client runs. Nothing here knows what is measured. */

export interface LoadOptions {
  /** How many callers work at one time, each with one call in flight. */
  clients: number;
  seconds: number;
  /** One unit of work, by the client with this number. */
  work: (client: number) => Promise<void>;
}

/**
 * Units per second, over the time until the last unit begun in the window has ended. The first error ends the
 * measurement: a rate with failures in it would say nothing.
 */
export async function perSecond({ clients, seconds, work }: LoadOptions): Promise<number> {
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  let done = 0;
  const failed = new AbortController();

  async function runClient(client: number): Promise<void> {
    while (!failed.signal.aborted && performance.now() < endMs) {
      await work(client);
      done += 1;
    }
  }

  const runs = Array.from({ length: clients }, (_, client) =>
    runClient(client).catch((error: unknown) => {
      failed.abort();
      throw error;
    }),
  );
  // The others are let finish their unit, so that nothing still runs when the caller reads the error.
  const outcomes = await Promise.allSettled(runs);
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return done / ((performance.now() - startedMs) / 1000);
}

export interface Contest {
  clients: number;
  /** Ours and what it is measured against; each gives units per second. */
  ours: () => Promise<number>;
  theirs: () => Promise<number>;
}

export interface Result {
  clients: number;
  ours: number;
  theirs: number;
  /** The median of the rounds' own ratios: both sides of one ratio saw the same minute of the machine. */
  ratio: number;
}

/** Ours, theirs, theirs, ours, ...: who goes first changes with every round, so that neither gets the warm machine. */
export async function inTurns({ clients, ours, theirs }: Contest, rounds: number): Promise<Result> {
  const ourRates: number[] = [];
  const theirRates: number[] = [];
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const oursFirst = round % 2 === 0;
    const first = await (oursFirst ? ours() : theirs());
    const second = await (oursFirst ? theirs() : ours());
    const [our, their] = oursFirst ? [first, second] : [second, first];
    ourRates.push(our);
    theirRates.push(their);
    ratios.push(our / their);
  }
  return { clients, ours: median(ourRates), theirs: median(theirRates), ratio: median(ratios) };
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) throw new RangeError('there is no median of nothing');
  const lower = sorted[middle - 1];
  return sorted.length % 2 === 0 && lower !== undefined ? (lower + upper) / 2 : upper;
}
