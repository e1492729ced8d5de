import type { Knex } from 'knex';
import { prepared } from '../connection/prepared';

/** A submission to a provider, claimed before it is made, so that no run pays for it twice (rule 5). */
export interface ProviderJob {
  state: Record<string, unknown>;
  claimedAt: Date;
  /** Whether this call claimed it; false: an earlier attempt or run did, and this one resumes. */
  fresh: boolean;
}

interface JobKey {
  account: string;
  holdId: string;
  phase: string;
}

export async function claimJob(knex: Knex, key: JobKey & { provider: string }): Promise<ProviderJob> {
  const inserted = await prepared('claim_job', (name) =>
    knex('holdfast.provider_jobs')
      .insert({ ...columns(key), provider: key.provider })
      .onConflict(['account_id', 'hold_id', 'phase'])
      .ignore()
      .returning<StoredJob[]>(['state', 'claimed_at'])
      .options({ name }),
  );
  const [own] = inserted;
  if (own !== undefined) return { state: own.state, claimedAt: own.claimed_at, fresh: true };
  const found = await findJob(knex, key);
  if (found === undefined) throw new Error(`provider job of ${key.holdId} was neither claimed nor found`);
  return found;
}

export async function findJob(knex: Knex, key: JobKey): Promise<ProviderJob | undefined> {
  const row = await prepared('find_job', (name) =>
    knex('holdfast.provider_jobs')
      .where(columns(key))
      .first<StoredJob | undefined>('state', 'claimed_at')
      .options({ name }),
  );
  return row === undefined ? undefined : { state: row.state, claimedAt: row.claimed_at, fresh: false };
}

/** Merges into what is known of the job. */
export async function noteOnJob(knex: Knex, key: JobKey, note: Record<string, unknown>): Promise<void> {
  await knex('holdfast.provider_jobs')
    .where(columns(key))
    .update({ state: knex.raw('state || ?::jsonb', [JSON.stringify(note)]) });
}

interface StoredJob {
  state: Record<string, unknown>;
  claimed_at: Date;
}

function columns({ account, holdId, phase }: JobKey) {
  return { account_id: account, hold_id: holdId, phase };
}
