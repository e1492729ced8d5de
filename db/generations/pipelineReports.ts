import type { Knex } from 'knex';
import { milli, toCredits } from '../../domain/credits';
import type { LateCharge } from '../../domain/generations/generation';
import type { ProviderReport } from '../../domain/contract';
import { type ItemKey, raiseItem, resolveItem } from '../support/items';

/**
 * What pipelines and providers said of a generation, and what became of it. A report that came in is a row before it is acted
 * upon, so whoever took it may die: the generation's workflow acts on what is pending before its deadline, and the sweep on
 * all that is pending (rule 31).
 */

/**
 * `pending`: not acted upon yet. `rejected`: it asked for what cannot be. `late`: it came after the end and moved nothing.
 * `charged`: it was late, and somebody charged for it by hand (rule 16).
 */
export type ReportOutcome = 'pending' | 'applied' | 'rejected' | 'late' | 'charged';

export interface ReportKey {
  account: string;
  generation: string;
  reportId: string;
}

/** Keeps a report as it came in, to be acted upon; what was kept of the same report before stays as it is. */
export async function keepReport(knex: Knex, { body, ...key }: ReportKey & { body: unknown }): Promise<void> {
  await knex('holdfast.reports')
    .insert({ ...columns(key), body: JSON.stringify(body), outcome: 'pending', untold: true })
    .onConflict(['account_id', 'generation_id', 'report_id'])
    .ignore();
}

export async function reportOutcome(knex: Knex, key: ReportKey): Promise<ReportOutcome | undefined> {
  const row = await knex('holdfast.reports')
    .where(columns(key))
    .first<{ outcome: ReportOutcome } | undefined>('outcome');
  return row?.outcome;
}

/**
 * Writes down what became of a report. One that was acted upon stays so, whatever comes after. A signal's report is not kept
 * before it is acted upon; what came of nothing is kept now. Work that came late and was not paid in full is an item until
 * somebody has acted upon it.
 */
export async function decideReport(
  knex: Knex,
  report: ReportKey & { body: unknown; outcome: 'applied' | 'rejected' | 'late' },
): Promise<void> {
  const { body, outcome, ...key } = report;
  if (outcome === 'applied') {
    await knex('holdfast.reports').where(columns(key)).whereNot({ outcome: 'charged' }).update({ outcome });
    return;
  }
  const decided: unknown[] = await knex('holdfast.reports')
    .insert({ ...columns(key), body: JSON.stringify(body), outcome })
    .onConflict(['account_id', 'generation_id', 'report_id'])
    .merge({ outcome, untold: false }) // nothing moved, so there is nothing to tell
    .whereNotIn('reports.outcome', ['applied', 'charged'])
    .returning('report_id');
  if (decided.length === 0) return;
  await resolveItem(knex, failingReport(key));
  if (outcome === 'late') await raiseLateWork(knex, report);
}

/** Says that the workflow knows of the report, or has no need to: there is nothing left to do. */
export async function markTold(knex: Knex, key: ReportKey): Promise<void> {
  await knex('holdfast.reports').where(columns(key)).update({ untold: false });
  await resolveItem(knex, failingReport(key));
}

/** The item of a report that cannot be acted upon, or told of. */
export function failingReport({ account, generation, reportId }: ReportKey): ItemKey {
  return { account, kind: 'report_failing', subject: `${generation} ${reportId}` };
}

export async function listReports(
  knex: Knex,
  { account, generation, limit }: { account: string; generation: string; limit: number },
): Promise<{ outcome: ReportOutcome; body: unknown; receivedAt: Date }[]> {
  const rows: { outcome: ReportOutcome; body: unknown; received_at: Date }[] = await knex('holdfast.reports')
    .where({ account_id: account, generation_id: generation })
    .orderBy('received_at')
    .limit(limit);
  return rows.map(({ outcome, body, received_at: receivedAt }) => ({ outcome, body, receivedAt }));
}

