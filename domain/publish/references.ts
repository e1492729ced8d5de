import type { Action, Catalog, Phase, Pipeline } from '../catalog/catalog';
import type { Path, Report } from './faults';
import { WORK_FOR_NOTHING } from '../catalog/shape';
import { providerProblem } from '../catalog/providers';
import { checkModel, checkOptions, mustDiffer } from './rates';

/** What no field of a catalog can say on its own: ids are unique, every name that is used exists, prices are one. */

export function checkReferences(catalog: Catalog, report: Report): void {
  const { buckets, quotas, plans, packs, actions } = catalog;
  mustDiffer({ report, path: ['buckets'], what: 'id', values: buckets.map((one) => one.bucket) });
  mustDiffer({ report, path: ['buckets'], what: 'rank', values: buckets.map((one) => one.rank) });
  mustDiffer({ report, path: ['quotas'], what: 'id', values: quotas.map((one) => one.quota) });
  mustDiffer({ report, path: ['plans'], what: 'id', values: plans.map((one) => one.plan) });
  mustDiffer({ report, path: ['plans'], what: 'rank', values: plans.map((one) => one.rank) });
  mustDiffer({ report, path: ['packs'], what: 'id', values: packs.map((one) => one.pack) });
  mustDiffer({ report, path: ['actions'], what: 'id', values: actions.map((one) => one.action) });
  checkBuckets(catalog, report);
  checkPlans(catalog, report);
  if (packs.length > 0 && !buckets.some((one) => one.bucket === 'pack'))
    report(['packs'], 'packs need a bucket called pack');
  actions.forEach((action, n) => checkAction({ catalog, action, path: ['actions', n], report }));
  checkProvider(catalog.rules.defaultProvider, ['rules', 'defaultProvider'], report);
  checkFacts(catalog, report);
}

