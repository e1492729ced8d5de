import { add, milli, toMilli } from '../../../domain/credits';
import type { Catalog } from '../../../domain/catalog/catalog';
import type { Coming, Spendable } from '../../../domain/time/outlook';
import { type Limited, type PaywallRequest, paywall, paywallWays } from '../../../domain/access/paywall';
import { readProduct } from '../../products/product';
import { imagineart, parsed, smallest } from '../catalogs';

const catalog = imagineart();

/** What a schedule grants at an instant, to a plan. */
function coming(
  at: string,
  plan: string,
  grants: Record<string, number>,
  more: Partial<Coming> = {},
): Coming {
  return {
    at,
    plan,
    ends: false,
    grants: Object.entries(grants).map(([bucket, credits]) => ({
      bucket,
      schedule: bucket,
      until: '2027-01-01T00:00:00.000Z',
      replaces: true,
      ifThere: bucket === 'daily' || plan === 'free',
      amountMilli: toMilli(credits),
    })),
    ...more,
  };
}
const midnight = coming('2026-11-22T00:00:00.000Z', 'free', { daily: 100 });
const nextCycle = coming('2026-12-01T09:00:00.000Z', 'basic', { plan: 3000 });
const lot = (bucket: string, credits: number, until = 'infinity'): Spendable => ({
  bucket,
  schedule: bucket,
  until,
  milli: toMilli(credits),
});

/** A free account with 100 credits of today that wants something for 250. */
function wall({ left, ...change }: Partial<PaywallRequest> = {}) {
  const lots = left ?? [lot('daily', 100, midnight.at)];
  return paywall({
    catalog,
    plan: 'free',
    subscriptionActive: false,
    role: null,
    requiredMilli: toMilli(250),
    availableMilli: add(...lots.map((one) => one.milli)),
    requiredPlan: null,
    left: lots,
    coming: [midnight],
    upgrade: { highest: milli(0), part: 1, whole: 1 },
    ...change,
  });
}

describe('a free ImagineArt account that is short of credits', () => {
  it('is told what is missing, and may upgrade, but not buy packs; waiting would not do', () => {
    expect(wall()).toEqual({
      ways: ['upgrade'],
      required: 250,
      available: 100,
      shortfall: 150,
      requiredPlan: null,
      packs: [],
      plans: [
        { plan: 'basic', credits: 3000, price: 13 },
        { plan: 'standard', credits: 8000, price: 30 },
        { plan: 'ultimate', credits: 16_000, price: 50 },
        { plan: 'creator', credits: 100_000, price: 250 },
        { plan: 'teams-scale', credits: 250_000, price: null },
        { plan: 'enterprise', credits: 500_000, price: null },
      ],
      nextRefreshAt: '2026-11-22T00:00:00.000Z',
      waitSuffices: false,
    });
  });

  it('need only wait for something that a day’s credits pay for', () => {
    const left = [lot('daily', 20, midnight.at)];
    const answer = wall({ requiredMilli: toMilli(80), left });
    expect(answer).toMatchObject({ ways: ['upgrade', 'wait'], waitSuffices: true });
  });

  it('sees no plan that would not do either', () => {
    const plans = wall({ requiredMilli: toMilli(9_000) }).plans.map((one) => one.plan);
    expect(plans).toEqual(['ultimate', 'creator', 'teams-scale', 'enterprise']);
  });
});

