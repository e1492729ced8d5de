import {
  bucketOf,
  freePlan,
  isPaid,
  packOf,
  planOf,
  returnGraceSeconds,
} from '../../../domain/catalog/catalog';
import { isoDurationSeconds } from '../../../domain/catalog/duration';
import { parseCatalog } from '../../../domain/publish/parse';
import { imagineart, parsed, smallest } from '../catalogs';

/** The smallest catalog with one value set, by its path: what is wrong with it. */
function errorsWith(where: string, value: unknown): string[] {
  const json: unknown = smallest();
  const names = where.split('.');
  const last = names.pop() ?? '';
  const target = names.reduce<unknown>((inner, name) => Reflect.get(Object(inner), name), json);
  Reflect.set(Object(target), last, value);
  const result = parseCatalog(json);
  return result.ok ? [] : result.errors.map(({ path, message }) => `${path}: ${message}`);
}

describe('a catalog', () => {
  it('is read with its defaults filled in', () => {
    const catalog = parsed(smallest());
    expect(freePlan(catalog).allotments).toEqual({});
    expect(bucketOf(catalog, 'daily')).toMatchObject({ eligibility: 'everyone', excludes: [] });
    expect(catalog.rules).toMatchObject({
      renewalGrace: 'PT2H',
      showPrices: true,
      callersChooseProvider: false,
    });
    expect(catalog.actions.map((one) => one.maxOutputs)).toEqual([4, 1, 1]);
  });

  it('reads the same again from what was stored', () => {
    const catalog = imagineart();
    expect(parsed(JSON.parse(JSON.stringify(catalog)))).toEqual(catalog);
  });

  it('finds its buckets, plans and packs by id, and nothing by the names every object has', () => {
    const catalog = parsed(smallest());
    expect(bucketOf(catalog, 'pack')?.rank).toBe(3);
    expect(packOf(catalog, 'p50')?.credits).toBe(50);
    expect(planOf(catalog, 'two')?.label).toBe('Two');
    expect(planOf(catalog, 'constructor')).toBeUndefined();
    expect(catalog.plans.map(isPaid)).toEqual([false, true, true]);
  });

  it.each([
    ['two buckets of one id', 'buckets.1.bucket', 'daily', 'buckets.1: id daily is used twice'],
    ['two buckets of one rank', 'buckets.1.rank', 1, 'buckets.1: rank 1 is used twice'],
    ['two plans of one rank', 'plans.2.rank', 1, 'plans.2: rank 1 is used twice'],
    ['two plans of one id', 'plans.2.plan', 'one', 'plans.2: id one is used twice'],
    ['a missing field', 'label', undefined, 'label: is missing; it must be there, as string'],
    [
      'a field nobody knows',
      'plans.1.price',
      9,
      'plans.1.price: is not a field of a catalog; leave it out, or see docs/catalogs.md for its name',
    ],
    [
      'a provider nobody knows',
      'rules.defaultProvider.type',
      'teleport',
      'rules.defaultProvider.type: there is no provider teleport; use one of: simulated, external',
    ],
    [
      'an external provider without an end',
      'actions.1.provider.deadlineSeconds',
      undefined,
      'actions.1.provider.deadlineSeconds: an external provider needs whole seconds, at least 1',
    ],
    [
      'a setting that its provider does not have',
      'rules.defaultProvider.delay',
      3,
      'rules.defaultProvider.delay: there is no such setting of simulated; it has delayMs, fail, deliver',
    ],
    [
      'a delay in words',
      'rules.defaultProvider.delayMs',
      'soon',
      'rules.defaultProvider.delayMs: must be whole milliseconds, zero or more',
    ],
    ['two packs of one id', 'packs.1', smallest().packs[0], 'packs.1: id p50 is used twice'],
    ['two actions of one id', 'actions.1.action', 'image', 'actions.1: id image is used twice'],
    ['no free plan', 'plans.0.rank', 9, 'plans: one plan must have rank 0: the free plan'],
    [
      'a free plan with a price',
      'plans.0.prices.month',
      1,
      'plans.0.prices: the plan of rank 0 is the free plan',
    ],
    ['a free plan on request', 'plans.0.prices', null, 'plans.0.prices: the plan of rank 0 is the free plan'],
    [
      'an allotment of a bucket that is never refreshed',
      'plans.1.allotments.pack',
      5,
      'plans.1.allotments.pack: no bucket pack is ever refreshed',
    ],
    [
      'an amount where nothing is refreshed',
      'buckets.2.amount',
      5,
      'buckets.2.amount: a bucket without a refresh has no amount per refresh',
    ],
    [
      'two buckets refreshed alike',
      'buckets.2.refresh',
      'month',
      'buckets.2.refresh: only one bucket may refresh each month',
    ],
    [
      'an exclusion of models nobody has',
      'buckets.0.excludes',
      ['prp'],
      'buckets.0.excludes: no model carries the tag prp',
    ],
    ['packs but no bucket for them', 'buckets.2.bucket', 'packs', 'packs: packs need a bucket called pack'],
    ['a negative amount', 'buckets.0.amount', -1, 'buckets.0.amount: Too small'],
    ['a fourth decimal', 'buckets.0.amount', 0.0001, 'buckets.0.amount: must have at most three decimals'],
    [
      'a rate that comes to 0',
      'actions.0.models.0.rates.0.credits',
      0,
      'actions.0.models.0.rates.0.credits: must be more than 0; what costs nothing and needs no work is an action with `"free": true`',
    ],
    ['a pack of nothing', 'packs.0.credits', 0, 'packs.0.credits: must be more than 0'],
    ['a currency of two letters', 'currency', 'US', 'currency: must be a currency such as USD'],
    [
      'a return policy with a broken duration',
      'buckets.1.onReturn',
      'grace:1 day',
      'buckets.1.onReturn: must name an ISO 8601 duration',
    ],
    [
      'a gate with a plan that is not there',
      'actions.1.minimumPlan',
      'pro',
      'actions.1.minimumPlan: there is no plan pro',
    ],
    [
      'a gate of a rate with a plan that is not there',
      'actions.0.models.0.rates.1.minimumPlan',
      'pro',
      'actions.0.models.0.rates.1.minimumPlan: there is no plan pro',
    ],
    [
      'a default model that is not there',
      'actions.0.defaultModel',
      'fancy',
      'actions.0.defaultModel: must be one of the models',
    ],
    [
      'a free action with a rate',
      'actions.0.free',
      true,
      'actions.0.models: a free action has no models and no rates',
    ],
    [
      'an action with neither a rate nor `free`',
      'actions.2.free',
      false,
      'actions.2.models: an action that is not free needs a model with a rate',
    ],
    [
      'a limit of a quota that is not there',
      'plans.1.quotas',
      { sites: 2 },
      'plans.1.quotas.sites: there is no quota sites; use one of: (none are defined)',
    ],
    [
      'a fact about a field that is not there',
      'plans.1.facts',
      { seats: { illustrative: true }, colour: { illustrative: true } },
      'plans.1.facts.colour: there is no field colour beside it',
    ],
    [
      'a fact about an entry that is not there',
      'plans.1.facts',
      { 'allotments.plan': { illustrative: true }, 'allotments.pack': { illustrative: true } },
      'plans.1.facts.allotments.pack: there is no field allotments.pack beside it',
    ],
    [
      'more combinations than a price list can show',
      'actions.0.models.0.options',
      Object.fromEntries(
        ['resolution', 'a', 'b', 'c'].map((name) => [
          name,
          { values: ['1K', '2K', 3, 4, 5, 6, 7], default: '1K' },
        ]),
      ),
      'actions.0.models.0.options: has 2401 combinations; at most 2000 are allowed',
    ],
    [
      'an id that every object has',
      'plans.1.plan',
      'constructor',
      'plans.1.plan: is a name every JavaScript object has; choose another',
    ],
  ])('is refused with %s, and the error names the place', (_, where, value, error) => {
    expect(errorsWith(where, value)).toContainEqual(expect.stringContaining(error));
  });

  it.each([null, undefined, 'text', 7, [], {}])('is refused where it is not a catalog at all: %j', (json) => {
    expect(parseCatalog(json).ok).toBe(false);
  });
});

