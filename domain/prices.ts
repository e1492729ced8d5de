import { type Action, type Catalog, isoDurationSeconds, type Model, planOf } from './catalog';
import { type MilliCredits, milli, toMilli } from './credits';
import type { Refusal } from './refusals';

/** What a request costs, exactly and with its working. Pure; every wrong parameter is a refusal that says what is allowed. */

export type ParamValue = string | number | boolean;

export interface PriceLine {
  label: string;
  quantity: number;
  unit: string;
  rateMilli: MilliCredits;
  creditsMilli: MilliCredits;
}

export interface Priced {
  action: string;
  model: string | null;
  /** Complete: defaults filled in, only what changes the price, and `outputs`. */
  params: Record<string, ParamValue>;
  creditsMilli: MilliCredits;
  /** Differ from `creditsMilli` only where the final price is not known beforehand. */
  minMilli: MilliCredits;
  ceilingMilli: MilliCredits;
  /** How many outputs are ordered. */
  outputs: number;
  lines: PriceLine[];
  free: boolean;
  /** The highest plan that any gate on the way asks for. */
  requiredPlan: string | null;
  tags: string[];
  needsConfirmation: boolean;
  maxDurationSeconds: number;
  approximate: boolean;
  /** Who does the work, as the catalog has it. */
  provider: { type: string } & Record<string, unknown>;
}

export type PriceResult = { ok: true; priced: Priced } | { ok: false; refusal: Refusal };

export interface PriceRequest {
  catalog: Catalog;
  action: string;
  model?: string;
  params?: Record<string, unknown>;
}

export function price({ catalog, action: actionId, model: modelId, params = {} }: PriceRequest): PriceResult {
  const action = catalog.actions.find((one) => one.action === actionId);
  if (action === undefined) {
    return refuse(
      'unknown_action',
      'action',
      `There is no action ${quoted(actionId)}; use ${listed(catalog.actions.map((one) => one.action))}.`,
    );
  }
  if (action.free) return freeOf({ catalog, action, modelId, params });

  const wanted = modelId ?? action.defaultModel;
  const model = action.models.find((one) => one.model === wanted);
  if (model === undefined) {
    const models = listed(action.models.map((one) => one.model));
    return refuse(
      'unknown_model',
      'model',
      `${action.action} has no model ${quoted(wanted)}; use ${models}.`,
    );
  }
  const chosen = chooseOptions({ action, model, params });
  if (!chosen.ok) return chosen;
  const { options, outputs } = chosen;
  const rate = model.rates.find((row) =>
    Object.entries(row.params).every(([name, value]) => options[name] === value),
  );
  if (rate === undefined) {
    const offered = model.rates.map((row) => JSON.stringify(row.params)).join(', ');
    return refuse(
      'unknown_option',
      'params',
      `${model.model} is not offered with these options together; it is with ${offered}.`,
    );
  }

  const rateMilli = toMilli(rate.credits);
  const seconds = rate.per === 'second' ? Number(options['seconds']) : 1;
  const quantity = outputs * seconds;
  const creditsMilli = milli(rateMilli * quantity);
  const unit = rate.per === 'second' ? 'second' : action.unit;
  const line = { label: `${action.label}: ${model.label}`, quantity, unit, rateMilli, creditsMilli };
  return {
    ok: true,
    priced: {
      action: action.action,
      model: model.model,
      params: { ...options, outputs },
      creditsMilli,
      minMilli: creditsMilli,
      ceilingMilli: creditsMilli,
      outputs,
      lines: [line],
      free: false,
      requiredPlan: highestPlan(catalog, [action.minimumPlan, model.minimumPlan, rate.minimumPlan]),
      tags: model.tags,
      ...termsOf(catalog, action),
      approximate: rate.approximate === true,
    },
  };
}

function freeOf(request: {
  catalog: Catalog;
  action: Action;
  modelId: string | undefined;
  params: Record<string, unknown>;
}): PriceResult {
  const { catalog, action, modelId, params } = request;
  if (modelId !== undefined)
    return refuse(
      'unknown_model',
      'model',
      `${action.action} is free and has no models; leave \`model\` out.`,
    );
  const [name] = Object.keys(params);
  if (name !== undefined)
    return refuse('unknown_option', `params.${name}`, `${action.action} is free and has no options.`);
  const nothing = milli(0);
  return {
    ok: true,
    priced: {
      action: action.action,
      model: null,
      params: { outputs: 1 },
      creditsMilli: nothing,
      minMilli: nothing,
      ceilingMilli: nothing,
      outputs: 1,
      lines: [],
      free: true,
      requiredPlan: action.minimumPlan ?? null,
      tags: [],
      ...termsOf(catalog, action),
      approximate: false,
    },
  };
}

function termsOf(catalog: Catalog, action: Action) {
  return {
    needsConfirmation: action.needsConfirmation,
    maxDurationSeconds: isoDurationSeconds(action.maxDuration) ?? 0,
    provider: { ...(action.provider ?? catalog.rules.defaultProvider) },
  };
}

type Chosen =
  | { ok: true; options: Record<string, ParamValue>; outputs: number }
  | { ok: false; refusal: Refusal };

function chooseOptions(request: { action: Action; model: Model; params: Record<string, unknown> }): Chosen {
  const { action, model, params } = request;
  const { outputs = 1, ...given } = params;
  if (
    typeof outputs !== 'number' ||
    !Number.isInteger(outputs) ||
    outputs < 1 ||
    outputs > action.maxOutputs
  ) {
    return refuse(
      'unknown_option',
      'params.outputs',
      `outputs must be a whole number from 1 to ${action.maxOutputs}.`,
    );
  }
  for (const [name, value] of Object.entries(given)) {
    const option = Object.hasOwn(model.options, name) ? model.options[name] : undefined;
    if (option === undefined) {
      const names = listed([...Object.keys(model.options), 'outputs']);
      return refuse(
        'unknown_option',
        `params.${name}`,
        `${model.model} has no option ${quoted(name)}; it has ${names}.`,
      );
    }
    if (!option.values.some((allowed) => allowed === value)) {
      return refuse('unknown_option', `params.${name}`, `${name} must be one of ${listed(option.values)}.`);
    }
  }
  // Sorted by name, so that a quote and a request that say the same have the same parameters.
  const names = Object.keys(model.options).toSorted();
  const options = Object.fromEntries(
    names.map((name) => [
      name,
      (Object.hasOwn(given, name) ? given[name] : model.options[name]?.default) as ParamValue,
    ]), // checked above
  );
  return { ok: true, options, outputs };
}

function highestPlan(catalog: Catalog, plans: (string | undefined)[]): string | null {
  const gates = plans.flatMap((name) => (name === undefined ? [] : (planOf(catalog, name) ?? [])));
  return gates.toSorted((a, b) => b.rank - a.rank)[0]?.plan ?? null;
}

function refuse(
  code: 'unknown_action' | 'unknown_model' | 'unknown_option',
  path: string,
  detail: string,
): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: { code, path, detail } };
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 64)}"` : String(value);
}

function listed(values: readonly (string | number | boolean)[]): string {
  return values.slice(0, 60).map(String).join(', ');
}
