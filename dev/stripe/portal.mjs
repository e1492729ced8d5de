import { listOf, mergedMetadata, missing, newId, parameters, seconds, StripeRefusal } from './protocol.mjs';

/** Configurations of the customer portal. */

const EXPANDED = 'data.features.subscription_update.products';
const MAX_PRODUCTS = 10;
const isTrue = (text) => text === 'true';

export function addPortal(app, { configurations, prices }) {
  app.get('/v1/billing_portal/configurations', (request, response) => {
    const given = parameters(request, ['limit', 'starting_after', 'active', 'expand']);
    const kept = [...configurations.values()].filter(
      ({ active }) => given.active === undefined || active === isTrue(given.active),
    );
    const page = listOf(kept, request, given);
    const isExpanded = Object.values(given.expand ?? {}).includes(EXPANDED);
    response.json({ ...page, data: page.data.map((each) => (isExpanded ? each : withoutProducts(each))) });
  });

  app.post('/v1/billing_portal/configurations', (request, response) => {
    const { features, metadata, name = null } = parameters(request, ['features', 'metadata', 'name']);
    const now = seconds();
    const configuration = {
      id: newId('bpc'),
      object: 'billing_portal.configuration',
      active: true,
      application: null,
      business_profile: { headline: null, privacy_policy_url: null, terms_of_service_url: null },
      created: now,
      default_return_url: null,
      features: readFeatures(features, prices),
      is_default: configurations.size === 0,
      livemode: false,
      login_page: { enabled: false, url: null },
      metadata: mergedMetadata({}, metadata),
      name,
      updated: now,
    };
    configurations.set(configuration.id, configuration);
    response.json(withoutProducts(configuration));
  });

  app.post('/v1/billing_portal/configurations/:id', (request, response) => {
    const configuration = configurations.get(request.params.id);
    if (configuration === undefined) throw missing('configuration', request.params.id);
    const { features } = parameters(request, ['features']);
    if (features !== undefined) configuration.features = readFeatures(features, prices);
    configuration.updated = seconds();
    response.json(withoutProducts(configuration));
  });
}

/** Stripe leaves the products out where they are not asked for. */
function withoutProducts(configuration) {
  const { products: _products, ...update } = configuration.features.subscription_update;
  return { ...configuration, features: { ...configuration.features, subscription_update: update } };
}

function readFeatures(given, prices) {
  const { customer_update: customer, subscription_cancel: cancel, subscription_update: update } = given;
  const products = Object.values(update.products ?? {}).map((each) => readProduct(each, prices));
  if (products.length > MAX_PRODUCTS)
    throw new StripeRefusal(
      `Array features[subscription_update][products] exceeded maximum ${MAX_PRODUCTS} allowed elements.`,
    );
  const conditions = Object.values(update.schedule_at_period_end?.conditions ?? {});
  return {
    customer_update: {
      allowed_updates: Object.values(customer.allowed_updates ?? {}),
      enabled: isTrue(customer.enabled),
    },
    invoice_history: { enabled: isTrue(given.invoice_history.enabled) },
    payment_method_update: {
      enabled: isTrue(given.payment_method_update.enabled),
      payment_method_configuration: null,
    },
    subscription_cancel: {
      cancellation_reason: { enabled: false, options: ['too_expensive', 'unused', 'other'] },
      enabled: isTrue(cancel.enabled),
      mode: cancel.mode ?? 'at_period_end',
      proration_behavior: 'none',
    },
    subscription_update: {
      billing_cycle_anchor: null,
      default_allowed_updates: Object.values(update.default_allowed_updates ?? {}),
      enabled: isTrue(update.enabled),
      products,
      proration_behavior: update.proration_behavior ?? 'none',
      schedule_at_period_end: { conditions },
      trial_update_behavior: 'end_trial',
    },
  };
}

function readProduct({ product, prices: ids }, prices) {
  const listed = Object.values(ids ?? {}).map((id) => {
    const price = prices.get(id);
    if (price === undefined) throw missing('price', id);
    if (price.product !== product || price.recurring === null)
      throw new StripeRefusal(`The price ${id} is not a recurring price of the product ${product}.`);
    return price;
  });
  const cycles = listed.map(({ recurring }) => `${recurring.interval} ${recurring.interval_count}`);
  if (new Set(cycles).size < cycles.length)
    throw new StripeRefusal(`The prices of the product ${product} must have billing intervals that differ.`);
  return {
    product,
    prices: listed.map(({ id }) => id),
    adjustable_quantity: { enabled: false, maximum: null, minimum: 1 },
  };
}
