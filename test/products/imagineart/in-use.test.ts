import { type InUse, inUse } from '../inUse';
import { readProduct } from '../product';

/** ImagineArt, “Understanding Credits” (the newer page): what its sentences say will happen, in the running engine. */

let product: InUse;
beforeAll(async () => {
  product = await inUse(readProduct('imagineart'));
});
afterAll(() => product.engine.stop());

const INSTANT = { provider: { type: 'simulated', delayMs: 0 } };
const image = (model: string, params: Record<string, unknown> = {}) => ({
  action: 'image',
  model,
  params,
  ...INSTANT,
});

describe('Free credits (daily)', () => {
  test('All accounts without an active subscription receive 100 free credits every day.', async () => {
    const { open, moveClock, left } = product;
    const account = await open('free');
    expect(await left(account)).toEqual({ daily: 100 });
    await moveClock(account, '2026-03-11T00:00:00Z');
    expect(await left(account)).toEqual({ daily: 100 });
    expect(await left(await open('basic'))).toEqual({ plan: 3000 });
  });

  test('These credits reset each day: what is left of them is not added to the next day’s.', async () => {
    const { open, charge, moveClock, left, engine } = product;
    const account = await open('free');
    await charge(account, { credits: 30 });
    await moveClock(account, '2026-03-14T12:00:00Z');
    expect(await left(account)).toEqual({ daily: 100 });
    const rows = await engine.journal(account);
    expect(rows.map(({ kind, credits }) => [kind, credits])).toEqual([
      ['grant', 100],
      ['charge', -30],
      ['expire', -70],
      ['grant', 100],
    ]);
  });

  test('Pro models require an active subscription.', async () => {
    const { open, refused, left } = product;
    const account = await open('free');
    const { status, body } = await refused(account, image('nano-banana-pro'));
    expect([status, body.code, body.requiredPlan]).toEqual([403, 'plan_required', 'basic']);
    expect(body.paywall).toMatchObject({
      ways: ['upgrade'],
      packs: [],
      plans: [{ plan: 'basic' }, {}, {}, {}, {}, {}],
    });
    expect(await left(account)).toEqual({ daily: 100 });
  });

  test('Free daily credits cannot be used to access them: not by who subscribed at noon and has some left, either.', async () => {
    const { open, change, charge, generate, quote, refused, left } = product;
    const account = await open('free');
    await change(account, 'basic');
    expect(await left(account)).toEqual({ daily: 100, plan: 3000 });
    expect((await generate(account, image('nano-banana-pro'))).draws).toEqual([
      { bucket: 'plan', credits: 80 },
    ]);
    await charge(account, { credits: 100 }); // takes the day’s
    await charge(account, { credits: 2900 });
    expect(await left(account)).toEqual({ plan: 20 });

    const other = await open('free');
    await change(other, 'basic');
    const { draws } = await generate(other, image('nano-banana-2', { outputs: 3 }));
    expect(draws).toEqual([
      { bucket: 'daily', credits: 100 },
      { bucket: 'plan', credits: 47 },
    ]);

    const poor = await open('free');
    await change(poor, 'basic');
    await generate(poor, image('recraft-v4-pro', { outputs: 8 }));
    await generate(poor, image('recraft-v4-pro', { outputs: 8 }));
    await generate(poor, image('recraft-v4-pro', { outputs: 4 }));
    expect(await left(poor)).toEqual({ daily: 100 });
    const { body } = await refused(poor, image('flux-2-pro'));
    expect(body).toMatchObject({ code: 'insufficient_credits', required: 28, available: 0, shortfall: 28 });
    expect(await quote(poor, { action: 'image', model: 'flux-2-pro' })).toMatchObject({
      allowed: false,
      paywall: body.paywall,
    });
    expect((await generate(poor, image('imagen-4'))).draws).toEqual([{ bucket: 'daily', credits: 24 }]);
  });
});

describe('Subscription credits (monthly)', () => {
  test('Unused subscription credits do not roll over to the next month. Any remaining subscription credits expire when your cycle renews.', async () => {
    const { open, charge, moveClock, left } = product;
    const account = await open('standard');
    await charge(account, { credits: 1000 });
    await moveClock(account, '2026-04-10T09:59:59Z');
    expect(await left(account)).toEqual({ plan: 7000 });
    await moveClock(account, '2026-04-10T10:00:00Z');
    expect(await left(account)).toEqual({ plan: 8000 });
  });
});

