import fc from 'fast-check';
import { runAudit } from '../../db/audit';
import { type TestDatabase, testDatabase } from '../support/database';
import { ledgerOf } from '../support/ledger/ledger';
import { type Draft, drafts, type Hand, operationOf, USUAL } from './drafts';
import { newAccount } from './reference/account';
import { instantText, DAY } from './reference/instants';
import { applyCall, type ModelOperation } from './reference/model';
import { runModel, USUAL_WEIGHTS } from './runs';
import { START } from './world';

/** Rules 27 and 28, and every other that the ledger keeps on its own. The budget of every run of the tests: the fewest runs, and the fewest operations of a run on average. */
const RUNS = 500;
const OPERATIONS_EACH = 200;
/** Runs that continue beside each other, so that the database always has something to do. */
const AT_ONE_TIME = 4;

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

test('whatever is asked of it, the ledger answers and keeps what the rules say', async () => {
  const some = () => runModel(database.db.pool, { weights: USUAL_WEIGHTS, runs: RUNS / AT_ONE_TIME });
  const counts = await Promise.all(Array.from({ length: AT_ONE_TIME }, some));
  let operations = counts.reduce((all, count) => all + count, 0);
  // How many a run has is drawn, too.
  while (operations < RUNS * OPERATIONS_EACH)
    operations += await runModel(database.db.pool, { weights: USUAL_WEIGHTS, runs: 10 });

  const { checks } = await runAudit(database.db.pool);
  expect(checks.filter(({ violations }) => violations > 0)).toEqual([]);
}, 600_000);

test('a batch of operations answers as the same operations one by one', async () => {
  const ledger = ledgerOf(database.db, database.owner);
  const property = fc.asyncProperty(
    fc.array(drafts(USUAL), { minLength: 2, maxLength: 40, size: 'max' }),
    async (plan) => {
      const operations = operationsOf(plan);
      const [whole, parts] = [
        await ledger.open({ clockAt: instantText(START) }),
        await ledger.open({ clockAt: instantText(START) }),
      ];
      const together = await ledger.apply(whole, operations);
      const apart = [];
      for (const operation of operations) apart.push(await ledger.one(parts, operation));
      expect(together).toMatchObject({ result: 'ok', replies: apart });
    },
  );
  await fc.assert(property, { numRuns: 60 });
}, 120_000);

/** As they are in any account, without changes of rules, after which single calls would have to settle first. */
function operationsOf(plan: readonly Draft[]): ModelOperation[] {
  const model = { ...newAccount(START), nextDueAt: START + DAY };
  const hand: Hand = { account: 'twins', model, asked: [], holds: [] };
  return plan.flatMap((draft) => {
    const operation = draft.kind === 'rules' ? null : operationOf(draft, hand);
    if (operation === null) return [];
    hand.asked.push(operation);
    applyCall(model, { operations: [operation], settlement: null });
    return [operation];
  });
}
