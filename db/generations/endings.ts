import type { Knex } from 'knex';
import { type MilliCredits, milli } from '../../domain/credits';
import { requestHash } from '../../domain/ids';
import { outputsOf, REPORT_LIMITS } from '../../domain/generations/reports';
import { storable } from '../../domain/text';
import type { Output, ProviderReport } from '../../domain/contract';
import type { GenerationFacts } from '../../domain/generations/generation';
import type { Ledger } from '../ledger/ledger';
import type { CaptureOperation, Cause, GenerationEnd, ReleaseOperation, Reply } from '../ledger/operations';
import { raiseItem } from '../support/items';
import { decideReport } from './pipelineReports';
import { defined } from '../../domain/defined';

/**
 * How the work of a generation ends in the ledger. Whoever drives an end (the workflow, the route that took a report, the
 * sweep) makes the same operation of it, under the same key: the first has its effect, the others find it done (rule 4).
 */

export interface EndingDeps {
  ledger: Ledger;
  knex: Knex;
}

/** What of a generation's work decides what its end costs. */
export interface WorkTerms {
  account: string;
  generation: string;
  holdId: string;
  /** How many outputs are ordered. */
  ordered: number;
  /** What it costs if all goes as ordered, where that is less than what is held. */
  plannedMilli: MilliCredits | null;
  /** Done by the pipeline itself, which is the customer's side (rule 14). */
  external: boolean;
}

export interface Capture {
  /** Closes the hold; a phase's capture leaves it open. */
  final: boolean;
  phase?: string | undefined;
  /** Millicredits; absent: the share of the price that delivered ÷ ordered says. */
  creditsMilli?: number | undefined;
  /** A capture that would exceed the hold takes what is left of it and is flagged (rule 15). */
  clamp?: boolean | undefined;
  outputs: Output[];
  providerCost?: { amount: number; currency: string } | undefined;
  /** The report that says so. */
  reportId?: string | undefined;
}

/**
 * `exceeds_hold`: nothing moved, the hold holds less than was asked for. `phase_captured`: nothing moved, this phase was
 * captured before, with other figures. `closed`: nothing moved, the hold is closed or was never there.
 */
export type Captured = 'applied' | 'exceeds_hold' | 'phase_captured' | 'closed';

export interface Undo {
  cause: Cause;
  status: 'failed' | 'canceled';
  error: { code: string; message: string };
  reportId?: string | undefined;
}

/** The terms of a generation that holds, or held, credits. Undefined: there is none, or it was free. */
export async function findTerms(
  knex: Knex,
  { account, generation }: { account: string; generation: string },
): Promise<WorkTerms | undefined> {
  const row = await knex('ledger.generations as g')
    .join('ledger.op_keys as k', (join) => join.on('k.account_id', 'g.account_id').andOn('k.key', 'g.key'))
    .where({ 'g.account_id': account, 'g.generation_id': generation })
    .whereNotNull('g.hold_id')
    .first<{ hold_id: string; ordered: number; type: string; planned: number | null } | undefined>(
      'g.hold_id',
      'g.ordered',
      knex.raw("g.provider ->> 'type' AS type"),
      knex.raw("(k.answer::jsonb #>> '{facts,planned}')::bigint AS planned"),
    );
  if (row === undefined) return undefined;
  return {
    account,
    generation,
    holdId: row.hold_id,
    ordered: row.ordered,
    plannedMilli: row.planned === null ? null : milli(row.planned),
    external: row.type === 'external',
  };
}

/** How a generation ended, in millicredits. */
export interface EndedGeneration extends Pick<GenerationFacts, 'status' | 'error'> {
  captured: MilliCredits;
  refunded: MilliCredits;
  forfeited: MilliCredits;
}

/**
 * Captures what was delivered; the last capture closes the hold and gives back the rest. `ended`: how the generation ended, where
 * the ledger's reply says all of it.
 */
