import { parsed, smallest } from '../../../domain/catalogs';
import { type InUse, inUse } from '../../../products/inUse';

/** In which order a request is refused, and that a quote knows it before the click. */

let product: InUse;

/** A plan that may not, one whose quota is nothing, one that may all. No plan gives credits; a day gives two. */
function ladder() {
  const json = smallest();
  const [image] = json.actions;
  const [daily, ...others] = json.buckets;
  return parsed({
    ...json,
    catalog: 'ladder',
    buckets: [{ ...daily, amount: 2 }, ...others],
    quotas: [{ quota: 'prints', label: 'Prints', period: 'cycle' }],
    plans: [
      { plan: 'free', label: 'Free', rank: 0, prices: { month: 0 } },
      { plan: 'one', label: 'One', rank: 1, prices: { month: 10 } },
      { plan: 'two', label: 'Two', rank: 2, prices: null, quotas: { prints: 0 } },
      { plan: 'three', label: 'Three', rank: 3, prices: null, allotments: { plan: 20 } },
    ],
    actions: [{ ...image, needsConfirmation: true, quotas: ['prints'] }],
  });
}

beforeAll(async () => {
  product = await inUse(ladder());
});
afterAll(() => product.engine.stop());

test('suspended, action and options, confirmation, plan, quota, member, account, open generations, balance', async () => {
  const { engine, open, change, refused, quote } = product;
  const account = await open('one');
  const at = (what: string) => `/v1/accounts/${account}${what}`;
  const put = async (what: string, body: object) => {
    const { status } = await engine.call('PUT', at(what), { body });
    expect(status).toBe(200);
  };
  await engine.call('POST', '/v1/holds', {
    body: { account, credits: 0.5, ttlSeconds: 600 },
    idempotencyKey: engine.newId('hold'),
  });
  await put('/members/olga', { role: 'owner' });
  await put('/members/mia', { role: 'member', monthlyLimit: 1 });
  await put('/limits', { openGenerations: 1, creditsPerDay: 1 });
  const stand = async (what: string, body?: object) =>
    expect((await engine.call('POST', at(what), { body })).text).toContain(account);
  await stand('/suspend', { reason: 'all at once' });

  const asked = { action: 'image', params: { resolution: '2K' }, member: 'mia' };
  const codes: string[] = [];
  /** What a generation is refused with; from the plan on, the quote says the same, and what would help. */
  const says = async (body: Record<string, unknown> = { ...asked, confirm: true }) => {
    const reply = await refused(account, body);
    codes.push(`${reply.status} ${reply.body.code}`);
    return reply.body;
  };
  const saysAlso = async () => {
    const { code, paywall } = await says();
    const { allowed, reason, paywall: quoted } = await quote(account, asked);
    expect([allowed, reason]).toEqual([false, code]);
    expect(quoted ?? null).toEqual(paywall === undefined ? null : paywall);
    return paywall;
  };

  await says({ ...asked, params: { resolution: '8K' } });
  await stand('/unsuspend');
  await says({ ...asked, params: { resolution: '8K' } });
  await says(asked);
  expect(await saysAlso()).toMatchObject({ ways: ['ask_owner'], requiredPlan: 'two', waitSuffices: false });
  await change(account, 'two');
  expect(await saysAlso()).toMatchObject({ ways: ['ask_owner'], plans: [{ plan: 'three' }] });
  await change(account, 'three');
  await engine.call('POST', at('/adjustments'), {
    body: { bucket: 'plan', credits: -20, reason: 'back to a day’s credits' },
    idempotencyKey: engine.newId('adjust'),
  });
  expect(await saysAlso()).toMatchObject({ ways: ['ask_owner'], waitSuffices: false }); // 5 > 1, in any month
  await put('/members/mia', { role: 'member', monthlyLimit: null });
  expect(await saysAlso()).toMatchObject({ ways: [], waitSuffices: false });
  await put('/limits', { creditsPerDay: null });
  expect(await saysAlso()).toBeUndefined();
  await put('/limits', { openGenerations: null });
  expect(await saysAlso()).toMatchObject({ ways: ['ask_owner', 'wait'], waitSuffices: true });

  expect(codes).toEqual([
    '403 account_suspended',
    '422 unknown_option',
    '409 confirmation_required',
    '403 plan_required',
    '429 quota_reached',
    '403 member_limit_reached',
    '403 account_limit_reached',
    '429 too_many_open_generations',
    '402 insufficient_credits',
  ]);
});

test('the price list of a member knows its limit, and what is used of it', async () => {
  const { engine, open, charge } = product;
  const account = await open('three');
  const asMia = async () => {
    const { body } = await engine.call<{
      data: { models: { variants: { credits: number; reason: string | null }[] }[] }[];
    }>('GET', `/v1/accounts/${account}/prices?member=mia`);
    return body.data[0]?.models[0]?.variants.map(({ credits, reason }) => [credits, reason]);
  };
  await engine.call('PUT', `/v1/accounts/${account}/members/mia`, {
    body: { role: 'owner', monthlyLimit: 6 },
  });
  expect(await asMia()).toEqual([
    [2.5, null],
    [5, null],
  ]);
  await charge(account, { action: 'image', member: 'mia', confirm: true });
  expect(await asMia()).toEqual([
    [2.5, null],
    [5, 'member_limit_reached'],
  ]);
});
