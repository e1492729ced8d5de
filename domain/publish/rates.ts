import type { Model, Options } from '../catalog/catalog';
import type { Path, Report } from './faults';
import { MAX_OPERATION_MILLI, MILLI_PER_CREDIT } from '../credits';

/** Whether a model's options and rates make one price of each combination. */

/** A price list shows every combination, so there is an end to them. */
const MAX_COMBINATIONS = 2_000;

export function checkModel(options: { model: Model; maxOutputs: number; path: Path; report: Report }): void {
  const { model, maxOutputs, path, report } = options;
  checkOptions({ options: model.options, path, report });
  checkRates({ model, maxOutputs, path: [...path, 'rates'], report });
}

export function checkOptions({
  options,
  path,
  report,
}: {
  options: Options;
  path: Path;
  report: Report;
}): void {
  for (const [name, { values, default: first }] of Object.entries(options)) {
    const at = [...path, 'options', name];
    if (name === 'outputs') report(at, '`outputs` is there already; maxOutputs of the action limits it');
    if (!values.includes(first)) report([...at, 'default'], 'must be one of the values');
    mustDiffer({ report, path: [...at, 'values'], what: 'value', values });
  }
  const combinations = Object.values(options).reduce((product, { values }) => product * values.length, 1);
  if (combinations > MAX_COMBINATIONS)
    report([...path, 'options'], `has ${combinations} combinations; at most ${MAX_COMBINATIONS} are allowed`);
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

export function mustDiffer(options: {
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
