import fc from 'fast-check';
import { runAudit } from '../../db/audit';
import { type TestDatabase, testDatabase } from '../support/database';
import { commands, type Weights } from './commands';
import { USUAL } from './drafts';
import { createWorld } from './world';

/** At least so many operations, in runs of some hundred each: the budget of every run of the tests. */
const RUNS = 60;
const AT_ONE_TIME = 4;

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('whatever is asked of it, the ledger answers and keeps what the rules say', async () => {
  let operations = 0;
  const weights: Weights = { kinds: USUAL, clock: 3, settle: 1 };
  const property = fc.asyncProperty(commands(weights), async (steps) => {
    const world = await createWorld(database.db.pool, 3);
    await fc.asyncModelRun(() => ({ model: {}, real: world }), steps);
    await world.compare();
    operations += world.operations();
  });
  const one = () => fc.assert(property, { numRuns: RUNS / AT_ONE_TIME });
  await Promise.all(Array.from({ length: AT_ONE_TIME }, one));
  expect(operations).toBeGreaterThan(RUNS * 200);
  const { checks } = await runAudit(database.db.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
}, 600_000);