describe('waiting', () => {
  const basic = { plan: 'basic', subscriptionActive: true, requiredMilli: toMilli(3_200) };
  const waits = (change: Partial<PaywallRequest>) => {
    const { ways, waitSuffices, nextRefreshAt } = wall({ ...basic, coming: [nextCycle], ...change });
    expect(ways.includes('wait')).toBe(waitSuffices);
    return waitSuffices ? nextRefreshAt : null;
  };

  it('adds what comes to what is left and lasts, and not to what it takes the place of', () => {
    expect(waits({ left: [lot('pack', 250)] })).toBe(nextCycle.at);
    expect(waits({ left: [lot('plan', 250, '2026-12-01T11:00:00.000Z')] })).toBeNull();
    expect(waits({ left: [lot('promo', 250, nextCycle.at)] })).toBeNull();
    expect(waits({ left: [lot('promo', 250, '2026-12-01T09:00:00.001Z')] })).toBe(nextCycle.at);
  });

  it('for what a debt takes first is waiting for the rest', () => {
    const left = [lot('pack', 250)];
    expect(waits({ left, debtMilli: toMilli(50) })).toBe(nextCycle.at);
    expect(waits({ left, debtMilli: toMilli(51) })).toBeNull();
  });

  it('for a bucket that may not pay is of no use', () => {
    const asked = { requiredMilli: toMilli(100), left: [] };
    expect(waits(asked)).toBe(nextCycle.at);
    expect(waits({ ...asked, excluded: ['plan'] })).toBeNull();
  });

  it('for the end of a plan is waiting for what the next one gives', () => {
    const then = { ...nextCycle, plan: 'free', ends: true, grants: midnight.grants };
    const left = [lot('plan', 40, '2026-12-01T11:00:00.000Z')];
    expect(waits({ left, coming: [then], requiredMilli: toMilli(100) })).toBe(nextCycle.at);
    expect(waits({ left, coming: [then], requiredMilli: toMilli(101) })).toBeNull();
    expect(waits({ left, coming: [{ ...then, grants: [] }], requiredMilli: toMilli(41) })).toBeNull();
  });

  it('for a higher plan that is to begin passes its gate, and for a lower one does not', () => {
    const gated = { requiredPlan: 'ultimate', requiredMilli: toMilli(100) };
    expect(waits({ ...gated, coming: [{ ...nextCycle, plan: 'ultimate' }] })).toBe(nextCycle.at);
    const lower = { ...gated, plan: 'creator', left: [lot('plan', 40)] };
    expect(waits({ ...lower, coming: [{ ...nextCycle, plan: 'ultimate' }] })).toBe(nextCycle.at);
    expect(waits({ ...lower, coming: [{ ...nextCycle, plan: 'basic' }] })).toBeNull();
  });
});

describe('a subscriber', () => {
  const basic = { plan: 'basic', subscriptionActive: true, coming: [nextCycle] };

  it('may buy packs, and sees which of them would cover it', () => {
    const { ways, packs } = wall({ ...basic, requiredMilli: toMilli(2_000), left: [lot('plan', 300.5)] });
    expect(ways).toEqual(['buy_pack', 'upgrade', 'wait']);
    expect(packs.map((one) => [one.pack, one.covers])).toEqual([
      ['tokens-1000', false],
      ['tokens-5000', true],
      ['tokens-20000', true],
    ]);
  });

  it('of the highest plan cannot upgrade', () => {
    expect(wall({ ...basic, plan: 'enterprise' })).toMatchObject({ ways: ['buy_pack', 'wait'], plans: [] });
  });

  it('whose packs may not pay for it sees none that covers, and no way in buying one', () => {
    const { ways, packs } = wall({ ...basic, excluded: ['pack'] });
    expect(packs.some((one) => one.covers)).toBe(false);
    expect(ways).toEqual(['upgrade', 'wait']);
  });

  it('who lacks the plan is offered that plan and higher ones; neither packs nor waiting would do', () => {
    const answer = wall({ ...basic, requiredPlan: 'ultimate', left: [lot('plan', 3000)] });
    expect(answer).toMatchObject({ ways: ['upgrade'], shortfall: 0, packs: [], waitSuffices: false });
    expect(answer.plans.map((one) => one.plan)).toEqual(['ultimate', 'creator', 'teams-scale', 'enterprise']);
  });

  it('who lacks both plan and credits is still offered the plan', () => {
    const answer = wall({ ...basic, requiredPlan: 'ultimate', requiredMilli: toMilli(900_000) });
    expect(answer.plans[0]?.plan).toBe('ultimate');
  });
});

