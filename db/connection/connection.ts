import createKnex, { type Knex } from 'knex';
import { type ClientBase, Pool, types } from 'pg';

/**
 * The ways to the database, one for each class of use: none can take the connections of another (rule 36). Raw pools are for
 * what is asked so often that knex would cost.
 */
export interface Database {
  /** The ledger's functions, and nothing else. */
  pool: Pool;
  /** What everything waits for, by primary key and prepared: API keys, catalogs, who has ended, how the process is. */
  points: Pool;
  /** What a request reads and writes beside the ledger, in transactions or not. */
  knex: Knex;
  /** What grows with what there is: lists, statements, usage, searches. */
  reports: Knex;
  /** How many connections there are for them. */
  reportsAtOnce: number;
  /** One connection, for the one audit that may be at work. */
  audits: Pool;
  /** What the connections of each pool do at this moment. */
  uses(): PoolUse[];
  close(): Promise<void>;
}

export interface PoolUse {
  pool: 'ledger' | 'points' | 'requests' | 'reports' | 'audits';
  busy: number;
  idle: number;
  /** Callers without one. */
  waiting: number;
}

export interface DatabaseOptions {
  url: string;
  /** The role the connection acts as; null keeps the URL's own user, who owns the schema. */
  role?: 'holdfast_app' | null;
  /** Connections of the ledger, and as many for requests beside it. */
  max?: number;
  applicationName?: string;
  /** Told when an idle connection breaks, which its pool replaces on its own, and when a caller gets none in time; `what` says which. */
  onError?: (error: Error, what: string) => void;
}

/** Connections for points: each is busy for a moment. And for reports: more would only slow each other down. */
const POINTS = 4;
export const REPORTS = 4;

/**
 * How long one statement of a report may take. Longer than others: it locks nothing, and nothing but reports waits behind it; what
 * an account of many years has may take as long to read. No longer: it keeps one of the few places.
 */
const REPORT_MS = 30_000;

/** All that a process may have open. */
export function connectionsOf(max: number): number {
  return 2 * max + Math.min(max, POINTS) + Math.min(max, REPORTS) + 1;
}

/**
 * For a transaction that may take long: its statement ends soon after its client has gone, and gives its locks back. Windows cannot
 * notice.
 */
export const ENDS_WITH_ITS_CLIENT =
  "SELECT set_config('client_connection_check_interval', '500ms', true) WHERE version() ~* 'linux|darwin'";

/** A connection that was made costs a login, and the ledger's functions are compiled in it: it may rest for a while. */
const IDLE_MS = 5 * 60_000;

const INT8_OID = 20;

/** int8 as a JSON number. Beyond 2^53 it throws, because a rounded amount of money is a wrong one. */
function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new RangeError(`the database sent ${text}, which no JSON number can hold`);
  return value;
}

/** Per connection, so that another user of `pg` in this process keeps its own reading of int8. */
const customTypes = {
  getTypeParser: (oid: number, format?: string) =>
    oid === INT8_OID ? parseInt8 : parserOf(oid, format === 'binary' ? 'binary' : 'text'),
};

// pg types the oid as an enumeration of those it knows; the server sends others too.
const parserOf = types.getTypeParser as (oid: number, format: 'binary' | 'text') => (text: string) => unknown;

