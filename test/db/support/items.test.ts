import { listItems, raiseItem, resolveItem } from '../../../db/support/items';
import { type TestDatabase, testDatabase } from '../../support/database';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.close());

const list = (open: boolean) => listItems(database.db.knex, { open, limit: 10 });
const item = { account: 'a', kind: 'inbox_row_failing', subject: 'row' } as const;

test('the same thing is one item that is brought up to date, and raised again after it was resolved', async () => {
  const { knex } = database.db;
  await raiseItem(knex, { ...item, detail: { attempts: 5 } });
  const [first] = await list(true);
  await raiseItem(knex, { ...item, detail: { attempts: 6 } });
  expect(await list(true)).toEqual([{ ...first, detail: { attempts: 6 } }]);

  expect(await resolveItem(knex, item)).toBe(true);
  expect(await resolveItem(knex, item)).toBe(false);
  expect(await list(true)).toEqual([]);
  expect(await list(false)).toMatchObject([{ ...item, resolvedAt: expect.any(Date) }]);

  await raiseItem(knex, { ...item, detail: { attempts: 7 } });
  const [again] = await list(true);
  expect(again?.raisedAt.getTime()).toBeGreaterThan(first?.raisedAt.getTime() ?? Number.POSITIVE_INFINITY);
});

test('an item may be about no account, and a list continues where the page before ended', async () => {
  const { knex } = database.db;
  const stopped = { account: null, kind: 'sweep_stopped', subject: 'holds' } as const;
  await raiseItem(knex, { ...stopped, detail: {} });
  const [newest, ...others] = await list(true);
  expect(newest).toMatchObject(stopped);
  const before = {
    raisedAt: newest?.raisedAt.toISOString() ?? '',
    account: '',
    kind: stopped.kind,
    subject: stopped.subject,
  };
  expect(await listItems(knex, { open: true, before, limit: 10 })).toEqual(others);
});