describe('Top-up credits (one-time)', () => {
  test('Top-up credits are added to your account immediately and never expire.', async () => {
    const { open, buy, moveClock, left } = product;
    const account = await open('basic');
    expect((await buy(account, 'tokens-1000')).body.credits).toBe(1000);
    expect(await left(account)).toEqual({ plan: 3000, pack: 1000 });
    await moveClock(account, '2031-03-10T10:00:00Z');
    expect(await left(account)).toEqual({ plan: 3000, pack: 1000 });
  });

  test('If your subscription lapses, any remaining top-up credits can still be spent — but only on features available under your current plan tier.', async () => {
    const { open, buy, moveClock, change, charge, generate, refused, left } = product;
    const account = await open('ultimate');
    await buy(account, 'tokens-1000');
    await moveClock(account, '2026-04-10T09:00:00Z');
    await charge(account, { credits: 16_000 });
    await change(account, 'free');
    await moveClock(account, '2026-04-10T11:00:00Z');
    expect(await left(account)).toEqual({ daily: 100, pack: 1000 });
    expect((await generate(account, image('chatgpt', { outputs: 3 }))).draws).toEqual([
      { bucket: 'daily', credits: 100 },
      { bucket: 'pack', credits: 35 },
    ]);
    expect((await refused(account, image('nano-banana-pro'))).body.requiredPlan).toBe('basic');
    expect((await refused(account, { action: 'video', model: 'veo-3.1' })).body.requiredPlan).toBe(
      'ultimate',
    );
    expect(await left(account)).toEqual({ pack: 965 });
  });

  test('However, you must have an active subscription to purchase them: without one no pack is offered.', async () => {
    const { open, buy, change, charge, refused } = product;
    const account = await open('basic');
    await charge(account, { credits: 3000 });
    const offered = async () => (await refused(account, image('chatgpt', { outputs: 4 }))).body.paywall;
    expect(await offered()).toMatchObject({
      ways: ['buy_pack', 'upgrade', 'wait'],
      packs: [{ pack: 'tokens-1000', covers: true }, {}, {}],
      nextRefreshAt: '2026-04-10T10:00:00.000Z',
      waitSuffices: true,
    });
    await buy(account, 'tokens-1000');
    await charge(account, { credits: 1000 });
    await change(account, 'free');
    // Waiting for the day’s 100 would not do, so it is not a way out (rule 33).
    expect(await offered()).toMatchObject({
      ways: ['upgrade'],
      packs: [],
      nextRefreshAt: '2026-03-11T00:00:00.000Z',
      waitSuffices: false, // 180 is more than a day gives
    });
  });
});

describe('ImagineArt always draws from your balances in the following order: free, subscription, top-up.', () => {
  const account = async () => {
    const { open, change, buy, charge } = product;
    const id = await open('free');
    await charge(id, { credits: 80 });
    await change(id, 'basic');
    await buy(id, 'tokens-1000');
    await charge(id, { action: 'image', model: 'recraft-v4-pro', params: { outputs: 8 } });
    await charge(id, { action: 'image', model: 'recraft-v4-pro', params: { outputs: 8 } });
    await charge(id, { action: 'image', model: 'nano-banana-pro', params: { outputs: 7 } });
    expect(await product.left(id)).toEqual({ daily: 20, plan: 40, pack: 1000 });
    return id;
  };
  const DRAWS = [
    { bucket: 'daily', credits: 20 },
    { bucket: 'plan', credits: 40 },
    { bucket: 'pack', credits: 15 },
  ];

  test('one generation takes from all three', async () => {
    const id = await account();
    expect((await product.generate(id, image('ideogram-v3', { outputs: 3 }))).draws).toEqual(DRAWS);
    expect(await product.left(id)).toEqual({ pack: 985 });
  });

  test('and one that fails gives back to all three', async () => {
    const id = await account();
    const fails = {
      ...image('ideogram-v3', { outputs: 3 }),
      provider: { type: 'simulated', delayMs: 0, fail: 'error' },
    };
    const failed = await product.generate(id, fails);
    expect([failed.status, failed.draws, failed.credits.refunded]).toEqual(['failed', DRAWS, 75]);
    expect(await product.left(id)).toEqual({ daily: 20, plan: 40, pack: 1000 });
  });

  test('and of one that delivers two of three images, a third comes back to where it was taken last', async () => {
    const id = await account();
    const two = {
      ...image('ideogram-v3', { outputs: 3 }),
      provider: { type: 'simulated', delayMs: 0, deliver: 2 },
    };
    expect(await product.generate(id, two)).toMatchObject({
      status: 'partial',
      credits: { captured: 50, refunded: 25 },
    });
    expect(await product.left(id)).toEqual({ plan: 10, pack: 1000 });
  });
});

test('Number of results — generating more variants multiplies the credit cost, and no fraction is lost.', async () => {
  const { engine, open, generate } = product;
  const account = await open('basic');
  const three = await generate(account, image('nano-banana-2', { resolution: '2K', outputs: 3 }));
  expect(three.credits).toMatchObject({ quoted: 220.5, captured: 220.5 });
  expect((await engine.balance(account)).available).toBe(2779.5);
});

test('Pooled credits of a team: all members spend, each up to its own limit, which is reset at the beginning of each month.', async () => {
  const { engine, open, generate, refused, moveClock } = product;
  const account = await open('standard');
  const put = (member: string, body: object) =>
    engine.call('PUT', `/v1/accounts/${account}/members/${member}`, { body });
  await put('olga', { role: 'owner' });
  await put('mia', { role: 'member', monthlyLimit: 50 });
  await generate(account, { ...image('imagineart-2.0'), member: 'olga' });
  await generate(account, { ...image('imagineart-2.0', { outputs: 2 }), member: 'mia' });
  const { status, body } = await refused(account, { ...image('flux-dev'), member: 'mia' });
  expect([status, body]).toMatchObject([
    403,
    { code: 'member_limit_reached', limit: 50, used: 50, resetsAt: '2026-04-01T00:00:00.000Z' },
  ]);
  expect(body.paywall).toMatchObject({ ways: ['ask_owner', 'wait'], waitSuffices: true });
  await moveClock(account, '2026-04-01T00:00:00Z');
  expect((await generate(account, { ...image('flux-dev'), member: 'mia' })).status).toBe('succeeded');
  await put('max', { role: 'member' });
  expect(await put('one-too-many', { role: 'member' })).toMatchObject({
    status: 409,
    body: { code: 'seat_limit_reached' },
  });
});
