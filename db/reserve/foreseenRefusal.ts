import type { Knex } from 'knex';
import { type Snapshot, toMs } from '../../domain/account';
import type { Catalog } from '../../domain/catalog/catalog';
import { countsOf, firstExceeded } from '../../domain/access/limits';
import type { Decision } from '../../domain/access/decide';
import { prepared } from '../connection/prepared';

/**
 * Rule 10: whether the ledger would refuse, as far as one read can tell, so that a loop of refused calls starts no workflows.
 * A wrong guess costs one call of the ledger and decides nothing: the lock has the last word.
 */
export async function foreseesRefusal(
  knex: Knex,
  options: {
    snapshot: Snapshot;
    catalog: Catalog;
    decision: Extract<Decision, { kind: 'decided-under-lock' }>;
    member: string | null;
  },
): Promise<boolean> {
  const { snapshot, catalog, decision, member } = options;
  const { priced, gate, excluded, maxOpen } = decision;
  const amount = priced.ceilingMilli;
  if (gate !== null || snapshot.available < amount) return true;
  if (!priced.free && snapshot.openHolds >= maxOpen) return true;
  const limited = countsOf({ snapshot, catalog, priced, member, amount }).filter(
    ({ limit }) => limit !== null,
  );
  // The account's total counts buckets that may not pay, and lots that have expired since it was last settled.
  const totalMisleads = amount > 0 && (excluded.length > 0 || toMs(snapshot.endsAt) <= toMs(snapshot.now));
  if (limited.length === 0 && !totalMisleads) return false;
  const { used, spendable } = await readStanding(knex, snapshot, { counts: limited, excluded });
  return firstExceeded(limited, used) !== null || spendable < amount;
}

const STANDING = `
  SELECT (SELECT coalesce(json_agg(json_build_array(c.counter, c.used)), '[]')
            FROM ledger.counters c JOIN unnest(:counters::text[], :periods::text[]) p (counter, period)
              ON p.counter = c.counter AND p.period = c.period
           WHERE c.account_id = :account) AS used,
         (SELECT coalesce(sum(l.available), 0)::bigint
            FROM ledger.lots l
           WHERE l.account_id = :account AND l.open AND l.expires_at > :now::timestamptz
             AND l.bucket <> ALL (:excluded::text[])) AS spendable`;

/** What is used of the counters, and what unexpired lots of buckets that may pay have available. */
async function readStanding(
  knex: Knex,
  { account, now }: Snapshot,
  { counts, excluded }: { counts: readonly { counter: string; period: string }[]; excluded: string[] },
): Promise<{ used: Map<string, number>; spendable: number }> {
  const asked = {
    account,
    now,
    excluded,
    counters: counts.map(({ counter }) => counter),
    periods: counts.map(({ period }) => period),
  };
  const { rows } = await prepared('standing', (name) =>
    knex.raw<{ rows: { used: [string, number][]; spendable: number }[] }>(STANDING, asked).options({ name }),
  );
  const [row] = rows;
  if (row === undefined) throw new Error('a row without a table always comes back');
  return { used: new Map(row.used), spendable: row.spendable };
}
