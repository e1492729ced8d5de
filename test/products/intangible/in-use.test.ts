import { type InUse, inUse } from '../inUse';
import { readProduct } from '../product';

/** Intangible, “Credits and tokens”: what its sentences say will happen, through the running engine. */

let product: InUse;
beforeAll(async () => {
  product = await inUse(readProduct('intangible'));
});
afterAll(() => product.engine.stop());

const INSTANT = { provider: { type: 'simulated', delayMs: 0 } };
const FAILS = { provider: { type: 'simulated', delayMs: 0, fail: 'error' } };

test('The counter is a live read of your tier’s monthly allotment plus any credit packs you’ve bought, minus what you’ve spent. It refreshes per-action.', async () => {
  const { engine, open, buy, charge, generate } = product;
  const account = await open('free');
  const counter = async () => (await engine.balance(account)).available;
  expect(await counter()).toBe(400);
  await buy(account, 'pack-300');
  expect(await counter()).toBe(700);
  await charge(account, { action: 'composer' });
  expect(await counter()).toBe(697);
  await generate(account, { action: 'image', params: { resolution: '2K' }, ...INSTANT });
  expect(await counter()).toBe(677);
});

test('If you trigger a paywalled action, the paywall appears when you click Generate, not before.', async () => {
  const { engine, open, refused } = product;
  const account = await open('free');
  const before = await engine.balance(account);
  expect(before.canGenerate).toBe(true); // the button is there, and hovering over it says nothing
  const { status, body } = await refused(account, { action: '3d-asset', params: { detail: 'high' } });
  expect([status, body.code, body.requiredPlan]).toEqual([403, 'plan_required', 'explorer']);
  expect(body.paywall).toMatchObject({ ways: ['upgrade'], packs: [], waitSuffices: false });
  expect(body.paywall?.plans.map(({ plan }) => plan)).toEqual(['explorer', 'business', 'enterprise']);
  expect((await engine.balance(account)).available).toBe(400);
});

test('(or run out of credits): the click that is too dear is refused with the packs and plans that would do.', async () => {
  const { engine, open, charge, refused } = product;
  const account = await open('free');
  await charge(account, { credits: 390.5 });
  expect((await engine.balance(account)).canGenerate).toBe(true);
  const { status, body } = await refused(account, { action: 'video', params: { seconds: 10 } });
  expect([status, body]).toMatchObject([
    402,
    { code: 'insufficient_credits', required: 300, available: 9.5, shortfall: 290.5 },
  ]);
  expect(body.paywall).toMatchObject({
    ways: ['buy_pack', 'upgrade', 'wait'],
    packs: [
      { pack: 'pack-300', covers: true },
      { pack: 'pack-600', covers: true },
      { pack: 'pack-900', covers: true },
    ],
    nextRefreshAt: '2026-04-10T10:00:00.000Z',
    waitSuffices: true,
  });
});

test('Some actions are explicitly free: they run on an empty balance too, at once and without a workflow.', async () => {
  const { catalog, engine, open, charge, generate } = product;
  const account = await open('free');
  await charge(account, { credits: 400 });
  for (const { action } of catalog.actions.filter(({ free }) => free)) {
    expect(await generate(account, { action })).toMatchObject({
      status: 'succeeded',
      credits: { quoted: 0, captured: 0 },
      workflowId: null,
    });
  }
  expect((await engine.balance(account)).available).toBe(0);
});

test.each([
  ['AI Composer prompt that builds an environment', 'composer', 3],
  ['1K image render', 'image', 10],
  ['Image edit (pencil tool)', 'image-edit', 6],
  ['Generate 3D Asset', '3d-asset', 40],
  ['Standard-duration video render', 'video', 150],
])('%s — counts against: Monthly first, then Purchased', async (_, action, price) => {
  const { open, buy, charge, generate, left } = product;
  const account = await open('free');
  await buy(account, 'pack-300');
  await charge(account, { credits: 400 - price + 1 }); // leaves one credit less than it costs
  expect(await left(account)).toEqual({ plan: price - 1, pack: 300 });
  const { draws, credits } = await generate(account, { action, ...INSTANT });
  expect(draws).toEqual([
    { bucket: 'plan', credits: price - 1 },
    { bucket: 'pack', credits: 1 },
  ]);
  expect(credits).toMatchObject({ quoted: price, captured: price });
  expect(await left(account)).toEqual({ pack: 299 });
});

