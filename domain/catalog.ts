import { z } from 'zod';
import { toMilli } from './credits';

/**
 * A catalog is one product's plans, buckets, packs, rates and rules: data, validated, versioned, never edited
 * in place. docs/catalogs.md explains each field; every number says where it comes from.
 */

const id = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,63}$/, 'must be lower-case letters, digits, dots and hyphens');
const label = z.string().min(1).max(120);
const credits = z
  .number()
  .min(0)
  .max(1_000_000_000)
  .refine(hasThreeDecimals, 'must have at most three decimals');
const money = z.number().min(0).max(1_000_000);

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
  credits,
  price: money,
  currency: z.string().length(3),
  ...provenance,
});

const optionValue = z.union([z.string().max(64), z.int(), z.boolean()]);

const option = z.strictObject({
  values: z.array(optionValue).min(1).max(200),
  default: optionValue,
});

const rate = z.strictObject({
  params: z.record(z.string().regex(/^[a-zA-Z][a-zA-Z0-9]{0,31}$/), optionValue).default({}),
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
  options: z.record(z.string().regex(/^[a-zA-Z][a-zA-Z0-9]{0,31}$/), option).default({}),
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
    currency: z.string().length(3),
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

function hasThreeDecimals(value: number): boolean {
  try {
    toMilli(value);
    return true;
  } catch {
    return false; // toMilli throws exactly for what has more
  }
}

type Report = (path: (string | number)[], message: string) => void;

/** What no field can say by itself: ids are unique, and every name that is used exists. */
function checkReferences(catalog: Catalog, context: z.RefinementCtx): void {
  const report: Report = (path, message) => context.addIssue({ code: 'custom', path, message });
  unique(
    report,
    ['buckets'],
    catalog.buckets.map((one) => one.bucket),
  );
  unique(
    report,
    ['buckets'],
    catalog.buckets.map((one) => one.rank),
    'rank',
  );
  unique(
    report,
    ['plans'],
    catalog.plans.map((one) => one.plan),
  );
  unique(
    report,
    ['plans'],
    catalog.plans.map((one) => one.rank),
    'rank',
  );
  unique(
    report,
    ['packs'],
    catalog.packs.map((one) => one.pack),
  );
  unique(
    report,
    ['actions'],
    catalog.actions.map((one) => one.action),
  );

  if (!catalog.plans.some((one) => one.rank === 0))
    report(['plans'], 'one plan must have rank 0: the free plan');
  const buckets = new Set(catalog.buckets.map((one) => one.bucket));
  const plans = new Set(catalog.plans.map((one) => one.plan));
  const tags = new Set(catalog.actions.flatMap((one) => one.models.flatMap((each) => each.tags)));
  catalog.plans.forEach((one, n) => {
    for (const name of Object.keys(one.allotments)) {
      if (!buckets.has(name)) report(['plans', n, 'allotments', name], `there is no bucket ${name}`);
    }
  });
  catalog.buckets.forEach((one, n) => {
    for (const tag of one.excludes) {
      if (!tags.has(tag)) report(['buckets', n, 'excludes'], `no model carries the tag ${tag}`);
    }
  });
  if (catalog.packs.length > 0 && !buckets.has('pack')) report(['packs'], 'packs need a bucket called pack');
  catalog.actions.forEach((one, n) => checkAction({ action: one, path: ['actions', n], plans, report }));
}

function checkAction(options: {
  action: Action;
  path: (string | number)[];
  plans: Set<string>;
  report: Report;
}): void {
  const { action: one, path, plans, report } = options;
  const mustBePlan = (at: (string | number)[], name: string | undefined) => {
    if (name !== undefined && !plans.has(name)) report(at, `there is no plan ${name}`);
  };
  mustBePlan([...path, 'minimumPlan'], one.minimumPlan);
  unique(
    report,
    [...path, 'models'],
    one.models.map((each) => each.model),
  );
  if (one.free && one.models.length > 0)
    report([...path, 'models'], 'a free action has no models and no rates');
  if (!one.free && one.models.length === 0)
    report([...path, 'models'], 'an action that is not free needs a model with a rate');
  if (one.models.length > 0 && !one.models.some((each) => each.model === one.defaultModel)) {
    report([...path, 'defaultModel'], 'must be one of the models');
  }
  one.models.forEach((each, n) => {
    const at = [...path, 'models', n];
    mustBePlan([...at, 'minimumPlan'], each.minimumPlan);
    for (const [name, { values, default: first }] of Object.entries(each.options)) {
      if (!values.includes(first)) report([...at, 'options', name, 'default'], 'must be one of the values');
    }
    each.rates.forEach((row, m) => {
      mustBePlan([...at, 'rates', m, 'minimumPlan'], row.minimumPlan);
      for (const [name, value] of Object.entries(row.params)) {
        if (!(each.options[name]?.values.includes(value) ?? false)) {
          report([...at, 'rates', m, 'params', name], `${value} is not a value of option ${name}`);
        }
      }
    });
    checkRates({ model: each, at: [...at, 'rates'], report });
  });
}

/** Every combination of options is priced by at most one rate, so that no order of rows decides a price. */
function checkRates({
  model: each,
  at,
  report,
}: {
  model: Model;
  at: (string | number)[];
  report: Report;
}): void {
  each.rates.forEach((row, m) => {
    if (row.per === 'second' && each.options['seconds'] === undefined) {
      report([...at, m, 'per'], 'a rate per second needs an option `seconds`');
    }
    const rival = each.rates.findIndex((other, n) => n < m && bothMatch(row.params, other.params));
    if (rival >= 0)
      report([...at, m], `rate ${rival} prices the same combination; tell them apart by params`);
  });
}

function bothMatch(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return Object.keys(a).every((name) => b[name] === undefined || a[name] === b[name]);
}

function unique(
  report: Report,
  path: (string | number)[],
  names: readonly (string | number)[],
  what = 'id',
): void {
  names.forEach((name, n) => {
    if (names.indexOf(name) !== n) report([...path, n], `${what} ${name} is used twice`);
  });
}
