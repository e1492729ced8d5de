import { parseCatalog } from '../../../domain/publish/parse';
import { onPlan } from '../../domain/snapshots';
import { product } from '../product';

/** Intangible, “Credits and tokens”, sentence by sentence, as far as it speaks of credits. */

const intangible = product('intangible');
const { catalog, credits, offers, priced } = intangible;
const PAID = ['image', 'video', 'composer', '3d-asset', 'image-edit'];
const FREE = [
  'switch-mode',
  'add-library-asset',
  'move-object',
  'rename',
  'environment-edit',
  'read-auto-prompt',
];
const dearestOf = (action: string) => Math.max(...offers(action).map((one) => one.priced.creditsMilli));
const cheapestOf = (action: string) => Math.min(...offers(action).map((one) => one.priced.creditsMilli));

test('Every image render, video render, AI Composer prompt, Generate 3D Asset call, and image edit costs a deterministic number of credits.', () => {
  for (const action of PAID) {
    for (const { priced: one, params, model } of offers(action)) {
      expect(one.creditsMilli).toBeGreaterThan(0);
      expect([one.minMilli, one.ceilingMilli]).toEqual([one.creditsMilli, one.creditsMilli]);
      expect(one.approximate).toBe(false);
      expect(priced(action, { ...params, ...(model === null ? {} : { model }) })).toEqual(one);
    }
  }
});

test('The counter at the top-right of the workspace shows your remaining balance for the cycle.', () => {
  const { steps } = intangible.grants({ rules: onPlan('explorer') });
  expect(steps).toEqual([['plan', 3000, '2026-12-21T09:00:00.000Z']]);
  const balance = intangible.balance({
    rules: onPlan('explorer'),
    lots: [{ ...intangible.lot('plan', 3000), expiresAt: '2026-12-21T09:00:00.000Z' }],
  });
  expect(balance).toMatchObject({ available: 3000, nextRefreshAt: '2026-12-21T09:00:00.000Z' });
});

test('The counter is a live read of your tier’s monthly allotment plus any credit packs you’ve bought, minus what you’ve spent.', () => {
  const spent = { ...intangible.lot('plan', 3000), available: intangible.lot('plan', 2399.5).available };
  const { available } = intangible.balance({
    rules: onPlan('explorer'),
    lots: [spent, intangible.lot('pack', 300, { lot: 2 })],
  });
  expect(available).toBe(3000 + 300 - 600.5);
});

test('There’s no live cost preview on the Generate button itself.', () => {
  expect(catalog.rules.showPrices).toBe(false);
});

test('If you trigger a paywalled action (or run out of credits), the paywall appears when you click Generate, not before.', () => {
  const gated = intangible.wall({
    plan: 'free',
    subscribed: false,
    action: '3d-asset',
    asked: { detail: 'high' },
    available: 400,
  });
  expect(gated).toMatchObject({ requiredPlan: 'explorer', ways: ['upgrade'], shortfall: 0 });
  const short = intangible.wall({ plan: 'free', subscribed: false, action: 'video', available: 1 });
  expect(short).toMatchObject({ requiredPlan: null, shortfall: 149, ways: ['buy_pack', 'upgrade', 'wait'] });
});

test.each(PAID)(
  'Credit pool: charged per action (%s), from the monthly allotment and from packs',
  (action) => {
    const price = credits(action);
    const lots = [intangible.lot('plan', price - 0.5), intangible.lot('pack', 900, { lot: 2 })];
    expect(intangible.draws(lots, action)).toEqual([
      ['plan', price - 0.5],
      ['pack', 0.5],
    ]);
  },
);

test.each(FREE)('Some actions are explicitly free: %s', (action) => {
  expect(priced(action)).toMatchObject({ free: true, creditsMilli: 0, requiredPlan: null, lines: [] });
});

test('Anything that touches a generation API costs credits. Anything purely local does not.', () => {
  const free = catalog.actions.filter((one) => one.free).map((one) => one.action);
  expect(free.toSorted()).toEqual(FREE.toSorted());
  const costs = catalog.actions.filter((one) => cheapestOf(one.action) > 0).map((one) => one.action);
  expect(costs.toSorted()).toEqual(PAID.toSorted());
});

test('Specific credit costs change as model providers adjust pricing on their end; the order of the table stays.', () => {
  const file: typeof catalog = structuredClone(catalog);
  const rate = file.actions.find((one) => one.action === 'image')?.models[0]?.rates[0];
  if (rate === undefined) throw new Error('there is no image');
  rate.credits = 10.5;
  expect(parseCatalog(file).ok).toBe(true);
  rate.credits = 60;
  expect(parseCatalog(file)).toMatchObject({
    ok: false,
    errors: expect.arrayContaining([
      { path: 'assertions.4', message: expect.stringContaining('“Generate 3D Asset: higher than image”') },
    ]),
  });
});

