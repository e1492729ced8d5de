import { z } from 'zod';
import type { GenerationWatch } from '../../workflows/watch';
import type { CatalogStore } from '../../../db/catalogs/catalogs';
import type { Database } from '../../../db/connection/connection';
import { findTerms, type WorkTerms } from '../../../db/generations/endings';
import { findHold } from '../../../db/generations/holds';
import type { LateWork, Leases } from '../../../db/reserve/lease';
import type { Ledger } from '../../../db/ledger/ledger';
import { markCharged, resolveLateWork } from '../../../db/generations/pipelineReports';
import { excludedBuckets } from '../../../domain/access/gates';
import { type MilliCredits, milli, toCredits } from '../../../domain/credits';
import type { GenerationFacts, LateReport } from '../../../domain/generations/generation';
import { lateChargeIdOf } from '../../../domain/ids';
import { price } from '../../../domain/prices/price';
import { invalidField, keyConflict } from '../../problems/common';
import { ProblemError } from '../../problems/problem';
import { accountFrom, type Route, route } from '../../routing/route';
import { carriedId, creditsIn, reason } from '../../routing/schemas';
import { generation } from './schemas';
import { mustFind, shown } from './generations';
import { renderTake } from './holdBody';

/** Work that was delivered after its generation had ended: it moved no credits, and a person may charge for it (rule 16). */

export interface LateReportRouteDeps {
  db: Database;
  ledger: Ledger;
  catalogs: CatalogStore;
  leases: Leases;
  watch: GenerationWatch;
}

export function lateReportRoutes(deps: LateReportRouteDeps): Route[] {
  return [applyLateReport(deps)];
}

function applyLateReport(deps: LateReportRouteDeps): Route {
  const { db, catalogs, watch } = deps;
  return route({
    method: 'POST',
    path: '/v1/generations/{id}/late-reports/{report}/apply',
    summary: 'Charge for late work',
    description:
      'Takes `credits`, or what the report is worth, at most what was held and is not captured. Once for a generation. It is ' +
      'a charge of its own, which can be refunded; the generation stays as it ended and names it in `lateReports`.',
    tag: 'Generations',
    scope: 'admin',
    account: accountFrom.idParam('id'),
    idempotency: 'required',
    keptBy: 'account',
    errors: [
      'unknown_generation',
      'unknown_report',
      'late_report_applied',
      'exceeds_hold',
      'insufficient_credits',
    ],
    params: z.strictObject({ id: carriedId, report: z.string().min(1).max(255) }),
    body: z.strictObject({ credits: creditsIn.optional(), reason }),
    responses: { 200: generation },
  }).handle(async ({ params, body, key, hash, caller }) => {
    const found = await mustFind(watch, params.id);
    const { account } = found;
    const late = chargeableReport(found, params.report);
    const asked = await askedFor(deps, { found, late, creditsMilli: body.credits });
    const by = { actor: caller.keyId, reason: body.reason };
    const outcome = await charge(deps, { found, late, asked, key, hash, by });
    const answer = JSON.parse(outcome.text) as { status: string; at: string; amount: number }; // ledger.apply wrote it
    if (answer.status !== 'applied')
      return renderTake({ catalogs, account, text: outcome.text, status: 200 });
    await markCharged(db.knex, {
      account,
      generation: found.id,
      reportId: late.reportId,
      charge: {
        id: lateChargeIdOf(found.id),
        milli: answer.amount,
        at: answer.at,
        by: caller.keyId,
        reason: body.reason,
      },
    });
    await resolveLateWork(db.knex, { account, generation: found.id });
    return { status: 200, body: shown(await mustFind(watch, found.id)), replayed: outcome.replayed };
  });
}

/** The report, if it is one that delivered work. */
function chargeableReport(found: GenerationFacts, report: string): LateReport {
  const late = found.lateReports.find(({ reportId }) => reportId === report);
  if (late === undefined)
    throw new ProblemError('unknown_report', { detail: `${found.id} has no late report ${report}.` });
  if (Reflect.get(Object(late.body), 'kind') !== 'complete')
    throw invalidField('report', 'This report says that the work failed: there is nothing to charge for.');
  return late;
}