export function openDatabase(options: DatabaseOptions): Database {
  const {
    url,
    role = 'holdfast_app',
    max = 10,
    applicationName = 'holdfast',
    onError = reportTrouble,
  } = options;
  const connection = {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: 5_000,
    // A lock that is not granted in 3 s, or a statement of 15 s, is better refused than queued behind: callers retry.
    statement_timeout: 15_000,
    lock_timeout: 3_000,
    // A process that dies between BEGIN and COMMIT must not keep an account locked.
    idle_in_transaction_session_timeout: 15_000,
    options: ['-c timezone=UTC', ...(role === null ? [] : [`-c role=${role}`])].join(' '),
    keepAlive: true,
    types: customTypes,
  };
  const verify = (client: ClientBase, verified: (error?: Error) => void) => {
    assertAsAsked(client, role).then(() => verified(), verified);
  };
  const rawPool = (size: number) => {
    const pool = new Pool({ ...connection, max: size, idleTimeoutMillis: IDLE_MS, verify });
    pool.on('error', (error) => onError(error, BROKE));
    // A connection that somebody has taken out of the pool is not the pool's to listen to. When it breaks, the statement under
    // way fails, and whoever took it hears of that; without a listener the process would end.
    pool.on('connect', (client) => client.on('error', () => undefined));
    return pool;
  };
  const knexPool = (size: number, more: { statement_timeout?: number } = {}) => {
    const knex = createKnex({
      client: 'pg',
      connection: { ...connection, ...more },
      pool: { min: 0, max: size, idleTimeoutMillis: IDLE_MS, afterCreate: verify },
      acquireConnectionTimeout: 5_000,
      compileSqlOnError: false,
      log: {
        warn: (message) => onError(knexError(message), knexTrouble(message)),
        error: (message) => onError(knexError(message), knexTrouble(message)),
      },
    });
    knex.on('query-error', withoutStatement);
    return knex;
  };
  const [pool, points, audits] = [rawPool(max), rawPool(Math.min(max, POINTS)), rawPool(1)];
  const reportsAtOnce = Math.min(max, REPORTS);
  const [knex, reports] = [knexPool(max), knexPool(reportsAtOnce, { statement_timeout: REPORT_MS })];
  return {
    pool,
    points,
    audits,
    knex,
    reports,
    reportsAtOnce,
    uses: () => [
      { pool: 'ledger', ...usesOf(pool) },
      { pool: 'points', ...usesOf(points) },
      { pool: 'requests', ...usesOfKnex(knex) },
      { pool: 'reports', ...usesOfKnex(reports) },
      { pool: 'audits', ...usesOf(audits) },
    ],
    async close() {
      await Promise.all([
        ...[pool, points, audits].map((each) => each.end()),
        ...[knex, reports].map((each) => each.destroy()),
      ]);
    },
  };
}

function usesOf({ totalCount, idleCount, waitingCount }: Pool) {
  return { busy: totalCount - idleCount, idle: idleCount, waiting: waitingCount };
}

function usesOfKnex({ client }: Knex) {
  // tarn's pool, which knex does not type.
  const { pool } = client as { pool: Record<'numUsed' | 'numFree' | 'numPendingAcquires', () => number> };
  return { busy: pool.numUsed(), idle: pool.numFree(), waiting: pool.numPendingAcquires() };
}

/**
 * Role and time-outs travel with the start of a connection, and a pooler in between may drop them: everything would then be done as
 * the login, and wait for ever. Throws for such a connection.
 */
async function assertAsAsked(client: ClientBase, role: string | null): Promise<void> {
  const { rows } = await client.query<{ role: string; bounded: boolean }>(
    `SELECT current_user AS role,
            current_setting('statement_timeout') <> '0' AND current_setting('lock_timeout') <> '0' AS bounded`,
  );
  const [is] = rows;
  if (is !== undefined && is.bounded && (role === null || is.role === role)) return;
  throw new Error(
    `A connection acts as ${is?.role ?? 'nobody'}, ${is?.bounded === true ? 'with' : 'without'} time-outs: a pooler dropped what it was started ` +
      `with. Connect without it, let it pass \`options\` and the time-outs on, or set them for the login: ` +
      `ALTER ROLE … SET role = '${role ?? ''}', and the like for statement_timeout and lock_timeout.`,
  );
}

/**
 * knex puts the statement before the message of a query's error. It helps nobody who reads a log, an operations item or a
 * workflow's history, and what the database says is then no longer where the message begins.
 */
function withoutStatement(error: Error, { sql }: { sql: string }): void {
  const statement = `${sql} - `;
  if (error.message.startsWith(statement)) error.message = error.message.slice(statement.length);
}

/** What knex would print on its own: broken connections above all. It hands over text, or whatever it caught. */
function knexError(message: unknown): Error {
  return message instanceof Error ? message : new Error(String(message));
}

const BROKE = 'an idle database connection broke';

/** All that knex has of it is text: of its own, and of its pool's, whose time-outs have no other mark. */
function knexTrouble(message: unknown): string {
  const text = message instanceof Error ? message.message : String(message);
  if (!text.startsWith('Acquire connection error')) return BROKE;
  return text.includes('operation timed out')
    ? 'no database connection came free in time: all of the pool are at work'
    : 'no database connection could be made';
}

function reportTrouble(error: Error, what: string): void {
  process.stderr.write(`${what}: ${error.message}\n`);
}
