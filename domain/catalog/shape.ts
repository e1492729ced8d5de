import { z } from 'zod';
import { PLAN_INTERVALS } from '../account';
import { toMilli } from '../credits';
import { isoDurationSeconds } from './duration';

/**
 * The shape of a catalog file: what each field may hold. `docs/catalogs.md` explains the fields, and
 * `docs/catalog.schema.json` is made from this file. A field that is added has a default, so that every version
 * that was ever stored can still be read; limits may become stricter, because stored versions are read without them.
 */

const catalogId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,63}$/, 'must be lower-case letters, digits, dots and hyphens')
  .refine(isFree, 'is a name every JavaScript object has; choose another');
const id = catalogId;
const optionName = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9]{0,31}$/, 'must be letters and digits')
  .refine(isFree, 'is a name every JavaScript object has; choose another');
const label = z.string().min(1).max(120);
const credits = z
  .number()
  .min(0)
  .max(1_000_000_000)
  .refine(hasThreeDecimals, 'must have at most three decimals');
const money = z.number().min(0).max(1_000_000);
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be a currency such as USD');

/** Where a fact was read. What nobody published is marked as invented. */
const origin = {
  source: z.string().min(1).max(300).optional(),
  asOf: z.iso.date().optional(),
  illustrative: z.boolean().optional(),
  note: z.string().max(500).optional(),
};

const provenance = {
  ...origin,
  facts: z
    .record(z.string().max(64), z.strictObject(origin))
    .optional()
    .describe('Fields that come from elsewhere than the rest of this object, by name'),
};

const duration = z
  .string()
  .refine((text) => isoDurationSeconds(text) !== null, 'must be an ISO 8601 duration such as PT24H or P30D');

const bucket = z.strictObject({
  bucket: id,
  label,
  rank: z.int().min(0).max(1000).describe('Spend order: the lowest first'),
  refresh: z.enum(['day', 'month']).nullable(),
  amount: credits.optional().describe('Credits per refresh where they do not depend on the plan'),
  eligibility: z.enum(['everyone', 'without-subscription']).default('everyone'),
  excludes: z
    .array(id)
    .default([])
    .describe('Models with one of these tags may not be paid from this bucket'),
  onReturn: z
    .string()
    .regex(/^(forfeit|reissue|grace:.+)$/, 'must be forfeit, reissue or grace:<duration>')
    .refine(
      (text) => !text.startsWith('grace:') || isoDurationSeconds(text.slice(6)) !== null,
      'must name an ISO 8601 duration',
    )
    .describe('What becomes of credits that come back after they expired'),
  ...provenance,
});

const quota = z.strictObject({
  quota: id,
  label,
  period: z
    .enum(['day', 'calendar-month', 'cycle', 'ever'])
    .describe('Days and calendar months are those of the account’s zone'),
  ...provenance,
});

const plan = z.strictObject({
  plan: id,
  label,
  rank: z.int().min(0).max(1000).describe('0 is the free plan; a higher plan includes the lower ones'),
  prices: z
    .partialRecord(z.enum(PLAN_INTERVALS), money)
    .nullable()
    .describe('Per interval; null: on request'),
  allotments: z.record(id, credits).default({}).describe('Credits per refresh, by bucket'),
  quotas: z
    .record(id, z.int().min(0).max(1_000_000_000).nullable())
    .default({})
    .describe('Uses per period, by quota; null, or not named: no limit'),
  seats: z.int().min(1).nullable().default(null),
  features: z.array(z.string().max(200)).default([]),
  ...provenance,
});

const pack = z.strictObject({
  pack: id,
  label: label.optional(),
  credits: credits.refine((value) => value > 0, 'must be more than 0'),
  price: money,
  currency,
  ...provenance,
});

const optionValue = z.union([z.string().max(64), z.int(), z.boolean()]);

const option = z.strictObject({
  values: z.array(optionValue).min(1).max(200),
  default: optionValue,
});

const options = z.record(optionName, option).default({});

/** What free work would need, a place in limits and quotas beside its price, is not there yet. */
export const WORK_FOR_NOTHING =
  'must be more than 0; what costs nothing and needs no work is an action with `"free": true` and no models, and work that a plan includes cannot be told yet';

const rate = z.strictObject({
  params: z.record(optionName, optionValue).default({}),
  credits: credits.gt(0, WORK_FOR_NOTHING).describe('For one output, or for one second of one output'),
  per: z.enum(['output', 'second']).default('output'),
  minimumPlan: id.optional(),
  approximate: z.boolean().optional(),
  ...provenance,
});

const model = z.strictObject({
  model: id,
  label,
  minimumPlan: id.optional(),
  tags: z.array(id).default([]),
  options,
  rates: z.array(rate).min(1).max(500),
  ...provenance,
});

/** A value of its own, or that of one of the pipeline's options. */
const phaseParam = z.union([optionValue, z.strictObject({ option: optionName })]);

