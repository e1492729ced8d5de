import type { Knex } from 'knex';

/** What pipelines and providers said of a generation, and what became of it. */

export type ReportOutcome = 'pending' | 'applied' | 'rejected' | 'late';

export interface ReportKey {
  account: string;
  generation: string;
  reportId: string;
}

/** Keeps a report as it came in; what was kept of the same report before stays as it is. False if there was one. */
export async function keepReport(
  knex: Knex,
  report: ReportKey & { body: unknown; outcome: ReportOutcome },
): Promise<boolean> {
  const rows: unknown[] = await knex('holdfast.reports')
    .insert({ ...columns(report), body: JSON.stringify(report.body), outcome: report.outcome })
    .onConflict(['account_id', 'generation_id', 'report_id'])
    .ignore()
    .returning('report_id');
  return rows.length > 0;
}

export async function reportOutcome(knex: Knex, key: ReportKey): Promise<ReportOutcome | undefined> {
  const row = await knex('holdfast.reports')
    .where(columns(key))
    .first<{ outcome: ReportOutcome } | undefined>('outcome');
  return row?.outcome;
}

/** A report that was acted upon stays so, whatever comes after. */
export async function decideReport(
  knex: Knex,
  { outcome, ...key }: ReportKey & { outcome: Exclude<ReportOutcome, 'pending'> },
): Promise<void> {
  await knex('holdfast.reports').where(columns(key)).whereNot({ outcome: 'applied' }).update({ outcome });
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

function columns({ account, generation, reportId }: ReportKey) {
  return { account_id: account, generation_id: generation, report_id: reportId };
}
