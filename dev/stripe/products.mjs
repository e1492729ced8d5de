import { listOf, mergedMetadata, missing, newId, parameters, seconds, StripeRefusal } from './protocol.mjs';

/** Products and prices. */

const LIST = ['limit', 'starting_after', 'active'];
const isTrue = (text) => text === 'true';
const filtered = (objects, active) =>
  active === undefined ? objects : objects.filter((object) => object.active === isTrue(active));

export function addProducts(app, { products, prices }) {
  app.get('/v1/products', (request, response) => {
    const given = parameters(request, LIST);
    response.json(listOf(filtered([...products.values()], given.active), request, given));
  });

  app.post('/v1/products', (request, response) => {
    const { id = newId('prod'), name, metadata } = parameters(request, ['id', 'name', 'metadata']);
    if (!name)
      throw new StripeRefusal('Missing required param: name.', { code: 'parameter_missing', param: 'name' });
    if (products.has(id))
      throw new StripeRefusal('Product already exists.', { code: 'resource_already_exists', param: 'id' });
    const product = newProduct({ id, name, metadata: mergedMetadata({}, metadata) });
    products.set(id, product);
    response.json(product);
  });

  app.post('/v1/products/:id', (request, response) => {
    const product = products.get(request.params.id);
    if (product === undefined) throw missing('product', request.params.id);
    const { name, metadata, active } = parameters(request, ['name', 'metadata', 'active']);
    if (name !== undefined) product.name = name;
    if (active !== undefined) product.active = isTrue(active);
    product.metadata = mergedMetadata(product.metadata, metadata);
    product.updated = seconds();
    response.json(product);
  });

  app.get('/v1/prices', (request, response) => {
    const given = parameters(request, [...LIST, 'product']);
    const ofProduct = [...prices.values()].filter(
      ({ product }) => given.product === undefined || product === given.product,
    );
    response.json(listOf(filtered(ofProduct, given.active), request, given));
  });

  app.post('/v1/prices', (request, response) => {
    const price = createPrice({ products, prices }, request);
    prices.set(price.id, price);
    response.json(price);
  });

  app.post('/v1/prices/:id', (request, response) => {
    const price = prices.get(request.params.id);
    if (price === undefined) throw missing('price', request.params.id);
    // An amount is never changed: another price takes its place.
    const { active, metadata } = parameters(request, ['active', 'metadata']);
    if (active !== undefined) price.active = isTrue(active);
    price.metadata = mergedMetadata(price.metadata, metadata);
    response.json(price);
  });
}

function createPrice({ products, prices }, request) {
  const given = parameters(request, [
    'product',
    'currency',
    'unit_amount',
    'lookup_key',
    'transfer_lookup_key',
    'metadata',
    'recurring',
  ]);
  const { product, currency, unit_amount: amount, lookup_key: lookupKey = null, recurring } = given;
  if (!products.has(product)) throw missing('product', product);
  if (!/^\d+$/.test(amount ?? ''))
    throw new StripeRefusal(`Invalid integer: ${amount}`, {
      code: 'parameter_invalid_integer',
      param: 'unit_amount',
    });
  const holder = [...prices.values()].find((price) => lookupKey !== null && price.lookup_key === lookupKey);
  if (holder !== undefined) {
    if (!isTrue(given.transfer_lookup_key))
      throw new StripeRefusal(`A price (\`${holder.id}\`) already uses that lookup key.`, {
        param: 'lookup_key',
      });
    holder.lookup_key = null;
  }
  return {
    id: newId('price'),
    object: 'price',
    active: true,
    billing_scheme: 'per_unit',
    created: seconds(),
    currency,
    custom_unit_amount: null,
    livemode: false,
    lookup_key: lookupKey,
    metadata: mergedMetadata({}, given.metadata),
    nickname: null,
    product,
    recurring: recurring === undefined ? null : newRecurring(recurring),
    tax_behavior: 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: recurring === undefined ? 'one_time' : 'recurring',
    unit_amount: Number(amount),
    unit_amount_decimal: amount,
  };
}

function newRecurring({ interval, interval_count: count = '1' }) {
  return {
    interval,
    interval_count: Number(count),
    meter: null,
    trial_period_days: null,
    usage_type: 'licensed',
  };
}

function newProduct({ id, name, metadata }) {
  const now = seconds();
  return {
    id,
    object: 'product',
    active: true,
    created: now,
    default_price: null,
    description: null,
    images: [],
    livemode: false,
    marketing_features: [],
    metadata,
    name,
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    type: 'service',
    unit_label: null,
    updated: now,
    url: null,
  };
}
