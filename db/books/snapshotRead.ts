import type { Knex } from 'knex';

/**
 * Keeps a month from being archived under a reader: its snapshot would have neither the rows, which are gone for everyone at
 * once, nor the opening. It must be the first statement, because the next one takes the snapshot. Nobody else waits for it.
 */
export const KEEP_MONTHS = 'LOCK TABLE ONLY ledger.journal IN ACCESS SHARE MODE';

/** What was asked for lies before an account's first row that is not archived. */
class HistoryArchived extends Error {
  override readonly name = 'HistoryArchived';
  /** The instant of the account's last archived row: any later one can be asked for. */
  readonly until: Date;

  constructor(until: Date, options: ErrorOptions) {
    super(`History until ${until.toISOString()} is archived.`, options);
    this.until = until;
  }
}

/** Raised by ledger.seq_before, with the instant as its detail. */
const ARCHIVED = 'HF001';

/** What Postgres says of an error. */
function failure(error: unknown): { code?: unknown; detail?: unknown } {
  return error !== null && typeof error === 'object' ? error : {};
}

/** Several queries on one snapshot of the database: what is written between them is seen by none. */
export async function reading<T>(knex: Knex, queries: (snapshot: Knex) => Promise<T>): Promise<T> {
  return keepingMonths(knex, { isolationLevel: 'repeatable read', readOnly: true }, queries);
}

/** A transaction in which no month is archived; it throws HistoryArchived where one was that it asks for. */
export async function keepingMonths<T>(
  knex: Knex,
  config: Knex.TransactionConfig,
  queries: (transaction: Knex) => Promise<T>,
): Promise<T> {
  const work = async (transaction: Knex) => {
    await transaction.raw(KEEP_MONTHS);
    return queries(transaction);
  };
  try {
    return await knex.transaction(work, config);
  } catch (error) {
    const { code, detail } = failure(error);
    if (code === ARCHIVED) throw new HistoryArchived(new Date(String(detail)), { cause: error });
    throw error;
  }
}
