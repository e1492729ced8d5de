import { moneyText } from './minorUnits';
import type { PriceObject, ProductObject, StripeObjects } from './objects';

/** What separates a Stripe account from a catalog, as the changes that end it, in an order in which each is possible. */

export interface FoundProduct extends ProductObject {
  active: boolean;
}

export interface FoundPrice {
  id: string;
  lookupKey: string | null;
  product: string;
  currency: string;
  /** Null: by tiers, or not in whole smallest units. */
  unitAmount: number | null;
  /** Null: paid once. */
  recurring: { interval: string; count: number } | null;
}

export interface FoundObjects {
  /** Products that are the catalog's by id or by mark, archived ones too. */
  products: FoundProduct[];
  /** Active prices that carry the catalog's mark. */
  prices: FoundPrice[];
  /** The catalog's portal configuration: its id, and the products and prices one can change between there. */
  portal: { id: string; products: PortalProduct[]; isAsDecided: boolean } | null;
}

export interface PortalProduct {
  product: string;
  prices: string[];
}

export type Change =
  | { change: 'create_product'; product: ProductObject }
  | { change: 'update_product'; product: ProductObject; was: FoundProduct }
  | { change: 'create_price'; price: PriceObject; replaces: FoundPrice | null }
  | { change: 'create_portal' }
  | { change: 'update_portal'; id: string }
  /** No longer sold. Its subscriptions continue. */
  | { change: 'archive_price'; price: FoundPrice }
  | { change: 'archive_product'; product: FoundProduct };

/** The changes that make `found` what `wanted` says; none if it is so already. */
export function differences(wanted: StripeObjects, found: FoundObjects): Change[] {
  const has = new Map(found.products.map((product) => [product.id, product]));
  const products = wanted.products.flatMap((product): Change[] => {
    const was = has.get(product.id);
    if (was === undefined) return [{ change: 'create_product', product }];
    return isSameProduct(product, was) ? [] : [{ change: 'update_product', product, was }];
  });
  const kept = new Map(
    wanted.prices.map((price) => [price.lookupKey, found.prices.find((each) => isSamePrice(price, each))]),
  );
  const prices = wanted.prices
    .filter(({ lookupKey }) => kept.get(lookupKey) === undefined)
    .map((price): Change => {
      const replaces = found.prices.find(({ lookupKey }) => lookupKey === price.lookupKey) ?? null;
      return { change: 'create_price', price, replaces };
    });
  const keptIds = new Set([...kept.values()].map((price) => price?.id));
  const isWanted = new Set(wanted.products.map(({ id }) => id));
  return [
    ...products,
    ...prices,
    ...portalChange(wanted, { portal: found.portal, kept }),
    ...found.prices
      .filter(({ id }) => !keptIds.has(id))
      .map((price): Change => ({ change: 'archive_price', price })),
    ...found.products
      .filter(({ id, active }) => active && !isWanted.has(id))
      .map((product): Change => ({ change: 'archive_product', product })),
  ];
}

function portalChange(
  wanted: StripeObjects,
  options: {
    portal: FoundObjects['portal'];
    kept: ReadonlyMap<string, FoundPrice | undefined>;
  },
): Change[] {
  const { portal, kept } = options;
  if (portal === null) return [{ change: 'create_portal' }];
  const listed = portalProducts(wanted, (price) => kept.get(price.lookupKey)?.id);
  const isSame = portal.isAsDecided && inOrder(listed) === inOrder(portal.products);
  return isSame ? [] : [{ change: 'update_portal', id: portal.id }];
}

/** What a subscriber can change between: every plan at every interval. `idOf` gives the id of a price; undefined: there is none yet. */
export function portalProducts(
  wanted: StripeObjects,
  idOf: (price: PriceObject) => string | undefined,
): PortalProduct[] {
  return wanted.plans.map((product) => ({
    product,
    prices: wanted.prices.filter((price) => price.product === product).map((price) => idOf(price) ?? ''),
  }));
}

function inOrder(products: readonly PortalProduct[]): string {
  const lines = products.map(({ product, prices }) => [product, ...prices.toSorted()].join(' '));
  return lines.toSorted().join('\n');
}

function isSameProduct(wanted: ProductObject, found: FoundProduct): boolean {
  return productChanges(wanted, found).length === 0;
}

function isSamePrice(wanted: PriceObject, found: FoundPrice): boolean {
  return (
    found.lookupKey === wanted.lookupKey &&
    found.product === wanted.product &&
    found.currency === wanted.currency &&
    found.unitAmount === wanted.unitAmount &&
    found.recurring?.interval === wanted.recurring?.interval &&
    found.recurring?.count === wanted.recurring?.count
  );
}

/** One line for whoever decides whether to apply it. */
export function changeLine(change: Change): string {
  switch (change.change) {
    case 'create_product':
      return `+ product ${change.product.id}: ${change.product.name}`;
    case 'update_product':
      return `~ product ${change.product.id}: ${productChanges(change.product, change.was).join(', ')}`;
    case 'create_price': {
      const { price, replaces } = change;
      const line = `+ price ${price.lookupKey}: ${priceText(price)}`;
      return replaces === null ? line : `${line}, in place of ${replaces.id} (${priceText(replaces)})`;
    }
    case 'create_portal':
      return '+ customer portal configuration';
    case 'update_portal':
      return `~ customer portal configuration ${change.id}`;
    case 'archive_price': {
      const { price } = change;
      return `- price ${price.id} of ${price.product}: ${priceText(price)}; its subscriptions continue`;
    }
    default:
      return `- product ${change.product.id}: ${change.product.name}`;
  }
}

function productChanges(wanted: ProductObject, was: FoundProduct): string[] {
  // Metadata of others on our products is theirs.
  const isMarked = Object.entries(wanted.metadata).every(([key, value]) => was.metadata[key] === value);
  return [
    ...(was.active ? [] : ['sold again']),
    ...(was.name === wanted.name ? [] : [`named ${wanted.name}, was ${was.name}`]),
    ...(isMarked ? [] : ['marked as this catalog’s']),
  ];
}

function priceText({
  currency,
  unitAmount,
  recurring,
}: Pick<FoundPrice, 'currency' | 'unitAmount' | 'recurring'>) {
  const amount = unitAmount === null ? `an amount by tiers in ${currency}` : moneyText(unitAmount, currency);
  if (recurring === null) return `${amount} once`;
  return `${amount} every ${recurring.count === 1 ? '' : `${recurring.count} `}${recurring.interval}${recurring.count === 1 ? '' : 's'}`;
}
