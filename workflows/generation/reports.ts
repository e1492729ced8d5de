import type { CancelRequest, ProviderReport } from '../../domain/contract';
import { defined } from '../../domain/defined';

/** What comes in from outside is typed by the contract and checked here: types end at the wire. */

/** A report with the contract's fields and no others; `was` passed `reportProblem`. */
export function onlyTheReport(was: ProviderReport): ProviderReport {
  if (was.kind === 'fail') return { kind: 'fail', id: was.id, code: was.code, message: was.message };
  const { id, outputs, final, creditsMilli, phase, providerCost } = was;
  return {
    kind: 'complete',
    id,
    outputs: outputs.map(({ url }) => (url === undefined ? {} : { url })),
    final,
    ...defined({ creditsMilli, phase, providerCost }),
  };
}

/**
 * Signals that older runs acted upon, before today's checks existed. Replay must act upon them again.
 */
export function wasTakenUnchecked(report: ProviderReport): boolean {
  if (typeof report?.id !== 'string') return false;
  if (report.kind === 'fail') return true;
  const { creditsMilli, outputs } = report;
  return (
    Array.isArray(outputs) &&
    (creditsMilli === undefined || (Number.isSafeInteger(creditsMilli) && creditsMilli >= 0))
  );
}

/** Who cancels, and why, as far as it can be understood: a wish to stop is never refused for its form. */
export function readCancel(request: CancelRequest | undefined): CancelRequest {
  const by = request?.by === 'customer' ? 'customer' : 'operator';
  return typeof request?.reason === 'string' ? { by, reason: request.reason } : { by };
}