test('What failed gives back what it held, to the same buckets.', async () => {
  const { open, buy, charge, generate, left } = product;
  const account = await open('free');
  await buy(account, 'pack-300');
  await charge(account, { credits: 300 });
  const failed = await generate(account, { action: 'video', ...FAILS });
  expect(failed).toMatchObject({
    status: 'failed',
    credits: { quoted: 150, captured: 0, refunded: 150 },
    draws: [
      { bucket: 'plan', credits: 100 },
      { bucket: 'pack', credits: 50 },
    ],
  });
  expect(await left(account)).toEqual({ plan: 100, pack: 300 });
});

test('The Generate button disables when your balance reaches zero.', async () => {
  const { engine, open, charge } = product;
  const account = await open('free');
  await charge(account, { credits: 399.999 });
  expect((await engine.balance(account)).canGenerate).toBe(true);
  await charge(account, { credits: 0.001 });
  const { canGenerate, ways } = await engine.balance(account);
  expect([canGenerate, ways]).toEqual([false, ['buy_pack', 'upgrade', 'wait']]);
});

test('Buy a credit pack: discrete top-up that doesn’t change your tier.', async () => {
  const { engine, open, buy, moveClock, left } = product;
  const account = await open('free');
  expect((await buy(account, 'pack-900')).body).toMatchObject({ credits: 900 });
  expect((await engine.call<{ plan: string }>('GET', `/v1/accounts/${account}`)).body.plan).toBe('free');
  expect(await left(account)).toEqual({ plan: 400, pack: 900 });
  await moveClock(account, '2027-04-10T10:00:00Z');
  expect(await left(account)).toEqual({ plan: 400, pack: 900 });
});

test('Upgrade your tier: bumps your monthly allotment and unlocks tier-gated capability.', async () => {
  const { open, change, moveClock, left, generate, refused } = product;
  const account = await open('free');
  const high = { action: '3d-asset', params: { detail: 'high' }, ...INSTANT };
  expect((await refused(account, high)).body.code).toBe('plan_required');
  await change(account, 'explorer');
  expect(await generate(account, high)).toMatchObject({ status: 'succeeded', credits: { captured: 80 } });
  await moveClock(account, '2026-04-10T10:00:00Z');
  expect(await left(account)).toEqual({ plan: 3000 });
});

test('Generate 3D Asset is limited on Free; Explorer, Business, and Enterprise get full access.', async () => {
  const { open, change, generate, refused, quote } = product;
  const account = await open('free');
  for (let n = 0; n < 3; n += 1) await generate(account, { action: '3d-asset', ...INSTANT });
  expect(await quote(account, { action: '3d-asset' })).toMatchObject({
    allowed: false,
    reason: 'quota_reached',
  });
  const { status, body } = await refused(account, { action: '3d-asset' });
  expect([status, body]).toMatchObject([
    429,
    { code: 'quota_reached', quota: '3d-assets', limit: 3, used: 3, resetsAt: '2026-04-10T10:00:00.000Z' },
  ]);
  expect(body.paywall).toMatchObject({ ways: ['upgrade', 'wait'], requiredPlan: 'explorer', packs: [] });
  await change(account, 'explorer');
  expect((await generate(account, { action: '3d-asset', ...INSTANT })).status).toBe('succeeded');
});

test('A 3D asset that failed used none of the limit.', async () => {
  const { engine, open, generate } = product;
  const account = await open('free');
  await generate(account, { action: '3d-asset', ...FAILS });
  expect((await engine.balance(account)).quotas).toMatchObject([{ quota: '3d-assets', limit: 3, used: 0 }]);
});

test('Wait for the cycle to roll over: free option, slow option.', async () => {
  const { open, charge, moveClock, left } = product;
  const account = await open('free');
  await charge(account, { credits: 400 });
  await moveClock(account, '2026-04-10T09:59:59Z');
  expect(await left(account)).toEqual({});
  await moveClock(account, '2026-04-10T10:00:00Z');
  expect(await left(account)).toEqual({ plan: 400 });
});

test('In a team all spend one balance, and a member who runs out asks an owner.', async () => {
  const { engine, open, charge, refused } = product;
  const account = await open('business');
  for (const [member, role] of [
    ['olga', 'owner'],
    ['mia', 'member'],
  ] as const)
    await engine.call('PUT', `/v1/accounts/${account}/members/${member}`, { body: { role } });
  await charge(account, { credits: 5000, member: 'olga' });
  await charge(account, { credits: 2900, member: 'mia' });
  const ways = async (member: string) =>
    (await refused(account, { action: 'video', member })).body.paywall?.ways;
  expect(await ways('mia')).toEqual(['ask_owner', 'wait']);
  expect(await ways('visitor')).toEqual(['ask_owner', 'wait']);
  expect(await ways('olga')).toEqual(['buy_pack', 'upgrade', 'wait']);
});
