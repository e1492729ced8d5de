import type { Logger } from 'pino';
import { z } from 'zod';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { actOnReport, findTerms } from '../../../db/generations/endings';
import { heartbeat } from '../../../db/generations/generations';
import type { Ledger } from '../../../db/ledger/ledger';
import { keepReport, markTold, reportOutcome } from '../../../db/generations/pipelineReports';
import { actionOf } from '../../../domain/catalog/catalog';
import type { GenerationFacts } from '../../../domain/generations/generation';
import { requestHash } from '../../../domain/ids';
import type { ProviderReport } from '../../../domain/contract';
import { invalidField } from '../../problems/common';
import type { GenerationStarter } from '../../workflows/starter';
import type { GenerationWatch } from '../../workflows/watch';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { carriedId } from '../../routing/schemas';
import { beat, completion, failed, generation } from './schemas';
import { mustFind, shown } from './generations';
import { defined } from '../../../domain/defined';

/** What a pipeline that does the work itself says of it: delivered, given up, alive. */

export interface ReportRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  starter: GenerationStarter;
  watch: GenerationWatch;
}

const TAG = 'Generations';

export function reportRoutes(deps: ReportRouteDeps): Route[] {
  return [completeGeneration(deps), failGeneration(deps), heartbeatGeneration(deps)];
}

const common = {
  method: 'POST',
  tag: TAG,
  account: accountFrom.idParam('id'),
  params: z.strictObject({ id: carriedId }),
  responses: { 200: generation },
} as const;

function completeGeneration(deps: ReportRouteDeps): Route {
  const { watch } = deps;
  return route({
    ...common,
    path: '/v1/generations/{id}/complete',
    summary: 'Report the delivery of all work, or of one phase',
    description:
      'A report that is not final (`final`: false) names its phase and captures its credits. Every other one is the last: it ' +
      'captures its `credits`, or the delivered share of the price, and lists every output, also those of earlier phases, ' +
      'for it decides what was delivered. A pipeline’s phases are those of its catalog.',
    scope: 'generate',
    idempotency: 'optional',
    errors: ['unknown_generation', 'generation_ended', 'exceeds_hold', 'phase_captured', 'not_external'],
    body: completion,
  }).handle(async ({ params, body, logger }) => {
    const { credits, outputs, phase, providerCost, final } = body;
    if (phase !== undefined) await assertPhase(deps, await mustFind(watch, params.id), phase);
    const report: ProviderReport = {
      kind: 'complete',
      id: reportId(params.id, { kind: 'complete', ...body }),
      outputs: outputs.map(({ url }) => (url === undefined ? {} : { url })),
      final,
      ...defined({ creditsMilli: credits, phase, providerCost }),
    };
    return { status: 200, body: shown(await deliver(deps, { id: params.id, report, logger })) };
  });
}

function failGeneration(deps: ReportRouteDeps): Route {
  return route({
    ...common,
    path: '/v1/generations/{id}/fail',
    summary: 'Report a failure: the credits are released',
    scope: 'generate',
    idempotency: 'optional',
    errors: ['unknown_generation', 'generation_ended', 'not_external'],
    body: failed,
  }).handle(async ({ params, body, logger }) => {
    const report: ProviderReport = {
      kind: 'fail',
      id: reportId(params.id, { kind: 'fail', ...body }),
      ...body,
    };
    return { status: 200, body: shown(await deliver(deps, { id: params.id, report, logger })) };
  });
}

function heartbeatGeneration({ db, watch }: ReportRouteDeps): Route {
  return route({
    ...common,
    path: '/v1/generations/{id}/heartbeat',
    summary: 'Report progress and extend the deadline',
    scope: 'generate',
    idempotency: 'optional',
    passing: true,
    errors: ['unknown_generation', 'generation_ended', 'not_external'],
    body: beat,
  }).handle(async ({ params, body }) => {
    const found = mustBeExternal(await mustFind(watch, params.id));
    const { progress, extendSeconds } = body;
    const { account, id } = found;
    const alive = await heartbeat(db.knex, { account, id, progress, extendSeconds });
    if (!alive) throw ended(found.id, 'a heartbeat moves nothing any more');
    return { status: 200, body: shown(await mustFind(watch, params.id)) };
  });
}

/** A name that is not a phase of the pipeline would book its credits beside it. */
async function assertPhase({ ledger, catalogs }: ReportRouteDeps, found: GenerationFacts, phase: string) {
  const snapshot = await ledger.snapshot(found.account);
  const version = snapshot && (await catalogs.version(snapshot.rules.catalog, found.catalogVersion));
  const pipeline = version && actionOf(version.catalog, found.action)?.pipeline;
  if (!pipeline || pipeline.phases.some((one) => one.phase === phase)) return;
  const phases = pipeline.phases.map((one) => one.phase).join(', ');
  throw invalidField('phase', `${found.action} has no phase ${phase}; its phases are ${phases}.`);
}

/**
 * The report is kept first, then the ledger acts upon it: whether its hold is open decides, not whether its workflow can be
 * reached. The workflow is told afterwards; whatever of this does not happen, the sweep does (rules 16, 31).
 */
async function deliver(
  deps: ReportRouteDeps,
  { id, report, logger }: { id: string; report: ProviderReport; logger: Logger },
): Promise<GenerationFacts> {
  const { db, ledger, starter, watch } = deps;
  const found = mustBeExternal(await mustFind(watch, id));
  const { account } = found;
  const key = { account, generation: id, reportId: report.id };
  if ((await reportOutcome(db.knex, key)) === 'applied') return mustFind(watch, id);
  const terms = await findTerms(db.knex, { account, generation: id });
  if (terms === undefined) throw ended(id, 'it was free, and no report moves anything');
  await keepReport(db.knex, { ...key, body: report });
  switch (await actOnReport({ ledger, knex: db.knex }, terms, { report, heard: true })) {
    case 'exceeds_hold':
      throw new ProblemError('exceeds_hold', {
        detail: 'The generation holds fewer credits than the report names.',
      });
    case 'phase_captured':
      throw new ProblemError('phase_captured', {
        detail: 'This phase was captured before, with other figures.',
      });
    case 'closed':
      throw ended(id, 'the report was kept and moved no credits');
    default:
  }
  void tell();
  return mustFind(watch, id);

  async function tell(): Promise<void> {
    try {
      await starter.tell(id, report);
      await markTold(db.knex, key);
    } catch (error) {
      logger.warn({ err: error, generation: id }, 'the workflow was not told of a report; the sweep will');
    }
  }
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
