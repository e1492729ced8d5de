import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { LotView } from '../../domain/account';
import { balanceBody } from '../../api/resources/accounts/balanceBody';
import type { Catalog } from '../../domain/catalog/catalog';
import { toCredits, toMilli } from '../../domain/credits';
import { drawFrom } from '../../domain/access/spendOrder';
import { excludedBuckets, planGate, quotaUses } from '../../domain/access/gates';
import { type Offer, offersOf } from '../../domain/prices/offers';
import type { Coming } from '../../domain/time/outlook';
import { monthlyCredits, paywall } from '../../domain/access/paywall';
import type { Priced } from '../../domain/prices/line';
import { price } from '../../domain/prices/price';
import type { Refusal } from '../../domain/refusals';
import { settle } from '../../domain/time/settle';
import { parsed } from '../domain/catalogs';
import { grantsOf, lotOf, OPENED, type SnapshotChange, snapshotOf } from '../domain/snapshots';
import { defined } from '../../domain/defined';

/** One product as a test of its source text asks it: prices, gates, buckets, in credits. */

export interface Asked {
  model?: string;
  [param: string]: unknown;
}

export function readProduct(id: string): Catalog {
  const file = path.join(__dirname, '../../catalogs', `${id}.json`);
  return parsed(JSON.parse(readFileSync(file, 'utf8')));
}

export function product(id: string) {
  const catalog = readProduct(id);
  const ranks = new Map(catalog.buckets.map(({ bucket, rank }) => [bucket, rank]));

  const ask = (action: string, { model, ...params }: Asked = {}) =>
    price({ catalog, action, params, ...defined({ model }) });

  function priced(action: string, asked?: Asked): Priced {
    const result = ask(action, asked);
    if (!result.ok) throw new Error(result.refusal.detail);
    return result.priced;
  }

  function refusal(action: string, asked?: Asked): Refusal {
    const result = ask(action, asked);
    if (result.ok) throw new Error(`priced at ${result.priced.creditsMilli}`);
    return result.refusal;
  }

  return {
    catalog,
    priced,
    refusal,
    credits: (action: string, asked?: Asked) => toCredits(priced(action, asked).creditsMilli),
    offers: (action: string): Offer[] =>
      offersOf({ catalog, action: catalog.actions.find((one) => one.action === action) ?? nothing(action) }),
    /** The plan that is missing, or null. */
    gate: (plan: string, action: string, asked?: Asked) =>
      planGate({ catalog, plan, priced: priced(action, asked) })?.facts?.['requiredPlan'] ?? null,
    /** Those that limit the plan. */
    quotas: (plan: string, action: string) =>
      quotaUses({ catalog, plan, priced: priced(action) })
        .filter(({ limit }) => limit !== null)
        .map(({ quota, period, limit }) => ({ quota, period, limit })),
    /** A lot of a bucket of this product. */
    lot: (bucket: string, credits: number, change: Partial<LotView> = {}): LotView =>
      lotOf({ bucket, rank: ranks.get(bucket) ?? nothing(bucket), granted: credits, ...lotText(change) }),
    /** Which buckets would pay, and how much each. */
    draws: (lots: LotView[], action: string, asked?: Asked) => {
      const wanted = priced(action, asked);
      const excluded = excludedBuckets({ catalog, priced: wanted });
      const { draws } = drawFrom({ lots, now: OPENED, excluded, amount: wanted.ceilingMilli });
      return draws.map(({ bucket, milli }) => [bucket, toCredits(milli)]);
    },
    balance: (change: SnapshotChange) =>
      balanceBody({ snapshot: snapshotOf(change), catalog, withLots: false }),
    /** What is granted when somebody is there: bucket, credits, when it ends. */
    grants: (change: SnapshotChange) => {
      const due = settle({ snapshot: snapshotOf(change), catalog, touch: true });
      const { calendar } = due;
      return {
        steps: grantsOf(due).map((step) => [step.bucket, toCredits(step.amount), step.expiresAt]),
        calendar,
      };
    },
    wall: (options: {
      plan: string;
      subscribed: boolean;
      action: string;
      asked?: Asked;
      available: number;
    }) => {
      const wanted = priced(options.action, options.asked);
      return paywall({
        catalog,
        plan: options.plan,
        subscriptionActive: options.subscribed,
        role: null,
        requiredMilli: wanted.ceilingMilli,
        availableMilli: toMilli(options.available),
        requiredPlan: wanted.requiredPlan,
        excluded: excludedBuckets({ catalog, priced: wanted }),
        left: [ofPlan(options.available, '2026-12-21T09:00:00.000Z')],
        coming: [nextMonth(options.plan)],
        upgrade: {
          highest: options.subscribed
            ? monthlyCredits({ catalog, plan: options.plan, excluded: [] })
            : toMilli(0),
          part: 1,
          whole: 1,
        },
      });
    },
  };
}

const ofPlan = (credits: number, until: string) => ({
  bucket: 'plan',
  schedule: 'plan',
  until,
  milli: toMilli(credits),
});

/** 3,000 credits. */
function nextMonth(plan: string): Coming {
  const { milli: amountMilli, ...lot } = ofPlan(3000, '2027-01-21T09:00:00.000Z');
  return {
    at: '2026-12-21T09:00:00.000Z',
    plan,
    ends: false,
    grants: [{ ...lot, amountMilli, replaces: true, ifThere: false }],
  };
}

/** Never expires unless the test says otherwise. */
function lotText({ lot = 1, expiresAt = 'infinity', source = 'test' }: Partial<LotView>) {
  return { lot, expiresAt, source };
}

function nothing(name: string): never {
  throw new Error(`the catalog has no ${name}`);
}
