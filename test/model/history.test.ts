import { type TestDatabase, testDatabase } from '../support/database';
import { openProcesses, playHistory, type Process } from './histories';

let database: TestDatabase;
let processes: Process[];

beforeAll(async () => {
  database = await testDatabase({ patient: true });
  // Clients here ask for what they cannot have as fast as they can.
  await database.owner.pool.query(
    'CREATE OR REPLACE FUNCTION ledger.refusals_a_minute() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1000000 $$',
  );
  processes = openProcesses(database);
});
afterAll(async () => {
  await Promise.all(processes.map(({ db }) => db.close()));
  await database.close();
});

test.each([
  ['of everything', {}],
  ['of the same keys over and over', { again: 40 }],
  ['of captures, releases and refunds of the same holds', { capture: 30, release: 15, refund: 15 }],
  ['of grants while reserves wait', { grant: 20, reserve: 40, lease: 20 }],
])('a history %s is one that could have happened one after the other', async (_, weights) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  await expect(playHistory({ database, processes, weights, seed })).resolves.toBeUndefined();
});
