import { parseSettings } from '../../domain/settings';

const DATABASE_URL = 'postgres://someone@localhost/holdfast';

test('a database is all that must be said; the rest has defaults', () => {
  expect(parseSettings({ DATABASE_URL })).toMatchObject({
    databaseUrl: DATABASE_URL,
    temporal: { variables: {}, taskQueue: 'holdfast' },
    port: 3000,
    adminKey: undefined,
    corsOrigins: [],
    dbPool: 10,
    batching: { callsAtOnce: 4, maxAccounts: 64 },
    timerJitterMs: 900_000,
    logLevel: 'info',
  });
});

test('an empty variable is one that is not set', () => {
  expect(
    parseSettings({ DATABASE_URL, PORT: '', TEMPORAL_NAMESPACE: '', HOLDFAST_ADMIN_KEY: '' }),
  ).toMatchObject({
    port: 3000,
    temporal: { variables: {} },
    adminKey: undefined,
  });
  expect(() => parseSettings({ DATABASE_URL: '' })).toThrow('DATABASE_URL is not set');
});

test('text becomes what it means', () => {
  const settings = parseSettings({
    DATABASE_URL,
    PORT: '8080',
    HOLDFAST_DB_POOL: '25',
    HOLDFAST_LEDGER_LANES: '2',
    HOLDFAST_LEDGER_ACCOUNTS_PER_CALL: '1',
    HOLDFAST_TIMER_JITTER_SECONDS: '0',
    HOLDFAST_CORS_ORIGINS: 'https://a.example, https://b.example,',
  });
  expect(settings).toMatchObject({
    port: 8080,
    dbPool: 25,
    batching: { callsAtOnce: 2, maxAccounts: 1 },
    timerJitterMs: 0,
    corsOrigins: ['https://a.example', 'https://b.example'],
  });
});

test.each([
  ['PORT', '70000'],
  ['PORT', 'http'],
  ['DATABASE_URL', 'mysql://localhost/holdfast'],
  ['TEMPORAL_ADDRESS', 'http://localhost:7233'],
  ['TEMPORAL_TLS', 'True'],
  ['HOLDFAST_ADMIN_KEY', 'short'],
  ['LOG_LEVEL', 'loud'],
  ['HOLDFAST_DB_POOL', '0'],
  ['HOLDFAST_LEDGER_LANES', '0'],
  ['HOLDFAST_LEDGER_ACCOUNTS_PER_CALL', '1001'],
])('a wrong %s is named, and its value is not shown: %s', (name, value) => {
  const wrong = () => parseSettings({ DATABASE_URL, [name]: value });
  expect(wrong).toThrow(new RegExp(`^The environment is not right: ${name} `));
  expect(wrong).not.toThrow(value);
});

test('everything that is wrong is said at once', () => {
  expect(() => parseSettings({ PORT: '0', LOG_LEVEL: 'loud' })).toThrow(/DATABASE_URL.*PORT.*LOG_LEVEL/);
});

test.each([
  [{ TEMPORAL_API_KEY: 'secret', TEMPORAL_TLS: 'false' }, 'TEMPORAL_API_KEY would travel in the clear'],
  [{ TEMPORAL_TLS_CLIENT_CERT_PATH: 'client.crt' }, 'a client certificate for Temporal needs its key'],
  [{ TEMPORAL_TLS_KEY: 'client.key' }, 'a client certificate for Temporal needs its key'],
])('what would leave a connection without what it is meant to have is refused: %j', (said, why) => {
  expect(() => parseSettings({ DATABASE_URL, ...said })).toThrow(why);
});
