import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findDifferences, push } from '../../../activities/stripe/push';
import { readCatalog } from '../../../db/catalogs/catalogs';
import type { Catalog } from '../../../domain/catalog/catalog';
import { type Change, changeLine } from '../../../domain/stripe/differences';
import { stripeObjects } from '../../../domain/stripe/objects';
import { type StandIn, startStandIn } from '../../support/stripe';

const CATALOG = readCatalog('catalogs/imagineart.json');
const DRAFTLY = readCatalog('catalogs/draftly.json');
const WANTED = stripeObjects(CATALOG);
const PLANS = { product: 'holdfast_imagineart_plan_basic', key: 'holdfast.imagineart.plan.basic.month' };

let standIn: StandIn;
const folder = mkdtempSync(path.join(tmpdir(), 'holdfast-push-'));

beforeEach(async () => {
  standIn = await startStandIn();
});
afterEach(() => standIn.stop());
afterAll(() => rmSync(folder, { recursive: true }));

test('looking changes nothing, and pushing leaves no difference', async () => {
  const { stripe } = standIn;
  const first = await findDifferences(stripe, WANTED);
  expect(await findDifferences(stripe, WANTED)).toEqual(first);
  expect(first.length).toBe(WANTED.products.length + WANTED.prices.length + 1);
  expect(await applied()).toEqual(first);
  expect(await findDifferences(stripe, WANTED)).toEqual([]);
  expect(await applied()).toEqual([]);
  const [month] = (await stripe.prices.list({ product: PLANS.product })).data.filter(
    ({ lookup_key: key }) => key === PLANS.key,
  );
  expect(month).toMatchObject({
    currency: 'usd',
    unit_amount: 1300,
    recurring: { interval: 'month', interval_count: 1 },
  });
});

test('a push that was cut short at any step is finished by the next one, and nothing is there twice', async () => {
  const cut = new Error('cut short');
  // Each run gets one change further, as if the process ended after each.
  for (;;) {
    const first = await push(standIn.stripe, {
      wanted: WANTED,
      onApplied: () => {
        throw cut;
      },
    }).then(
      () => null,
      (error: unknown) => error,
    );
    if (first === null) break;
    expect(first).toBe(cut);
  }
  expect(await findDifferences(standIn.stripe, WANTED)).toEqual([]);
  const { data: prices } = await standIn.stripe.prices.list({ limit: 100 });
  const { data: products } = await standIn.stripe.products.list({ limit: 100 });
  const { data: portals } = await standIn.stripe.billingPortal.configurations.list({ limit: 100 });
  expect([products.length, prices.length, portals.length]).toEqual([
    WANTED.products.length,
    WANTED.prices.length,
    1,
  ]);
});

test('a new price takes the place of the old one, which ends for new customers, also in the portal', async () => {
  await applied();
  const dearer = withPrice(CATALOG, 14);
  const changes = await applied(dearer);
  expect(changes.map(({ change }) => change)).toEqual(['create_price', 'update_portal', 'archive_price']);
  expect(changeLine(changes[0] as Change)).toMatch(
    /^\+ price holdfast\.imagineart\.plan\.basic\.month: 14\.00 USD every month, in place of price_\w+ \(13\.00 USD every month\)$/,
  );
  const old = (await standIn.stripe.prices.list({ product: PLANS.product, active: false })).data;
  expect(old).toMatchObject([{ unit_amount: 1300, lookup_key: null }]);
  // And back again: the price that was archived is not taken up, a new one is made.
  await applied(CATALOG);
  expect(await findDifferences(standIn.stripe, WANTED)).toEqual([]);
});

test('a plan and a pack are archived when they are no longer sold, and restored when they are sold again', async () => {
  await applied();
  const smaller = {
    ...CATALOG,
    plans: CATALOG.plans.filter(({ plan }) => plan !== 'basic'),
    packs: CATALOG.packs.slice(1),
  };
  const changes = await applied(smaller);
  expect(changes.filter(({ change }) => change === 'archive_product')).toHaveLength(2);
  expect(await findDifferences(standIn.stripe, stripeObjects(smaller))).toEqual([]);
  await applied();
  expect(await findDifferences(standIn.stripe, WANTED)).toEqual([]);
});

test('what else the Stripe account sells is left alone, and so is a price an operator made for our product', async () => {
  const { stripe } = standIn;
  const shirt = await stripe.products.create({ name: 'Shirt' });
  await applied();
  const special = await stripe.prices.create({
    product: PLANS.product,
    currency: 'usd',
    unit_amount: 900,
    recurring: { interval: 'month' },
  });
  await applied(DRAFTLY);
  expect(await findDifferences(stripe, WANTED)).toEqual([]);
  const { data: products } = await stripe.products.list({ limit: 100, active: true });
  expect(products.map(({ id }) => id)).toContain(shirt.id);
  const { data: prices } = await stripe.prices.list({ product: PLANS.product, active: true });
  expect(prices.map(({ id }) => id)).toContain(special.id);
});