function checkProvider(provider: Catalog['rules']['defaultProvider'], path: Path, report: Report): void {
  const problem = providerProblem(provider);
  if (problem !== null) report([...path, problem.field], problem.message);
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

function checkPlans({ buckets, quotas, plans }: Catalog, report: Report): void {
  if (!plans.some((one) => one.rank === 0)) report(['plans'], 'one plan must have rank 0: the free plan');
  const refreshing = new Set(buckets.filter((one) => one.refresh !== null).map((one) => one.bucket));
  const known = new Set(quotas.map((one) => one.quota));
  plans.forEach((one, n) => {
    const cost = Object.values(one.prices ?? { month: null });
    if (one.rank === 0 && cost.some((amount) => amount !== 0))
      report(['plans', n, 'prices'], 'the plan of rank 0 is the free plan and costs nothing');
    for (const name of Object.keys(one.allotments)) {
      if (!refreshing.has(name))
        report(
          ['plans', n, 'allotments', name],
          `no bucket ${name} is ever refreshed; those that are: ${[...refreshing].join(', ') || '(none)'}`,
        );
    }
    for (const name of Object.keys(one.quotas)) {
      if (!known.has(name)) report(['plans', n, 'quotas', name], unknown('quota', name, known));
    }
  });
}

interface Place {
  catalog: Catalog;
  action: Action;
  path: Path;
  report: Report;
}

function checkAction({ catalog, action, path, report }: Place): void {
  const { free, models, defaultModel, pipeline } = action;
  const plans = new Set(catalog.plans.map((one) => one.plan));
  const quotas = new Set(catalog.quotas.map((one) => one.quota));
  const mustBePlan = (at: Path, name: string | undefined) => {
    if (name !== undefined && !plans.has(name)) report([...at, 'minimumPlan'], unknown('plan', name, plans));
  };
  mustBePlan(path, action.minimumPlan);
  if (action.provider !== undefined) checkProvider(action.provider, [...path, 'provider'], report);
  action.quotas.forEach((name, n) => {
    if (!quotas.has(name)) report([...path, 'quotas', n], unknown('quota', name, quotas));
  });
  mustDiffer({ report, path: [...path, 'models'], what: 'id', values: models.map((one) => one.model) });
  if (pipeline !== undefined && (free || models.length > 0))
    report([...path, 'pipeline'], 'a pipeline is priced by its phases: leave `free` and `models` out');
  if (free && models.length > 0) report([...path, 'models'], 'a free action has no models and no rates');
  if (!free && models.length === 0 && pipeline === undefined)
    report([...path, 'models'], 'an action that is not free needs a model with a rate, or a pipeline');
  if (models.length > 0 && !models.some((one) => one.model === defaultModel))
    report(
      [...path, 'defaultModel'],
      `must be one of the models: ${models.map((one) => one.model).join(', ')}`,
    );
  models.forEach((model, n) => {
    const at = [...path, 'models', n];
    mustBePlan(at, model.minimumPlan);
    model.rates.forEach((rate, m) => mustBePlan([...at, 'rates', m], rate.minimumPlan));
    checkModel({ model, maxOutputs: action.maxOutputs, path: at, report });
  });
  if (pipeline === undefined) return;
  checkPipeline({ catalog, action, pipeline, path, report });
  // Any other reports only the end of the work, and all that is held would be captured.
  if ((action.provider ?? catalog.rules.defaultProvider).type !== 'external')
    report(
      [...path, 'provider'],
      'a pipeline reports its phases itself: its provider must be of type external',
    );
}

function unknown(what: string, name: string, known: Iterable<string>): string {
  return `there is no ${what} ${name}; use one of: ${[...known].join(', ') || '(none are defined)'}`;
}

function checkPipeline({ catalog, action, pipeline, path, report }: Place & { pipeline: Pipeline }): void {
  const at = [...path, 'pipeline'];
  if (action.maxOutputs !== 1)
    report([...path, 'maxOutputs'], 'a pipeline makes one output: its phases are captured one by one');
  checkOptions({ options: pipeline.options, path: at, report });
  mustDiffer({
    report,
    path: [...at, 'phases'],
    what: 'id',
    values: pipeline.phases.map((one) => one.phase),
  });
  // A phase may cost nothing, but not all of them together.
  const free = new Set(catalog.actions.filter((one) => one.free).map((one) => one.action));
  if (
    (pipeline.holdAtLeast ?? 0) === 0 &&
    pipeline.phases.every((one) => one.credits === 0 || (one.action !== undefined && free.has(one.action)))
  )
    report([...at, 'phases'], `what they cost together ${WORK_FOR_NOTHING}`);
  pipeline.phases.forEach((phase, n) =>
    checkPhase({ catalog, pipeline, phase, path: [...at, 'phases', n], report }),
  );
}

function checkPhase(options: Omit<Place, 'action'> & { pipeline: Pipeline; phase: Phase }): void {
  const { catalog, pipeline, phase, path, report } = options;
  if ((phase.action === undefined) === (phase.credits === undefined))
    return report(path, 'a phase is priced either as an `action` or by `credits` of its own');
  if (phase.action === undefined && (phase.model !== undefined || Object.keys(phase.params).length > 0))
    return report(path, 'a phase with `credits` of its own has no model and no params');
  const of = catalog.actions.find((one) => one.action === phase.action);
  if (phase.action !== undefined && of === undefined)
    return report(
      [...path, 'action'],
      unknown(
        'action',
        phase.action,
        catalog.actions.map((one) => one.action),
      ),
    );
  if (of?.pipeline !== undefined) return report([...path, 'action'], 'a phase is not a pipeline itself');
  const mustBeOption = (at: Path, value: Phase['params'][string] | undefined) => {
    if (typeof value === 'object' && !Object.hasOwn(pipeline.options, value.option))
      report(
        at,
        `the pipeline has no option ${value.option}; it has: ${Object.keys(pipeline.options).join(', ') || '(none)'}`,
      );
  };
  mustBeOption([...path, 'model'], phase.model);
  for (const [name, value] of Object.entries(phase.params)) mustBeOption([...path, 'params', name], value);
}

/** The facts of an object are facts about fields it has, or about one entry of a field: `quotas.sites`. */
function checkFacts({ buckets, quotas, plans, packs, actions, rules }: Catalog, report: Report): void {
  const check = (one: { facts?: Record<string, unknown> | undefined }, path: Path) => {
    for (const name of Object.keys(one.facts ?? {})) {
      const [field = '', ...rest] = name.split('.');
      const entry = rest.join('.');
      const value: unknown = Object.hasOwn(one, field) ? Reflect.get(one, field) : undefined;
      if (value === undefined || (entry !== '' && !Object.hasOwn(Object(value) as object, entry)))
        report([...path, 'facts', name], `there is no field ${name} beside it`);
    }
  };
  for (const [list, members] of Object.entries({ buckets, quotas, plans, packs }))
    members.forEach((one, n) => check(one, [list, n]));
  actions.forEach((action, n) => {
    check(action, ['actions', n]);
    action.models.forEach((model, m) => {
      check(model, ['actions', n, 'models', m]);
      model.rates.forEach((rate, k) => check(rate, ['actions', n, 'models', m, 'rates', k]));
    });
    action.pipeline?.phases.forEach((phase, m) => check(phase, ['actions', n, 'pipeline', 'phases', m]));
    if (action.pipeline !== undefined) check(action.pipeline, ['actions', n, 'pipeline']);
  });
  check(rules, ['rules']);
}
