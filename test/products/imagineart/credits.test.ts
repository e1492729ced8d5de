import { estimate } from '../../../domain/access/estimates';
import { toMilli } from '../../../domain/credits';
import { onPlan } from '../../domain/snapshots';
import { product } from '../product';

/** ImagineArt, “Understanding Credits” (the newer page), sentence by sentence, as far as it speaks of credits. */

const imagineart = product('imagineart');
const { catalog, credits, draws, gate, lot, offers, priced, wall } = imagineart;
const bucketIds = () => catalog.buckets.toSorted((a, b) => a.rank - b.rank).map((one) => one.bucket);

test('Every generation or edit you run deducts credits from your balance.', () => {
  for (const { action } of catalog.actions)
    expect(offers(action).every((one) => one.priced.creditsMilli > 0)).toBe(true);
});

describe('The number of credits consumed depends on several factors', () => {
  test('Tool — Image, Video, and other tools have different base costs.', () => {
    expect([credits('image'), credits('video'), credits('prompt-enhancement')]).toEqual([25, 300, 1]);
  });

  test('Model — some models (especially Pro-tier models) cost more credits per generation than standard models.', () => {
    const [standard, pro] = [
      credits('image', { model: 'nano-banana' }),
      credits('image', { model: 'nano-banana-pro' }),
    ];
    expect([standard, pro]).toEqual([24, 80]);
    expect(credits('image', { model: 'recraft-v4-pro' })).toBeGreaterThan(
      credits('image', { model: 'recraft-v4' }),
    );
  });

  test('Settings — options such as video duration, output quality, and resolution affect consumption.', () => {
    expect(credits('video', { seconds: 10 })).toBeGreaterThan(credits('video', { seconds: 5 }));
    const banana = (resolution: string) => credits('image', { model: 'nano-banana-2', resolution });
    expect(['1K', '2K', '4K'].map(banana)).toEqual([49, 73.5, 98]);
  });

  test('Number of results — generating more variants or re-running a generation multiplies the credit cost.', () => {
    const results = (outputs: number) =>
      credits('image', { model: 'nano-banana-2', resolution: '2K', outputs });
    expect([1, 2, 3, 4].map(results)).toEqual([73.5, 147, 220.5, 294]);
  });
});

test('Pro and premium models will consume more credits per generation than those estimates suggest.', () => {
  expect(credits('image', { model: 'nano-banana-pro' })).toBeGreaterThan(credits('image'));
});

test('Your account can hold up to three separate credit balances at any time.', () => {
  expect(bucketIds().filter((bucket) => bucket !== 'promo')).toEqual(['daily', 'plan', 'pack']);
});

describe('Free credits (daily)', () => {
  test('All accounts without an active subscription receive 100 free credits every day.', () => {
    expect(imagineart.grants({}).steps).toEqual([['daily', 100, '2026-11-22T00:00:00.000Z']]);
    expect(imagineart.grants({ rules: onPlan('basic') }).steps.map(([bucket]) => bucket)).toEqual(['plan']);
  });

  test('These credits reset each day: set to 100, not added.', () => {
    const first = imagineart.grants({});
    const next = imagineart.grants({ now: '2026-11-22T00:00:00.000Z', calendar: first.calendar });
    expect([first.steps[0]?.[2], next.steps]).toEqual([
      '2026-11-22T00:00:00.000Z',
      [['daily', 100, '2026-11-23T00:00:00.000Z']],
    ]);
  });

  test('Pro models (labeled “Pro” in the interface) require an active subscription.', () => {
    const models = catalog.actions.flatMap((one) =>
      one.models.map((model) => ({ action: one.action, ...model })),
    );
    const pro = models.filter(({ label }) => /\bPro\b/.test(label));
    expect(pro.map(({ model }) => model)).toEqual([
      'imagineart-1.5-pro',
      'nano-banana-pro',
      'recraft-v4-pro',
      'flux-2-pro',
      'kling-3.0-pro',
      'sora-2-pro',
    ]);
    for (const { action, model } of pro)
      expect([gate('free', action, { model }), gate('basic', action, { model })]).toEqual(['basic', null]);
  });

  test('Free daily credits cannot be used to access them.', () => {
    const lots = [lot('daily', 100, { lot: 1 }), lot('plan', 3000, { lot: 2 })];
    expect(draws(lots, 'image', { model: 'nano-banana-pro' })).toEqual([['plan', 80]]);
    expect(draws(lots, 'image', { model: 'nano-banana-2', outputs: 3 })).toEqual([
      ['daily', 100],
      ['plan', 47],
    ]);
  });
});

