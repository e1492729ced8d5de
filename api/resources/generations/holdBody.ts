import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { StoredTake } from '../../../db/reserve/lease';
import { rfc3339 } from '../../../domain/account';
import { type MilliCredits, milli, toCredits } from '../../../domain/credits';
import { renderRefusal } from './keptAnswer';
import type { TextAnswer } from '../../routing/route';
import { creditsOut, instantOut } from '../../routing/schemas';

/** What the routes for holds and charges answer. */

export const hold = z
  .object({
    id: z.string(),
    account: z.string(),
    credits: z.object({
      held: creditsOut,
      captured: creditsOut.describe('Less what was refunded'),
      released: creditsOut.describe('Given back to the lots it came from'),
      forfeited: creditsOut.describe('Given back into lots that had expired'),
    }),
    draws: z.array(z.object({ bucket: z.string(), credits: creditsOut })).describe('Which buckets pay'),
    expiresAt: instantOut.nullable().describe('From this instant on it has ended; null for a charge'),
    balance: z
      .object({ available: creditsOut, held: creditsOut, debt: creditsOut })
      .describe('The account’s, right after'),
  })
  .meta({ id: 'Hold' });

/** The answer to a key, from what the ledger kept: the same bytes every time. */
export async function renderTake(options: {
  catalogs: CatalogStore;
  account: string;
  text: string;
  status: number;
}): Promise<TextAnswer> {
  const { catalogs, account, text, status } = options;
  const stored = JSON.parse(text) as StoredTake; // ledger.apply wrote it, around the facts of db/reserve/lease.ts
  const { after, facts } = stored;
  if (stored.status !== 'applied') {
    const { catalogVersion } = facts;
    if (catalogVersion === undefined) throw new Error(`the refusal ${text} does not say by which catalog`);
    // What `ifRefused` added is there, as the version shows.
    return renderRefusal(catalogs, {
      ...stored,
      catalogVersion,
      facts: facts as Parameters<typeof renderRefusal>[1]['facts'],
    });
  }
  const nothing = milli(0);
  const empty = {
    held: nothing,
    captured: nothing,
    released: nothing,
    forfeited: nothing,
    refunded: nothing,
  };
  const body = showHold({
    ...(after ?? { ...empty, draws: [], expiresAt: null }),
    id: after?.holdId ?? facts.id,
    account,
    balance: {
      available: milli(stored.available),
      held: milli(stored.held),
      debt: milli(stored.debt),
    },
  });
  return { status, text: JSON.stringify(body) };
}

interface Shown {
  id: string;
  account: string;
  held: MilliCredits;
  captured: MilliCredits;
  refunded: MilliCredits;
  released: MilliCredits;
  forfeited: MilliCredits;
  draws: readonly { bucket: string; milli: number }[];
  expiresAt: string | null;
  balance: { available: MilliCredits; held: MilliCredits; debt: MilliCredits };
}

export function showHold(one: Shown): z.output<typeof hold> {
  const { available, held, debt } = one.balance;
  return {
    id: one.id,
    account: one.account,
    credits: {
      held: toCredits(one.held),
      captured: toCredits(milli(one.captured - one.refunded)),
      released: toCredits(milli(one.released - one.forfeited)),
      forfeited: toCredits(one.forfeited),
    },
    draws: one.draws.map(({ bucket, milli: drawn }) => ({ bucket, credits: toCredits(milli(drawn)) })),
    expiresAt: rfc3339(one.expiresAt),
    balance: { available: toCredits(available), held: toCredits(held), debt: toCredits(debt) },
  };
}
