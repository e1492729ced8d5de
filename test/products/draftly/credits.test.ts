import { onPlan } from '../../domain/snapshots';
import { product } from '../product';

/** Draftly, “Credits Reference”, sentence by sentence. */

const draftly = product('draftly');
const { catalog, credits, gate, priced, refusal } = draftly;
/** Lowest plan that may, or null for everyone. */
const plan = (action: string, asked: Record<string, unknown> = {}) => priced(action, asked).requiredPlan;

test('Credits are your monthly AI compute budget.', () => {
  expect(draftly.grants({ rules: onPlan('basic') }).steps).toEqual([
    ['plan', 1500, '2026-12-21T09:00:00.000Z'],
  ]);
});

test.each([
  ['A full site is generated (runs the image + video + HTML pipeline)', 'site', 282],
  ['You generate an image in the studio', 'image', 18],
  ['You edit an image in the studio', 'image-edit', 12],
  ['You generate a video in the studio or builder', 'video', 256],
  ['You send a chat edit (surgical patch to your HTML)', 'chat-edit', 0.5],
  ['You use prompt enhancement', 'prompt-enhancement', 1],
  ['You use brainstorm', 'brainstorm', 1],
])('They are deducted when: %s', (_, action, expected) => {
  expect(credits(action)).toBe(expected);
});

test.each([
  ['Browsing or previewing saved projects', 'browse'],
  ['Re-publishing a site you already generated', 'republish'],
  ['Inline text edits (click-to-edit on the preview)', 'inline-text-edit'],
  ['Applying Design Presets', 'design-preset'],
  ['Changing site settings or metadata', 'settings'],
  ['Downloading your generated HTML or ZIP', 'download'],
])('Credits are NOT deducted for: %s', (_, action) => {
  expect(priced(action)).toMatchObject({ free: true, creditsMilli: 0, requiredPlan: null });
});

test('Credits reset at your monthly billing cycle date.', () => {
  const rules = onPlan('basic', { anchor: '2026-10-31T12:00:00.000Z' });
  const { calendar } = draftly.grants({ rules });
  const next = draftly.grants({ now: '2026-11-30T12:00:00.000Z', rules, calendar });
  expect(next.steps).toEqual([['plan', 1500, '2026-12-31T12:00:00.000Z']]);
});

test('Unused credits do not roll over (except when upgrading plans mid-cycle).', () => {
  const left = { ...draftly.lot('plan', 700), expiresAt: '2026-11-21T09:00:00.000Z' };
  expect(draftly.balance({ rules: onPlan('basic'), lots: [left] }).available).toBe(0);
  expect(catalog.rules.upgrade).toEqual({ carry: true, proration: 'none' });
});

