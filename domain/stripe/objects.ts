import type { PlanInterval } from '../account';
import type { Catalog } from '../catalog/catalog';
import { minorUnits } from './minorUnits';

/**
 * What a catalog is in Stripe: one product for each plan and pack that costs money, one price for each way to pay for it, and
 * one configuration of the customer portal. What was sold is found by its product, so a price can be replaced while
 * subscriptions at the old one continue.
 */

export interface ProductObject {
  /** Chosen by us, so that creating it twice makes one. */
  id: string;
  name: string;
  metadata: Record<string, string>;
}

export interface PriceObject {
  /** Names the price that is sold now; Stripe moves it from the price before. */
  lookupKey: string;
  product: string;
  /** In lower case, as Stripe has it. */
  currency: string;
  /** In the currency's smallest unit. */
  unitAmount: number;
  /** Null: paid once. */
  recurring: Recurring | null;
}

interface Recurring {
  interval: 'month' | 'year';
  count: number;
}

export interface StripeObjects {
  catalog: string;
  label: string;
  products: ProductObject[];
  prices: PriceObject[];
  /** Products of the plans, which a subscriber may change between. */
  plans: string[];
}

/** Metadata that says whose an object is; the value is the catalog. Everything else in the Stripe account is left alone. */
export const CATALOG_MARK = 'holdfast_catalog';

/** Products that a customer can change between in the portal. Source: Stripe's reference of portal configurations. */
const MAX_PLANS = 10;

const RECURRING: Record<PlanInterval, Recurring> = {
  month: { interval: 'month', count: 1 },
  quarter: { interval: 'month', count: 3 },
  year: { interval: 'year', count: 1 },
};

/** What Stripe should have for this catalog. Throws a RangeError for a price that its currency cannot say, and for too many plans. */
export function stripeObjects(catalog: Catalog): StripeObjects {
  const plans = catalog.plans.flatMap((plan) => {
    const paid = Object.entries(plan.prices ?? {}).filter(([, price]) => price > 0);
    const product = productOf(catalog, { kind: 'plan', id: plan.plan, name: plan.label });
    const prices = paid.map(
      ([interval, price]): PriceObject => ({
        lookupKey: lookupKeyOf(catalog, { kind: 'plan', id: plan.plan, interval }),
        product: product.id,
        currency: catalog.currency.toLowerCase(),
        unitAmount: unitAmountOf(`plan ${plan.plan}, ${interval}`, price, catalog.currency),
        recurring: RECURRING[interval as PlanInterval], // a key of prices, which parseCatalog checks
      }),
    );
    return paid.length === 0 ? [] : [{ product, prices }];
  });
  const packs = catalog.packs.flatMap((pack) => {
    const name = pack.label ?? `${pack.credits} credits`;
    const product = productOf(catalog, { kind: 'pack', id: pack.pack, name });
    const price: PriceObject = {
      lookupKey: lookupKeyOf(catalog, { kind: 'pack', id: pack.pack }),
      product: product.id,
      currency: pack.currency.toLowerCase(),
      unitAmount: unitAmountOf(`pack ${pack.pack}`, pack.price, pack.currency),
      recurring: null,
    };
    return pack.price === 0 ? [] : [{ product, prices: [price] }];
  });
  if (plans.length > MAX_PLANS)
    throw new RangeError(
      `${catalog.catalog} sells ${plans.length} plans: Stripe's customer portal shows at most ${MAX_PLANS}`,
    );
  const sold = [...plans, ...packs];
  return {
    catalog: catalog.catalog,
    label: catalog.label,
    products: sold.map(({ product }) => product),
    prices: sold.flatMap(({ prices }) => prices),
    plans: plans.map(({ product }) => product.id),
  };
}

function unitAmountOf(sold: string, price: number, currency: string): number {
  try {
    return minorUnits(price, currency);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(`${sold}: ${error.message}`, { cause: error });
  }
}

interface Sold {
  kind: 'plan' | 'pack';
  id: string;
}

function productOf(catalog: Catalog, sold: Sold & { name: string }): ProductObject {
  return {
    id: `holdfast_${catalog.catalog}_${sold.kind}_${sold.id}`,
    name: `${catalog.label}: ${sold.name}`,
    metadata: { [CATALOG_MARK]: catalog.catalog, [`holdfast_${sold.kind}`]: sold.id },
  };
}

function lookupKeyOf(catalog: Catalog, sold: Sold & { interval?: string }): string {
  const key = `holdfast.${catalog.catalog}.${sold.kind}.${sold.id}`;
  return sold.interval === undefined ? key : `${key}.${sold.interval}`;
}
