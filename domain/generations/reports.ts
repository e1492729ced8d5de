import { MAX_OPERATION_MILLI, milli, toCredits } from '../credits';
import { isStorable, storable } from '../text';

/**
 * What is a report of a pipeline's work, and what is not. HTTP and Temporal clients meet the same limits: what passes
 * here can be acted upon and kept, whoever sent it. Pure, for workflow code.
 */

export const REPORT_LIMITS = {
  idLength: 255,
  outputs: 1000,
  urlLength: 2048,
  phaseLength: 64,
  codeLength: 64,
  messageLength: 2000,
} as const;

/** For something that is not a report, this much is kept as JSON text. */
const MAX_EXCERPT = 4000;

/** Null if it is a report; else what is wrong with it, in a sentence. Fields that a report does not have do not matter. */
export function reportProblem(report: unknown): string | null {
  if (!isRecord(report)) return 'A report is an object.';
  const { id, kind, code, message } = report;
  const unnamed = textProblem('id', id, { min: 1, max: REPORT_LIMITS.idLength });
  if (unnamed !== null) return unnamed;
  if (kind === 'complete') return completionProblem(report);
  if (kind !== 'fail') return 'kind is complete or fail.';
  return (
    textProblem('code', code, { min: 1, max: REPORT_LIMITS.codeLength }) ??
    textProblem('message', message, { min: 0, max: REPORT_LIMITS.messageLength })
  );
}

function completionProblem(report: Record<string, unknown>): string | null {
  const { outputs, creditsMilli, final, phase, providerCost } = report;
  if (typeof final !== 'boolean') return 'final is true or false.';
  if (!Array.isArray(outputs) || outputs.length > REPORT_LIMITS.outputs)
    return `outputs is a list of at most ${REPORT_LIMITS.outputs}.`;
  if (!outputs.every(isOutput))
    return `An output is an object, its url text of at most ${REPORT_LIMITS.urlLength} characters without NUL, and no script.`;
  if (creditsMilli !== undefined && !isAmount(creditsMilli))
    return `creditsMilli is a whole number of millicredits from 0 to ${MAX_OPERATION_MILLI}.`;
  if (!final && (phase === undefined || creditsMilli === undefined))
    return 'A report that is not final names its phase, and what it costs in creditsMilli.';
  if (providerCost !== undefined && !isCost(providerCost))
    return 'providerCost has an amount, zero or more, and a currency of three characters.';
  return phase === undefined ? null : textProblem('phase', phase, { min: 1, max: REPORT_LIMITS.phaseLength });
}

/** The outputs that a pipeline lists, as a generation has them. */
export function outputsOf<O extends object>(
  listed: readonly O[],
): (O & { index: number; status: 'succeeded' })[] {
  return listed.map((output, index) => ({ index, status: 'succeeded', ...output }));
}

/** A report as HTTP shows it, in credits like every other amount there; what is not a report is shown as it came. */
export function shownReport(report: unknown): unknown {
  if (!isRecord(report)) return report;
  const { creditsMilli, ...rest } = report;
  return isAmount(creditsMilli) ? { ...rest, credits: toCredits(milli(creditsMilli)) } : report;
}

/** What was sent instead of a report, as JSON text that can be kept. */
export function excerptOf(said: unknown): string {
  try {
    return storable(JSON.stringify(said) ?? 'nothing', MAX_EXCERPT);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return 'nested too deeply to be shown';
  }
}

function textProblem(name: string, text: unknown, { min, max }: { min: number; max: number }): string | null {
  const fits = typeof text === 'string' && text.length >= min && text.length <= max;
  if (!fits) return `${name} is text of ${min} to ${max} characters.`;
  return isStorable(text) ? null : `${name} may not contain NUL or half a surrogate pair.`;
}

function isOutput(output: unknown): boolean {
  if (!isRecord(output)) return false;
  const { url } = output;
  if (url === undefined) return true;
  const isText = textProblem('url', url, { min: 0, max: REPORT_LIMITS.urlLength }) === null;
  return isText && typeof url === 'string' && !runsAsScript(url);
}

/** Whether a browser that follows it runs it, or shows what it says itself. Browsers pass over what stands before and between the letters. */
export function runsAsScript(url: string): boolean {
  const letters = Array.from(url)
    .filter((letter) => letter > ' ')
    .join('');
  return /^(javascript|vbscript|data):/i.test(letters);
}

function isAmount(amount: unknown): amount is number {
  return (
    typeof amount === 'number' && Number.isSafeInteger(amount) && amount >= 0 && amount <= MAX_OPERATION_MILLI
  );
}

function isCost(cost: unknown): boolean {
  if (!isRecord(cost)) return false;
  const { amount, currency } = cost;
  return (
    typeof amount === 'number' &&
    Number.isFinite(amount) &&
    amount >= 0 &&
    textProblem('currency', currency, { min: 3, max: 3 }) === null
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
