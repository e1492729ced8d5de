import { z } from 'zod';
import { checkReferences } from './catalogChecks';
import { toMilli } from './credits';

/**
 * A catalog is one product's plans, buckets, packs, rates and rules: data, validated, versioned, never edited
 * in place. docs/catalogs.md explains each field; every number says where it comes from.
 */

const id = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,63}$/, 'must be lower-case letters, digits, dots and hyphens')
  .refine(isFree, 'is a name every JavaScript object has; choose another');
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
const provenance = {
  source: z.string().min(1).max(300).optional(),
  asOf: z.iso.date().optional(),
  illustrative: z.boolean().optional(),
  note: z.string().max(500).optional(),
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

const plan = z.strictObject({
  plan: id,
  label,
  rank: z.int().min(0).max(1000).describe('0 is the free plan; a higher plan includes the lower ones'),
  prices: z
    .partialRecord(z.enum(['month', 'quarter', 'year']), money)
    .nullable()
    .describe('Per interval; null: on request'),
  allotments: z.record(id, credits).default({}).describe('Credits per refresh, by bucket'),
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

const rate = z.strictObject({
  params: z.record(optionName, optionValue).default({}),
  credits: credits.describe('For one output, or for one second of one output'),
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
  options: z.record(optionName, option).default({}),
  rates: z.array(rate).min(1).max(500),
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
  provider: provider.optional().describe('Who does the work, unless the catalog’s default does'),
  defaultModel: id.optional(),
  models: z.array(model).max(500).default([]),
  ...provenance,
});

const rules = z.strictObject({
  packsFor: z.enum(['subscribers-only', 'everyone']),
  renewalGrace: duration.default('PT2H'),
  showPrices: z.boolean().default(true),
  callersChooseProvider: z.boolean().default(false),
  defaultProvider: provider,
});

export const CatalogSchema = z
  .strictObject({
    catalog: id,
    label,
    currency,
    description: z.string().max(2000).optional(),
    buckets: z.array(bucket).min(1).max(20),
    plans: z.array(plan).min(1).max(50),
    packs: z.array(pack).max(50).default([]),
    actions: z.array(action).min(1).max(200),
    rules,
  })
  .superRefine(checkReferences);

export type Catalog = z.output<typeof CatalogSchema>;
export type Bucket = Catalog['buckets'][number];
export type Plan = Catalog['plans'][number];
export type Pack = Catalog['packs'][number];
export type Action = Catalog['actions'][number];
export type Model = Action['models'][number];

export type ParsedCatalog =
  | { ok: true; catalog: Catalog }
  | { ok: false; errors: { path: string; message: string }[] };

/** Checks a catalog whole before it counts. Errors name the path and say what must be there. */
export function parseCatalog(json: unknown): ParsedCatalog {
  const parsed = CatalogSchema.safeParse(json);
  if (parsed.success) return { ok: true, catalog: parsed.data };
  const errors = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  return { ok: false, errors };
}

export function bucketOf(catalog: Catalog, bucketId: string): Bucket | undefined {
  return catalog.buckets.find((one) => one.bucket === bucketId);
}

export function planOf(catalog: Catalog, planId: string): Plan | undefined {
  return catalog.plans.find((one) => one.plan === planId);
}

export function packOf(catalog: Catalog, packId: string): Pack | undefined {
  return catalog.packs.find((one) => one.pack === packId);
}

/** The plan of rank 0, which every catalog has. */
export function freePlan(catalog: Catalog): Plan {
  const free = catalog.plans.find((one) => one.rank === 0);
  if (free === undefined) throw new Error(`catalog ${catalog.catalog} was not checked: it has no free plan`);
  return free;
}

export function isPaid(one: Plan): boolean {
  return one.rank > 0;
}

/** Seconds that credits live on after they came back to a lot that had expired; null: they are forfeited. */
export function returnGraceSeconds({ onReturn }: Bucket): number | null {
  if (onReturn === 'forfeit') return null;
  return onReturn === 'reissue' ? REISSUE_SECONDS : isoDurationSeconds(onReturn.slice('grace:'.length));
}

const REISSUE_SECONDS = 30 * 86_400;

/** Days, hours, minutes and seconds only: a month has no fixed length. Null if it is not such a duration. */
export function isoDurationSeconds(text: string): number | null {
  const parts = /^P(?=.)(?:(\d{1,5})D)?(?:T(?=.)(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,8})S)?)?$/.exec(text);
  if (parts === null) return null;
  const [days, hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0));
  return (days ?? 0) * 86_400 + (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}

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
