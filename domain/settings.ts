import { z } from 'zod';

/** What the environment may say, checked once at the start of a process. Pure: the environment is passed in. */

const port = z.coerce.number().int().min(1).max(65_535);
const count = (max: number) => z.coerce.number().int().min(1).max(max);

const environment = z.object({
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must be a postgres:// URL')
    .describe('The Postgres database that holds the ledger'),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s/]+:\d+$/, 'must be host:port')
    .default('127.0.0.1:7233')
    .describe('The Temporal frontend'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('default'),
  TEMPORAL_API_KEY: z.string().min(1).optional().describe('For Temporal Cloud'),
  TEMPORAL_TLS_CA: z.string().optional().describe('File with the certificate of the server’s authority'),
  TEMPORAL_TLS_CERT: z.string().optional().describe('File with the client’s certificate'),
  TEMPORAL_TLS_KEY: z.string().optional().describe('File with the client’s private key'),
  TEMPORAL_UI_URL: z.url().optional().describe('Where operators see workflows; shown in answers'),
  PORT: port.default(3000),
  HOLDFAST_ADMIN_KEY: z
    .string()
    .min(16, 'must have at least 16 characters, so that it cannot be guessed')
    .optional()
    .describe('The key that may do everything'),
  HOLDFAST_CORS_ORIGINS: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((origin) => origin.trim())
        .filter(Boolean),
    )
    .describe('Web origins that may call the API, separated by commas'),
  HOLDFAST_WORKFLOW_BUNDLE: z.string().optional().describe('A workflow bundle other than the built one'),
  HOLDFAST_TASK_QUEUE: z.string().min(1).default('holdfast'),
  HOLDFAST_DB_POOL: count(200)
    .default(10)
    .describe('Connections for the ledger; as many again for other queries'),
  HOLDFAST_LEDGER_LANES: count(64)
    .default(4)
    .describe('Calls of the ledger in flight at one time, of one process'),
  HOLDFAST_LEDGER_ACCOUNTS_PER_CALL: count(1_000)
    .default(64)
    .describe('Accounts in one call of the ledger; 1 gives each account a call of its own'),
  HOLDFAST_TIMER_JITTER_SECONDS: z.coerce.number().int().min(0).max(86_400).default(900),
  HOLDFAST_QUIET_SECONDS: count(86_400).default(60).describe('How long an idle account keeps its workflow'),
  HOLDFAST_SWEEP_SECONDS: count(86_400)
    .default(60)
    .describe('How often what nobody else saw to is looked for'),
  HOLDFAST_SCHEMA_CHECK_SECONDS: count(3_600)
    .default(30)
    .describe('How often a running process looks whether a newer release has shut it out'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

/** Names of all variables a process of ours reads. */
export const SETTING_NAMES: readonly string[] = [...Object.keys(environment.shape), 'HOLDFAST_DATA_DIR'];

export interface Settings {
  databaseUrl: string;
  temporal: {
    address: string;
    namespace: string;
    apiKey: string | undefined;
    tlsFiles: { ca: string | undefined; cert: string | undefined; key: string | undefined };
    uiUrl: string | undefined;
    taskQueue: string;
    workflowBundle: string | undefined;
  };
  port: number;
  adminKey: string | undefined;
  corsOrigins: string[];
  dbPool: number;
  batching: { lanes: number; maxAccounts: number };
  timerJitterMs: number;
  quietMs: number;
  sweepSeconds: number;
  schemaCheckSeconds: number;
  logLevel: string;
}

/** Throws an Error that names each wrong variable and says what it must be. */
export function parseSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  // An empty variable is one that was not set: compose files and shells make no difference either.
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => {
      const name = issue.path.join('.');
      return given[name] === undefined ? `${name} is not set` : `${name} ${issue.message}`;
    });
    throw new Error(`The environment is not right: ${lines.join('; ')}.`);
  }
  const { data } = parsed;
  return {
    databaseUrl: data.DATABASE_URL,
    temporal: {
      address: data.TEMPORAL_ADDRESS,
      namespace: data.TEMPORAL_NAMESPACE,
      apiKey: data.TEMPORAL_API_KEY,
      tlsFiles: { ca: data.TEMPORAL_TLS_CA, cert: data.TEMPORAL_TLS_CERT, key: data.TEMPORAL_TLS_KEY },
      uiUrl: data.TEMPORAL_UI_URL,
      taskQueue: data.HOLDFAST_TASK_QUEUE,
      workflowBundle: data.HOLDFAST_WORKFLOW_BUNDLE,
    },
    port: data.PORT,
    adminKey: data.HOLDFAST_ADMIN_KEY,
    corsOrigins: data.HOLDFAST_CORS_ORIGINS,
    dbPool: data.HOLDFAST_DB_POOL,
    batching: { lanes: data.HOLDFAST_LEDGER_LANES, maxAccounts: data.HOLDFAST_LEDGER_ACCOUNTS_PER_CALL },
    timerJitterMs: data.HOLDFAST_TIMER_JITTER_SECONDS * 1000,
    quietMs: data.HOLDFAST_QUIET_SECONDS * 1000,
    sweepSeconds: data.HOLDFAST_SWEEP_SECONDS,
    schemaCheckSeconds: data.HOLDFAST_SCHEMA_CHECK_SECONDS,
    logLevel: data.LOG_LEVEL,
  };
}
