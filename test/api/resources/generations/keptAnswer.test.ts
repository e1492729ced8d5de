import { renderAnswer } from '../../../../api/resources/generations/keptAnswer';
import type { CatalogStore } from '../../../../db/catalogs/catalogs';
import { parsed, smallest } from '../../../domain/catalogs';

/** Answers to keys of versions before, from the facts that they kept: the paywalls they were given with, byte for byte. */

const json = smallest();
const [image, ...others] = json.actions;
const catalog = parsed({
  ...json,
  quotas: [{ quota: 'images', label: 'Images', period: 'calendar-month' }],
  plans: json.plans.map((one, n) => ({ ...one, quotas: n === 0 ? { images: 2 } : {} })),
  actions: [{ ...image, quotas: ['images'] }, ...others],
});
// All that rendering asks of the store: a version, which never changes.
const catalogs = {
  version: () => Promise.resolve({ catalog, version: 1, effectiveAt: '-infinity' }),
} as unknown as CatalogStore;

const midnight = '2026-11-22T00:00:00.000Z';
/** Without debt and role, as the first paywalls were. */
const first = {
  v: 1,
  catalog: 'small',
  plan: 'free',
  subscribed: false,
  requiredPlan: null,
  excluded: [],
  nextRefresh: { at: midnight, amountMilli: 10_000 },
  required: 250_000,
  refusalDetail: null,
  generation: { catalogVersion: 1 },
};
const facts = { ...first, role: null, debt: 0 };
const short = { status: 'insufficient_credits', at: midnight, required: 250_000, spendable: 4_000, facts };
const quota = {
  ...short,
  status: 'quota_reached',
  required: 2_500,
  spendable: 1_000,
  facts: { ...facts, required: 2_500 },
  limited: {
    counter: 'quota:images',
    period: 'month:2026-11',
    of: 'uses',
    units: 1,
    limit: 2,
    used: 2,
    refusal: 'quota_reached',
    name: 'images',
    resetsAt: '2026-12-01T00:00:00.000Z',
  },
};
const packs = '[{"pack":"p50","credits":50,"price":5,"currency":"USD","covers":false}]';
const one = '{"plan":"one","credits":100,"price":10}';
const two = '{"plan":"two","credits":1000,"price":null}';

test.each([
  [
    'who is short was told to wait where that was not enough',
    short,
    `{"ways":["buy_pack","upgrade","wait"],"required":250,"available":4,"shortfall":246,"requiredPlan":null,"packs":${packs},"plans":[${two}],"nextRefreshAt":"${midnight}","waitSuffices":false}`,
  ],
  [
    'a member asked an owner for packs that may not pay',
    {
      ...short,
      facts: { ...facts, plan: 'one', subscribed: true, role: 'member', excluded: ['pack'], debt: 30_000 },
    },
    `{"ways":["ask_owner","wait"],"required":250,"available":4,"shortfall":246,"requiredPlan":null,"packs":${packs},"plans":[${two}],"nextRefreshAt":"${midnight}","waitSuffices":false}`,
  ],
  [
    'the first ones knew of no debt',
    { ...short, facts: first },
    `{"ways":["buy_pack","upgrade","wait"],"required":250,"available":4,"shortfall":246,"requiredPlan":null,"packs":${packs},"plans":[${two}],"nextRefreshAt":"${midnight}","waitSuffices":false}`,
  ],
  [
    'a plan that was missing',
    { ...short, status: 'plan_required', spendable: 9_000, facts: { ...facts, requiredPlan: 'one' } },
    `{"ways":["upgrade"],"required":250,"available":9,"shortfall":241,"requiredPlan":"one","packs":[],"plans":[${one},${two}],"nextRefreshAt":"${midnight}","waitSuffices":false}`,
  ],
  [
    'a quota was waited for without the credits',
    quota,
    `{"ways":["upgrade","wait"],"required":2.5,"available":1,"shortfall":1.5,"requiredPlan":"one","packs":[],"plans":[${one},${two}],"nextRefreshAt":"2026-12-01T00:00:00.000Z","waitSuffices":false}`,
  ],
  [
    'the first ones did not know how much was asked of a quota',
    {
      ...quota,
      spendable: 4_000,
      limited: { ...quota.limited, units: 3 },
      facts: { ...first, required: 2_500 },
    },
    `{"ways":["upgrade","wait"],"required":2.5,"available":4,"shortfall":0,"requiredPlan":"one","packs":[],"plans":[${one},${two}],"nextRefreshAt":"2026-12-01T00:00:00.000Z","waitSuffices":true}`,
  ],
])('%s', async (_, stored, paywall) => {
  const { text } = await renderAnswer(catalogs, JSON.stringify(stored));
  expect(JSON.stringify((JSON.parse(text) as { paywall: unknown }).paywall)).toBe(paywall);
});

test('what comes is told from the facts that were kept with the refusal, and from what was left then', async () => {
  const daily = { bucket: 'daily', schedule: 'daily', until: midnight, milli: 4_000 };
  const grant = {
    ...daily,
    amountMilli: 250_000,
    until: '2026-11-23T00:00:00.000Z',
    replaces: true,
    ifThere: true,
  };
  const future = {
    coming: [{ at: midnight, plan: 'free', ends: false, grants: [grant] }],
    upgrade: { highest: 0, part: 1, whole: 1 },
  };
  const stored = { ...short, debt: 0, left: [daily], facts: { ...facts, ...future } };
  const { text } = await renderAnswer(catalogs, JSON.stringify(stored));
  expect(JSON.parse(text)).toMatchObject({
    paywall: { ways: ['buy_pack', 'upgrade', 'wait'], waitSuffices: true, nextRefreshAt: midnight },
  });
});
