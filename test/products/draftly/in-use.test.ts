import type { Problem } from '../../support/processes/engine';
import { type InUse, inUse } from '../inUse';
import { readProduct } from '../product';

/** Draftly, “Credits Reference”: what its sentences say will happen, in the running engine. The site has a file of its own. */

let product: InUse;
beforeAll(async () => {
  product = await inUse(readProduct('draftly'));
});
afterAll(() => product.engine.stop());

const INSTANT = { provider: { type: 'simulated', delayMs: 0 } };
const EXTERNAL = { provider: { type: 'external', deadlineSeconds: 600 } };

test('You send a chat edit (surgical patch to your HTML): half a credit, at once.', async () => {
  const { open, charge, left } = product;
  const account = await open('basic');
  const { status, body } = await charge(account, { action: 'chat-edit' });
  expect([status, body.credits.captured]).toEqual([201, 0.5]);
  expect(await left(account)).toEqual({ plan: 1499.5 });
});

test('Credits are NOT deducted for browsing, re-publishing, inline text edits, presets, settings and downloads.', async () => {
  const { catalog, open, generate, charge, engine } = product;
  const account = await open('free');
  const free = catalog.actions.filter((one) => one.free).map(({ action }) => action);
  for (const action of free) {
    expect((await generate(account, { action })).status).toBe('succeeded');
    expect((await charge(account, { action })).body.credits.captured).toBe(0);
  }
  expect((await engine.balance(account)).available).toBe(10);
});

test('Credits reset at your monthly billing cycle date. Unused credits do not roll over.', async () => {
  const { open, charge, moveClock, left } = product;
  const account = await open('basic');
  await charge(account, { action: 'image', params: { outputs: 4 } });
  expect(await left(account)).toEqual({ plan: 1428 });
  await moveClock(account, '2026-04-10T10:00:00Z');
  expect(await left(account)).toEqual({ plan: 1500 });
});

test('A Basic plan covers roughly 2–3 full site generations — matching the 2 sites/month limit by design.', async () => {
  const { engine, open, refused, quote, moveClock, left } = product;
  const account = await open('basic');
  const site = async () => {
    const { body } = await engine.generate({ account, action: 'site' });
    return body;
  };
  const first = await site();
  const second = await site();
  expect([first.credits.held, second.credits.held]).toEqual([600, 600]);
  const { status, body } = await refused(account, { action: 'site' });
  expect([status, body]).toMatchObject([
    429,
    { code: 'quota_reached', quota: 'sites', limit: 2, used: 2, resetsAt: '2026-04-10T10:00:00.000Z' },
  ]);
  expect(body.paywall).toMatchObject({ ways: ['upgrade', 'wait'], requiredPlan: 'basic-plus', packs: [] });
  expect((await quote(account, { action: 'site' })).reason).toBe('quota_reached');

  // What fails gives its site back to the month it was begun in.
  await engine.call('POST', `/v1/generations/${second.id}/fail`, {
    body: { code: 'model_timeout', message: 'took more than 5 minutes' },
  });
  expect(await left(account)).toEqual({ plan: 900 });
  expect((await quote(account, { action: 'site' })).reason).toBeNull();
  await site();
  await moveClock(account, '2026-04-10T10:00:00Z');
  expect((await quote(account, { action: 'site' })).reason).toBeNull();
});

test('Full regen fallback — warned first: the warning is its price, and nothing runs before it was confirmed.', async () => {
  const { engine, open, refused, quote } = product;
  const account = await open('basic');
  const warned = await refused(account, { action: 'site-regeneration' });
  expect([warned.status, warned.body.code, warned.body.quote]).toMatchObject([
    409,
    'confirmation_required',
    { credits: 282, ceiling: 600, allowed: true },
  ]);
  expect((await engine.balance(account)).held).toBe(0);
  const { id } = await quote(account, { action: 'site-regeneration' });
  const confirmed = await engine.generate({ account, action: 'site-regeneration', quote: id, confirm: true });
  expect([confirmed.status, confirmed.body.credits.held]).toEqual([201, 600]);
});

test('Hero image (HD): varies by model and resolution — and so does the ceiling, for who may order it.', async () => {
  const { engine, open, refused } = product;
  const dear = { action: 'site', params: { heroModel: 'nano-banana-pro', videoModel: 'veo-3.1-hd' } };
  expect((await refused(await open('pro'), dear)).body).toMatchObject({
    code: 'plan_required',
    requiredPlan: 'premium',
  });
  const { body } = await engine.generate({ account: await open('premium'), ...dear });
  expect(body.credits).toMatchObject({ quoted: 708, held: 708 });
});