test.each([
  [
    'a product that was renamed',
    async ({ stripe }: StandIn) => {
      await stripe.products.update(PLANS.product, { name: 'Cheap' });
    },
    'update_product',
  ],
  [
    'a product that was archived',
    async ({ stripe }: StandIn) => {
      await stripe.products.update(PLANS.product, { active: false });
    },
    'update_product',
  ],
  [
    'a price that was archived',
    async ({ stripe }: StandIn) => {
      const { data } = await stripe.prices.list({ product: PLANS.product, limit: 1 });
      await stripe.prices.update(data[0]?.id ?? '', { active: false });
    },
    'create_price',
  ],
  [
    'a portal that cancels at once',
    async ({ stripe }: StandIn) => {
      const { data } = await stripe.billingPortal.configurations.list({
        expand: ['data.features.subscription_update.products'],
      });
      const [portal] = data;
      const { customer_update, invoice_history, payment_method_update, subscription_update } =
        portal?.features ?? {};
      await stripe.billingPortal.configurations.update(portal?.id ?? '', {
        features: {
          customer_update: { enabled: true, allowed_updates: customer_update?.allowed_updates ?? [] },
          invoice_history: { enabled: invoice_history?.enabled === true },
          payment_method_update: { enabled: payment_method_update?.enabled === true },
          subscription_cancel: { enabled: true, mode: 'immediately' },
          subscription_update: {
            enabled: true,
            default_allowed_updates: subscription_update?.default_allowed_updates ?? [],
            products: (subscription_update?.products ?? []).map(({ product, prices }) => ({
              product,
              prices,
            })),
          },
        },
      });
    },
    'update_portal',
  ],
])('%s in the dashboard is told, and put right', async (_name, tamper, expected) => {
  await applied();
  await tamper(standIn);
  const found = await findDifferences(standIn.stripe, WANTED);
  expect(found.map(({ change }) => change)).toContain(expected);
  await applied();
  expect(await findDifferences(standIn.stripe, WANTED)).toEqual([]);
});

test('the command shows first, applies on demand, and says by its status whether anything differs', async () => {
  const file = path.resolve('catalogs/imagineart.json');
  const shown = await command([file]);
  expect(shown).toMatchObject({ status: 1, error: '' });
  expect(shown.output).toContain('23 differences; --apply makes these changes.');
  expect((await standIn.stripe.products.list()).data).toEqual([]);
  expect(await command(['--apply', file])).toMatchObject({ status: 0, error: '' });
  expect(await command([file])).toEqual({
    status: 0,
    output: 'imagineart, Stripe test mode\n  Stripe and the catalog agree.\n',
    error: '',
  });
});

test('the command refuses what it cannot do, says what to do, and never shows the key', async () => {
  const file = path.resolve('catalogs/imagineart.json');
  const noFiles = await command([]);
  expect(noFiles).toMatchObject({ status: 2, error: expect.stringContaining('Name the files') as string });
  const noKey = await command([file], { STRIPE_SECRET_KEY: 'pk_test_abcdefgh' });
  expect(noKey).toMatchObject({
    status: 2,
    error: expect.stringContaining('STRIPE_SECRET_KEY must') as string,
  });
  const invented = await command([file], { STRIPE_SECRET_KEY: 'sk_live_abcdefgh' });
  expect(invented.error).toContain('marked as illustrative (packs.0.price');
  const odd = path.join(folder, 'odd.json');
  writeFileSync(odd, JSON.stringify(withPrice(CATALOG, 13.005)));
  const inexact = await command([odd]);
  expect(inexact.error).toContain(
    'plan basic, month: 13.005 USD cannot be charged: Stripe takes multiples of 0.01 USD',
  );
  const mixed = await command([file], { HOLDFAST_MODE: 'live' });
  expect(mixed.error).toContain('STRIPE_SECRET_KEY is a test key');
  const noMode = await command([file], { HOLDFAST_MODE: 'production' });
  expect(noMode.error).toContain('HOLDFAST_MODE must be development or live.');
  // A live key is refused by the stand-in too: it is never a way to real money.
  const file2 = path.join(folder, 'real.json');
  writeFileSync(file2, JSON.stringify(withoutMarks(CATALOG)));
  const live = await command([file2], { STRIPE_SECRET_KEY: 'sk_live_abcdefgh' });
  expect(live).toMatchObject({ status: 2, error: expect.stringContaining('test keys only') as string });
  for (const { output, error } of [noKey, invented, inexact, live])
    expect(output + error).not.toMatch(/abcdefgh/);
  expect((await standIn.stripe.products.list()).data).toEqual([]);
});

async function applied(catalog: Catalog = CATALOG): Promise<Change[]> {
  const changes: Change[] = [];
  const onApplied = (change: Change) => changes.push(change);
  await push(standIn.stripe, { wanted: stripeObjects(catalog), onApplied });
  return changes;
}

function withPrice(catalog: Catalog, month: number): Catalog {
  const plans = catalog.plans.map((plan) =>
    plan.plan === 'basic' ? { ...plan, prices: { ...plan.prices, month } } : plan,
  );
  return { ...catalog, plans };
}

function withoutMarks(catalog: Catalog): Catalog {
  const plans = catalog.plans.map(({ illustrative: _mark, facts: _facts, ...plan }) => plan);
  const packs = catalog.packs.map(({ illustrative: _mark, ...pack }) => pack);
  return { ...catalog, plans, packs };
}

function command(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ status: number | null; output: string; error: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['dist/activities/stripe/cli.js', ...args],
      {
        env: {
          PATH: process.env['PATH'],
          STRIPE_SECRET_KEY: standIn.settings.secretKey,
          STRIPE_API_BASE: standIn.settings.base,
          ...env,
        },
      },
      (_error, output, error) => resolve({ status: child.exitCode, output, error }),
    );
  });
}