describe('Full Site Generation Cost', () => {
  const site = priced('site');
  const phase = (name: string, asked: Record<string, unknown> = {}) =>
    (priced('site', asked).lines.find((line) => line.phase === name)?.creditsMilli ?? Number.NaN) / 1000;

  test('A complete 3D builder pipeline costs approximately 400–600 credits total: 600 are held, what the phases leave comes back.', () => {
    expect(site.ceilingMilli).toBe(600_000);
    expect([site.minMilli, site.creditsMilli]).toEqual([282_000, 282_000]);
    expect(site).toMatchObject({ approximate: true, needsConfirmation: false });
  });

  test('The held ceiling is the sum of the phases where that is more than 600.', () => {
    const large = { heroModel: 'nano-banana-pro', videoModel: 'veo-3.1-hd' };
    expect(priced('site', large)).toMatchObject({ creditsMilli: 708_000, ceilingMilli: 708_000 });
    const largest = { ...large, heroResolution: '4K', videoModel: 'video-4k' };
    expect(priced('site', largest).ceilingMilli).toBe(1_072_000);
  });

  test('Hero image (HD), 20–60 cr: varies by model and resolution.', () => {
    expect(phase('hero-image')).toBe(18); // the default model is below the published range
    expect(phase('hero-image', { heroModel: 'nano-banana-pro' })).toBe(20);
    expect(phase('hero-image', { heroModel: 'nano-banana-pro', heroResolution: '2K' })).toBe(40);
    const all = draftly.offers('site').map(({ priced: one }) => one.lines[0]?.creditsMilli ?? 0);
    expect(Math.max(...all)).toBeLessThanOrEqual(60_000);
  });

  test('Motion video (8s, 1080p), ~256 cr: 32 cr/sec × 8 sec standard.', () => {
    expect(site.lines[1]).toMatchObject({
      quantity: 8,
      unit: 'second',
      rateMilli: 32_000,
      creditsMilli: 256_000,
    });
  });

  test('Site HTML assembly, ~8 cr.', () => {
    expect(phase('html')).toBe(8);
  });

  test('Frame extraction, 0 cr: free — runs in the browser.', () => {
    expect(phase('frame-extraction')).toBe(0);
    expect(credits('frame-extraction')).toBe(0);
  });

  test('A Basic plan (1,500 cr/mo) covers roughly 2–3 full site generations.', () => {
    const [[, month = Number.NaN] = []] = draftly.grants({ rules: onPlan('basic') }).steps;
    const covered = (milli: number) => Math.floor((Number(month) * 1000) / milli);
    expect([covered(site.ceilingMilli), covered(500_000)]).toEqual([2, 3]); // 500: the middle of 400–600
  });

  test('— matching the 2 sites/month limit by design.', () => {
    expect(draftly.quotas('basic', 'site')).toEqual([{ quota: 'sites', period: 'cycle', limit: 2 }]);
  });
});

describe('Image Credit Costs', () => {
  test.each<[string, string, number, string | null]>([
    ['Nano Banana Pro — 20 cr, Premium+', 'nano-banana-pro', 20, 'premium'],
    ['Seedream 4.5 — 18 cr, all plans', 'seedream-4.5', 18, null],
    ['Gemini 2.5 Flash — 8 cr', 'gemini-2.5-flash', 8, null],
    ['Flux Pro — 16 cr, Pro+', 'flux-pro', 16, 'pro'],
    ['Flux Schnell — 12 cr, Pro+', 'flux-schnell', 12, 'pro'],
  ])('Image gen — %s', (_, model, expected, needs) => {
    expect([credits('image', { model }), plan('image', { model })]).toEqual([expected, needs]);
  });

  test('Seedream 4.5 — Default model', () => {
    expect(priced('image').model).toBe('seedream-4.5');
  });

  test('Premium+ and Pro+ mean that plan or a higher one.', () => {
    const passing = (model: string) =>
      catalog.plans.filter((one) => gate(one.plan, 'image', { model }) === null).map((one) => one.plan);
    expect(passing('flux-pro')).toEqual(['pro', 'premium']);
    expect(passing('nano-banana-pro')).toEqual(['premium']);
  });

  test('Image edit / variation — 12 cr', () => {
    expect(credits('image-edit')).toBe(12);
  });

  test('Upscale (2× or 4×) — 4 cr', () => {
    expect(['2x', '4x'].map((scale) => credits('upscale', { scale }))).toEqual([4, 4]);
  });

  test('Background removal — 4 cr', () => {
    expect(credits('background-removal')).toBe(4);
  });

  test.each(['2K', '4K'])('2K/4K output multiplier — 2× base, Premium+ only: %s', (resolution) => {
    for (const { model, params } of draftly
      .offers('image')
      .filter((one) => one.params['resolution'] === resolution)) {
      const asked = { ...params, model: model ?? '' };
      expect(credits('image', asked)).toBe(2 * credits('image', { ...asked, resolution: '1K' }));
      expect(plan('image', asked)).toBe('premium');
    }
    expect([credits('image-edit', { resolution }), plan('image-edit', { resolution })]).toEqual([
      24,
      'premium',
    ]);
  });

  test('The multiplier is for generated and edited images: an upscale or a removed background has no resolution.', () => {
    for (const action of ['upscale', 'background-removal'])
      expect(refusal(action, { resolution: '2K' }).path).toBe('params.resolution');
  });
});