describe('the rates of a model', () => {
  it.each<[string, Record<string, unknown>, string]>([
    [
      'have a rate for the default options',
      { rates: [{ params: { resolution: '2K' }, credits: 1 }] },
      'rates: the default options must have a rate',
    ],
    [
      'price no combination twice',
      { rates: [{ credits: 1 }, { params: { resolution: '2K' }, credits: 2 }] },
      'rates.1: rate 0 prices the same combination; tell them apart by params',
    ],
    [
      'name options that exist',
      { rates: [{ credits: 1, params: { audio: true } }] },
      'rates.0.params.audio: true is not a value of option audio',
    ],
    [
      'name values that exist',
      { rates: [{ params: { resolution: '8K' }, credits: 1 }] },
      'rates.0.params.resolution: 8K is not a value of option resolution',
    ],
    [
      'say how long, where they are per second',
      { rates: [{ credits: 1, per: 'second' }] },
      'rates.0.per: a rate per second needs an option `seconds` of whole numbers from 1',
    ],
    [
      'count whole seconds',
      { options: { seconds: { values: [0, 4], default: 4 } }, rates: [{ credits: 1, per: 'second' }] },
      'rates.0.per: a rate per second needs an option `seconds` of whole numbers from 1',
    ],
    [
      'never cost more than one operation may move',
      { options: {}, rates: [{ credits: 900_000_000 }] },
      'rates.0.credits: the dearest order must cost at most 1,000,000,000 credits',
    ],
    [
      'default to a value that is offered',
      { options: { resolution: { values: ['1K', '2K'], default: '4K' } } },
      'options.resolution.default: must be one of the values',
    ],
    [
      'leave `outputs` to the action',
      { options: { outputs: { values: [1], default: 1 } }, rates: [{ credits: 1 }] },
      'options.outputs: `outputs` is there already; maxOutputs of the action limits it',
    ],
    [
      'call no option like what every object has',
      { options: { toString: { values: [1], default: 1 } }, rates: [{ credits: 1 }] },
      'options.toString: ',
    ],
  ])('%s', (_, model, error) => {
    const plain = { ...smallest().actions[0]?.models?.[0], ...model };
    const errors = errorsWith('actions.0.models.0', plain);
    expect(errors).toContainEqual(expect.stringContaining(`actions.0.models.0.${error}`));
  });
});

