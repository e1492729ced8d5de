import type { TestDatabase } from '../database';

/** Meanwhile the application may write everything but the ledger: no operation is carried out. */
export async function whileReadOnly<T>(database: TestDatabase, work: () => Promise<T>): Promise<T> {
  const { pool } = database.owner;
  await pool.query('REVOKE EXECUTE ON FUNCTION ledger.apply(jsonb, boolean) FROM holdfast_app');
  try {
    return await work();
  } finally {
    await pool.query('GRANT EXECUTE ON FUNCTION ledger.apply(jsonb, boolean) TO holdfast_app');
  }
}
