import type { PoolClient } from 'pg';
import type { Database } from '../../../db/connection/connection';

/** Changes rows by hand, past the triggers and foreign keys that guard them. */
export async function byHand(owner: Database, work: (client: PoolClient) => Promise<unknown>): Promise<void> {
  const client = await owner.pool.connect();
  try {
    await client.query("SET session_replication_role = 'replica'");
    await work(client);
  } finally {
    await client.query("SET session_replication_role = 'origin'");
    client.release();
  }
}