/** What came in before the generation's deadline and was not acted upon, oldest first. */
export async function pendingReports(
  knex: Knex,
  { account, generation, limit }: { account: string; generation: string; limit: number },
): Promise<ProviderReport[]> {
  const rows: { body: ProviderReport }[] = await knex('holdfast.reports as r')
    .join('ledger.generations as g', (join) =>
      join.on('g.account_id', 'r.account_id').andOn('g.generation_id', 'r.generation_id'),
    )
    .where({ 'r.account_id': account, 'r.generation_id': generation, 'r.outcome': 'pending' })
    .whereRaw('r.received_at <= g.deadline_at')
    .orderBy(['r.received_at', 'r.report_id'])
    .limit(limit)
    .select('r.body');
  return rows.map(({ body }) => body);
}

/** A report that should have been acted upon by now, as a sweep finds it. */
export interface UnseenReport extends ReportKey {
  report: ProviderReport;
  outcome: ReportOutcome;
  receivedAt: string;
}

/** Where a page of them ended. The instant is the database's own text, to the microsecond. */
export type ReportPlace = Omit<UnseenReport, 'report' | 'outcome'>;

/** Reports that are pending, or that their workflow was not told of, for longer than `graceMs`; oldest first. */
export async function unseenReports(
  knex: Knex,
  { graceMs, after, limit }: { graceMs: number; after: ReportPlace | null; limit: number },
): Promise<UnseenReport[]> {
  const query = knex('holdfast.reports')
    .whereRaw("(untold OR outcome = 'pending')") // the index's own words
    .whereRaw('received_at < statement_timestamp() - make_interval(secs => ?)', [graceMs / 1000])
    .orderBy(['received_at', 'account_id', 'generation_id', 'report_id'])
    .limit(limit);
  if (after !== null) {
    void query.whereRaw('(received_at, account_id, generation_id, report_id) > (?::timestamptz, ?, ?, ?)', [
      after.receivedAt,
      after.account,
      after.generation,
      after.reportId,
    ]);
  }
  return query.select({
    account: 'account_id',
    generation: 'generation_id',
    reportId: 'report_id',
    report: 'body',
    outcome: 'outcome',
    receivedAt: knex.raw('received_at::text'),
  });
}

const LATE_REPORT = 'late_report';

/** Nothing is left to charge where the work was paid in full: then a late report is only kept. */
async function raiseLateWork(
  knex: Knex,
  { account, generation, reportId, body }: ReportKey & { body: unknown },
) {
  if (Reflect.get(Object(body), 'kind') !== 'complete') return;
  const row = await knex('ledger.holds')
    .where({ account_id: account, generation_id: generation })
    .first<{ left: number } | undefined>(knex.raw('amount - captured + refunded AS left'));
  if (row === undefined || row.left <= 0) return;
  await raiseItem(knex, {
    account,
    kind: LATE_REPORT,
    subject: `${generation} ${reportId}`,
    detail: { generation, report: reportId, credits: toCredits(milli(row.left)) },
  });
}

/** What late reports of a generation said is paid for, or not: nobody need look at them any more. */
export async function resolveLateWork(knex: Knex, key: Omit<ReportKey, 'reportId'>): Promise<void> {
  const { account, generation } = key;
  const rows: { report_id: string }[] = await knex('holdfast.reports')
    .where({ account_id: account, generation_id: generation })
    .whereIn('outcome', ['late', 'charged'])
    .select('report_id');
  for (const { report_id: reportId } of rows)
    await resolveItem(knex, { account, kind: LATE_REPORT, subject: `${generation} ${reportId}` });
}

/** Says that a late report was charged for, and how. */
export async function markCharged(
  knex: Knex,
  { charge, ...key }: ReportKey & { charge: LateCharge },
): Promise<void> {
  await knex('holdfast.reports')
    .where(columns(key))
    .whereIn('outcome', ['late', 'charged'])
    .update({ outcome: 'charged', charge: JSON.stringify(charge) });
}

function columns({ account, generation, reportId }: ReportKey) {
  return { account_id: account, generation_id: generation, report_id: reportId };
}
