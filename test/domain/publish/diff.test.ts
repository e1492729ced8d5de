import type { Catalog } from '../../../domain/catalog/catalog';
import { catalogChanges } from '../../../domain/publish/diff';
import { parsed, smallest } from '../catalogs';

const before = parsed(smallest());

function changed(edit: (catalog: Catalog) => void) {
  const after = structuredClone(before);
  edit(after);
  return catalogChanges(before, after);
}

describe('what a new version changes', () => {
  it('is nothing where it says the same, also in another order', () => {
    expect(changed(() => undefined)).toEqual([]);
    expect(changed((catalog) => catalog.plans.reverse())).toEqual([]);
  });

  it('is named by the ids on the way, rates by their options', () => {
    const changes = changed((catalog) => {
      const rate = catalog.actions[0]?.models[0]?.rates[1];
      if (rate !== undefined) rate.credits = 5.5;
      const [, one] = catalog.plans;
      if (one !== undefined) one.allotments['plan'] = 120;
    });
    expect(changes).toEqual([
      { path: 'plans.one.allotments.plan', before: 100, after: 120 },
      { path: 'actions.image.models.plain.rates.{"resolution":"2K"}.credits', before: 5, after: 5.5 },
    ]);
  });

  it('shows whole what comes and what goes', () => {
    const changes = changed((catalog) => {
      catalog.packs = [{ pack: 'p99', credits: 99, price: 9, currency: 'USD' }];
    });
    expect(changes).toEqual([
      { path: 'packs.p50', before: before.packs[0], after: null },
      { path: 'packs.p99', before: null, after: { pack: 'p99', credits: 99, price: 9, currency: 'USD' } },
    ]);
  });

  it('compares lists of plain values as a whole', () => {
    const changes = changed((catalog) => {
      catalog.actions[1]?.models[0]?.tags.push('new');
    });
    expect(changes).toEqual([
      { path: 'actions.video.models.clip.tags', before: ['pro'], after: ['pro', 'new'] },
    ]);
  });

  it('is everything where there was nothing', () => {
    expect(catalogChanges(null, before)).toEqual([{ path: '', before: null, after: 'small' }]);
  });
});
