import { runAudit } from '../../db/audit';
import { runModel, swarmWeights } from '../model/runs';
import { type TestDatabase, testDatabase } from '../support/database';

/**
 * A swarm: every seed draws its own mix and rates, and plays some runs of it beside the model. A failing seed prints itself;
 * HOLDFAST_LONG_SEED=<seed> HOLDFAST_LONG_OPERATIONS=1 plays it again.
 */
const OPERATIONS = Number(process.env['HOLDFAST_LONG_OPERATIONS'] ?? 1_000_000);
const FIRST_SEED = Number(process.env['HOLDFAST_LONG_SEED'] ?? Math.floor(Math.random() * 2 ** 30));
const RUNS_EACH = 20;
const AT_ONE_TIME = 4;
const SEVERAL_HOURS = 6 * 3_600_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test(
  'a swarm of seeds finds no difference between the ledger and the rules',
  async () => {
    const startedMs = performance.now();
    let operations = 0;
    let next = FIRST_SEED;
    const play = async () => {
      while (operations < OPERATIONS) {
        const seed = next;
        next += 1;
        try {
          const options = { weights: swarmWeights(seed), runs: RUNS_EACH, seed };
          const done = await runModel(database.db.pool, options);
          operations += done; // not before the await: others count meanwhile
        } catch (error) {
          throw new Error(`seed ${seed} failed`, { cause: error });
        }
      }
    };
    const atOneTime = OPERATIONS === 1 ? 1 : AT_ONE_TIME;
    await Promise.all(Array.from({ length: atOneTime }, play));
    const seconds = (performance.now() - startedMs) / 1000;
    const rate = Math.round(operations / seconds);
    process.stdout.write(
      `${next - FIRST_SEED} seeds from ${FIRST_SEED}, ${operations} operations in ${Math.round(seconds)} s, ${rate}/s\n`,
    );
    const { checks } = await runAudit(database.db.pool);
    expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
  },
  SEVERAL_HOURS,
);
