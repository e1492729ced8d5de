import type { Catalog } from '../catalog/catalog';
import { isSimulated, SIMULATED_IN_LIVE } from '../catalog/providers';

/** What a product for paying customers may not have, though a sample may. `HOLDFAST_MODE=live` refuses it. */

/** Prices that somebody made up, and work that is not done by anybody. None: the catalog may go live. */
export function liveProblems(catalog: Catalog): { path: string; message: string }[] {
  const invented = illustrativePrices(catalog).map((path) => ({
    path,
    message: 'this price is marked as illustrative: set one of your own, and take the mark away',
  }));
  const { defaultProvider } = catalog.rules;
  const usesDefault = catalog.actions.some(({ provider }) => provider === undefined);
  const simulated = [
    ...(usesDefault && isSimulated(defaultProvider) ? ['rules.defaultProvider.type'] : []),
    ...catalog.actions.flatMap(({ provider }, index) =>
      provider !== undefined && isSimulated(provider) ? [`actions.${index}.provider.type`] : [],
    ),
  ];
  return [...invented, ...simulated.map((path) => ({ path, message: SIMULATED_IN_LIVE }))];
}

/** Places of prices that nobody should be charged, wherever their mark stands. */
export function illustrativePrices(catalog: Catalog): string[] {
  return [
    ...catalog.plans.flatMap((plan, index) => {
      const isPaid = Object.values(plan.prices ?? {}).some((price) => price > 0);
      return isPaid && isInvented(plan, 'prices') ? [`plans.${index}.prices`] : [];
    }),
    ...catalog.packs.flatMap((pack, index) => (isInvented(pack, 'price') ? [`packs.${index}.price`] : [])),
  ];
}

function isInvented(sold: Catalog['plans'][number] | Catalog['packs'][number], field: string): boolean {
  return sold.facts?.[field]?.illustrative ?? sold.illustrative ?? false;
}