describe('How much does each action cost?', () => {
  test('AI Composer prompt that builds an environment: a few credits.', () => {
    expect(credits('composer')).toBe(3);
  });

  test('1K image render: cheap (tens per credit pack).', () => {
    const counts = catalog.packs.map((pack) =>
      Math.floor(pack.credits / credits('image', { resolution: '1K' })),
    );
    expect(counts).toEqual([30, 60, 90]);
  });

  test('2K image render: roughly 2× a 1K render of the same model; varies by provider.', () => {
    const ratios = ['nano-banana', 'nano-banana-pro', 'flux-2'].map(
      (model) =>
        credits('image', { model, resolution: '2K' }) / credits('image', { model, resolution: '1K' }),
    );
    expect(ratios.every((ratio) => ratio > 1.75 && ratio < 2.25)).toBe(true);
    expect(new Set(ratios).size).toBeGreaterThan(1);
  });

  test('Image edit (pencil tool): lower than a fresh render.', () => {
    for (const model of ['nano-banana', 'nano-banana-pro', 'flux-2'])
      expect(credits('image-edit', { model })).toBeLessThan(credits('image', { model, resolution: '1K' }));
  });

  test('Generate 3D Asset: higher than image, lower than video.', () => {
    expect(cheapestOf('3d-asset')).toBeGreaterThan(dearestOf('image'));
    expect(dearestOf('3d-asset')).toBeLessThan(cheapestOf('video'));
  });

  test('Standard-duration video render: substantially more than image.', () => {
    expect(credits('video')).toBeGreaterThan(5 * credits('image', { resolution: '2K' }));
  });

  test('Video at 2K with audio: the single most expensive action in the product.', () => {
    const top = dearestOf('video');
    expect(priced('video', { resolution: '2K', audio: true, seconds: 10 }).creditsMilli).toBe(top);
    const others = PAID.flatMap(offers).filter(
      ({ params }) => params['resolution'] !== '2K' || params['audio'] !== true,
    );
    expect(others.every((one) => one.priced.creditsMilli < top)).toBe(true);
  });

  test.each(PAID)('Counts against (%s): Monthly first, then Purchased.', (action) => {
    const lots = [intangible.lot('pack', 2000, { lot: 1 }), intangible.lot('plan', 2000, { lot: 2 })];
    expect(intangible.draws(lots, action)).toEqual([['plan', credits(action)]]);
  });
});

test('The Generate button disables when your balance reaches zero.', () => {
  const generate = (left: number) => intangible.balance({ lots: [intangible.lot('plan', left)] }).canGenerate;
  expect([generate(0.001), generate(0)]).toEqual([true, false]);
});

test('Three options: buy a credit pack, upgrade your tier, wait for the cycle to roll over.', () => {
  expect(intangible.balance({ lots: [] }).ways).toEqual(['buy_pack', 'upgrade', 'wait']);
});

test('Buy a credit pack: discrete top-up that doesn’t change your tier.', () => {
  const { packs } = intangible.wall({ plan: 'free', subscribed: false, action: 'video', available: 0 });
  expect(packs.map(({ pack, covers }) => [pack, covers])).toEqual([
    ['pack-300', true],
    ['pack-600', true],
    ['pack-900', true],
  ]);
  const bought = { lots: [intangible.lot('pack', 900)] };
  expect(intangible.balance(bought).buckets.find((one) => one.bucket === 'plan')?.nextRefresh?.amount).toBe(
    400,
  );
});

test('Upgrade your tier: bumps your monthly allotment and unlocks tier-gated capability.', () => {
  expect(catalog.plans.map((one) => one.allotments['plan'])).toEqual([400, 3000, 8000, 25_000]);
  const high = (plan: string) => intangible.gate(plan, '3d-asset', { detail: 'high' });
  expect([high('free'), high('explorer')]).toEqual(['explorer', null]);
});

test('Generate 3D Asset is limited on Free; Explorer, Business, and Enterprise get full access.', () => {
  expect(intangible.gate('free', '3d-asset')).toBeNull();
  expect(intangible.quotas('free', '3d-asset')).toEqual([{ quota: '3d-assets', period: 'cycle', limit: 3 }]);
  for (const plan of ['explorer', 'business', 'enterprise'])
    expect(intangible.quotas(plan, '3d-asset')).toEqual([]);
});

test('Wait for the cycle to roll over: free option, slow option.', () => {
  const { calendar } = intangible.grants({});
  const next = intangible.grants({ now: '2026-12-21T09:00:00.000Z', calendar });
  expect(next.steps).toEqual([['plan', 400, '2027-01-21T09:00:00.000Z']]);
  expect(
    intangible.wall({ plan: 'free', subscribed: false, action: 'image', available: 0 }).waitSuffices,
  ).toBe(true);
});

test('Free: enough to render a few dozen 1K stills.', () => {
  const [[, month = Number.NaN] = []] = intangible.grants({}).steps;
  expect(Math.floor(Number(month) / credits('image'))).toBe(40);
});
