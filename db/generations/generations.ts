import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { ask } from '../connection/prepared';
import { type GenerationFacts, type LateReport, UNDECIDED } from '../../domain/generations/generation';
import { defined } from '../../domain/defined';
import { accountOf } from '../../domain/ids';
import { inMs, MS } from '../books/listOrder';

/** Reads of generations, newest first, and the little about them that is not the ledger's to write. */

export interface GenerationFilter {
  account?: string | undefined;
  status?: string | undefined;
  action?: string | undefined;
  model?: string | undefined;
  member?: string | undefined;
  project?: string | undefined;
  provider?: string | undefined;
  key?: string | undefined;
  late?: boolean | undefined;
  from?: string | undefined;
  to?: string | undefined;
  /** Only older than this one. */
  before?: { createdAt: string; id: string } | undefined;
  limit: number;
}

/** A generation as one statement answers it: what it is known by, but for times as pg gives them, and what its hold's history holds. */
interface GenerationRow
  extends Omit<
    GenerationFacts,
    'createdAt' | 'finishedAt' | 'deadlineAt' | 'lateReports' | 'refunds' | 'phases'
  > {
  createdAt: Date;
  finishedAt: Date | null;
  deadlineAt: Date | null;
  lateReports: LateReport[] | null;
  holdId: string | null;
  /** Whether refunds or phases are to be looked up. */
  hasHistory: boolean;
}

interface HistoryRow {
  account: string;
  holdId: string;
  refunds: GenerationFacts['refunds'] | null;
  phases: GenerationFacts['phases'] | null;
}

type Queryable = Pick<Pool, 'query'>;

/** Each column under its name in `GenerationFacts`. Refunds bring back what was captured; releases, what never was. */
const FACTS = `g.generation_id AS id, g.account_id AS account, g.member, g.project, g.feature, g.parent, g.action, g.model, g.params,
  g.status, g.ordered, g.quoted, coalesce(h.held, 0) AS held, coalesce(h.captured - h.refunded, 0) AS captured,
  coalesce(h.released - h.forfeited + h.refunded, 0) AS refunded, coalesce(h.forfeited, 0) AS forfeited, g.draws, g.outputs, g.error,
  g.provider, g.provider_cost AS "providerCost", g.progress, g.deadline_at AS "deadlineAt", g.metadata, g.workflow_id AS "workflowId",
  g.temporal_url AS "temporalUrl", g.catalog_version AS "catalogVersion", g.created_at AS "createdAt", g.finished_at AS "finishedAt",
  g.hold_id AS "holdId", coalesce(h.refunded > 0 OR cardinality(h.phases) > 0, false) AS "hasHistory",
  (SELECT json_agg(json_build_object('reportId', r.report_id, 'receivedAt', r.received_at, 'body', r.body, 'charge', r.charge) ORDER BY r.received_at)
     FROM holdfast.reports r
    WHERE r.account_id = g.account_id AND r.generation_id = g.generation_id AND r.outcome IN ('late', 'charged')) AS "lateReports"`;

/**
 * Refunds and captured phases of some holds, from the journal. Most generations have neither: asking for them all the same would
 * plan, and look into, every month of the journal for each generation that is read.
 */
const historySql = (accounts: string, holds: string) => `
  SELECT q.account_id AS account, q.hold_id AS "holdId",
    (SELECT json_agg(json_build_object('at', f.at, 'milli', f.milli, 'reason', f.reason) ORDER BY f.seq)
       FROM (SELECT j.seq, j.at, (j.detail ->> 'amount')::bigint AS milli, j.reason
               FROM ledger.journal j WHERE j.account_id = q.account_id AND j.hold_id = q.hold_id AND j.kind = 'refund'
              UNION ALL
             SELECT 0, r.at, r.milli, r.reason FROM ledger.opening_holds b
              CROSS JOIN LATERAL jsonb_to_recordset(b.refunds) r (at timestamptz, milli bigint, reason text)
              WHERE b.account_id = q.account_id AND b.hold_id = q.hold_id) f) AS refunds,
    (SELECT json_agg(json_build_object('phase', f.phase, 'milli', f.milli) ORDER BY f.seq, f.n)
       FROM (SELECT j.seq, 0 AS n, j.detail ->> 'phase' AS phase,
                    (SELECT coalesce(sum(m.milli), 0) FROM unnest(j.moves) m WHERE m.target = 'spent')::bigint AS milli
               FROM ledger.journal j
              WHERE j.account_id = q.account_id AND j.hold_id = q.hold_id AND j.kind = 'capture' AND j.detail ->> 'phase' IS NOT NULL
              UNION ALL
             SELECT 0, p.n, p.phase, p.milli FROM ledger.opening_holds b
              CROSS JOIN LATERAL unnest(b.phases, b.phases_milli) WITH ORDINALITY p (phase, milli, n)
              WHERE b.account_id = q.account_id AND b.hold_id = q.hold_id) f) AS phases
    FROM unnest(${accounts}::text[], ${holds}::text[]) q (account_id, hold_id)`;

