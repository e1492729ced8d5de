import type { Action, Catalog, Options } from '../catalog/catalog';
import type { ParamValue, Priced } from './line';
import { price } from './price';

/** Every combination that can be ordered, one output of it, with its price. Pure. */

export interface Offer {
  action: string;
  /** Null for free actions and pipelines. */
  model: string | null;
  /** The options alone, without `outputs`. */
  params: Record<string, ParamValue>;
  priced: Priced;
}

export function offersOf({ catalog, action }: { catalog: Catalog; action: Action }): Offer[] {
  const sets = action.models.map(({ model, options }) => ({ model, options }));
  const all = sets.length > 0 ? sets : [{ model: null, options: action.pipeline?.options ?? {} }];
  return all.flatMap(({ model, options }) =>
    combinations(options).flatMap((params) => {
      const request = { catalog, action: action.action, params, ...(model === null ? {} : { model }) };
      const result = price(request);
      return result.ok ? [{ action: action.action, model, params, priced: result.priced }] : [];
    }),
  );
}

/** In the order the catalog lists the options and their values. */
function combinations(options: Options): Record<string, ParamValue>[] {
  return Object.entries(options).reduce<Record<string, ParamValue>[]>(
    (all, [name, { values }]) => all.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}],
  );
}
