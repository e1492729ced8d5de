import type { Options } from '../catalog/catalog';
import type { ParamValue } from './line';
import type { Refusal } from '../refusals';

/** From what a request says to the options it means; what is wrong is refused with what is allowed. Pure. */

type Chosen =
  | { ok: true; values: Record<string, ParamValue>; outputs: number }
  | { ok: false; refusal: Refusal };

export function chooseOptions(request: {
  /** Whose options they are, for people. */
  of: string;
  options: Options;
  maxOutputs: number;
  params: Record<string, unknown>;
}): Chosen {
  const { of, options, maxOutputs, params } = request;
  const { outputs = 1, ...given } = params;
  if (typeof outputs !== 'number' || !Number.isInteger(outputs) || outputs < 1 || outputs > maxOutputs) {
    const allowed = maxOutputs === 1 ? '1, the most there is' : `a whole number from 1 to ${maxOutputs}`;
    return refuse('unknown_option', 'params.outputs', `outputs must be ${allowed}.`);
  }
  for (const [name, value] of Object.entries(given)) {
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (option === undefined) {
      const names = listed([...Object.keys(options), 'outputs']);
      return refuse(
        'unknown_option',
        `params.${name}`,
        `${of} has no option ${quoted(name)}; it has ${names}.`,
      );
    }
    if (!option.values.some((allowed) => allowed === value))
      return refuse('unknown_option', `params.${name}`, `${name} must be ${oneOf(option.values)}.`);
  }
  // Sorted by name, so that a quote and a request that say the same have the same parameters.
  const names = Object.keys(options).toSorted();
  const values = Object.fromEntries(
    names.map((name) => [
      name,
      (Object.hasOwn(given, name) ? given[name] : options[name]?.default) as ParamValue,
    ]), // checked above
  );
  return { ok: true, values, outputs };
}

export function refuse(
  code: 'unknown_action' | 'unknown_model' | 'unknown_option',
  path: string,
  detail: string,
): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: { code, path, detail } };
}

export function quoted(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 64)}"` : String(value);
}

export function listed(values: readonly ParamValue[]): string {
  return values.slice(0, 60).map(String).join(', ');
}

/** Sixty seconds in a row are easier to read as a range. */
function oneOf(values: readonly ParamValue[]): string {
  const [first] = values;
  const inARow = values.length > 3 && values.every((value, n) => value === Number(first) + n);
  return inARow ? `a whole number from ${first} to ${values.at(-1)}` : `one of ${listed(values)}`;
}