describe('Subscription credits (monthly)', () => {
  test('When you subscribe to a paid plan, you receive a monthly credit allocation that refreshes on your billing cycle date.', () => {
    const rules = onPlan('standard', { anchor: '2026-10-31T12:00:00.000Z' });
    const first = imagineart.grants({ rules });
    const next = imagineart.grants({ now: '2026-11-30T12:00:00.000Z', rules, calendar: first.calendar });
    expect([first.steps, next.steps]).toEqual([
      [['plan', 8000, '2026-11-30T12:00:00.000Z']],
      [['plan', 8000, '2026-12-31T12:00:00.000Z']],
    ]);
  });

  test('Unused subscription credits do not roll over to the next month. Any remaining subscription credits expire when your cycle renews.', () => {
    const left = { ...lot('plan', 3000), expiresAt: '2026-11-21T09:00:00.000Z' };
    const balance = imagineart.balance({ rules: onPlan('basic'), lots: [left] });
    expect([balance.available, balance.canGenerate]).toEqual([0, false]);
  });
});

describe('Top-up credits (one-time)', () => {
  test('Top-up credits are additional credits you purchase on top of your subscription, sold in bundles.', () => {
    expect(catalog.packs.map((one) => one.credits)).toEqual([1000, 5000, 20_000]);
    const lots = [lot('plan', 3000), lot('pack', 1000, { lot: 2 })];
    expect(imagineart.balance({ rules: onPlan('basic'), lots }).available).toBe(4000);
  });

  test('Top-up credits never expire.', () => {
    const pack = catalog.buckets.find((one) => one.bucket === 'pack');
    expect(pack).toMatchObject({ refresh: null, onReturn: 'reissue' });
    const { buckets } = imagineart.balance({ lots: [lot('pack', 1000)] });
    expect(buckets.find((one) => one.bucket === 'pack')).toMatchObject({
      expiresAt: null,
      nextRefresh: null,
    });
  });

  test('However, you must have an active subscription to purchase them.', () => {
    const ask = { action: 'image', available: 0 };
    expect(wall({ ...ask, plan: 'free', subscribed: false })).toMatchObject({
      packs: [],
      ways: ['upgrade', 'wait'],
    });
    expect(wall({ ...ask, plan: 'basic', subscribed: true }).ways).toEqual(['buy_pack', 'upgrade', 'wait']);
  });

  test('If your subscription lapses, any remaining top-up credits can still be spent — but only on features available under your current plan tier.', () => {
    const lapsed = [lot('daily', 10), lot('pack', 5000, { lot: 2 })];
    expect(draws(lapsed, 'image')).toEqual([
      ['daily', 10],
      ['pack', 15],
    ]);
    expect(gate('free', 'image')).toBeNull();
    expect(gate('free', 'image', { model: 'nano-banana-pro' })).toBe('basic');
    expect(gate('free', 'video', { model: 'veo-3.1' })).toBe('ultimate');
  });
});

test('ImagineArt always draws from your balances in the following order: free, subscription, top-up.', () => {
  const lots = [lot('pack', 20, { lot: 1 }), lot('plan', 20, { lot: 2 }), lot('daily', 20, { lot: 3 })];
  expect(draws(lots, 'image', { model: 'chatgpt' })).toEqual([
    ['daily', 20],
    ['plan', 20],
    ['pack', 5],
  ]);
});

test('Look at Credits Left for a quick summary. Click the tooltip beside it to view your credits broken down by type.', () => {
  const lots = [lot('daily', 60), lot('plan', 2000, { lot: 2 }), lot('pack', 500, { lot: 3 })];
  const { available, buckets } = imagineart.balance({ rules: onPlan('basic'), lots });
  expect(available).toBe(2560);
  expect(buckets.map((one) => [one.label, one.available])).toEqual([
    ['Promotional credits', 0],
    ['Free credits', 60],
    ['Subscription credits', 2000],
    ['Top-up credits', 500],
  ]);
});

