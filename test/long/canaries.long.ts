import { openProcesses, playHistory } from '../model/histories';
import { runModel, USUAL_WEIGHTS } from '../model/runs';
import { type TestDatabase, testDatabase } from '../support/database';
import { BUGS, type Bug, sow } from './patches';

/** A suite that has never failed has shown nothing: every bug sown must be found within the budget of an ordinary run. */

const RUNS = 500;
const HISTORIES = [
  {},
  { again: 40 },
  { capture: 30, release: 15, refund: 15 },
  { grant: 20, reserve: 40, lease: 20 },
];

let database: TestDatabase;

beforeEach(async () => {
  database = await testDatabase();
});
afterEach(() => database.close());

test.each(BUGS.map((bug) => [bug.name, bug.check, bug] as const))(
  'that %s is found by the %s',
  async (name, check, bug) => {
    await sow(database, bug);
    const startedMs = performance.now();
    const found = await finding(bug);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(`${check}: ${name}: ${found ?? 'NOT FOUND'} (${seconds} s)\n`);
    expect(found).not.toBeNull();
  },
  600_000,
);

/** What gave the bug away; null if nothing did. */
async function finding({ check }: Bug): Promise<string | null> {
  try {
    if (check === 'runs')
      await runModel(database.db.pool, { weights: USUAL_WEIGHTS, runs: RUNS, endOnFailure: true });
    else await playHistories();
    return null;
  } catch (error) {
    return givenAwayBy(error);
  }
}

async function playHistories(): Promise<void> {
  const processes = openProcesses(database);
  try {
    for (const [seed, weights] of HISTORIES.entries())
      await playHistory({ database, processes, weights, seed });
  } finally {
    await Promise.all(processes.map(({ db }) => db.close()));
  }
}

/** Which comparison it was, or what the database itself refused; by its fields, for it may be of another realm. */
function givenAwayBy(error: unknown): string {
  const { cause = error } = error as { cause?: unknown };
  const {
    stack = '',
    message = '',
    severity,
  } = cause as { stack?: string; message?: string; severity?: string };
  const [line = ''] = message.split('\n', 1);
  if (severity !== undefined) return `the database: ${line}`;
  const places = { compareStored: 'what is stored', compareResult: 'a reply', playHistory: 'the history' };
  return Object.entries(places).find(([place]) => stack.includes(place))?.[1] ?? line;
}