describe('durations and returns', () => {
  it('reads days, hours, minutes and seconds', () => {
    expect(['PT2H', 'P30D', 'P1DT1H1M1S', 'PT0S'].map(isoDurationSeconds)).toEqual([
      7200, 2_592_000, 90_061, 0,
    ]);
  });

  it('reads nothing else', () => {
    const wrong = [
      '',
      'P',
      'PT',
      'P1DT',
      '2H',
      'PT2',
      'P1M',
      'P1Y',
      'PT1.5H',
      'PT-1H',
      ' PT1H',
      'pt1h',
      'PT1S1H',
    ];
    expect(wrong.map(isoDurationSeconds)).toEqual(wrong.map(() => null));
  });

  it('knows what becomes of credits that come back late', () => {
    const catalog = parsed(smallest());
    expect(catalog.buckets.map(returnGraceSeconds)).toEqual([null, 86_400, 30 * 86_400]);
  });
});

describe('catalogs/imagineart.json', () => {
  const catalog = imagineart();
  const models = catalog.actions.flatMap((one) => one.models);

  it('says of every number where it comes from, or that it is invented', () => {
    const facts = [
      ...catalog.buckets,
      ...catalog.plans,
      ...catalog.packs,
      ...models.flatMap((one) => one.rates),
    ];
    expect(facts.filter((fact) => fact.source === undefined && fact.illustrative !== true)).toEqual([]);
  });

  it('spends promotional, free, subscription and top-up credits in this order', () => {
    const order = catalog.buckets.toSorted((a, b) => a.rank - b.rank).map((one) => one.bucket);
    expect(order).toEqual(['promo', 'daily', 'plan', 'pack']);
  });

  it('gives 100 free credits a day to accounts without a subscription, and none of them to Pro models', () => {
    expect(bucketOf(catalog, 'daily')).toMatchObject({
      amount: 100,
      refresh: 'day',
      eligibility: 'without-subscription',
      excludes: ['pro'],
      onReturn: 'forfeit',
    });
  });

  it('has every plan with its price and its credits a month', () => {
    expect(
      catalog.plans.map((one) => [one.plan, one.prices?.month ?? null, one.allotments['plan'] ?? 0]),
    ).toEqual([
      ['free', 0, 0],
      ['basic', 13, 3000],
      ['standard', 30, 8000],
      ['ultimate', 50, 16_000],
      ['creator', 250, 100_000],
      ['teams-scale', null, 250_000],
      ['enterprise', null, 500_000],
    ]);
    expect(catalog.plans.filter((one) => one.illustrative).map((one) => one.plan)).toEqual([
      'teams-scale',
      'enterprise',
    ]);
  });

  it('asks for a subscription where the label says Pro', () => {
    const pro = models.filter((one) => /\bPro\b/.test(one.label));
    expect(pro.length).toBeGreaterThan(4);
    expect(pro.every((one) => one.tags.includes('pro') && one.minimumPlan === 'basic')).toBe(true);
    expect(models.filter((one) => one.tags.includes('pro'))).toHaveLength(pro.length);
  });

  it('sells packs to subscribers only, and leaves the work to the simulated provider', () => {
    expect(catalog.rules).toMatchObject({
      packsFor: 'subscribers-only',
      callersChooseProvider: false,
      defaultProvider: { type: 'simulated', delayMs: 1500 },
    });
  });
});