const FIND = {
  name: 'find_generation',
  text: `SELECT ${FACTS}
           FROM ledger.generations g LEFT JOIN ledger.holds h ON h.account_id = g.account_id AND h.hold_id = g.hold_id
          WHERE g.account_id = $1 AND g.generation_id = $2`,
};
const HISTORY = { name: 'generation_history', text: historySql('$1', '$2') };
/** Asked again and again for many at once: by primary key, and no more than is needed to know whether one has ended. */
const STATUSES = {
  name: 'generation_statuses',
  text: `SELECT g.generation_id AS id, g.status
           FROM unnest($1::text[], $2::text[]) q (account_id, generation_id)
           JOIN ledger.generations g ON g.account_id = q.account_id AND g.generation_id = q.generation_id`,
};

/** One generation; undefined if there is none. */
export async function findGeneration(
  pool: Queryable,
  { account, id }: { account: string; id: string },
): Promise<GenerationFacts | undefined> {
  const { rows } = await ask<GenerationRow>(pool, { ...FIND, values: [account, id] });
  const [found] = await withHistory(rows, async (accounts, holds) => {
    const history = await ask<HistoryRow>(pool, { ...HISTORY, values: [accounts, holds] });
    return history.rows;
  });
  return found;
}

/** The statuses of these generations, by id; those that there are not are missing. */
export async function generationStatuses(
  pool: Queryable,
  ids: readonly string[],
): Promise<Map<string, GenerationFacts['status']>> {
  const accounts = ids.map((id) => accountOf(id) ?? '');
  const values = [accounts, ids];
  const { rows } = await ask<{ id: string; status: GenerationFacts['status'] }>(pool, {
    ...STATUSES,
    values,
  });
  return new Map(rows.map(({ id, status }) => [id, status]));
}

export async function listGenerations(knex: Knex, filter: GenerationFilter): Promise<GenerationFacts[]> {
  const created = inMs('g.created_at');
  const query = generations(knex).orderByRaw(`${created} DESC, g.generation_id DESC`);
  const equal = {
    'g.account_id': filter.account,
    'g.status': filter.status,
    'g.action': filter.action,
    'g.model': filter.model,
    'g.member': filter.member,
    'g.project': filter.project,
    'g.key': filter.key === undefined ? undefined : `req:${filter.key}`,
  };
  for (const [column, value] of Object.entries(equal))
    if (value !== undefined) void query.where(column, value);
  if (filter.provider !== undefined) void query.whereRaw("g.provider ->> 'type' = ?", [filter.provider]);
  // What runs has an open hold, and of open holds there are few: found by their index, though `status` is in none.
  if (filter.status === 'running') void query.whereRaw('h.open AND h.generation_id = g.generation_id');
  if (filter.from !== undefined) void query.whereRaw(`${created} >= ${MS}`, [filter.from]);
  if (filter.to !== undefined) void query.whereRaw(`${created} < ${MS}`, [filter.to]);
  if (filter.late !== undefined) {
    const lateReport = (reports: Knex.QueryBuilder) => {
      void reports
        .from('holdfast.reports as r')
        .whereRaw(
          "r.account_id = g.account_id AND r.generation_id = g.generation_id AND r.outcome IN ('late', 'charged')",
        );
    };
    void (filter.late ? query.whereExists(lateReport) : query.whereNotExists(lateReport));
  }
  if (filter.before !== undefined) {
    void query.whereRaw(`(${created}, g.generation_id) < (${MS}, ?)`, [
      filter.before.createdAt,
      filter.before.id,
    ]);
  }
  const rows: GenerationRow[] = await query.limit(filter.limit);
  return withHistory(rows, async (accounts, holds) => {
    const { rows: history } = await knex.raw<{ rows: HistoryRow[] }>(historySql('?', '?'), [accounts, holds]);
    return history;
  });
}

