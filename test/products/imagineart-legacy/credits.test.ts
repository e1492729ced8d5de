import { lotOf, onPlan } from '../../domain/snapshots';
import { product } from '../product';

/** ImagineArt, “Understanding Credits” (the older page), sentence by sentence, as far as it speaks of credits. */

const legacy = product('imagineart-legacy');
const { catalog, credits, draws, gate, lot, offers, wall } = legacy;
const DAY_ENDS = '2026-11-22T00:00:00.000Z';

describe('Each time you create content, credits are deducted based on', () => {
  test('The tool you are using', () => {
    expect(new Set(catalog.actions.map(({ action }) => credits(action))).size).toBe(3);
  });

  test('The model you select', () => {
    expect([credits('image', { model: 'flux-dev' }), credits('image', { model: 'chatgpt' })]).toEqual([
      5, 45,
    ]);
  });

  test('The type of output you create (image, video, etc.)', () => {
    const dearestImage = Math.max(...offers('image').map((one) => one.priced.creditsMilli));
    expect(offers('video').every((one) => one.priced.creditsMilli > dearestImage)).toBe(true);
  });

  test('The number of generations (e.g., multiple outputs)', () => {
    expect(credits('image', { outputs: 8 })).toBe(8 * credits('image'));
  });
});

test('“Subscription Credits Left” along with a percentage indicator and progress bar', () => {
  const used = lotOf({ bucket: 'plan', rank: 2, granted: 3000, available: 1234.5, expiresAt: 'infinity' });
  const { buckets } = legacy.balance({ rules: onPlan('basic'), lots: [used] });
  expect(buckets.find((one) => one.bucket === 'plan')).toMatchObject({
    label: 'Subscription credits',
    available: 1234.5,
    granted: 3000,
    percentLeft: 41.1,
  });
});

test('A credits modal: the number of credits remaining, options to top-up your credits if you’re running low', () => {
  expect(legacy.balance({ rules: onPlan('basic'), lots: [lot('plan', 3)] })).toMatchObject({
    available: 3,
    ways: expect.arrayContaining(['buy_pack']),
  });
});

describe('Imagine.Art offers 50 free credits daily to all users', () => {
  test('without a subscription', () => {
    expect(legacy.grants({}).steps).toEqual([['daily', 50, DAY_ENDS]]);
  });

  test('and with one, beside the credits of the plan', () => {
    expect(legacy.grants({ rules: onPlan('basic') }).steps).toEqual([
      ['daily', 50, DAY_ENDS],
      ['plan', 3000, '2026-12-21T09:00:00.000Z'],
    ]);
  });

  test('where the newer page gives 100, and none to subscribers', () => {
    expect(product('imagineart').grants({}).steps).toEqual([['daily', 100, DAY_ENDS]]);
  });
});

test('These free credits can be used to generate images, videos, and try out a variety of tools on the platform.', () => {
  const free = [lot('daily', 50)];
  expect(draws(free, 'image')).toEqual([['daily', 25]]);
  expect(draws(free, 'prompt-enhancement')).toEqual([['daily', 1]]);
  // No video costs as little as a day gives, and none but the gated ones is kept from it.
  const open = offers('video').filter(({ priced }) => priced.requiredPlan === null);
  expect(open.every(({ priced }) => priced.tags.length === 0)).toBe(true);
});

test('Premium models (marked as “Pro”) are not available on the free plan.', () => {
  expect(gate('free', 'image', { model: 'flux-2-pro' })).toBe('basic');
});

test('Premium models cannot be accessed using free daily credits, also by a subscriber who has some.', () => {
  const lots = [lot('daily', 50), lot('plan', 3000, { lot: 2 })];
  expect(draws(lots, 'image', { model: 'flux-2-pro' })).toEqual([['plan', 28]]);
});

test('To unlock Pro models and advanced features, an active subscription plan is required.', () => {
  for (const { plan } of catalog.plans.slice(1))
    expect(gate(plan, 'image', { model: 'nano-banana-pro' })).toBeNull();
});

test('Upgrade Your Subscription – Subscribers enjoy a range of benefits, including credits as part of their plan.', () => {
  const { plans } = wall({ plan: 'free', subscribed: false, action: 'image', available: 0 });
  expect(plans[0]).toEqual({ plan: 'basic', credits: 3000, price: 13 });
});

test('Purchase Additional Credits – you can purchase them directly and add them to your existing balance: with a subscription.', () => {
  const basic = wall({ plan: 'basic', subscribed: true, action: 'image', available: 0 });
  expect(basic.packs.map((one) => one.pack)).toEqual(['tokens-1000', 'tokens-5000', 'tokens-20000']);
  const lots = [lot('plan', 3000), lot('pack', 1000, { lot: 2 })];
  expect(legacy.balance({ rules: onPlan('basic'), lots }).available).toBe(4000);
});

test('Token purchases are only available to Imagine subscribers.', () => {
  expect(wall({ plan: 'free', subscribed: false, action: 'image', available: 0 }).packs).toEqual([]);
});

test('Tokens do not expire, even after your subscription ends.', () => {
  const later = { now: '2031-11-21T09:00:00.000Z', lots: [lot('pack', 1000)] };
  expect(legacy.balance(later)).toMatchObject({ available: 1000, expiringSoon: [] });
});

test('While your tokens will remain available, you’ll need an active plan to use those Pro models.', () => {
  expect(gate('free', 'video', { model: 'sora-2-pro' })).toBe('basic');
});

test('Without an active subscription, tokens can still be used on standard tools and models.', () => {
  expect(gate('free', 'image', { model: 'imagen-4' })).toBeNull();
  expect(draws([lot('pack', 1000)], 'image', { model: 'imagen-4' })).toEqual([['pack', 24]]);
});

test('More complex models may consume more credits than simpler ones.', () => {
  expect(credits('image', { model: 'recraft-v4-pro' })).toBeGreaterThan(
    credits('image', { model: 'z-image-turbo' }),
  );
});

test('Token top-ups can only be purchased if you have an active subscription.', () => {
  expect(catalog.rules.packsFor).toBe('subscribers-only');
  expect(legacy.balance({ lots: [] }).ways).toEqual(['upgrade', 'wait']);
});

test('Higher-quality outputs may consume more credits.', () => {
  const pro = (resolution: string) => credits('image', { model: 'nano-banana-pro', resolution });
  expect(['1K', '2K', '4K'].map(pro)).toEqual([80, 80, 160]);
});
