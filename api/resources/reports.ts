import { z } from 'zod';
import type { CatalogStore } from '../../db/catalogs';
import type { Database } from '../../db/connection';
import { heartbeat } from '../../db/generations';
import type { Ledger } from '../../db/ledger';
import { decideReport, keepReport, type ReportKey, reportOutcome } from '../../db/reports';
import { actionOf } from '../../domain/catalog';
import type { GenerationFacts } from '../../domain/generation';
import { requestHash } from '../../domain/ids';
import type { ProviderReport } from '../../workflows/contract';
import { invalidField } from '../commonProblems';
import type { GenerationStarter } from '../generationStarter';
import { pollUntil } from '../polling';
import { ProblemError } from '../problems';
import { accountFrom, type Route, route } from '../route';
import { carriedId } from '../schemas';
import { beat, completion, failed, generation } from './generationSchemas';
import { mustFind, shown } from './generations';

/** What a pipeline that does the work itself says of it: delivered, given up, alive. */

export interface ReportRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  starter: GenerationStarter;
}

const TAG = 'Generations';
const DECIDED_WITHIN_MS = 5_000;

export function reportRoutes(deps: ReportRouteDeps): Route[] {
  const { db } = deps;
  const common = {
    method: 'POST',
    tag: TAG,
    account: accountFrom.idParam('id'),
    params: z.strictObject({ id: carriedId }),
    responses: { 200: generation },
  } as const;

  return [
    route({
      ...common,
      path: '/v1/generations/{id}/complete',
      summary: 'The pipeline delivers: all of its work, or one phase of it',
      description:
        'A report that is not final (`final`: false) names its phase and captures its credits. Every other one is the last: it ' +
        'captures its `credits`, or all that is still held, and lists every output, also those of earlier phases, for it ' +
        'decides what was delivered. A pipeline’s phases are those of its catalog.',
      scope: 'generate',
      idempotency: 'optional',
      errors: ['unknown_generation', 'generation_ended', 'exceeds_hold', 'phase_captured', 'not_external'],
      body: completion,
    }).handle(async ({ params, body }) => {
      const { credits, outputs, phase, providerCost, final } = body;
      if (phase !== undefined) await assertPhase(deps, await mustFind(db, params.id), phase);
      const report: ProviderReport = {
        kind: 'complete',
        id: reportId(params.id, { kind: 'complete', ...body }),
        outputs: outputs.map(({ url }) => (url === undefined ? {} : { url })),
        final,
        ...(credits === undefined ? {} : { creditsMilli: credits }),
        ...(phase === undefined ? {} : { phase }),
        ...(providerCost === undefined ? {} : { providerCost }),
      };
      return { status: 200, body: shown(await deliver(deps, params.id, report)) };
    }),
    route({
      ...common,
      path: '/v1/generations/{id}/fail',
      summary: 'The pipeline gives up: the credits go back',
      scope: 'generate',
      idempotency: 'optional',
      errors: ['unknown_generation', 'generation_ended', 'not_external'],
      body: failed,
    }).handle(async ({ params, body }) => {
      const report: ProviderReport = {
        kind: 'fail',
        id: reportId(params.id, { kind: 'fail', ...body }),
        ...body,
      };
      return { status: 200, body: shown(await deliver(deps, params.id, report)) };
    }),
    route({
      ...common,
      path: '/v1/generations/{id}/heartbeat',
      summary: 'The pipeline is alive: moves progress and deadline',
      scope: 'generate',
      idempotency: 'optional',
      errors: ['unknown_generation', 'generation_ended', 'not_external'],
      body: beat,
    }).handle(async ({ params, body }) => {
      const found = mustBeExternal(await mustFind(db, params.id));
      const { progress, extendSeconds } = body;
      const deadlineAt =
        extendSeconds === undefined ? undefined : new Date(Date.now() + extendSeconds * 1000);
      const alive = await heartbeat(db.knex, { account: found.account, id: found.id, progress, deadlineAt });
      if (!alive) throw ended(found.id, 'a heartbeat moves nothing any more');
      return { status: 200, body: shown(await mustFind(db, params.id)) };
    }),
  ];
}

/** A name that is no phase of the pipeline would book its credits beside it. */
async function assertPhase({ ledger, catalogs }: ReportRouteDeps, found: GenerationFacts, phase: string) {
  const snapshot = await ledger.snapshot(found.account);
  const version = snapshot && (await catalogs.version(snapshot.rules.catalog, found.catalogVersion));
  const pipeline = version && actionOf(version.catalog, found.action)?.pipeline;
  if (!pipeline || pipeline.phases.some((one) => one.phase === phase)) return;
  const phases = pipeline.phases.map((one) => one.phase).join(', ');
  throw invalidField('phase', `${found.action} has no phase ${phase}; its phases are ${phases}.`);
}

/** The report is kept first, then acted upon: whatever happens to it, what was said is not lost (rule 16). */
async function deliver(deps: ReportRouteDeps, id: string, report: ProviderReport): Promise<GenerationFacts> {
  const { db, starter } = deps;
  const found = mustBeExternal(await mustFind(db, id));
  const key = { account: found.account, generation: id, reportId: report.id };
  if ((await reportOutcome(db.knex, key)) === 'applied') return mustFind(db, id);
  const first = await keepReport(db.knex, { ...key, body: report, outcome: 'pending' });

  const reply =
    found.status === 'running'
      ? await starter.report(id, report)
      : ({ ok: false, code: 'not_running' } as const);
  if (reply.ok) return mustFind(db, id);
  if (reply.code === 'undecided') {
    throw new ProblemError('unavailable', {
      detail: 'The report was kept but not acted upon yet; send it again.',
      begun: true,
    });
  }
  if (reply.code === 'exceeds_hold') {
    throw new ProblemError('exceeds_hold', {
      detail: 'The generation holds fewer credits than the report names.',
    });
  }
  if (reply.code === 'phase_captured') {
    throw new ProblemError('phase_captured', {
      detail: 'This phase was captured before, with other figures.',
    });
  }
  // A copy of the same report may have ended it: its outcome is written right after its credits have moved.
  const mayBeCopy = !first || found.status === 'running';
  if (mayBeCopy && (await isApplied(db, key))) return mustFind(db, id);
  await decideReport(db.knex, { ...key, outcome: 'late' });
  throw ended(id, 'the report was kept and moved no credits');
}

async function isApplied(db: Database, key: ReportKey): Promise<boolean> {
  const outcome = await pollUntil(
    () => reportOutcome(db.knex, key),
    (found) => found !== 'pending',
    { withinMs: DECIDED_WITHIN_MS, everyMs: 50 },
  );
  return outcome === 'applied';
}

/** The same report is the same id, however often it is sent. */
function reportId(generation: string, body: unknown): string {
  return requestHash({ method: 'report', route: generation, body }).slice(0, 32);
}

function mustBeExternal(found: GenerationFacts): GenerationFacts {
  if (found.provider['type'] === 'external') return found;
  throw new ProblemError('not_external', {
    detail: 'This generation’s work is done by a provider, not by reports.',
  });
}

function ended(id: string, then: string): ProblemError {
  return new ProblemError('generation_ended', { detail: `${id} has ended; ${then}.` });
}
