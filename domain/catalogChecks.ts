import type { z } from 'zod';
import type { Action, Catalog, Model } from './catalog';
import { MAX_OPERATION_MILLI, MILLI_PER_CREDIT } from './credits';

/** What no field of a catalog can say by itself: ids are unique, every name that is used exists, prices are one. */

type Path = (string | number)[];
type Report = (path: Path, message: string) => void;

export function checkReferences(catalog: Catalog, context: z.RefinementCtx): void {
  const report: Report = (path, message) => context.addIssue({ code: 'custom', path, message });
  const { buckets, plans, packs, actions } = catalog;
  mustDiffer({ report, path: ['buckets'], what: 'id', values: buckets.map((one) => one.bucket) });
  mustDiffer({ report, path: ['buckets'], what: 'rank', values: buckets.map((one) => one.rank) });
  mustDiffer({ report, path: ['plans'], what: 'id', values: plans.map((one) => one.plan) });
  mustDiffer({ report, path: ['plans'], what: 'rank', values: plans.map((one) => one.rank) });
  mustDiffer({ report, path: ['packs'], what: 'id', values: packs.map((one) => one.pack) });
  mustDiffer({ report, path: ['actions'], what: 'id', values: actions.map((one) => one.action) });
  checkBuckets(catalog, report);
  checkPlans(catalog, report);
  if (packs.length > 0 && !buckets.some((one) => one.bucket === 'pack'))
    report(['packs'], 'packs need a bucket called pack');
  const planIds = new Set(plans.map((one) => one.plan));
  actions.forEach((action, n) => checkAction({ action, path: ['actions', n], planIds, report }));
}

function checkBuckets({ buckets, actions }: Catalog, report: Report): void {
  const tags = new Set(actions.flatMap((one) => one.models.flatMap((each) => each.tags)));
  buckets.forEach((one, n) => {
    for (const tag of one.excludes) {
      if (!tags.has(tag)) report(['buckets', n, 'excludes'], `no model carries the tag ${tag}`);
    }
    if (one.refresh === null && one.amount !== undefined)
      report(['buckets', n, 'amount'], 'a bucket without a refresh has no amount per refresh');
    // The ledger's key of a refresh names account and period, so a second bucket would never be filled.
    const rival = buckets.findIndex((other, m) => m < n && other.refresh === one.refresh);
    if (one.refresh !== null && rival >= 0)
      report(['buckets', n, 'refresh'], `only one bucket may refresh each ${one.refresh}`);
  });
}

function checkPlans({ buckets, plans }: Catalog, report: Report): void {
  if (!plans.some((one) => one.rank === 0)) report(['plans'], 'one plan must have rank 0: the free plan');
  const refreshing = new Set(buckets.filter((one) => one.refresh !== null).map((one) => one.bucket));
  plans.forEach((one, n) => {
    const cost = Object.values(one.prices ?? { month: null });
    if (one.rank === 0 && cost.some((amount) => amount !== 0))
      report(['plans', n, 'prices'], 'the plan of rank 0 is the free plan and costs nothing');
    for (const name of Object.keys(one.allotments)) {
      if (!refreshing.has(name))
        report(['plans', n, 'allotments', name], `no bucket ${name} is ever refreshed`);
    }
  });
}

function checkAction(options: { action: Action; path: Path; planIds: Set<string>; report: Report }): void {
  const { action, path, planIds, report } = options;
  const { free, models, defaultModel } = action;
  const mustBePlan = (at: Path, name: string | undefined) => {
    if (name !== undefined && !planIds.has(name)) report([...at, 'minimumPlan'], `there is no plan ${name}`);
  };
  mustBePlan(path, action.minimumPlan);
  mustDiffer({ report, path: [...path, 'models'], what: 'id', values: models.map((one) => one.model) });
  if (free && models.length > 0) report([...path, 'models'], 'a free action has no models and no rates');
  if (!free && models.length === 0)
    report([...path, 'models'], 'an action that is not free needs a model with a rate');
  if (models.length > 0 && !models.some((one) => one.model === defaultModel))
    report([...path, 'defaultModel'], 'must be one of the models');
  models.forEach((model, n) => {
    const at = [...path, 'models', n];
    mustBePlan(at, model.minimumPlan);
    model.rates.forEach((rate, m) => mustBePlan([...at, 'rates', m], rate.minimumPlan));
    checkOptions({ model, path: at, report });
    checkRates({ model, maxOutputs: action.maxOutputs, path: [...at, 'rates'], report });
  });
}

function checkOptions({ model, path, report }: { model: Model; path: Path; report: Report }): void {
  for (const [name, { values, default: first }] of Object.entries(model.options)) {
    const at = [...path, 'options', name];
    if (name === 'outputs') report(at, '`outputs` is there already; maxOutputs of the action limits it');
    if (!values.includes(first)) report([...at, 'default'], 'must be one of the values');
    mustDiffer({ report, path: [...at, 'values'], what: 'value', values });
  }
}

/** Every combination of options has at most one rate, so that no order of rows decides a price. */
function checkRates(options: { model: Model; maxOutputs: number; path: Path; report: Report }): void {
  const { model, maxOutputs, path, report } = options;
  const seconds = model.options['seconds']?.values ?? [];
  model.rates.forEach((rate, m) => {
    for (const [name, value] of Object.entries(rate.params)) {
      if (!(model.options[name]?.values.includes(value) ?? false))
        report([...path, m, 'params', name], `${value} is not a value of option ${name}`);
    }
    const longest = rate.per === 'second' ? Math.max(...seconds.map(Number)) : 1;
    if (rate.per === 'second' && !isDurations(seconds))
      report([...path, m, 'per'], 'a rate per second needs an option `seconds` of whole numbers from 1');
    else if (rate.credits * longest * maxOutputs > MAX_OPERATION_MILLI / MILLI_PER_CREDIT)
      report([...path, m, 'credits'], 'the dearest order must cost at most 1,000,000,000 credits');
    const rival = model.rates.findIndex((other, n) => n < m && bothMatch(rate.params, other.params));
    if (rival >= 0)
      report([...path, m], `rate ${rival} prices the same combination; tell them apart by params`);
  });
  const defaults = Object.fromEntries(
    Object.entries(model.options).map(([name, option]) => [name, option.default]),
  );
  if (!model.rates.some((rate) => bothMatch(rate.params, defaults)))
    report(path, 'the default options must have a rate');
}

function isDurations(values: readonly (string | number | boolean)[]): boolean {
  return values.length > 0 && values.every((value) => typeof value === 'number' && value >= 1);
}

function bothMatch(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return Object.keys(a).every((name) => b[name] === undefined || a[name] === b[name]);
}

function mustDiffer(options: {
  report: Report;
  path: Path;
  what: string;
  values: readonly (string | number | boolean)[];
}): void {
  const { report, path, what, values } = options;
  values.forEach((value, n) => {
    if (values.indexOf(value) !== n) report([...path, n], `${what} ${value} is used twice`);
  });
}
