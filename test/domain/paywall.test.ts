import { toMilli } from '../../domain/credits';
import { type Limited, type PaywallRequest, paywall, paywallWays } from '../../domain/paywall';
import { readProduct } from '../products/product';
import { imagineart, parsed, smallest } from './catalogs';

const catalog = imagineart();
const midnight = { at: '2026-11-22T00:00:00.000Z', amountMilli: toMilli(100) };
const nextCycle = { at: '2026-12-01T09:00:00.000Z', amountMilli: toMilli(3000) };

/** A free account with 100 credits that wants something for 250. */
function wall(change: Partial<PaywallRequest> = {}) {
  return paywall({
    catalog,
    plan: 'free',
    subscriptionActive: false,
    role: null,
    requiredMilli: toMilli(250),
    availableMilli: toMilli(100),
    requiredPlan: null,
    nextRefresh: midnight,
    ...change,
  });
}

describe('a free ImagineArt account that is short of credits', () => {
  it('is told what is missing, and may upgrade or wait, but not buy packs', () => {
    expect(wall()).toEqual({
      ways: ['upgrade', 'wait'],
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
    expect(wall({ requiredMilli: toMilli(80), availableMilli: toMilli(20) }).waitSuffices).toBe(true);
  });

  it('sees no plan that would not do either', () => {
    const plans = wall({ requiredMilli: toMilli(9_000) }).plans.map((one) => one.plan);
    expect(plans).toEqual(['ultimate', 'creator', 'teams-scale', 'enterprise']);
  });
});

describe('a subscriber', () => {
  const basic = { plan: 'basic', subscriptionActive: true, nextRefresh: nextCycle };

  it('may buy packs, and sees which of them would cover it', () => {
    const { ways, packs } = wall({ ...basic, requiredMilli: toMilli(2_000), availableMilli: toMilli(300.5) });
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

  it('whose packs may not pay for it sees none that covers', () => {
    const { packs } = wall({ ...basic, excluded: ['pack'] });
    expect(packs.some((one) => one.covers)).toBe(false);
  });

  it('who lacks the plan is offered that plan and higher ones; neither packs nor waiting would do', () => {
    const answer = wall({ ...basic, requiredPlan: 'ultimate', availableMilli: toMilli(3000) });
    expect(answer).toMatchObject({ ways: ['upgrade'], shortfall: 0, packs: [], waitSuffices: false });
    expect(answer.plans.map((one) => one.plan)).toEqual(['ultimate', 'creator', 'teams-scale', 'enterprise']);
  });

  it('who lacks both plan and credits is still offered the plan', () => {
    const answer = wall({ ...basic, requiredPlan: 'ultimate', requiredMilli: toMilli(900_000) });
    expect(answer.plans[0]?.plan).toBe('ultimate');
  });
});

describe('an account in debt', () => {
  const basic = { plan: 'basic', subscriptionActive: true, nextRefresh: nextCycle };

  it('is covered by what is left of a pack or an upgrade once the debt is paid', () => {
    const asked = { ...basic, requiredMilli: toMilli(900), availableMilli: toMilli(0) };
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
      ...{ catalog: draftly, plan: 'basic', availableMilli: toMilli(250) },
      limited: { ...limited, ...change },
      ...more,
    });

  it('of a quota is passed by a plan with a higher one, or by waiting; packs do not help', () => {
    const answer = stuck({});
    expect(answer).toMatchObject({ ways: ['upgrade', 'wait'], packs: [], waitSuffices: true, shortfall: 0 });
    expect(answer.plans.map(({ plan }) => plan)).toEqual(['basic-plus', 'pro', 'premium']);
  });

  it('that is passed leaves the credits that are missing: waiting for it alone does not do', () => {
    const answer = stuck({}, { requiredMilli: toMilli(20), availableMilli: toMilli(12) });
    expect(answer).toMatchObject({ required: 20, available: 12, shortfall: 8, waitSuffices: false });
  });

  it('is not waited for where a whole period allows less than was asked', () => {
    expect(stuck({ units: 6 })).toMatchObject({
      ways: ['upgrade'],
      waitSuffices: false,
      requiredPlan: 'pro',
    });
  });

  it('that never starts anew is not waited for either', () => {
    expect(stuck({ resetsAt: null })).toMatchObject({ ways: ['upgrade'], waitSuffices: false });
  });

  it('of a member is for an owner to raise', () => {
    const own = { refusal: 'member_limit_reached', name: 'mia' } as const;
    expect(stuck(own, { role: 'member' })).toMatchObject({ ways: ['ask_owner', 'wait'], plans: [] });
  });
});

describe('a member', () => {
  it('asks an owner where an owner could do something', () => {
    expect(wall({ role: 'member' }).ways).toEqual(['ask_owner', 'wait']);
    expect(wall({ role: 'owner' }).ways).toEqual(['upgrade', 'wait']);
  });

  it('pays where the product lets every member', () => {
    const open = { ...catalog, rules: { ...catalog.rules, buyers: 'everyone' } } as const;
    expect(wall({ catalog: open, role: 'member' }).ways).toEqual(['upgrade', 'wait']);
  });

  it('only waits where nobody can', () => {
    const stuck = { role: 'member', plan: 'enterprise', subscriptionActive: false } as const;
    expect(wall(stuck).ways).toEqual(['wait']);
  });
});

describe('the paywall', () => {
  it('is the same bytes for the same request', () => {
    expect(JSON.stringify(wall())).toBe(JSON.stringify(wall()));
  });

  it('where packs are for everyone offers them on the free plan too', () => {
    const small = parsed(smallest());
    expect(wall({ catalog: small, nextRefresh: null })).toMatchObject({
      ways: ['buy_pack', 'upgrade'],
      packs: [{ pack: 'p50', covers: false }],
      plans: [{ plan: 'two', credits: 1000, price: null }],
      nextRefreshAt: null,
      waitSuffices: false,
    });
  });
});

describe('the ways of a balance', () => {
  it('are those that are open whatever the account wants to do', () => {
    const free = { catalog, plan: 'free', subscriptionActive: false, role: null, nextRefresh: midnight };
    expect(paywallWays(free)).toEqual(['upgrade', 'wait']);
    const basic = { ...free, plan: 'basic', subscriptionActive: true, nextRefresh: null };
    expect(paywallWays(basic)).toEqual(['buy_pack', 'upgrade']);
  });
});