/**
 * How what was reserved under a key stands. `undone`: it could not be decided in time, and was given back before anything began.
 * `untouched`: it is held, and there was no sign of life since. `decided`: anything else.
 */
export async function reservationState(
  knex: Knex,
  { account, id }: { account: string; id: string },
): Promise<'undone' | 'untouched' | 'decided'> {
  const row = await knex('ledger.generations as g')
    .leftJoin('ledger.holds as h', (join) =>
      join.on('h.account_id', 'g.account_id').andOn('h.hold_id', 'g.hold_id'),
    )
    .where({ 'g.account_id': account, 'g.generation_id': id })
    .first<{ undone: boolean | null; untouched: boolean } | undefined>(
      knex.raw("g.status = 'failed' AND g.error ->> 'code' = ? AS undone", [UNDECIDED]),
      knex.raw('coalesce(h.open AND h.epoch = 0, false) AS untouched'),
    );
  return row?.undone === true ? 'undone' : row?.untouched === true ? 'untouched' : 'decided';
}

/**
 * Moves a running generation's progress, and its deadline to so long from now by the database's clock, which judges it. False
 * if it is not running or its deadline has passed.
 */
export async function heartbeat(
  knex: Knex,
  beat: { account: string; id: string; progress?: number | undefined; extendSeconds?: number | undefined },
): Promise<boolean> {
  const { account, id, progress, extendSeconds } = beat;
  const moved = await knex('ledger.generations')
    .where({ account_id: account, generation_id: id, status: 'running' })
    .whereRaw('(deadline_at IS NULL OR deadline_at > statement_timestamp())')
    .update({
      // Unchanged columns keep their value; knex leaves undefined ones out.
      progress: progress ?? knex.ref('progress'),
      deadline_at:
        extendSeconds === undefined
          ? knex.ref('deadline_at')
          : knex.raw('statement_timestamp() + make_interval(secs => ?)', [extendSeconds]),
    });
  return moved === 1;
}

/** Milliseconds until the deadline by the database's clock; null if it has none or is not running. */
export async function untilDeadlineMs(
  knex: Knex,
  { account, id }: { account: string; id: string },
): Promise<number | null> {
  const row = await knex('ledger.generations')
    .where({ account_id: account, generation_id: id, status: 'running' })
    .first<{ left: number | null } | undefined>(
      knex.raw('(extract(epoch FROM deadline_at - clock_timestamp()) * 1000)::float8 AS left'),
    );
  return row?.left ?? null;
}

function generations(knex: Knex) {
  return knex
    .from('ledger.generations as g')
    .leftJoin('ledger.holds as h', (join) =>
      join.on('h.account_id', 'g.account_id').andOn('h.hold_id', 'g.hold_id'),
    )
    .select(knex.raw(FACTS));
}

async function withHistory(
  rows: readonly GenerationRow[],
  lookUp: (accounts: string[], holds: string[]) => Promise<HistoryRow[]>,
): Promise<GenerationFacts[]> {
  const asked = rows.filter(({ hasHistory }) => hasHistory);
  const history =
    asked.length === 0
      ? []
      : await lookUp(
          asked.map(({ account }) => account),
          asked.map(({ holdId }) => holdId ?? ''),
        );
  const byHold = new Map(history.map((row) => [`${row.account} ${row.holdId}`, row]));
  return rows.map((row) => facts(row, byHold.get(`${row.account} ${row.holdId}`)));
}

function facts(row: GenerationRow, history: HistoryRow | undefined): GenerationFacts {
  const { holdId: _holdId, hasHistory: _hasHistory, ...known } = row;
  return {
    ...known,
    createdAt: row.createdAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
    deadlineAt: row.deadlineAt?.toISOString() ?? null,
    lateReports: row.lateReports ?? [],
    refunds: history?.refunds ?? [],
    ...defined({ phases: history?.phases ?? undefined }),
  };
}
