import { z } from 'zod';

/** What the environment may say, checked once at the start of a process. Pure: the environment is passed in. */

const port = z.coerce.number().int().min(1).max(65_535);
const count = (max: number) => z.coerce.number().int().min(1).max(max);

const mode = z.enum(['development', 'live'], 'must be development or live').default('development');

const environment = z.object({
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must be a postgres:// URL')
    .describe('The Postgres database that holds the ledger'),
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s/]+:\d+$/, 'must be host:port')
    .optional()
    .describe('The Temporal frontend'),
  // Given anything else, the library would connect in the clear.
  TEMPORAL_TLS: z.enum(['true', 'false', '1', '0'], 'must be true or false').optional(),
  TEMPORAL_UI_URL: z.url().optional().describe('Where operators see workflows; shown in answers'),
  PORT: port.default(3000),
  HOLDFAST_MODE: mode.describe('`live`: test clocks, simulated work and sample catalogs are refused'),
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
  HOLDFAST_SWEEP_SECONDS: count(86_400).default(60).describe('How often the sweep runs'),
  HOLDFAST_SCHEMA_CHECK_SECONDS: count(3_600)
    .default(30)
    .describe('How often a running process looks whether a newer release has shut it out'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

/** How Temporal is reached is said as the Temporal CLI and its SDKs have it said; activities/temporal/connect.ts reads them. */
const TEMPORAL_VARIABLES = [
  'TEMPORAL_ADDRESS',
  'TEMPORAL_NAMESPACE',
  'TEMPORAL_API_KEY',
  'TEMPORAL_TLS',
  'TEMPORAL_TLS_SERVER_CA_CERT_PATH',
  'TEMPORAL_TLS_SERVER_CA_CERT_DATA',
  'TEMPORAL_TLS_CLIENT_CERT_PATH',
  'TEMPORAL_TLS_CLIENT_CERT_DATA',
  'TEMPORAL_TLS_CLIENT_KEY_PATH',
  'TEMPORAL_TLS_CLIENT_KEY_DATA',
  'TEMPORAL_TLS_SERVER_NAME',
  'TEMPORAL_CONFIG_FILE',
  'TEMPORAL_PROFILE',
] as const;
/** By these the file of the Temporal CLI is found, where a profile of it is named. */
const HOME_VARIABLES = ['HOME', 'XDG_CONFIG_HOME', 'APPDATA', 'USERPROFILE'] as const;
const TEMPORAL_HEADER = /^TEMPORAL_GRPC_META_/;

/** What 0.1 called them; still read, and no longer with the next version. */
const FORMER_NAMES: Readonly<Record<string, string>> = {
  TEMPORAL_TLS_CA: 'TEMPORAL_TLS_SERVER_CA_CERT_PATH',
  TEMPORAL_TLS_CERT: 'TEMPORAL_TLS_CLIENT_CERT_PATH',
  TEMPORAL_TLS_KEY: 'TEMPORAL_TLS_CLIENT_KEY_PATH',
};

/** Names of all variables a process of ours reads. */
export const SETTING_NAMES: readonly string[] = [
  ...new Set([...Object.keys(environment.shape), ...TEMPORAL_VARIABLES, 'HOLDFAST_DATA_DIR']),
];

/** Whether customers pay with money. */
export type Mode = z.output<typeof mode>;

export interface Settings {
  databaseUrl: string;
  temporal: {
    /** The variables that say how it is reached, by the names that the Temporal CLI knows. */
    variables: Record<string, string>;
    uiUrl: string | undefined;
    taskQueue: string;
    workflowBundle: string | undefined;
  };
  mode: Mode;
  port: number;
  adminKey: string | undefined;
  corsOrigins: string[];
  dbPool: number;
  batching: { callsAtOnce: number; maxAccounts: number };
  timerJitterMs: number;
  quietMs: number;
  sweepSeconds: number;
  schemaCheckSeconds: number;
  logLevel: string;
}

/** HOLDFAST_MODE alone, for a command that needs no other setting. Throws an Error that says what it must be. */
export function parseMode({ HOLDFAST_MODE: given }: Readonly<Record<string, string | undefined>>): Mode {
  const parsed = mode.safeParse(given || undefined);
  if (!parsed.success) throw new Error(`HOLDFAST_MODE ${parsed.error.issues[0]?.message}.`);
  return parsed.data;
}

/** Throws an Error that names each wrong variable and says what it must be. */
export function parseSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  // An empty variable is one that was not set: compose files and shells make no difference either.
  const given = Object.fromEntries(
    Object.entries(env).filter((set): set is [string, string] => set[1] !== undefined && set[1] !== ''),
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
      variables: temporalVariables(given),
      uiUrl: data.TEMPORAL_UI_URL,
      taskQueue: data.HOLDFAST_TASK_QUEUE,
      workflowBundle: data.HOLDFAST_WORKFLOW_BUNDLE,
    },
    mode: data.HOLDFAST_MODE,
    port: data.PORT,
    adminKey: data.HOLDFAST_ADMIN_KEY,
    corsOrigins: data.HOLDFAST_CORS_ORIGINS,
    dbPool: data.HOLDFAST_DB_POOL,
    batching: {
      callsAtOnce: data.HOLDFAST_LEDGER_LANES,
      maxAccounts: data.HOLDFAST_LEDGER_ACCOUNTS_PER_CALL,
    },
    timerJitterMs: data.HOLDFAST_TIMER_JITTER_SECONDS * 1000,
    quietMs: data.HOLDFAST_QUIET_SECONDS * 1000,
    sweepSeconds: data.HOLDFAST_SWEEP_SECONDS,
    schemaCheckSeconds: data.HOLDFAST_SCHEMA_CHECK_SECONDS,
    logLevel: data.LOG_LEVEL,
  };
}

function temporalVariables(given: Readonly<Record<string, string>>): Record<string, string> {
  const names: readonly string[] = TEMPORAL_VARIABLES;
  const said = Object.entries(given).filter(([name]) => names.includes(name) || TEMPORAL_HEADER.test(name));
  const variables = Object.fromEntries(said);
  if (variables['TEMPORAL_CONFIG_FILE'] !== undefined || variables['TEMPORAL_PROFILE'] !== undefined)
    for (const name of HOME_VARIABLES) if (given[name] !== undefined) variables[name] = given[name];
  for (const [former, name] of Object.entries(FORMER_NAMES)) {
    const value = given[former];
    if (value === undefined) continue;
    if (variables[name] !== undefined && variables[name] !== value)
      throw new Error(
        `The environment is not right: ${former} is ${name} now, and both are set: leave ${former} out.`,
      );
    variables[name] = value;
  }
  const wrong = (what: string) => new Error(`The environment is not right: ${what}.`);
  const has = (what: string) =>
    [`${what}_PATH`, `${what}_DATA`].some((name) => variables[name] !== undefined);
  if (has('TEMPORAL_TLS_CLIENT_CERT') !== has('TEMPORAL_TLS_CLIENT_KEY'))
    throw wrong(
      'a client certificate for Temporal needs its key, and a key its certificate: set both or none',
    );
  const isPlain = variables['TEMPORAL_TLS'] === 'false' || variables['TEMPORAL_TLS'] === '0';
  if (isPlain && variables['TEMPORAL_API_KEY'] !== undefined)
    throw wrong('TEMPORAL_API_KEY would travel in the clear with TEMPORAL_TLS off: leave one of them out');
  return variables;
}