test('A phase that fails after others have landed: what was delivered stays paid, the rest comes back.', async () => {
  const { engine, open, left } = product;
  const account = await open('basic');
  const { body: site } = await engine.generate({ account, action: 'site' });
  const report = (what: string, body: object) =>
    engine.call('POST', `/v1/generations/${site.id}/${what}`, { body });
  await report('complete', { outputs: [{}], phase: 'hero-image', credits: 18, final: false });
  const misspelt = { outputs: [{}], phase: 'hero-video-2', credits: 18, final: false };
  const { status, body: problem } = await engine.call<Problem>(
    'POST',
    `/v1/generations/${site.id}/complete`,
    {
      body: misspelt,
    },
  );
  expect([status, problem]).toMatchObject([
    422,
    { errors: [{ path: 'phase', message: expect.stringContaining('its phases are hero-image, ') }] },
  ]);
  const ended = await report('fail', { code: 'generation_failed', message: 'the video did not come' });
  expect(ended.body.credits).toMatchObject({ captured: 18, held: 0, refunded: 582 });
  expect(await left(account)).toEqual({ plan: 1482 });
});

test.each([
  ['Nano Banana Pro — Premium+', { action: 'image', model: 'nano-banana-pro' }, 'premium', 20],
  ['Flux Pro — Pro+', { action: 'image', model: 'flux-pro' }, 'pro', 16],
  [
    '2K/4K output multiplier: 2× base — Premium+',
    { action: 'image', params: { resolution: '4K' } },
    'premium',
    36,
  ],
  ['4K video (Premium+)', { action: 'video', model: 'video-4k', params: { seconds: 8 } }, 'premium', 1024],
  ['Video extend — Pro+', { action: 'video-extend' }, 'pro', 60],
  ['Business OS chat (Pro+)', { action: 'business-os-chat' }, 'pro', 15],
])('%s: the plan below is refused, that plan pays', async (_, asked, plan, price) => {
  const { catalog, open, refused, generate } = product;
  const below = catalog.plans[catalog.plans.findIndex((one) => one.plan === plan) - 1]?.plan ?? '';
  const { status, body } = await refused(await open(below), asked);
  expect([status, body.code, body.requiredPlan]).toEqual([403, 'plan_required', plan]);
  expect(body.paywall?.plans[0]?.plan).toBe(plan);
  expect((await generate(await open(plan), { ...asked, ...INSTANT })).credits.captured).toBe(price);
});

test('“Video unavailable”: Free has one clip in its life, which a failure does not use up, and no month brings another.', async () => {
  const { engine, open, buy, generate, refused, moveClock, change } = product;
  const account = await open('free');
  await buy(account, 'credits-1000');
  const clip = { action: 'video', params: { seconds: 2 } };
  const failed = await generate(account, {
    ...clip,
    provider: { type: 'simulated', delayMs: 0, fail: 'error' },
  });
  expect(failed.status).toBe('failed');
  expect((await generate(account, { ...clip, ...INSTANT })).status).toBe('succeeded');
  await moveClock(account, '2027-03-10T10:00:00Z');
  const { status, body } = await refused(account, clip);
  expect([status, body]).toMatchObject([
    429,
    { code: 'quota_reached', quota: 'videos', limit: 1, used: 1, resetsAt: null },
  ]);
  expect(body.paywall).toMatchObject({ ways: ['upgrade'], waitSuffices: false, requiredPlan: 'basic' });
  expect((await engine.balance(account)).quotas).toContainEqual(
    expect.objectContaining({ quota: 'videos', limit: 1, used: 1, resetsAt: null }),
  );
  await change(account, 'basic');
  expect((await generate(account, { ...clip, ...INSTANT })).credits.captured).toBe(64);
});

test('Three of four images are paid where three were delivered, at the price of the quote, which ends after 15 minutes.', async () => {
  const { engine, open, quote, moveClock, left } = product;
  const account = await open('basic');
  const asked = { action: 'image', params: { outputs: 4 } };
  const { id } = await quote(account, asked);
  const { body } = await engine.generate({ account, ...asked, quote: id, ...EXTERNAL });
  const done = await engine.call('POST', `/v1/generations/${body.id}/complete`, {
    body: { outputs: [{}, {}, {}] },
  });
  expect(done.body.credits).toMatchObject({ captured: 54, refunded: 18 });
  expect(await left(account)).toEqual({ plan: 1446 });
  await moveClock(account, '2026-03-10T10:15:00Z');
  const late = await engine.generate<{ code: string }>({ account, ...asked, quote: id });
  expect([late.status, late.body.code]).toEqual([410, 'quote_expired']);
});