const phase = z.strictObject({
  phase: id,
  label,
  action: id.optional().describe('Priced as this action; what one price says is not said twice'),
  model: z.union([id, z.strictObject({ option: optionName })]).optional(),
  params: z.record(optionName, phaseParam).default({}),
  credits: credits.optional().describe('Priced on its own, where it is not an action of its own'),
  approximate: z.boolean().optional(),
  ...provenance,
});

const pipeline = z.strictObject({
  options,
  phases: z.array(phase).min(1).max(20),
  holdAtLeast: credits
    .optional()
    .describe('Held although the phases sum up to less: the published upper end'),
  ...provenance,
});

const provider = z.looseObject({ type: id });

const action = z.strictObject({
  action: id,
  label,
  unit: z.string().min(1).max(32).describe('What one output is: image, video, call'),
  free: z.boolean().default(false),
  minimumPlan: id.optional(),
  needsConfirmation: z.boolean().default(false),
  maxDuration: duration.describe('Open holds older than this raise an alert'),
  maxOutputs: z.int().min(1).max(1000).default(1),
  quotas: z.array(id).max(10).default([]).describe('Quotas that each output uses one of'),
  provider: provider.optional().describe('Who does the work, unless the catalog’s default does'),
  defaultModel: id.optional(),
  models: z.array(model).max(500).default([]),
  pipeline: pipeline.optional().describe('Several phases under one hold, instead of models'),
  ...provenance,
});

const rules = z.strictObject({
  packsFor: z.enum(['subscribers-only', 'everyone']),
  buyers: z
    .enum(['owners', 'everyone'])
    .default('owners')
    .describe('Who in a team may buy packs and change the plan'),
  upgrade: z
    .strictObject({
      carry: z.boolean().default(true).describe('Plan credits that are left stay, until the next reset'),
      proration: z
        .enum(['none', 'remaining-time'])
        .default('none')
        .describe('The whole difference of the allotments, or its share for the rest of the cycle'),
    })
    .prefault({}),
  memberLimits: z
    .enum(['calendar-month', 'cycle'])
    .default('calendar-month')
    .describe('When they start again'),
  renewalGrace: duration.default('PT2H'),
  notices: z
    .strictObject({
      lowBalancePercent: z
        .int()
        .min(0)
        .max(100)
        .nullable()
        .default(20)
        .describe(
          'A balance is low below this share of what a period gives; 0: only an empty one is told of, null: none',
        ),
      expiringBefore: duration
        .nullable()
        .default('P7D')
        .describe('Credits that end, daily ones aside, are announced this long before; null: they are not'),
    })
    .prefault({}),
  showPrices: z.boolean().default(true),
  callersChooseProvider: z.boolean().default(false),
  defaultProvider: provider,
  ...provenance,
});

/** Prices by action, model and options; what is left out may be any. */
const offers = z.strictObject({
  action: id,
  model: id.optional(),
  params: z.record(optionName, optionValue).default({}),
});

const says = z.string().min(1).max(300).describe('The sentence this holds to');
const factor = z.number().min(0).max(1000).refine(hasThreeDecimals, 'must have at most three decimals');

const assertion = z.discriminatedUnion('assert', [
  z.strictObject({
    assert: z.literal('less'),
    says,
    left: offers,
    right: offers,
    sameModel: z.boolean().default(false).describe('Compared within each model that both have'),
  }),
  z.strictObject({
    assert: z.literal('ratio'),
    says,
    of: offers,
    to: offers,
    atLeast: factor,
    atMost: factor,
  }),
  z.strictObject({ assert: z.literal('dearest'), says, of: offers }),
  z.strictObject({ assert: z.literal('within'), says, of: offers, atLeast: credits, atMost: credits }),
  z.strictObject({
    assert: z.literal('sum'),
    says,
    of: offers,
    parts: z
      .array(z.union([z.strictObject({ credits }), offers]))
      .min(1)
      .max(20),
  }),
  z.strictObject({
    assert: z.literal('buys'),
    says,
    from: z.union([z.strictObject({ plan: id }), z.strictObject({ pack: id })]),
    of: offers,
    atLeast: z.int().min(0),
    atMost: z.int().min(0),
  }),
]);

export const CatalogShape = z.strictObject({
  catalog: id,
  label,
  currency,
  description: z.string().max(2000).optional(),
  buckets: z.array(bucket).min(1).max(20),
  quotas: z.array(quota).max(20).default([]),
  plans: z.array(plan).min(1).max(50),
  packs: z.array(pack).max(50).default([]),
  actions: z.array(action).min(1).max(200),
  rules,
  assertions: z
    .array(assertion)
    .max(100)
    .default([])
    .describe('What must hold between the prices; checked whenever the catalog is loaded'),
});

/** Ids are looked up in records, where `constructor` would find what nobody wrote. */
function isFree(name: string): boolean {
  return !(name in Object.prototype);
}

function hasThreeDecimals(value: number): boolean {
  try {
    toMilli(value);
    return true;
  } catch {
    return false; // toMilli throws exactly for what has more
  }
}
