import { measureSkew, type SkewLog, watchSkew } from '../../../db/connection/clockSkew';
import { type TestDatabase, testDatabase } from '../../support/database';
import { eventually } from '../../support/processes/engine';

/** How far our clocks are from the database's, and who is told. */

let database: TestDatabase;
let lines: [string, object, string][];
const log: SkewLog = {
  info: (fields, message) => lines.push(['info', fields, message]),
  warn: (fields, message) => lines.push(['warn', fields, message]),
};

beforeAll(async () => {
  database = await testDatabase();
});
beforeEach(async () => {
  lines = [];
  await database.owner.pool.query('DELETE FROM holdfast.processes');
});
afterAll(() => database.close());

const realNow = Date.now;
async function skewed<T>(ms: number, work: () => Promise<T>): Promise<T> {
  Date.now = () => realNow() + ms;
  try {
    return await work();
  } finally {
    Date.now = realNow;
  }
}
const watch = () => watchSkew({ pool: database.db.pool, kind: 'worker', log, everyMs: 3_600_000 });

/** On a machine that is busy for the moment an answer may take too long to tell. */
const measured = () =>
  eventually(
    () => measureSkew(database.db.pool),
    (seconds) => seconds !== null,
  );

test('a clock that is right is off by less than half a second, and one that is wrong by what it is', async () => {
  expect(await measured()).toBeCloseTo(0, 0);
  expect(await skewed(-9_000, measured)).toBeCloseTo(-9, 0);
  expect(await skewed(3_600_000, measured)).toBeCloseTo(3_600, 0);
});

test('each process writes down its own, and all read everybody’s', async () => {
  const skew = await watch();
  expect(skew.processes()).toMatchObject([{ kind: 'worker' }]);
  await skew.check();
  expect(lines).toEqual([]);
  skew.stop();
});

test('a process that is more than two seconds off says so in the log, and fails everybody’s check', async () => {
  const off = await skewed(-60_000, watch);
  expect(lines).toMatchObject([['warn', { limitSeconds: 2 }, expect.stringContaining('synchronise it')]]);
  await expect(off.check()).rejects.toThrow(/clocks are off: worker .* by -(59|60)\.\d{3} s/);
  off.stop();
});

test('another process that is off fails the check, until it has been silent for a minute', async () => {
  await database.owner.pool.query(
    "INSERT INTO holdfast.processes (process, kind, skew_seconds) VALUES ('worker elsewhere:7', 'worker', 3.5)",
  );
  const right = await watch();
  await expect(right.check()).rejects.toThrow('worker elsewhere:7 by 3.500 s');
  right.stop();
  await database.owner.pool.query(
    "UPDATE holdfast.processes SET seen_at = clock_timestamp() - interval '61 seconds' WHERE process = 'worker elsewhere:7'",
  );
  const later = await watch();
  await later.check();
  later.stop();
});

test('rows of processes that are long gone are removed', async () => {
  await database.owner.pool.query(
    `INSERT INTO holdfast.processes (process, kind, skew_seconds, seen_at)
     VALUES ('worker gone:1', 'worker', 0, clock_timestamp() - interval '2 hours')`,
  );
  (await watch()).stop();
  const { rows } = await database.owner.pool.query('SELECT FROM holdfast.processes');
  expect(rows).toHaveLength(1);
});

test('without a database nothing is measured, which fails the check and ends nothing', async () => {
  const pool = { connect: () => Promise.reject(new Error('connect ECONNREFUSED')) };
  const skew = await watchSkew({ pool: pool as never, kind: 'api', log });
  expect(skew.processes()).toEqual([]);
  await expect(skew.check()).rejects.toThrow('has not been measured');
  expect(lines).toMatchObject([['warn', { err: { message: 'connect ECONNREFUSED' } }, expect.any(String)]]);
  skew.stop();
});
