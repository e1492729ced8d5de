import { createGenerationWatch } from '../../../../api/workflows/watch';
import { startWhole, type Whole } from '../../whole';

/** `?wait=`: one question at a time for all who wait, by primary key. */

let whole: Whole;
beforeAll(async () => {
  whole = await startWhole();
  await whole.app.call('POST', '/v1/accounts', {
    body: { id: 'waits', catalog: 'working-day', plan: 'standard' },
  });
});
afterAll(() => whole.close());

const complete = (id: string) =>
  whole.app.call('POST', `/v1/generations/${id}/complete`, {
    body: { outputs: [{ url: 'https://x.test/1' }] },
  });

/** The names of the prepared statements that the pool for points is asked from here on. */
function statements(): { asked: () => string[]; stop: () => void } {
  const spy = jest.spyOn(whole.database.db.points, 'query');
  return {
    asked: () => spy.mock.calls.map(([query]: unknown[]) => String(Reflect.get(Object(query), 'name'))),
    stop: () => spy.mockRestore(),
  };
}

test('a hundred who wait for one generation are answered when it ends, and it is then read once', async () => {
  const { id } = await whole.running('waits', 2);
  const { asked, stop } = statements();
  const all = Array.from({ length: 100 }, () => whole.app.call('GET', `/v1/generations/${id}?wait=30`));
  const times = (statement: string) => asked().filter((name) => name === statement).length;
  while (times('find_generation') < 100 || times('generation_statuses') < 3)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect((await complete(id)).status).toBe(200);
  const answers = await Promise.all(all);
  const readAfter = times('find_generation') - 100;
  stop();
  expect(new Set(answers.map(({ body }) => body['status']))).toEqual(new Set(['succeeded']));
  expect(readAfter).toBeLessThan(20); // theirs together, and what the report itself read
});

test('a wait that ends first answers the generation as it is, and one for nothing is 404 at once', async () => {
  const { id } = await whole.running('waits', 2);
  const running = await whole.app.call('GET', `/v1/generations/${id}?wait=0.05`);
  expect([running.status, running.body['status']]).toEqual([200, 'running']);
  const nothing = await whole.app.call('GET', `/v1/generations/gen_waits.none?wait=30`);
  expect(nothing.body['code']).toBe('unknown_generation');
});

test('a generation is read without looking into any month of the journal, unless it was refunded', async () => {
  const { id } = await whole.running('waits', 2);
  await complete(id);
  const { asked, stop } = statements();
  await whole.app.call('GET', `/v1/generations/${id}`);
  expect(asked()).toContain('find_generation');
  expect(asked()).not.toContain('generation_history');
  const refund = await whole.app.call('POST', `/v1/generations/${id}/refund`, {
    idempotencyKey: 'r',
    body: { credits: 1, reason: 'test' },
  });
  expect(refund.body['refunds']).toMatchObject([{ credits: 1, reason: 'test' }]);
  expect(asked()).toContain('generation_history');
  stop();
  const [listed] = (await whole.app.call('GET', '/v1/accounts/waits/generations?limit=1')).body[
    'data'
  ] as unknown[];
  expect(listed).toMatchObject({ id, refunds: [{ credits: 1 }] });
});

test('a cancellation that had arrived was answered that nothing was done, because too many requests waited', async () => {
  const { id } = await whole.running('waits', 2);
  const watch = createGenerationWatch({ pool: whole.database.db.points, onError: () => undefined });
  const leave = new AbortController();
  const patience = { withinMs: 60_000, holder: 'a key', signal: leave.signal };
  // All look at once, and whoever comes to wait last is the one too many.
  const waiting = Array.from({ length: 2_001 }, () => watch.ended(id, patience));
  const refusal = await Promise.race(waiting.map((wait) => wait.then(() => 'ended', String)));
  expect(refusal).toMatch('wait already');
  expect(await watch.ended(id, { ...patience, isDone: true })).toMatchObject({ id, status: 'running' });
  leave.abort();
  const ends = await Promise.allSettled(waiting);
  expect(ends.filter(({ status }) => status === 'rejected')).toHaveLength(1);
});