describe('an upgrade', () => {
  const plansFor = (change: Partial<PaywallRequest>) => {
    const { ways, plans } = wall({ plan: 'basic', subscriptionActive: true, ...change });
    expect(ways.includes('upgrade')).toBe(plans.length > 0);
    return plans.slice(0, 2).map(({ plan }) => plan);
  };
  const asked = { requiredMilli: toMilli(5_000), left: [] };

  it('is offered where it would do: it adds what it gives more than the paid plans of this slot', () => {
    expect(plansFor({ ...asked, upgrade: { highest: toMilli(3000), part: 1, whole: 1 } })).toEqual([
      'standard',
      'ultimate',
    ]);
    expect(plansFor({ ...asked, upgrade: { highest: toMilli(8000), part: 1, whole: 1 } })).toEqual([
      'ultimate',
      'creator',
    ]);
    expect(plansFor({ ...asked, requiredMilli: toMilli(600_000) })).toEqual([]);
  });

  it('that is prorated adds its share', () => {
    const half = { highest: toMilli(3000), part: 1, whole: 2 };
    expect(plansFor({ ...asked, upgrade: half })).toEqual(['ultimate', 'creator']);
  });

  it('leaves of the plan’s credits what the catalog carries', () => {
    const strict = { ...catalog, rules: { ...catalog.rules, upgrade: { carry: false, proration: 'none' } } };
    const upgrade = { highest: toMilli(3000), part: 1, whole: 1 };
    const left = [lot('plan', 500)];
    const more = { requiredMilli: toMilli(5_500), left, upgrade };
    expect(plansFor(more)).toEqual(['standard', 'ultimate']);
    expect(plansFor({ ...more, catalog: strict as Catalog })).toEqual(['ultimate', 'creator']);
  });
});

describe('an account in debt', () => {
  const basic = { plan: 'basic', subscriptionActive: true, coming: [nextCycle] };

  it('is covered by what is left of a pack or an upgrade once the debt is paid', () => {
    const upgrade = { highest: toMilli(3000), part: 1, whole: 1 };
    const asked = { ...basic, requiredMilli: toMilli(900), left: [], upgrade };
    const covering = (debt: number) => {
      const { packs, plans } = wall({ ...asked, debtMilli: toMilli(debt) });
      return [packs.find(({ covers }) => covers)?.pack, plans[0]?.plan];
    };
    expect([covering(0), covering(101), covering(4_101)]).toEqual([
      ['tokens-1000', 'standard'],
      ['tokens-5000', 'standard'],
      ['tokens-20000', 'ultimate'],
    ]);
  });
});

