import { type Engine, type Problem, startEngine } from '../support/processes/engine';

/**
 * One customer's day on ImagineArt, told through HTTP: the example of the vendor's own documentation, 30 images
 * at 24 credits and 10 videos at 210, on the Standard plan with its 8,000 credits a month.
 */

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.stop());

test('a working day: 30 images and 10 videos cost 2,820 credits, whatever goes wrong in between', async () => {
  const ada = engine.newId('ada');

  // In the morning Ada is on the free plan: 100 credits a day, and no Pro models.
  await engine.call('POST', '/v1/accounts', {
    body: { id: ada, catalog: 'working-day', timezone: 'Asia/Kolkata' },
  });
  expect(await engine.balance(ada)).toMatchObject({
    available: 100,
    nextRefreshAt: expect.stringContaining('T18:30:00.000Z'), // her midnight, in summer and in winter,
  });

  const pro = await engine.generate<Problem>({ account: ada, action: 'image', model: 'example-pro' });
  expect([pro.status, pro.body.code, pro.body.requiredPlan]).toEqual([403, 'plan_required', 'basic']);

  const dear = await engine.generate<Problem>({ account: ada, action: 'video' });
  expect([dear.status, dear.body.shortfall]).toEqual([402, 110]);
  expect(dear.body.paywall?.ways).toEqual(['upgrade']); // no day’s credits are enough for it

  // So her studio gives her an account on Standard.
  const studio = engine.newId('studio');
  await engine.call('POST', '/v1/accounts', {
    body: { id: studio, catalog: 'working-day', plan: 'standard' },
  });
  expect((await engine.balance(studio)).available).toBe(8_000);

  // She asks what a batch would cost before she orders it.
  const quoted = await engine.call<{ id: string; credits: number }>('POST', '/v1/quotes', {
    body: { account: studio, action: 'image', params: { outputs: 5 } },
  });
  expect(quoted.body.credits).toBe(120);

  // Thirty images in six batches, the first on the quote; ten videos, one by one.
  const batch = {
    account: studio,
    action: 'image',
    params: { outputs: 5 },
    member: 'ada',
    project: 'spring',
  };
  const images = await Promise.all(
    Array.from({ length: 6 }, (_, n) =>
      engine.generate(n === 0 ? { ...batch, quote: quoted.body.id } : batch),
    ),
  );
  const videos = await Promise.all(
    Array.from({ length: 10 }, () => engine.generate({ account: studio, action: 'video', member: 'ada' })),
  );
  for (const { status } of [...images, ...videos]) expect(status).toBe(201);

  // One video comes to nothing at the provider, one she stops herself: both cost nothing, and are made again.
  const failing = { account: studio, action: 'video', provider: { type: 'simulated', fail: 'error' } };
  const slow = { account: studio, action: 'video', provider: { type: 'simulated', delayMs: 600_000 } };
  const failed = await engine.generate(failing);
  const stopped = await engine.generate(slow);
  await engine.call('POST', `/v1/generations/${stopped.body.id}/cancel`, {
    body: { reason: 'the wrong prompt' },
  });

  const all = [...images, ...videos, failed, stopped].map(({ body }) => body.id);
  const ends = await Promise.all(all.map((id) => engine.ended(id)));
  const statuses = ends.map(({ status }) => status);
  expect(statuses.filter((status) => status === 'succeeded')).toHaveLength(16);
  expect(statuses.slice(-2)).toEqual(['failed', 'canceled']);

  // In the evening the counter, the generations and the journal say the same: 30 × 24 + 10 × 210 = 2,820.
  expect(await engine.balance(studio)).toMatchObject({ available: 5_180, held: 0 });
  const captured = ends.map(({ credits }) => credits.captured).reduce((sum, credits) => sum + credits, 0);
  expect(captured).toBe(2_820);
  const journal = await engine.journal(studio);
  expect(journal.reduce((sum, { credits }) => sum + credits, 0)).toBe(8_000 - 2_820);
  expect(journal.at(-1)).toMatchObject({ availableAfter: 5_180, heldAfter: 0 });
  expect(journal.map(({ seq }) => seq)).toEqual(journal.map((_, n) => n + 1));

  // A pack on top: it comes through the account's inbox and is there soon.
  const pack = await engine.purchase(studio, { pack: 'tokens-1000' });
  expect(pack.body.credits).toBe(1_000);
  expect((await engine.balance(studio)).available).toBe(6_180);

  // And the books are in order.
  const audit = await engine.call<{ ok: boolean; checks: { violations: number }[] }>('GET', '/v1/audit');
  expect(audit.body.checks.filter(({ violations }) => violations > 0)).toEqual([]);
  expect(audit.body.ok).toBe(true);
});
