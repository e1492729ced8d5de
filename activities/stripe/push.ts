import type StripeSdk from 'stripe';
import {
  type Change,
  differences,
  type FoundObjects,
  type FoundPrice,
  type FoundProduct,
  portalProducts,
} from '../../domain/stripe/differences';
import { CATALOG_MARK, type PriceObject, type StripeObjects } from '../../domain/stripe/objects';

/**
 * Makes a Stripe account sell what a catalog says. Looking changes nothing. The SDK's own idempotency keys cover repeats of a request; a run
 * that was cut short is covered by the next one, which looks again.
 */

/** What separates the Stripe account from the catalog now. */
export async function findDifferences(stripe: StripeSdk, wanted: StripeObjects): Promise<Change[]> {
  return differences(wanted, await findObjects(stripe, wanted));
}

/** Applies the changes that are needed, in their order, and calls `onApplied` after each. The next run does what one that was cut short has left. */
export async function push(
  stripe: StripeSdk,
  { wanted, onApplied }: { wanted: StripeObjects; onApplied: (change: Change) => void },
): Promise<void> {
  const found = await findObjects(stripe, wanted);
  const prices = new Map<string, string>();
  for (const { id, lookupKey } of found.prices) if (lookupKey !== null) prices.set(lookupKey, id);
  for (const change of differences(wanted, found)) {
    await apply(stripe, { wanted, change, prices });
    onApplied(change);
  }
}

async function findObjects(stripe: StripeSdk, wanted: StripeObjects): Promise<FoundObjects> {
  const ours = new Set(wanted.products.map(({ id }) => id));
  const products: FoundProduct[] = [];
  // Listed, and not searched: Stripe's search is behind by up to a minute.
  for await (const product of stripe.products.list({ limit: 100 })) {
    if (!ours.has(product.id) && product.metadata[CATALOG_MARK] !== wanted.catalog) continue;
    const { id, name, metadata, active } = product;
    products.push({ id, name, metadata, active });
  }
  const prices: FoundPrice[] = [];
  for (const product of products)
    for await (const price of stripe.prices.list({ product: product.id, active: true, limit: 100 }))
      if (price.metadata[CATALOG_MARK] === wanted.catalog) prices.push(foundPrice(price, product.id));
  return { products, prices, portal: await findPortal(stripe, wanted) };
}

function foundPrice(price: StripeSdk.Price, product: string): FoundPrice {
  const { id, lookup_key: lookupKey, currency, unit_amount: unitAmount, recurring } = price;
  const cycle = recurring && { interval: recurring.interval, count: recurring.interval_count };
  return { id, lookupKey, product, currency, unitAmount, recurring: cycle };
}

async function findPortal(stripe: StripeSdk, wanted: StripeObjects): Promise<FoundObjects['portal']> {
  const expand = ['data.features.subscription_update.products'];
  for await (const portal of stripe.billingPortal.configurations.list({ active: true, limit: 100, expand })) {
    if (portal.metadata?.[CATALOG_MARK] !== wanted.catalog) continue;
    const update = portal.features.subscription_update;
    const products = (update.products ?? []).map(({ product, prices }) => ({ product, prices }));
    return { id: portal.id, products, isAsDecided: isAsDecided(portal.features, wanted) };
  }
  return null;
}

async function apply(
  stripe: StripeSdk,
  options: { wanted: StripeObjects; change: Change; prices: Map<string, string> },
): Promise<void> {
  const { wanted, change, prices } = options;
  switch (change.change) {
    case 'create_product':
      await stripe.products.create({ ...change.product });
      return;
    case 'update_product': {
      const { id, name, metadata } = change.product;
      await stripe.products.update(id, { name, metadata, active: true });
      return;
    }
    case 'create_price': {
      const { id } = await createPrice(stripe, { wanted, price: change.price });
      prices.set(change.price.lookupKey, id);
      return;
    }
    case 'create_portal': {
      const features = portalFeatures(wanted, prices);
      const metadata = { [CATALOG_MARK]: wanted.catalog };
      await stripe.billingPortal.configurations.create({ features, metadata, name: wanted.label });
      return;
    }
    case 'update_portal':
      await stripe.billingPortal.configurations.update(change.id, {
        features: portalFeatures(wanted, prices),
      });
      return;
    case 'archive_price':
      await stripe.prices.update(change.price.id, { active: false });
      return;
    case 'archive_product':
      await stripe.products.update(change.product.id, { active: false });
  }
}

function createPrice(
  stripe: StripeSdk,
  options: { wanted: StripeObjects; price: PriceObject },
): Promise<StripeSdk.Price> {
  const { wanted, price } = options;
  const { lookupKey, product, currency, unitAmount, recurring } = price;
  return stripe.prices.create({
    product,
    currency,
    unit_amount: unitAmount,
    lookup_key: lookupKey,
    // Moves the key from the price before in the same request, so that at no time nothing is sold.
    transfer_lookup_key: true,
    metadata: { [CATALOG_MARK]: wanted.catalog },
    ...(recurring === null
      ? {}
      : { recurring: { interval: recurring.interval, interval_count: recurring.count } }),
  });
}

/**
 * What customers may do on their own: up at once and paid at once, down and out at the end of what is paid, so that no credits
 * are granted for a plan and the money taken back.
 */
function portalFeatures(
  wanted: StripeObjects,
  prices: ReadonlyMap<string, string>,
): StripeSdk.BillingPortal.ConfigurationCreateParams.Features {
  const products = portalProducts(wanted, ({ lookupKey }) => prices.get(lookupKey));
  return {
    customer_update: { enabled: true, allowed_updates: ['email', 'name', 'address', 'tax_id'] },
    invoice_history: { enabled: true },
    payment_method_update: { enabled: true },
    subscription_cancel: { enabled: wanted.plans.length > 0, mode: 'at_period_end' },
    subscription_update:
      products.length === 0
        ? { enabled: false }
        : {
            enabled: true,
            default_allowed_updates: ['price', 'promotion_code'],
            products,
            proration_behavior: 'always_invoice',
            schedule_at_period_end: {
              conditions: [{ type: 'decreasing_item_amount' }, { type: 'shortening_interval' }],
            },
          },
  };
}

function isAsDecided(
  features: StripeSdk.BillingPortal.Configuration.Features,
  wanted: StripeObjects,
): boolean {
  const { customer_update: customer, subscription_cancel: cancel, subscription_update: update } = features;
  const hasPlans = wanted.plans.length > 0;
  const downAtEnd = update.schedule_at_period_end.conditions.map(({ type }) => type);
  return (
    customer.enabled &&
    isSameSet(customer.allowed_updates, ['email', 'name', 'address', 'tax_id']) &&
    features.invoice_history.enabled &&
    features.payment_method_update.enabled &&
    cancel.enabled === hasPlans &&
    cancel.mode === 'at_period_end' &&
    update.enabled === hasPlans &&
    (!hasPlans ||
      (update.proration_behavior === 'always_invoice' &&
        isSameSet(update.default_allowed_updates, ['price', 'promotion_code']) &&
        isSameSet(downAtEnd, ['decreasing_item_amount', 'shortening_interval'])))
  );
}

function isSameSet(left: readonly string[], right: readonly string[]): boolean {
  return left.toSorted().join() === right.toSorted().join();
}
