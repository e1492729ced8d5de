import { z } from 'zod';
import type { Database } from '../../../db/connection/connection';
import { listOpenHolds, type OpenHold } from '../../../db/generations/holds';
import { readJournal } from '../../../db/books/journal';
import { findJob } from '../../../db/generations/providerJobs';
import { listReports } from '../../../db/generations/pipelineReports';
import { toCredits } from '../../../domain/credits';
import { holdIdOf } from '../../../domain/ids';
import { shownReport } from '../../../domain/generations/reports';
import { problemOf } from '../../problems/ofError';
import type { GenerationStarter } from '../../workflows/starter';
import type { GenerationWatch } from '../../workflows/watch';
import { listFields, listOf, MAX_PAGE, pageOfSome } from '../../routing/pagination';
import { accountFrom, type Route, route } from '../../routing/route';
import { carriedId, creditsOut, instantOut } from '../../routing/schemas';
import { mustFind } from '../generations/generations';
import { defined } from '../../../domain/defined';

/** What an operator looks at when a customer asks what happened. */

export interface OperationRouteDeps {
  db: Database;
  starter: GenerationStarter;
  watch: GenerationWatch;
}

const timelineEvent = z.object({
  at: instantOut,
  what: z.enum(['ledger', 'provider', 'report']),
  detail: z.record(z.string(), z.unknown()),
});

const hold = z
  .object({
    id: z.string(),
    account: z.string(),
    generation: z.string().nullable(),
    credits: z.object({ amount: creditsOut, held: creditsOut, captured: creditsOut }),
    workflowId: z.string().nullable(),
    openedAt: instantOut,
    overdueAt: instantOut.describe('From here on it has taken longer than its rate allows'),
    orphaned: z
      .boolean()
      .nullable()
      .describe(
        'Its workflow is not running: terminated, or never there. Null: Temporal cannot be asked just now',
      ),
  })
  .meta({ id: 'OpenHold' });

/** A generation has few rows: a reservation, its phases, an end, refunds. */
const MOST_ROWS = 100;

/** Holds whose workflows one request asks for. */
const MOST_LOOKED_AT = 1_000;

/** A century: beyond it no interval of the database's is far, and no hold is older. */
const MAX_AGE_SECONDS = 100 * 366 * 86_400;

export function operationRoutes(deps: OperationRouteDeps): Route[] {
  return [generationTimeline(deps), listHolds(deps)];
}

function generationTimeline({ db, watch }: OperationRouteDeps): Route {
  return route({
    method: 'GET',
    path: '/v1/generations/{id}/timeline',
    load: 'report',
    summary: 'Timeline of a generation, oldest first',
    description: 'From the ledger and the provider’s records, so it outlives the workflow.',
    tag: 'Generations',
    scope: 'read',
    account: accountFrom.idParam('id'),
    errors: ['unknown_generation'],
    params: z.strictObject({ id: carriedId }),
    responses: { 200: z.object({ data: z.array(timelineEvent), nextCursor: z.null() }) },
  }).handle(async ({ params }) => {
    const { account, id } = await mustFind(watch, params.id);
    // One after the other: a report that is at work has one connection.
    const rows = await readJournal(db.reports, { account, generation: id, limit: MOST_ROWS });
    const job = await findJob(db.reports, { account, holdId: holdIdOf(id), phase: 'work' });
    const reports = await listReports(db.reports, { account, generation: id, limit: MOST_ROWS });
    const events: z.output<typeof timelineEvent>[] = [
      ...rows.map(({ at, seq, kind, creditsMilli, availableAfter, actor, reason, phase }) => ({
        at: at.toISOString(),
        what: 'ledger' as const,
        detail: {
          seq,
          kind,
          credits: toCredits(creditsMilli),
          availableAfter: toCredits(availableAfter),
          actor,
          reason,
          ...defined({ phase }),
        },
      })),
      ...(job === undefined
        ? []
        : [
            {
              at: job.claimedAt.toISOString(),
              what: 'provider' as const,
              detail: { submitted: true, ...job.state },
            },
          ]),
      ...reports.map(({ receivedAt, outcome, body }) => ({
        at: receivedAt.toISOString(),
        what: 'report' as const,
        detail: { outcome, body: shownReport(body) },
      })),
    ];
    return {
      status: 200,
      body: { data: events.toSorted((a, b) => (a.at < b.at ? -1 : 1)), nextCursor: null },
    };
  });
}

function listHolds(deps: OperationRouteDeps): Route {
  const { db } = deps;
  return route({
    method: 'GET',
    path: '/v1/holds',
    load: 'report',
    summary: 'List open holds, oldest first, or those whose workflow is gone',
    description:
      'An age is by the account’s clock. Only Temporal knows whose workflow is gone, and it is asked hold by hold: after ' +
      `${MOST_LOOKED_AT} of them a page ends though it is not full. It then says \`cutShort\`, and \`nextCursor\` continues.`,
    tag: 'Generations',
    scope: 'admin',
    account: 'all',
    errors: [],
    query: z.strictObject({
      ...listFields(z.object({ openedAt: instantOut, id: z.string() })),
      olderThan: z
        .number()
        .int()
        .min(0)
        .max(MAX_AGE_SECONDS)
        .optional()
        .describe('Seconds, by the account’s clock'),
      orphaned: z.enum(['true', 'false']).optional(),
    }),
    responses: {
      200: listOf(hold).extend({
        cutShort: z.boolean().describe('Whether the page ended early because too many holds were looked at'),
      }),
    },
  }).handle(async ({ query: { limit, cursor, olderThan, orphaned } }) => {
    const wanted = orphaned === undefined ? null : orphaned === 'true';
    let isAway = false;
    /** Null: Temporal cannot be asked. The list of what is held is wanted then all the same. */
    const orphanIfKnown = async (row: OpenHold): Promise<boolean | null> => {
      if (isAway && row.expiresAt === null) return null;
      return orphan(deps, row).catch((error: unknown) => {
        if (wanted !== null || problemOf(error).code !== 'unavailable') throw error;
        isAway = true;
        return null;
      });
    };
    const place = ({ openedAt, id }: OpenHold) => ({ openedAt: openedAt.toISOString(), id });
    const listed = await pageOfSome({
      limit,
      place,
      most: MOST_LOOKED_AT,
      batch: wanted === null ? limit + 1 : MAX_PAGE,
      read: ({ after, limit: rows }) =>
        listOpenHolds(db.reports, {
          olderThanSeconds: olderThan,
          owned: wanted === true,
          after: after === null ? cursor : place(after),
          limit: rows,
        }),
      async look(row) {
        const isOrphaned = await orphanIfKnown(row);
        return wanted === null || wanted === isOrphaned ? { ...showHold(row), orphaned: isOrphaned } : null;
      },
    });
    return { status: 200, body: listed };
  });
}

/** A lease needs no workflow: it ends on its own. */
async function orphan(
  { starter }: OperationRouteDeps,
  { expiresAt, workflowId, namespaceId }: OpenHold,
): Promise<boolean> {
  if (expiresAt !== null) return false;
  return workflowId === null || !(await starter.isRunning(workflowId, namespaceId));
}

function showHold(row: OpenHold) {
  return {
    id: row.id,
    account: row.account,
    generation: row.generation,
    credits: { amount: toCredits(row.amount), held: toCredits(row.held), captured: toCredits(row.captured) },
    workflowId: row.workflowId,
    openedAt: row.openedAt.toISOString(),
    overdueAt: row.overdueAt.toISOString(),
  };
}
