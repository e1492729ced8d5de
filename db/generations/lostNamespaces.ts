import type { Knex } from 'knex';
import { releaseOperation } from './endings';
import type { Ledger } from '../ledger/ledger';
import { type OwnedHold, ownedHolds } from '../support/overdue';

/** Temporal namespaces that a person has declared lost, by id, and what becomes of the holds that stand on them (rule 17). */

export interface LostNamespace {
  namespaceId: string;
  reason: string;
  declaredBy: string;
  declaredAt: Date;
  /** Open holds that stand on it, at most MOST_COUNTED. */
  openHolds: number;
}

const TABLE = 'holdfast.lost_namespaces';
/** Enough to know how bad it is. */
const MOST_COUNTED = 100_000;
/** A declaration is a decision about an incident; there are never many. */
const MOST_LISTED = 100;
/** Younger holds may be of a run that has only begun. */
const LOST_FROM_MS = 3_600_000;
/** For one call: some seconds of work. */
const LOOKED_AT_ONCE = 250;
const MOST_PAGES = 8;

const COLUMNS = `namespace_id AS "namespaceId", reason, declared_by AS "declaredBy", declared_at AS "declaredAt",
  (SELECT count(*)::int FROM (SELECT FROM ledger.holds h WHERE h.open AND h.namespace_id = l.namespace_id LIMIT ${MOST_COUNTED}) o)
    AS "openHolds"`;

/** Declares it lost. What was declared before stays as it was said then. */
export async function declareLost(
  knex: Knex,
  lost: Pick<LostNamespace, 'namespaceId' | 'reason' | 'declaredBy'>,
): Promise<LostNamespace> {
  const { namespaceId, reason, declaredBy } = lost;
  await knex(TABLE)
    .insert({ namespace_id: namespaceId, reason, declared_by: declaredBy })
    .onConflict('namespace_id')
    .ignore();
  const found = await findLost(knex, namespaceId);
  if (found === undefined) throw new Error(`the declaration of ${namespaceId} was withdrawn meanwhile`);
  return found;
}

export async function findLost(knex: Knex, namespaceId: string): Promise<LostNamespace | undefined> {
  return knex(`${TABLE} as l`)
    .where('namespace_id', namespaceId)
    .first<LostNamespace | undefined>(knex.raw(COLUMNS));
}

/** Newest first, at most MOST_LISTED. */
export async function listLost(knex: Knex): Promise<LostNamespace[]> {
  return knex(`${TABLE} as l`).orderBy('declared_at', 'desc').limit(MOST_LISTED).select(knex.raw(COLUMNS));
}

/** Which of these are declared lost. */
export async function lostAmong(knex: Knex, namespaceIds: readonly string[]): Promise<Set<string>> {
  const rows = await knex(TABLE)
    .whereIn('namespace_id', namespaceIds)
    .select<{ id: string }[]>({ id: 'namespace_id' });
  return new Set(rows.map(({ id }) => id));
}

/** False: it was not declared lost. */
export async function withdrawLost(knex: Knex, namespaceId: string): Promise<boolean> {
  return (await knex(TABLE).where('namespace_id', namespaceId).delete()) > 0;
}

/** SQLSTATE: somebody keeps the account locked. */
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Frees holds of a namespace that are an hour old, at most this many in so long, without asking Temporal. A hold that moved since
 * it was read has a new owner, and stays. One that cannot be freed now, because its account is locked, holds up no other: it is
 * counted as `failed`.
 */
export async function freeLostHolds(
  { ledger, knex }: { ledger: Ledger; knex: Knex },
  {
    namespaceId,
    most,
    withinMs,
    actor,
  }: { namespaceId: string; most: number; withinMs: number; actor: string },
): Promise<{ freed: number; failed: number }> {
  const untilMs = performance.now() + withinMs;
  let freed = 0;
  let failed = 0;
  let after: OwnedHold | null = null;
  for (let pages = 0; pages < MOST_PAGES && freed < most; pages += 1) {
    const page: OwnedHold[] = await ownedHolds(knex, { of: namespaceId, after, limit: LOOKED_AT_ONCE });
    for (const hold of page.filter(({ ageMs }) => ageMs >= LOST_FROM_MS).slice(0, most - freed)) {
      if (performance.now() > untilMs) return { freed, failed };
      try {
        if (await freeHold(ledger, { hold, actor })) freed += 1;
      } catch (error) {
        if (Reflect.get(Object(error), 'code') !== LOCK_NOT_AVAILABLE) throw error;
        failed += 1;
      }
    }
    if (page.length < LOOKED_AT_ONCE) break;
    after = page.at(-1) ?? null;
  }
  return { freed, failed };
}

/** Gives the credits of a hold back whose workflow is gone. False if it was closed or moved since it was read. */
export async function freeHold(
  ledger: Ledger,
  { hold, actor }: { hold: Pick<OwnedHold, 'account' | 'holdId' | 'epoch' | 'workflowId'>; actor: string },
): Promise<boolean> {
  const { account, holdId, epoch, workflowId } = hold;
  const error = {
    code: 'workflow_gone',
    message: 'Its workflow ended without closing the hold; the credits were given back.',
  };
  const reply = await ledger.run(
    account,
    releaseOperation({
      holdId,
      epoch,
      cause: 'engine',
      actor,
      reason: `workflow ${workflowId} is gone`,
      generation: { status: 'failed', error },
    }),
  );
  return reply?.status === 'applied' && !reply.replayed;
}
