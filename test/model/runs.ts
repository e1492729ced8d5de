import fc from 'fast-check';
import type { Pool } from 'pg';
import { commands, type Weights } from './commands';
import { type Kind, USUAL } from './drafts';
import { createWorld } from './world';
import { defined } from '../../domain/defined';

/** Runs of the model beside Postgres: a run is three new accounts and what is done to them. */

/** The mix of every run of the tests. */
export const USUAL_WEIGHTS: Weights = { kinds: USUAL, clock: 3, settle: 1, claim: 2 };

export interface Runs {
  weights: Weights;
  runs: number;
  /** Drawn if it is left out; printed when a run fails, with the path to it. */
  seed?: number;
  /** Stop where it fails, without looking for a smaller example. */
  endOnFailure?: boolean;
}

/** Throws with seed, path and the smallest example if Postgres and the model ever differ. How many operations it did. */
export async function runModel(
  pool: Pool,
  { weights, runs, seed, endOnFailure = false }: Runs,
): Promise<number> {
  let operations = 0;
  const property = fc.asyncProperty(commands(weights), async (steps) => {
    const world = await createWorld(pool, 3);
    await fc.asyncModelRun(() => ({ model: {}, real: world }), steps);
    await world.compare();
    operations += world.operations();
  });
  await fc.assert(property, { numRuns: runs, endOnFailure, ...defined({ seed }) });
  return operations;
}

/** A mix of a seed's own: some kinds never, some all the time, a clock that stands still or races. */
export function swarmWeights(seed: number): Weights {
  const weight = fc.constantFrom(0, 1, 2, 5, 15);
  const kinds = Object.keys(USUAL) as Kind[]; // of the constant's own keys
  const record = Object.fromEntries(kinds.map((kind) => [kind, weight])) as Record<Kind, typeof weight>;
  const mixes = fc.record({
    kinds: fc.record(record),
    clock: fc.constantFrom(0, 1, 5, 15),
    settle: fc.nat(3),
    claim: fc.nat(3),
  });
  const [mix] = fc.sample(mixes, { seed, numRuns: 1 });
  if (mix === undefined) throw new Error('a seed without a mix');
  // Without grants or anything that takes from them there is nothing to look at.
  const { grant, reserve, lease } = mix.kinds;
  return { ...mix, kinds: { ...mix.kinds, grant: grant + 1, reserve: reserve + 1, lease: lease + 1 } };
}
