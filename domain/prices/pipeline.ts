import type { Phase, Pipeline } from '../catalog/catalog';
import { toMilli } from '../credits';
import { refuse } from './options';
import type { ParamValue, PriceLine, PriceResult } from './line';
import type { Refusal } from '../refusals';

/** What the phases of a pipeline cost: each as the action it is, or at a price of its own. Pure. */

type PhasesPriced =
  | { ok: true; lines: PriceLine[]; plans: (string | null)[]; tags: string[]; approximate: boolean }
  | { ok: false; refusal: Refusal };

interface PhasesRequest {
  pipeline: Pipeline;
  /** The pipeline's options, as chosen. */
  values: Readonly<Record<string, ParamValue>>;
  price: (request: { action: string; model?: string; params: Record<string, ParamValue> }) => PriceResult;
}

export function pricePhases({ pipeline, values, price }: PhasesRequest): PhasesPriced {
  const lines: PriceLine[] = [];
  const plans: (string | null)[] = [];
  const tags = new Set<string>();
  let approximate = false;
  for (const phase of pipeline.phases) {
    if (phase.action === undefined) {
      const creditsMilli = toMilli(phase.credits ?? 0);
      lines.push({ ...lineOf(phase), rateMilli: creditsMilli, creditsMilli });
      approximate ||= phase.approximate === true;
      continue;
    }
    const result = price({ action: phase.action, ...meantBy(phase, values) });
    if (!result.ok)
      return refuse(
        'unknown_option',
        'params',
        `With these options ${phase.phase} cannot be made: ${result.refusal.detail}`,
      );
    const { priced } = result;
    const [line] = priced.lines;
    const { creditsMilli } = priced;
    const working = line ?? {
      quantity: 1,
      unit: 'phase',
      rateMilli: creditsMilli,
      creditsMilli,
      label: 'free',
    };
    lines.push({ ...working, label: `${phase.label}: ${working.label}`, phase: phase.phase });
    plans.push(priced.requiredPlan);
    for (const tag of priced.tags) tags.add(tag);
    approximate ||= priced.approximate;
  }
  return { ok: true, lines, plans, tags: [...tags], approximate };
}

function lineOf(phase: Phase) {
  return { label: phase.label, quantity: 1, unit: 'phase', phase: phase.phase };
}

function meantBy(phase: Phase, values: Readonly<Record<string, ParamValue>>) {
  const value = (said: ParamValue | { option: string }): ParamValue | undefined =>
    typeof said === 'object' ? values[said.option] : said;
  const params: Record<string, ParamValue> = {};
  for (const [name, said] of Object.entries(phase.params)) {
    const meant = value(said);
    if (meant !== undefined) params[name] = meant;
  }
  const model = phase.model === undefined ? undefined : value(phase.model);
  return { params, ...(model === undefined ? {} : { model: String(model) }) };
}
