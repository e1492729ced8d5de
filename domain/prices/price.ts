import { type Action, actionOf, type Catalog, type Model, planOf } from '../catalog/catalog';
import { milli, toMilli } from '../credits';
import { isoDurationSeconds } from '../catalog/duration';
import { chooseOptions, listed, quoted, refuse } from './options';
import type { ParamValue, PriceRequest, PriceResult } from './line';
import { pricePhases } from './pipeline';

/** What a request costs, exactly and with its working. Pure; every wrong parameter is a refusal that says what is allowed. */

export function price({ catalog, action: actionId, model: modelId, params = {} }: PriceRequest): PriceResult {
  const action = actionOf(catalog, actionId);
  if (action === undefined) {
    return refuse(
      'unknown_action',
      'action',
      `There is no action ${quoted(actionId)}; use ${listed(catalog.actions.map((one) => one.action))}.`,
    );
  }
  const request = { catalog, action, modelId, params };
  if (action.free) return priceOfFree(request);
  return action.pipeline === undefined ? priceOfModel(request) : priceOfPipeline(request);
}

interface Asked {
  catalog: Catalog;
  action: Action;
  modelId: string | undefined;
  params: Record<string, unknown>;
}

function priceOfModel({ catalog, action, modelId, params }: Asked): PriceResult {
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
  const { maxOutputs } = action;
  const chosen = chooseOptions({ of: model.model, options: model.options, maxOutputs, params });
  if (!chosen.ok) return chosen;
  const { values, outputs } = chosen;
  const rate = rateFor(model, values);
  if (rate === undefined) {
    const offered = model.rates.map((row) => JSON.stringify(row.params)).join(', ');
    return refuse(
      'unknown_option',
      'params',
      `${model.model} is not offered with these options together; it is with ${offered}.`,
    );
  }

  const rateMilli = toMilli(rate.credits);
  const seconds = rate.per === 'second' ? Number(values['seconds']) : 1;
  const quantity = outputs * seconds;
  const creditsMilli = milli(rateMilli * quantity);
  const unit = rate.per === 'second' ? 'second' : action.unit;
  const line = { label: `${action.label}: ${model.label}`, quantity, unit, rateMilli, creditsMilli };
  return {
    ok: true,
    priced: {
      action: action.action,
      model: model.model,
      params: { ...values, outputs },
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

function rateFor(model: Model, values: Readonly<Record<string, ParamValue>>) {
  return model.rates.find((row) =>
    Object.entries(row.params).every(([name, value]) => values[name] === value),
  );
}

/** Phases are priced one by one; what is held at most is the published upper end, or their sum if that is more. */
function priceOfPipeline({ catalog, action, modelId, params }: Asked): PriceResult {
  const { pipeline } = action;
  if (pipeline === undefined) throw new Error(`${action.action} is not a pipeline`);
  if (modelId !== undefined) return refuse('unknown_model', 'model', modelless(action, 'a pipeline'));
  const chosen = chooseOptions({ of: action.action, options: pipeline.options, maxOutputs: 1, params });
  if (!chosen.ok) return chosen;
  const phases = pricePhases({ pipeline, values: chosen.values, price: (one) => price({ catalog, ...one }) });
  if (!phases.ok) return phases;
  const { lines, plans, tags, approximate } = phases;
  const creditsMilli = milli(lines.reduce((sum, line) => sum + line.creditsMilli, 0));
  return {
    ok: true,
    priced: {
      action: action.action,
      model: null,
      params: { ...chosen.values, outputs: 1 },
      creditsMilli,
      minMilli: creditsMilli,
      ceilingMilli: milli(Math.max(creditsMilli, toMilli(pipeline.holdAtLeast ?? 0))),
      outputs: 1,
      lines,
      free: false,
      requiredPlan: highestPlan(catalog, [action.minimumPlan, ...plans]),
      tags,
      ...termsOf(catalog, action),
      approximate,
    },
  };
}

function priceOfFree({ catalog, action, modelId, params }: Asked): PriceResult {
  if (modelId !== undefined) return refuse('unknown_model', 'model', modelless(action, 'free'));
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

function modelless({ action }: Action, kind: string): string {
  return `${action} is ${kind} and has no models; leave \`model\` out.`;
}

function termsOf(catalog: Catalog, action: Action) {
  return {
    quotas: action.quotas,
    needsConfirmation: action.needsConfirmation,
    maxDurationSeconds: isoDurationSeconds(action.maxDuration) ?? 0,
    provider: { ...(action.provider ?? catalog.rules.defaultProvider) },
  };
}

function highestPlan(catalog: Catalog, plans: (string | null | undefined)[]): string | null {
  const gates = plans.flatMap((name) =>
    name === undefined || name === null ? [] : (planOf(catalog, name) ?? []),
  );
  return gates.toSorted((a, b) => b.rank - a.rank)[0]?.plan ?? null;
}
