import { type InUse, inUse } from '../inUse';
import { readProduct } from '../product';

/** ImagineArt, “Understanding Credits” (the older page): what its sentences say will happen, in the running engine. */

let product: InUse;
beforeAll(async () => {
  product = await inUse(readProduct('imagineart-legacy'));
});
afterAll(() => product.engine.stop());

const INSTANT = { provider: { type: 'simulated', delayMs: 0 } };
const image = (model: string, outputs = 1) => ({ action: 'image', model, params: { outputs }, ...INSTANT });

test('Imagine.Art offers 50 free credits daily to all users: beside what a subscriber has.', async () => {
  const { open, left, moveClock } = product;
  expect(await left(await open('free'))).toEqual({ daily: 50 });
  const account = await open('basic');
  expect(await left(account)).toEqual({ daily: 50, plan: 3000 });
  await moveClock(account, '2026-03-12T08:00:00Z');
  expect(await left(account)).toEqual({ daily: 50, plan: 3000 });
});

test('These free credits can be used to generate images and try out a variety of tools on the platform.', async () => {
  const { open, generate, left } = product;
  const account = await open('free');
  expect((await generate(account, image('imagen-4', 2))).credits.captured).toBe(48);
  await generate(account, { action: 'prompt-enhancement', ...INSTANT });
  expect(await left(account)).toEqual({ daily: 1 });
});

test('Premium models are not available on the free plan and cannot be accessed using free daily credits.', async () => {
  const { open, refused, generate } = product;
  const { status, body } = await refused(await open('free'), image('flux-2-pro'));
  expect([status, body.requiredPlan]).toEqual([403, 'basic']);
  const subscriber = await open('basic');
  expect((await generate(subscriber, image('flux-2-pro'))).draws).toEqual([{ bucket: 'plan', credits: 28 }]);
  expect((await generate(subscriber, image('imagen-4', 3))).draws).toEqual([
    { bucket: 'daily', credits: 50 },
    { bucket: 'plan', credits: 22 },
  ]);
});

test('You have two options: Upgrade Your Subscription, or Purchase Additional Credits; or the refresh that is enough.', async () => {
  const { open, charge, refused } = product;
  const account = await open('basic');
  await charge(account, { credits: 3050 });
  const wall = async (asked: Record<string, unknown>) => (await refused(account, asked)).body.paywall;
  expect(await wall(image('chatgpt'))).toMatchObject({
    ways: ['buy_pack', 'upgrade', 'wait'],
    nextRefreshAt: '2026-03-11T00:00:00.000Z', // tomorrow’s 50 pay for 45
    waitSuffices: true,
  });
  expect(await wall({ action: 'video' })).toMatchObject({
    packs: [{ covers: true }, { covers: true }, { covers: true }],
    nextRefreshAt: '2026-04-10T10:00:00.000Z', // a Pro video waits for the plan’s
    waitSuffices: true,
  });
});

test('Tokens do not expire, even after your subscription ends; without one they are spent on standard tools and models.', async () => {
  const { open, buy, charge, change, moveClock, left, generate, refused } = product;
  const account = await open('basic');
  await buy(account, 'tokens-1000');
  await charge(account, { credits: 3050 });
  await change(account, 'free');
  await moveClock(account, '2030-01-01T00:00:00Z');
  expect(await left(account)).toEqual({ daily: 50, pack: 1000 });
  expect((await generate(account, image('recraft-v4', 3))).draws).toEqual([
    { bucket: 'daily', credits: 50 },
    { bucket: 'pack', credits: 22 },
  ]);
  const { body } = await refused(account, image('recraft-v4-pro'));
  expect([body.code, body.paywall?.packs]).toEqual(['plan_required', []]);
});