describe('Estimating your credit needs', () => {
  const result = estimate({
    catalog,
    bufferPercent: [20, 30],
    items: [
      { action: 'image', creditsMilli: toMilli(24), times: { perDay: 30, days: 22 } },
      { action: 'video', creditsMilli: toMilli(210), times: { perDay: 10, days: 22 } },
    ],
  });
  if (!result.ok) throw new Error('there is no estimate');
  const { lines, subtotal, withBuffer, plans } = result.estimate;

  test('monthly credits = (images per month × image cost) + (videos per month × video cost) + buffer', () => {
    expect(subtotal).toBe(660 * 24 + 220 * 210);
  });

  test('30 × 22 days = 660 images; 660 × 24: 15,840 credits. 10 × 22 days = 220 videos; 220 × 210: 46,200 credits.', () => {
    expect(lines.map(({ quantity, unit, rate, credits }) => [quantity, unit, rate, credits])).toEqual([
      [660, 'image', 24, 15_840],
      [220, 'video', 210, 46_200],
    ]);
  });

  test('15,840 + 46,200 = 62,040 credits/month', () => {
    expect(subtotal).toBe(62_040);
  });

  test('Add your 20–30% buffer on top of that total when selecting a plan.', () => {
    expect(withBuffer).toEqual({ low: 74_448, high: 80_652 });
    expect(plans.filter((one) => one.covers).map((one) => one.plan)).toEqual([
      'creator',
      'teams-scale',
      'enterprise',
    ]);
  });
});

test('You have three options when you exhaust your current balance: wait, buy a top-up, upgrade.', () => {
  const { ways } = imagineart.balance({ rules: onPlan('basic'), lots: [] });
  expect(ways.toSorted()).toEqual(['buy_pack', 'upgrade', 'wait']);
});

test('Buy a top-up — available any time while you hold an active subscription.', () => {
  const answer = wall({ plan: 'creator', subscribed: true, action: 'image', available: 0 });
  expect(answer.packs.every((one) => one.covers)).toBe(true);
});

test('Upgrade your plan — a higher-tier plan gives you a larger monthly allocation.', () => {
  const allotments = catalog.plans.map((one) => one.allotments['plan'] ?? 0);
  expect(allotments).toEqual([...new Set(allotments)].toSorted((a, b) => a - b));
});

test.each<[string, number[]]>([
  ['imagineart-2.0', [25]],
  ['imagineart-1.5', [15]],
  ['imagineart-1.5-pro', [25]],
  ['nano-banana-2', [49, 73.5, 98]],
  ['nano-banana-pro', [80, 80, 160]],
  ['nano-banana', [24]],
  ['chatgpt-1.5', [35]],
  ['chatgpt', [45]],
  ['seedream-5-lite', [20]],
  ['seedream-4.5', [24]],
  ['recraft-v4', [24]],
  ['recraft-v4-pro', [150]],
  ['grok-imagine', [12]],
  ['flux-2-max', [50]],
  ['flux-2-pro', [28]],
  ['flux-1.1-ultra', [36]],
  ['flux-dev', [5]],
  ['z-image-turbo', [5]],
  ['imagen-4', [24]],
  ['dreamina-3.1', [18]],
  ['ideogram-v3', [25]],
])(
  'For the latest credit costs per model (image): %s costs %j at 1K, 2K, 4K, as far as published',
  (model, published) => {
    const resolutions = ['1K', '2K', '4K'].slice(0, published.length);
    expect(resolutions.map((resolution) => credits('image', { model, resolution }))).toEqual(published);
  },
);

test('For the latest credit costs per model (video): each at its shortest', () => {
  const models = ['kling-3.0-pro', 'kling-3.0-4k', 'veo-3.1', 'veo-3.1-fast', 'sora-2-pro'];
  expect(models.map((model) => credits('video', { model }))).toEqual([300, 755, 900, 350, 720]);
});

test('For the latest credit costs per model: each price comes with its working.', () => {
  expect(priced('video', { seconds: 10, outputs: 2 }).lines).toEqual([
    {
      label: 'Video: Kling 3.0 Pro',
      quantity: 2,
      unit: 'video',
      rateMilli: 600_000,
      creditsMilli: 1_200_000,
    },
  ]);
});