/** What is to be charged: what is asked, or what the report is worth; at most what was held and is not captured. */
async function askedFor(
  { db }: LateReportRouteDeps,
  options: { found: GenerationFacts; late: LateReport; creditsMilli: MilliCredits | undefined },
): Promise<MilliCredits> {
  const { found, late, creditsMilli } = options;
  const { account, id } = found;
  const terms = await findTerms(db.knex, { account, generation: id });
  if (terms === undefined) throw new Error(`${id} has a late report and no hold`);
  const asked = creditsMilli ?? worthOf(found, terms, late);
  const left = milli(found.quoted - found.captured);
  // Sent again, it finds its own charge by the key; only another one meets this.
  const known = await findHold(db.knex, { account, id: lateChargeIdOf(id) });
  if (known === undefined && (asked > left || asked === 0)) {
    throw new ProblemError('exceeds_hold', {
      detail:
        `${toCredits(asked)} credits cannot be charged: ${toCredits(left)} of what was held are not captured. ` +
        'Name `credits` above 0 and up to that.',
    });
  }
  return asked;
}

async function charge(
  deps: LateReportRouteDeps,
  options: {
    found: GenerationFacts;
    late: LateReport;
    asked: MilliCredits;
    key: string;
    hash: string;
    by: { actor: string; reason: string };
  },
): Promise<{ text: string; replayed: boolean }> {
  const { found, late, asked, key, hash, by } = options;
  const lateWork = await lateWorkOf(deps, found, { report: late.reportId, ...by });
  const outcome = await deps.leases
    .take({
      kind: 'charge',
      account: found.account,
      key,
      hash,
      arrivedMs: null, // whoever corrects by hand waits for as long as any statement may take
      what: { creditsMilli: asked },
      member: found.member ?? undefined,
      lateWork,
    })
    .catch((error: unknown) => {
      // The ledger takes no second charge under the same id; this one was not first.
      if (Reflect.get(Object(error), 'code') === UNIQUE_VIOLATION) return null;
      throw error;
    });
  if (outcome === null) throw appliedAlready(found, lateChargeIdOf(found.id));
  if (outcome.kind === 'conflict') throw keyConflict();
  if (outcome.kind !== 'answered') throw new Error(`a charge by hand came to ${outcome.kind}`);
  return outcome;
}

/** What the ledger writes of the charge, for usage and support: it is work of that generation. */
async function lateWorkOf(
  deps: LateReportRouteDeps,
  found: GenerationFacts,
  { report, actor, reason: why }: { report: string; actor: string; reason: string },
): Promise<LateWork> {
  const { id, action, model, params, member, project, feature, catalogVersion } = found;
  return {
    holdId: lateChargeIdOf(id),
    work: { action, model, params, member, project, feature, catalogVersion, generation: id, report },
    excluded: await excludedFrom(deps, found),
    actor,
    reason: why,
  };
}

/** The buckets that could not pay for it then cannot now, by the catalog of that time. */
async function excludedFrom(
  { ledger, catalogs }: LateReportRouteDeps,
  { account, action, model, params, catalogVersion }: GenerationFacts,
) {
  const snapshot = await ledger.snapshot(account);
  const version = snapshot && (await catalogs.version(snapshot.rules.catalog, catalogVersion));
  if (!version) return [];
  const { catalog } = version;
  const priced = price({ catalog, action, ...(model === null ? {} : { model }), params });
  return priced.ok ? excludedBuckets({ catalog, priced: priced.priced }) : [];
}

const UNIQUE_VIOLATION = '23505';

/** What the report names, or the delivered share of the price, as it would have been captured in time. */
function worthOf(
  { quoted, captured }: GenerationFacts,
  { ordered, plannedMilli }: WorkTerms,
  { body }: LateReport,
): MilliCredits {
  const { creditsMilli, outputs } = Object(body) as { creditsMilli?: unknown; outputs?: unknown };
  if (typeof creditsMilli === 'number') return milli(creditsMilli);
  const delivered = Array.isArray(outputs) ? Math.min(outputs.length, ordered) : 0;
  const share = (BigInt(plannedMilli ?? quoted) * BigInt(delivered)) / BigInt(ordered);
  return milli(Math.max(0, Number(share) - captured));
}

function appliedAlready({ id }: GenerationFacts, charge: string): ProblemError {
  return new ProblemError('late_report_applied', {
    detail: `Late work of ${id} was charged for before, as ${charge}.`,
    extensions: { charge },
  });
}