export async function capture(
  deps: EndingDeps,
  terms: WorkTerms,
  what: Capture,
): Promise<{ captured: Captured; ended: EndedGeneration | null }> {
  const { ledger, knex } = deps;
  const outputs = what.outputs.map(keepableOutput);
  const operation = captureOperation(terms, { ...what, outputs });
  const reply = await ledger.run(terms.account, operation);
  const captured = capturedBy(reply);
  if (captured === 'applied' && reply?.clamped === true) {
    const { creditsMilli: askedMilli, reportId } = what;
    await raiseItem(knex, {
      account: terms.account,
      kind: 'capture_clamped',
      subject: `${terms.generation} ${stepOf(what)}`,
      detail: { holdId: terms.holdId, askedMilli, takenMilli: reply.captured, reportId },
    });
  }
  if (what.reportId !== undefined) {
    const { reportId: id, creditsMilli, final, phase, providerCost } = what;
    const body = { kind: 'complete', id, outputs, creditsMilli, final, phase, providerCost };
    const outcome = captured === 'applied' ? 'applied' : captured === 'closed' ? 'late' : 'rejected';
    await decideReport(knex, { ...terms, reportId: id, body, outcome });
  } else if (captured === 'closed') {
    await raiseItem(knex, {
      account: terms.account,
      kind: 'capture_of_closed_hold',
      subject: terms.generation,
      detail: { holdId: terms.holdId, ledger: reply?.status ?? 'unknown_account' },
    });
  }
  return { captured, ended: endedBy(operation, reply) };
}

/** Null where the row knows more: of a replay, and of what failed, which counts as delivered in part after an earlier phase. */
function endedBy({ generation, final }: CaptureOperation, reply: Reply | null): EndedGeneration | null {
  const hold = reply?.hold;
  const status = generation?.status;
  if (reply?.status !== 'applied' || reply.replayed || !final || hold == null) return null;
  if (status === undefined || status === 'failed') return null;
  return {
    status,
    error: generation?.error ?? null,
    captured: milli(hold.captured - hold.refunded),
    refunded: milli(hold.released - hold.forfeited + hold.refunded),
    forfeited: milli(hold.forfeited),
  };
}

/** There is one way to release a generation's hold, whoever asks for it first: the others find it done. */
export function releaseOperation(what: Omit<ReleaseOperation, 'op' | 'key' | 'hash'>): ReleaseOperation {
  return { op: 'release', key: `sys:release:${what.holdId}`, hash: 'release', ...what };
}

/** Gives back what is still held and closes the hold. False: it was closed already, by whatever came before. */
export async function release({ ledger, knex }: EndingDeps, terms: WorkTerms, undo: Undo): Promise<boolean> {
  const { cause, status, reportId } = undo;
  const error = keepable(undo.error);
  const operation = { holdId: terms.holdId, cause, reason: error.code, generation: { status, error } };
  const reply = await ledger.run(terms.account, releaseOperation(operation));
  const applied = reply?.status === 'applied' && (!reply.replayed || (await endedWith(knex, terms, error)));
  if (reportId !== undefined) {
    const body = { kind: 'fail', id: reportId, ...error };
    await decideReport(knex, { ...terms, reportId, body, outcome: applied ? 'applied' : 'late' });
  }
  return applied;
}

/** All releases of a hold share one key: whether it was this one that ended the work, the reason it ended with says. */
async function endedWith(
  knex: Knex,
  { account, generation }: WorkTerms,
  error: Undo['error'],
): Promise<boolean> {
  const row = await knex('ledger.generations')
    .where({ account_id: account, generation_id: generation })
    .first<{ error: Undo['error'] | null } | undefined>('error');
  return row?.error?.code === error.code && row.error.message === error.message;
}

/**
 * Acts on what a pipeline reports: the ledger decides, by whether the hold is open, and no workflow is asked. `heard`:
 * somebody waits to be told that it is too much; else what remains is taken, and operations are told (rule 15).
 */