describe('a limit', () => {
  const limited = {
    refusal: 'quota_reached',
    name: 'sites',
    limit: 2,
    units: 1,
    resetsAt: nextCycle.at,
  } as const;
  const draftly = readProduct('draftly');
  const stuck = (change: Partial<Limited>, more: Partial<PaywallRequest> = {}) =>
    wall({
      catalog: draftly,
      plan: 'basic',
      left: [lot('pack', 250)],
      coming: [nextCycle],
      limited: { ...limited, ...change },
      ...more,
    });

  it('of a quota is passed by a plan with a higher one, or by waiting; packs do not help', () => {
    const answer = stuck({});
    expect(answer).toMatchObject({ ways: ['upgrade', 'wait'], packs: [], waitSuffices: true, shortfall: 0 });
    expect(answer.plans.map(({ plan }) => plan)).toEqual(['basic-plus', 'pro', 'premium']);
  });

  it('that is passed leaves the credits that are missing: waiting does where they have come by then', () => {
    const short = { requiredMilli: toMilli(20), left: [lot('pack', 12)] };
    const answer = stuck({}, { ...short, coming: [{ ...nextCycle, grants: [] }] });
    expect(answer).toMatchObject({
      required: 20,
      available: 12,
      shortfall: 8,
      waitSuffices: false,
      ways: ['upgrade'],
    });
    expect(stuck({}, short)).toMatchObject({ waitSuffices: true, ways: ['upgrade', 'wait'] });
  });

  it('is not waited for with credits that have ended by then', () => {
    const left = [lot('promo', 250, nextCycle.at)];
    const answer = stuck({}, { left, coming: [{ ...nextCycle, grants: [] }] });
    expect(answer).toMatchObject({ shortfall: 0, waitSuffices: false, ways: ['upgrade'] });
  });

  it('of the plan that begins then is the one that counts', () => {
    const then = (plan: string) => stuck({ units: 3 }, { coming: [{ ...nextCycle, plan }] });
    expect([then('basic-plus').ways, then('basic').ways]).toEqual([['upgrade', 'wait'], ['upgrade']]);
    expect(stuck({ units: 2 }, { coming: [{ ...nextCycle, plan: 'free' }] }).ways).toEqual(['upgrade']);
  });

  it('is not waited for where a whole period allows less than was asked', () => {
    expect(stuck({ units: 6 })).toMatchObject({
      ways: ['upgrade'],
      waitSuffices: false,
      requiredPlan: 'pro',
    });
  });

  it('that never starts again is not waited for either', () => {
    expect(stuck({ resetsAt: null })).toMatchObject({ ways: ['upgrade'], waitSuffices: false });
  });

  it('is not a reason to upgrade to a plan that leaves it unpaid', () => {
    const answer = stuck({}, { requiredMilli: toMilli(900_000) });
    expect(answer).toMatchObject({ ways: [], plans: [], requiredPlan: null });
  });

  it('of a member is for an owner to raise', () => {
    const own = { refusal: 'member_limit_reached', name: 'mia' } as const;
    expect(stuck(own, { role: 'member' })).toMatchObject({ ways: ['ask_owner', 'wait'], plans: [] });
  });
});

describe('a member', () => {
  it('asks an owner where an owner could do something', () => {
    expect(wall({ role: 'member' }).ways).toEqual(['ask_owner']);
    expect(wall({ role: 'owner' }).ways).toEqual(['upgrade']);
  });

  it('pays where the product lets every member', () => {
    const open = { ...catalog, rules: { ...catalog.rules, buyers: 'everyone' } } as const;
    expect(wall({ catalog: open, role: 'member' }).ways).toEqual(['upgrade']);
  });

  it('only waits where nobody can do more', () => {
    const stuck = { role: 'member', plan: 'enterprise', subscriptionActive: false } as const;
    expect(wall({ ...stuck, coming: [nextCycle] }).ways).toEqual(['wait']);
    expect(wall(stuck).ways).toEqual([]);
  });
});

describe('the paywall', () => {
  it('is the same bytes for the same request', () => {
    expect(JSON.stringify(wall())).toBe(JSON.stringify(wall()));
  });

  it('where packs are for everyone offers them on the free plan too', () => {
    const small = parsed(smallest());
    expect(wall({ catalog: small, coming: [] })).toMatchObject({
      ways: ['buy_pack', 'upgrade'],
      packs: [{ pack: 'p50', covers: false }],
      plans: [{ plan: 'two', credits: 1000, price: null }],
      nextRefreshAt: null,
      waitSuffices: false,
    });
  });
});

describe('the ways of a balance', () => {
  const free = {
    catalog,
    plan: 'free',
    subscriptionActive: false,
    role: null,
    suspended: false,
    awaits: true,
  };

  it('are those that are open whatever the account wants to do', () => {
    expect(paywallWays(free)).toEqual(['upgrade', 'wait']);
    const basic = { ...free, plan: 'basic', subscriptionActive: true, awaits: false };
    expect(paywallWays(basic)).toEqual(['buy_pack', 'upgrade']);
  });

  it('are none while it is suspended: nothing that a customer does helps', () => {
    expect(paywallWays({ ...free, suspended: true })).toEqual([]);
  });
});
