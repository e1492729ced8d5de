import { startWhole, type Whole } from '../../whole';

/** Reports that come while another one ends the generation: each is answered by what its own call of the ledger said. */

let whole: Whole;
/** Reads of what became of a report, and of generations. */
let looks = { outcomes: 0, queries: 0 };

beforeAll(async () => {
  whole = await startWhole();
  whole.database.db.knex.on('query', ({ sql }: { sql: string }) => {
    looks.queries += 1;
    if (/^select "outcome" from "holdfast"\."reports"/.test(sql)) looks.outcomes += 1;
  });
});
afterAll(() => whole.close());

const ACCOUNT = 'racer';

beforeAll(async () => {
  await whole.engine.ledger.open({
    account: ACCOUNT,
    catalog: 'working-day',
    plan: 'standard',
    planSource: 'admin',
  });
});

function report(id: string, verb: 'complete' | 'fail', n: number) {
  const body =
    verb === 'complete'
      ? { outputs: [{ url: `https://cdn.example/${n}` }] }
      : { code: `broke-${n}`, message: 'It broke.' };
  return whole.app.call('POST', `/v1/generations/${id}/${verb}`, { body });
}

test('five completes and three fails at once: one is taken, the others are told, and none looks twice', async () => {
  const { id } = await whole.running(ACCOUNT, 24);
  looks = { outcomes: 0, queries: 0 };
  const replies = await Promise.all([
    ...[1, 2, 3, 4, 5].map((n) => report(id, 'complete', n)),
    ...[1, 2, 3].map((n) => report(id, 'fail', n)),
  ]);
  const refused = replies.filter(({ status }) => status !== 200).map(({ body }) => body['code']);
  expect(refused).toEqual(Array<string>(7).fill('generation_ended'));
  expect(looks.outcomes).toBe(8);
  // A loser that waited for its own outcome asked the database 100 times and more.
  expect(looks.queries).toBeLessThan(8 * 20);
});

test('the same report twice at once is one, and both are told of it', async () => {
  const { id } = await whole.running(ACCOUNT, 24);
  looks = { outcomes: 0, queries: 0 };
  const replies = await Promise.all([report(id, 'complete', 1), report(id, 'complete', 1)]);
  expect(replies.map(({ status, body }) => [status, body['status']])).toEqual([
    [200, 'succeeded'],
    [200, 'succeeded'],
  ]);
  expect(looks.outcomes).toBe(2);
});

test('a report that comes while its work is cancelled is told at once that it is late', async () => {
  const { id } = await whole.running(ACCOUNT, 24);
  looks = { outcomes: 0, queries: 0 };
  const [, late] = await Promise.all([
    whole.app.call('POST', `/v1/generations/${id}/cancel`, { body: {} }),
    report(id, 'complete', 1),
  ]);
  expect([200, 409]).toContain(late.status);
  expect(looks.outcomes).toBe(1);
});
