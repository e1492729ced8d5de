import { type Instant, type LotView, toMs } from '../account';
import { add, type MilliCredits, milli } from '../credits';

/** Which lots would pay for something, in the order the ledger takes them: rank, then expiry, then age. Pure. */

export interface Draws {
  /** By bucket, in the order they are drawn; empty where nothing is available. */
  draws: { bucket: string; milli: MilliCredits }[];
  /** All that may be spent on it. */
  spendable: MilliCredits;
}

export function drawFrom(options: {
  lots: readonly LotView[];
  now: Instant;
  excluded: readonly string[];
  amount: MilliCredits;
}): Draws {
  const { lots, now, excluded, amount } = options;
  const live = lots
    .filter(({ bucket, available, expiresAt }) => {
      return !excluded.includes(bucket) && available > 0 && toMs(expiresAt) > toMs(now);
    })
    .toSorted(inSpendOrder);
  const byBucket = new Map<string, number>();
  let missing: number = amount;
  for (const { bucket, available } of live) {
    const take = Math.min(missing, available);
    if (take > 0) byBucket.set(bucket, (byBucket.get(bucket) ?? 0) + take);
    missing -= take;
  }
  return {
    draws: [...byBucket].map(([bucket, taken]) => ({ bucket, milli: milli(taken) })),
    spendable: add(...live.map(({ available }) => available)),
  };
}

function inSpendOrder(a: LotView, b: LotView): number {
  if (a.rank !== b.rank) return a.rank - b.rank;
  const [aEnd, bEnd] = [toMs(a.expiresAt), toMs(b.expiresAt)];
  return aEnd === bEnd ? a.lot - b.lot : aEnd - bEnd; // two that never expire have no difference
}