describe('Video Credit Costs', () => {
  test.each<[string, string, Record<string, unknown>, number, string | null, boolean]>([
    ['Veo 3.1 Standard (8s, 720p) — 256 cr', 'veo-3.1-standard', { resolution: '720p' }, 256, null, false],
    ['Veo 3.1 Standard (8s, 1080p) — 256 cr', 'veo-3.1-standard', { resolution: '1080p' }, 256, null, false],
    ['Veo 3.1 Relaxed (8s) — ~150 cr', 'veo-3.1-relaxed', {}, 150, null, true],
    [
      'Veo 3.1 HD (8s, 1080p) — ~680 cr, Premium+',
      'veo-3.1-hd',
      { resolution: '1080p' },
      680,
      'premium',
      false,
    ],
    ['2K video (Premium+) — ~512 cr', 'video-2k', {}, 512, 'premium', false],
    ['4K video (Premium+) — ~1,024 cr', 'video-4k', {}, 1024, 'premium', false],
  ])('%s', (_, model, params, expected, needs, approximate) => {
    expect(priced('video', { model, seconds: 8, ...params })).toMatchObject({
      creditsMilli: expected * 1000,
      requiredPlan: needs,
      approximate,
    });
  });

  test.each([
    ['veo-3.1-standard', 32],
    ['veo-3.1-hd', 85],
    ['video-2k', 64],
    ['video-4k', 128],
  ])('%s costs %d cr/sec', (model, rate) => {
    for (const seconds of [1, 7, 60]) expect(credits('video', { model, seconds })).toBe(rate * seconds);
  });

  test('Veo 3.1 Relaxed — slower queue, ~40% cheaper', () => {
    expect(Math.round(100 * (1 - credits('video', { model: 'veo-3.1-relaxed' }) / credits('video')))).toBe(
      41,
    );
  });

  test('Durations nobody published are not offered.', () => {
    expect(refusal('video', { model: 'veo-3.1-relaxed', seconds: 4 }).detail).toBe(
      'seconds must be one of 8.',
    );
    expect(refusal('video', { seconds: 61 }).detail).toBe('seconds must be a whole number from 1 to 60.');
    expect(refusal('video', { seconds: 0 }).path).toBe('params.seconds');
    expect(refusal('video-extend', { seconds: 8 }).detail).toBe('seconds must be one of 4.');
  });

  test('Video extend — LTX (4s) — ~60 cr: Continue a clip, Pro+', () => {
    expect(priced('video-extend')).toMatchObject({
      model: 'ltx',
      params: { seconds: 4, outputs: 1 },
      creditsMilli: 60_000,
      requiredPlan: 'pro',
      approximate: true,
    });
  });
});

describe('Editing & Chat Costs', () => {
  test.each<[string, string, number]>([
    ['Chat edit (surgical patch) — 0.5 cr, per edit', 'chat-edit', 0.5],
    ['Prompt enhancement — 1 cr', 'prompt-enhancement', 1],
    ['Brainstorm prompt — 1 cr', 'brainstorm', 1],
    ['Inline text edit — 0 cr, always free', 'inline-text-edit', 0],
    ['Design preset apply — 0 cr, always free', 'design-preset', 0],
    ['Business OS chat (Pro+) — 15 cr/msg', 'business-os-chat', 15],
  ])('%s', (_, action, expected) => {
    expect(credits(action)).toBe(expected);
  });

  test('Business OS chat is for Pro and above.', () => {
    expect([gate('basic-plus', 'business-os-chat'), gate('pro', 'business-os-chat')]).toEqual(['pro', null]);
  });

  test('Full regen fallback — 400–600 cr: only if patch impossible — warned first', () => {
    const regeneration = priced('site-regeneration');
    expect(regeneration).toMatchObject({ needsConfirmation: true, ceilingMilli: 600_000 });
    expect(regeneration.lines).toEqual(priced('site').lines);
  });
});
