import type { Knex } from 'knex';
import type { Instant } from '../../domain/account';
import { type MilliCredits, milli } from '../../domain/credits';
import { accountOf, holdIdOf } from '../../domain/ids';
import { inMs, MS } from '../books/listOrder';
import { prepared } from '../connection/prepared';
import type { Draw, HeldWork } from '../ledger/operations';

/** Holds that are still open, oldest first: what operations look through when something is stuck. */
export interface OpenHold {
  id: string;
  account: string;
  generation: string | null;
  amount: MilliCredits;
  held: MilliCredits;
  captured: MilliCredits;
  workflowId: string | null;
  namespaceId: string | null;
  openedAt: Date;
  overdueAt: Date;
  /** When a lease, which no workflow owns, ends. */
  expiresAt: Date | null;
}

interface Row {
  hold_id: string;
  account_id: string;
  generation_id: string | null;
  amount: number;
  held: number;
  captured: number;
  workflow_id: string | null;
  namespace_id: string | null;
  opened_at: Date;
  overdue_at: Date;
  expires_at: Date | null;
}

/** Whether a hold is open now; undefined: there is none. */
export async function holdNow(
  knex: Knex,
  { account, holdId }: { account: string; holdId: string },
): Promise<{ open: boolean; epoch: number } | undefined> {
  return prepared('hold_now', (name) =>
    knex('ledger.holds')
      .where({ account_id: account, hold_id: holdId })
      .first<{ open: boolean; epoch: number } | undefined>('open', 'epoch')
      .options({ name }),
  );
}

/** Whether its credits were taken so recently, in real time, also where the account is on a test clock. */
export async function wasCutWithin(
  knex: Knex,
  { account, holdId, seconds }: { account: string; holdId: string; seconds: number },
): Promise<boolean> {
  const row = await knex('ledger.journal')
    .where({ account_id: account, hold_id: holdId, kind: 'reserve' })
    .whereRaw('recorded_at > clock_timestamp() - make_interval(secs => ?)', [seconds])
    .first<{ seq: number } | undefined>('seq');
  return row !== undefined;
}

/** The Temporal namespace, by its id, of the workflow that owns a generation's hold; null: it has none. */
export async function namespaceOfHold(knex: Knex, generation: string): Promise<string | null> {
  const owner = await knex('ledger.holds')
    .where({ account_id: accountOf(generation), hold_id: holdIdOf(generation) })
    .first<{ namespace_id: string | null } | undefined>('namespace_id');
  return owner?.namespace_id ?? null;
}

export async function listOpenHolds(
  knex: Knex,
  filter: {
    /** By the account's clock. */
    olderThanSeconds?: number | undefined;
    /** Without leases, which no workflow owns. */
    owned?: boolean;
    after?: { openedAt: string; id: string } | undefined;
    limit: number;
  },
): Promise<OpenHold[]> {
  const { olderThanSeconds, owned = false, after, limit } = filter;
  const opened = inMs('h.opened_at');
  const query = knex('ledger.holds as h')
    .join('ledger.accounts as a', 'a.account_id', 'h.account_id')
    .where({ open: true })
    // A lease has ended at its end, also before anybody has written it down.
    .whereRaw('(expires_at IS NULL OR expires_at > coalesce(a.clock_at, clock_timestamp()))')
    .select('h.*')
    .orderByRaw(`${opened}, hold_id`)
    .limit(limit);
  if (olderThanSeconds !== undefined) {
    void query.whereRaw('opened_at <= coalesce(a.clock_at, clock_timestamp()) - make_interval(secs => ?)', [
      olderThanSeconds,
    ]);
  }
  if (owned) void query.whereNull('expires_at');
  if (after !== undefined) {
    void query.whereRaw(`(${opened}, hold_id) > (${MS}, ?)`, [after.openedAt, after.id]);
  }
  const rows: Row[] = await query;
  return rows.map((row) => ({
    id: row.hold_id,
    account: row.account_id,
    generation: row.generation_id,
    amount: milli(row.amount),
    held: milli(row.held),
    captured: milli(row.captured),
    workflowId: row.workflow_id,
    namespaceId: row.namespace_id,
    openedAt: row.opened_at,
    overdueAt: row.overdue_at,
    expiresAt: row.expires_at,
  }));
}

/** One hold without a workflow, as the row has it; undefined: there is none. */
export interface StoredHold {
  id: string;
  generation: string | null;
  work: (HeldWork & { draws: Draw[] }) | null;
  held: MilliCredits;
  captured: MilliCredits;
  released: MilliCredits;
  forfeited: MilliCredits;
  refunded: MilliCredits;
  expiresAt: Instant | null;
}

export async function findHold(
  knex: Knex,
  { account, id }: { account: string; id: string },
): Promise<StoredHold | undefined> {
  const row = await knex('ledger.holds').where({ account_id: account, hold_id: id }).first<
    | {
        hold_id: string;
        generation_id: string | null;
        work: StoredHold['work'];
        held: number;
        captured: number;
        released: number;
        forfeited: number;
        refunded: number;
        expires_at: Date | null;
      }
    | undefined
  >();
  if (row === undefined) return undefined;
  return {
    id: row.hold_id,
    generation: row.generation_id,
    work: row.work,
    held: milli(row.held),
    captured: milli(row.captured),
    released: milli(row.released),
    forfeited: milli(row.forfeited),
    refunded: milli(row.refunded),
    expiresAt: row.expires_at?.toISOString() ?? null,
  };
}
