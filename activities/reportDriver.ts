import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { Knex } from 'knex';
import { actOnReport, findTerms } from '../db/generations/endings';
import type { Ledger } from '../db/ledger/ledger';
import { raiseItem } from '../db/support/items';
import {
  decideReport,
  failingReport,
  markTold,
  type UnseenReport,
  unseenReports,
} from '../db/generations/pipelineReports';
import { reportProblem } from '../domain/generations/reports';
import { SIGNALS } from '../domain/contract';
import type { HoldOwners } from './temporal/holdOwners';
import type { SweepActivities } from './types';

/** The second driver of reports: it acts on what nobody acted upon, and tells workflows what they were not told (rule 31). */

export interface ReportDriverDeps {
  ledger: Ledger;
  knex: Knex;
  client: Client;
  owners: HoldOwners;
  /** How long whoever took a report has time before it is acted upon here. */
  graceMs: number;
  /** Rows of a page. */
  limit: number;
}

/** One workflow that does not answer holds up no other. */
const TOLD_WITHIN_MS = 3_000;

type Done = 'acted' | 'told' | 'failed';

const WAY_OUT =
  'Nothing is lost: the report is kept and tried again by every sweep. See `error`; if it cannot be mended, give the credits back ' +
  'or charge for the work by hand.';

export function createReportDriver(deps: ReportDriverDeps): Pick<SweepActivities, 'driveReports'> {
  const { ledger, knex, client, owners, graceMs, limit } = deps;

  async function drive(row: UnseenReport): Promise<Done> {
    const { generation, report, outcome } = row;
    try {
      const moved = outcome === 'pending' ? await act(row) : true;
      if (moved) await tell(generation, report);
      await markTold(knex, row);
      return outcome === 'pending' ? 'acted' : 'told';
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await raiseItem(knex, { ...failingReport(row), detail: { outcome, error: message, wayOut: WAY_OUT } });
      return 'failed';
    }
  }

  /** Nobody waits to be told that it is too much: what remains is taken (rule 15). False: it moved nothing. */
  async function act({ account, generation, reportId, report }: UnseenReport): Promise<boolean> {
    const terms = await findTerms(knex, { account, generation });
    if (terms === undefined || reportProblem(report) !== null) {
      await decideReport(knex, { account, generation, reportId, body: report, outcome: 'rejected' });
      return false;
    }
    return (await actOnReport({ ledger, knex }, terms, { report, heard: false })) === 'applied';
  }

  /** A workflow that has ended, or whose namespace is gone, need not know. */
  async function tell(generation: string, report: UnseenReport['report']): Promise<void> {
    await client.connection.withDeadline(Date.now() + TOLD_WITHIN_MS, async () => {
      const owner = await owners.clientOf(generation);
      if (owner.kind === 'not_found') return;
      if (owner.kind !== 'found') throw new Error('Temporal cannot be asked for the namespace of the hold');
      try {
        await owner.client.workflow.getHandle(generation).signal(SIGNALS.providerReport, report);
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
      }
    });
  }

  return {
    async driveReports({ after }) {
      const found = await unseenReports(knex, { graceMs, after, limit });
      const counts = { acted: 0, told: 0, failed: 0 };
      for (const row of found) counts[await drive(row)] += 1;
      const last = found.length < limit ? undefined : found.at(-1);
      const next = last && {
        account: last.account,
        generation: last.generation,
        reportId: last.reportId,
        receivedAt: last.receivedAt,
      };
      return { ...counts, next: next ?? null };
    },
  };
}