export function actOnReport(
  deps: EndingDeps,
  terms: WorkTerms,
  { report, heard }: { report: ProviderReport; heard: boolean },
): Promise<Captured> {
  if (report.kind === 'complete') {
    const { kind: _, id, outputs, ...figures } = report;
    const clamp = heard ? {} : { clamp: true };
    const what = { ...figures, ...clamp, outputs: outputsOf(outputs), reportId: id };
    return capture(deps, terms, what).then(({ captured }) => captured);
  }
  const { id, code, message } = report;
  const undo = { cause: 'customer', status: 'failed', error: { code, message }, reportId: id } as const;
  return release(deps, terms, undo).then((applied) => (applied ? 'applied' : 'closed'));
}

function capturedBy(reply: Reply | null): Captured {
  switch (reply?.status) {
    case 'applied':
    case 'exceeds_hold':
    case 'phase_captured':
      return reply.status;
    case 'idempotency_conflict': // other figures for a step that was captured: the hold says whether it was the last
      return reply.hold?.open === true ? 'phase_captured' : 'closed';
    default:
      return 'closed';
  }
}

/** The step of the work that a capture pays for, so that a phase may be called final. */
function stepOf({ phase }: Pick<Capture, 'phase'>): string {
  return phase === undefined ? 'final' : `phase:${phase}`;
}

/** A provider's words, or whoever's, as they can be kept: what cannot be would be tried for ever. */
function keepable({ code, message }: Undo['error']): Undo['error'] {
  const { codeLength, messageLength } = REPORT_LIMITS;
  return { code: storable(code ?? '', codeLength), message: storable(message ?? '', messageLength) };
}

/** As the contract has it: workers in some languages write null for what they leave out, and may leave out the place. */
function keepableOutput(output: Output, place: number): Output {
  const { index, status, url, error } = output as { [K in keyof Output]?: Output[K] | null }; // types end at the wire
  return {
    index: index ?? place,
    status: status ?? 'failed',
    ...(url == null ? {} : { url: storable(url, REPORT_LIMITS.urlLength) }),
    ...(error == null ? {} : { error: keepable(error) }),
  };
}

function captureOperation(terms: WorkTerms, what: Capture): CaptureOperation {
  const { final, phase, creditsMilli, clamp, outputs } = what;
  const { ordered, plannedMilli } = terms;
  const delivered = Math.min(succeeded(outputs), ordered);
  const share =
    creditsMilli === undefined
      ? { delivered, ordered, ...(plannedMilli === null ? {} : { price: plannedMilli }) }
      : { amount: milli(creditsMilli) };
  const step = stepOf(what);
  return {
    op: 'capture',
    key: `sys:capture:${terms.holdId}:${step}`,
    hash: requestHash({ method: 'capture', route: step, body: { ...share, final, outputs } }),
    holdId: terms.holdId,
    ...share,
    ...defined({ clamp, phase }),
    final,
    // A pipeline that delivers less than was ordered is the customer's doing, like its `fail` (rule 14).
    cause: terms.external ? 'customer' : 'provider',
    generation: final ? endOfWork(terms, what) : {},
  };
}

/**
 * What was delivered decides the status. Whoever names the credits has said what the work is worth: then the outputs are
 * those that are listed, and none is missing, for what is priced (37 blocks of text) need not be what is delivered (a file).
 */
function endOfWork({ ordered }: WorkTerms, what: Capture): GenerationEnd {
  const { outputs, creditsMilli, providerCost } = what;
  const expected = creditsMilli === undefined ? ordered : Math.min(ordered, Math.max(1, outputs.length));
  const missing: Output[] = Array.from({ length: Math.max(0, expected - outputs.length) }, (_, n) => ({
    index: outputs.length + n,
    status: 'failed',
    error: { code: 'not_delivered', message: 'The provider delivered fewer outputs than were ordered.' },
  }));
  const delivered = succeeded(outputs);
  const status = delivered === 0 ? 'failed' : delivered >= expected ? 'succeeded' : 'partial';
  const error =
    delivered === 0 ? { code: 'nothing_delivered', message: 'The provider delivered no output.' } : null;
  return { status, outputs: [...outputs, ...missing], error, ...(providerCost && { providerCost }) };
}

function succeeded(outputs: readonly Output[]): number {
  return outputs.filter(({ status }) => status === 'succeeded').length;
}
