import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { ask } from '../connection/prepared';
import { type GenerationFacts, type LateReport, UNDECIDED } from '../../domain/generations/generation';
import { milli } from '../../domain/credits';
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

interface GenerationRow {
  account_id: string;
  generation_id: string;
  status: GenerationFacts['status'];
  action: string;
  model: string | null;
  params: Record<string, unknown>;
  ordered: number;
  member: string | null;
  project: string | null;
  feature: string | null;
  parent: string | null;
  metadata: Record<string, unknown> | null;
  provider: Record<string, unknown>;
  quoted: number;
  draws: { bucket: string; milli: number }[];
  outputs: GenerationFacts['outputs'];
  error: { code: string; message: string } | null;
  provider_cost: { amount: number; currency: string } | null;
  progress: number | null;
  deadline_at: Date | null;
  catalog_version: number;
  workflow_id: string | null;
  temporal_url: string | null;
  created_at: Date;
  finished_at: Date | null;
  held: number | null;
  captured: number | null;
  released: number | null;
  forfeited: number | null;
  refunded: number | null;
  hold_id: string | null;
  phased: boolean | null;
  late_reports: LateReport[] | null;
}

interface HistoryRow {
  account_id: string;
  hold_id: string;
  refunds: { at: string; milli: number; reason: string | null }[] | null;
  phases: { phase: string; milli: number | null }[] | null;
}

type Queryable = Pick<Pool, 'query'>;

const COLUMNS = `g.account_id, g.generation_id, g.status, g.action, g.model, g.params, g.ordered, g.member, g.project,
  g.feature, g.parent, g.metadata, g.provider, g.quoted, g.draws, g.outputs, g.error, g.provider_cost, g.progress,
  g.deadline_at, g.catalog_version, g.workflow_id, g.temporal_url, g.created_at, g.finished_at, g.hold_id,
  h.held, h.captured, h.released, h.forfeited, h.refunded, cardinality(h.phases) > 0 AS phased,
  (SELECT json_agg(json_build_object('reportId', r.report_id, 'receivedAt', r.received_at, 'body', r.body, 'charge', r.charge) ORDER BY r.received_at)
     FROM holdfast.reports r WHERE r.account_id = g.account_id AND r.generation_id = g.generation_id AND r.outcome IN ('late', 'charged')) AS late_reports`;

/**
 * Refunds and captured phases of some holds, from the journal. Most generations have neither: asking for them all the same would
 * plan, and look into, every month of the journal for each generation that is read.
 */
const historySql = (accounts: string, holds: string) => `
  SELECT q.account_id, q.hold_id,
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
  text: `SELECT ${COLUMNS}
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
    .whereRaw('(deadline_at IS NULL OR deadline_at > clock_timestamp())')
    .update({
      // Unchanged columns keep their value; knex leaves undefined ones out.
      progress: progress ?? knex.ref('progress'),
      deadline_at:
        extendSeconds === undefined
          ? knex.ref('deadline_at')
          : knex.raw('clock_timestamp() + make_interval(secs => ?)', [extendSeconds]),
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
    .select(knex.raw(COLUMNS));
}

async function withHistory(
  rows: readonly GenerationRow[],
  ask: (accounts: string[], holds: string[]) => Promise<HistoryRow[]>,
): Promise<GenerationFacts[]> {
  const told = rows.flatMap(({ account_id: account, hold_id: hold, refunded, phased }) =>
    hold !== null && (phased === true || (refunded ?? 0) > 0) ? [{ account, hold }] : [],
  );
  const history =
    told.length === 0
      ? []
      : await ask(
          told.map(({ account }) => account),
          told.map(({ hold }) => hold),
        );
  const byHold = new Map(history.map((row) => [`${row.account_id} ${row.hold_id}`, row]));
  return rows.map((row) => facts(row, byHold.get(`${row.account_id} ${row.hold_id}`)));
}

function facts(row: GenerationRow, history: HistoryRow | undefined): GenerationFacts {
  const { refunds = null, phases = null } = history ?? {};
  return {
    id: row.generation_id,
    account: row.account_id,
    member: row.member,
    project: row.project,
    feature: row.feature,
    parent: row.parent,
    action: row.action,
    model: row.model,
    params: row.params,
    status: row.status,
    ordered: row.ordered,
    quoted: milli(row.quoted),
    held: milli(row.held ?? 0),
    captured: milli((row.captured ?? 0) - (row.refunded ?? 0)),
    refunded: milli((row.released ?? 0) - (row.forfeited ?? 0) + (row.refunded ?? 0)),
    forfeited: milli(row.forfeited ?? 0),
    draws: row.draws.map(({ bucket, milli: amount }) => ({ bucket, milli: milli(amount) })),
    refunds: (refunds ?? []).map(({ milli: amount, ...refund }) => ({ ...refund, milli: milli(amount) })),
    ...(phases === null
      ? {}
      : {
          phases: phases.map(({ phase, milli: taken }) => ({
            phase,
            milli: taken === null ? null : milli(taken),
          })),
        }),
    outputs: row.outputs,
    error: row.error,
    provider: row.provider,
    providerCost: row.provider_cost,
    progress: row.progress,
    deadlineAt: row.deadline_at?.toISOString() ?? null,
    lateReports: row.late_reports ?? [],
    metadata: row.metadata,
    workflowId: row.workflow_id,
    temporalUrl: row.temporal_url,
    catalogVersion: row.catalog_version,
    createdAt: row.created_at.toISOString(),
    finishedAt: row.finished_at?.toISOString() ?? null,
  };
}
