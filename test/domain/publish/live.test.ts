import { readCatalog } from '../../../db/catalogs/catalogs';
import type { Catalog } from '../../../domain/catalog/catalog';
import { liveProblems } from '../../../domain/publish/live';

const SAMPLE = readCatalog('catalogs/imagineart.json');
const READY: Catalog = {
  ...SAMPLE,
  plans: SAMPLE.plans.map(({ illustrative: _mark, facts: _facts, ...plan }) => plan),
  packs: SAMPLE.packs.map(({ illustrative: _mark, facts: _facts, ...pack }) => pack),
  actions: SAMPLE.actions.map(({ provider: _provider, ...action }) => action),
  rules: { ...SAMPLE.rules, defaultProvider: { type: 'external', deadlineSeconds: 600 } },
};
const found = (change: Partial<Catalog>) => liveProblems({ ...READY, ...change }).map(({ path }) => path);

test.each(['draftly', 'imagineart', 'imagineart-legacy', 'intangible'])(
  'the sample %s may not go live',
  (name) => {
    expect(liveProblems(readCatalog(`catalogs/${name}.json`))).not.toEqual([]);
  },
);

test('prices of its own and a provider that does the work are all that it takes', () => {
  expect(liveProblems(READY)).toEqual([]);
});

test('a price that was made up is found wherever its mark stands, and where only other facts are made up it is not', () => {
  const paid = READY.plans.findIndex(({ prices }) => (prices?.month ?? 0) > 0);
  const marked = (mark: Partial<Catalog['plans'][number]>) =>
    found({ plans: READY.plans.map((plan, index) => (index === paid ? { ...plan, ...mark } : plan)) });
  expect(marked({ illustrative: true })).toEqual([`plans.${paid}.prices`]);
  expect(marked({ facts: { prices: { illustrative: true } } })).toEqual([`plans.${paid}.prices`]);
  expect(marked({ illustrative: true, facts: { prices: { source: 'our price list' } } })).toEqual([
    `plans.${paid}.prices`,
  ]);
  expect(marked({ facts: { seats: { illustrative: true } } })).toEqual([]);
  const packs = READY.packs.map((pack, index) => (index === 1 ? { ...pack, illustrative: true } : pack));
  expect(found({ packs })).toEqual(['packs.1.price']);
});

test('simulated work is found in the default and in an action; a default that no action takes is none', () => {
  const simulated = { ...READY.rules, defaultProvider: { type: 'simulated' } };
  expect(found({ rules: simulated })).toEqual(['rules.defaultProvider.type']);
  const ofOne = (type: string) =>
    READY.actions.map((action, index) => (index === 0 ? { ...action, provider: { type } } : action));
  expect(found({ actions: ofOne('simulated') })).toEqual(['actions.0.provider.type']);
  const all = READY.actions.map((action) => ({
    ...action,
    provider: { type: 'external', deadlineSeconds: 1 },
  }));
  expect(found({ rules: simulated, actions: all })).toEqual([]);
});
