import { awaitStandby, type Standing, standingOf } from '../../../db/connection/standby';
import { type TestDatabase, testDatabase } from '../../support/database';

/** Whose verdict is a verdict on the primary. */

let database: TestDatabase;
let primary: Standing;

beforeAll(async () => {
  database = await testDatabase();
  primary = await standingOf(database.db.pool);
});
afterAll(() => database.close());

/** A standby that stands so when it is asked, one after the other, and stays as it was at last. */
const standby = (...standings: Partial<Standing>[]) => {
  let asked = 0;
  return () => {
    const found = { ...primary, ...standings[Math.min(asked, standings.length - 1)] };
    asked += 1;
    return Promise.resolve(found);
  };
};
const awaited = (of: () => Promise<Standing>, withinMs?: number) =>
  awaitStandby(
    { primary: () => standingOf(database.db.pool), standby: of },
    withinMs === undefined ? {} : { withinMs },
  );

test('that of a copy which is as far, or further', async () => {
  await expect(awaited(() => standingOf(database.db.pool))).resolves.toBeUndefined();
  await expect(awaited(standby({ position: 'FFFFFFFF/0' }))).resolves.toBeUndefined();
});

test('that of a copy which is behind, once it has caught up', async () => {
  await expect(awaited(standby({ position: '0/1' }, { position: 'A/0' }))).resolves.toBeUndefined();
});

test('not that of one that stays behind, of another cluster, or of another database', async () => {
  await expect(awaited(standby({ position: '0/FFFF' }), 0)).rejects.toThrow(
    /replayed 0\/FFFF .*let it catch up/,
  );
  await expect(awaited(standby({ cluster: '1' }))).rejects.toThrow(/names another database/);
  await expect(awaited(standby({ database: 'other' }))).rejects.toThrow(/names another database/);
});
