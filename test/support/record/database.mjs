/**
 * Records a database of an earlier release for test/db/migrate/upgrade.test.ts: `node test/support/record/database.mjs <directory> <name>`.
 * The directory has that release's sources, built. Its own setup, worker and API run on a Postgres and a Temporal made for it,
 * customers do what is told below, and what is then in the database is written to fixtures/<name>.sql, with the requests and
 * their answers in fixtures/<name>.json. Only for a release that has none yet: a recorded one is never recorded again.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { startPostgres } from '../../../dev/postgres.mjs';
import { freePort } from '../../../dev/processes.mjs';
import { findTemporal, startTemporal } from '../../../dev/temporal.mjs';

const ADMIN_KEY = 'admin-key-of-the-tests';
const [release, name] = process.argv.slice(2);
const fixtures = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'fixtures');
const migrations = path.join(release, 'db', 'migrations');
const numbers = readdirSync(migrations).filter((file) => file.endsWith('.sql'));
/** The first releases had no charges, leases, members, changes of plan, or clocks. */
const lately = numbers.length > 4;

const image = { action: 'image', provider: { type: 'simulated', delayMs: 0 } };
const external = { action: 'image', provider: { type: 'external', deadlineSeconds: 86_400 } };
const open = (id, plan, more = {}) => [
  'POST',
  '/v1/accounts',
  { id, catalog: 'working-day', plan, ...more },
  `open-${id}`,
];

/** What customers do, in order; a function is asked for its request when its turn comes. */
const STORY = [
  open('ada', 'basic'),
  open('ben', 'free', { timezone: 'America/New_York' }),
  ['POST', '/v1/generations', { account: 'ben', ...image, params: { outputs: 8 } }, 'gen-refused'],
  ['POST', '/v1/accounts/ada/purchases', { pack: 'tokens-1000' }, 'pack-ada'],
  ['POST', '/v1/accounts/ben/purchases', { pack: 'tokens-1000', quantity: 2 }, 'pack-ben'],
  ['POST', '/v1/generations', { account: 'ada', ...image }, 'gen-done'],
  [
    'POST',
    '/v1/generations',
    { account: 'ada', ...image, params: { outputs: 4 }, provider: { ...image.provider, deliver: 3 } },
    'gen-partial',
  ],
  [
    'POST',
    '/v1/generations',
    { account: 'ada', ...image, provider: { ...image.provider, fail: 'error' } },
    'gen-failed',
  ],
  ['POST', '/v1/generations', { account: 'ada', ...external, params: { outputs: 2 } }, 'gen-open'],
  ['POST', '/v1/generations', { account: 'ben', ...external }, 'gen-open-too'],
  ['POST', '/v1/generations', { account: 'ben', ...external }, 'gen-reported'],
  (said) => [
    'POST',
    `/v1/generations/${said['gen-reported'].id}/complete`,
    { outputs: [{ url: 'https://example.com/1.png' }] },
    'report',
  ],
  (said) => [
    'POST',
    `/v1/generations/${said['gen-done'].id}/refund`,
    { credits: 10, reason: 'a courtesy' },
    'refund',
  ],
  ['POST', '/v1/accounts/ben/adjustments', { bucket: 'promo', credits: 5, reason: 'a gift' }, 'adjust'],
  ['POST', '/v1/quotes', { account: 'ada', action: 'image' }, null],
  ['POST', '/v1/api-keys', { name: 'reports', scopes: ['read'] }, 'api-key'],
  ...(lately
    ? [
        ['POST', '/v1/charges', { account: 'ada', credits: 12.5, metadata: { edit: 1 } }, 'charge'],
        ['POST', '/v1/charges', { account: 'ada', credits: 900_000 }, 'charge-refused'],
        ['POST', '/v1/holds', { account: 'ada', credits: 40, ttlSeconds: 80_000 }, 'lease-open'],
        ['POST', '/v1/holds', { account: 'ada', credits: 20, ttlSeconds: 80_000 }, 'lease-taken'],
        (said) => ['POST', `/v1/holds/${said['lease-taken'].id}/capture`, { credits: 15 }, 'lease-capture'],
        ['PUT', '/v1/accounts/ada/members/mia', { role: 'member', monthlyLimit: 100 }, null],
        ['POST', '/v1/charges', { account: 'ada', credits: 30, member: 'mia' }, 'charge-member'],
        ['PUT', '/v1/accounts/ben/limits', { creditsPerDay: 500 }, null],
        ['POST', '/v1/accounts/ada/cancel', { when: 'period_end' }, 'plan-cancel'],
        ['POST', '/v1/test-clocks', { frozenAt: '2026-01-31T12:00:00Z' }, 'clock'],
        (said) => open('cleo', 'basic', { testClock: said['clock'].id }),
        ['POST', '/v1/charges', { account: 'cleo', credits: 100 }, 'charge-cleo'],
        (said) => [
          'POST',
          `/v1/test-clocks/${said['clock'].id}/advance`,
          { to: '2026-03-15T00:00:00Z' },
          'advance',
        ],
        ['POST', '/v1/catalogs', () => ({ ...catalog('tunesmith'), label: 'Tunesmith, repriced' }), null],
        ['POST', '/v1/accounts', { id: 'dan', catalog: 'tunesmith', plan: 'composer' }, 'open-dan'],
        ['POST', '/v1/generations', { account: 'dan', action: 'album', confirm: true }, 'gen-pipeline'],
        (said) => [
          'POST',
          `/v1/generations/${said['gen-pipeline'].id}/complete`,
          { outputs: [], phase: 'single', credits: 3.75, final: false },
          'phase',
        ],
        ['POST', '/v1/accounts/ben/suspend', { reason: 'looked at' }, 'suspend'],
      ]
    : []),
];

const catalog = (id) =>
  JSON.parse(readFileSync(path.join(release, 'test', 'support', 'catalogs', `${id}.json`), 'utf8'));

async function main() {
  const work = mkdtempSync(path.join(os.tmpdir(), 'holdfast-record-'));
  chmodSync(work, 0o755); // run as root, Postgres is another user and must get in
  const installed = path.join(work, 'release');
  for (const part of ['dist', 'db/migrations', 'package.json'])
    cpSync(path.join(release, part), path.join(installed, part), { recursive: true });
  spawnSync('ln', ['-s', path.join(release, 'node_modules'), path.join(installed, 'node_modules')]);
  for (const id of ['working-day', 'tunesmith']) {
    const file = path.join(release, 'test', 'support', 'catalogs', `${id}.json`);
    if (existsSync(file)) cpSync(file, path.join(installed, 'catalogs', `${id}.json`));
  }
  const log = () => undefined;
  const postgres = await startPostgres({ dataDir: work, port: await freePort(), log });
  const temporal = await startTemporal({ binary: await findTemporal(), port: await freePort() });
  const port = await freePort();
  const env = {
    ...process.env,
    DATABASE_URL: postgres.url,
    TEMPORAL_ADDRESS: temporal.address,
    PORT: String(port),
    HOLDFAST_ADMIN_KEY: ADMIN_KEY,
    HOLDFAST_TIMER_JITTER_SECONDS: '0',
  };
  const run = (entry) =>
    spawn(process.execPath, [path.join(installed, 'dist', entry)], { env, stdio: 'inherit' });
  const setUp = run('db/setup.js');
  await new Promise((resolve) => setUp.once('exit', resolve));
  const processes = [run('activities/worker.js'), run('api/main.js')];
  try {
    const url = `http://127.0.0.1:${port}`;
    const until = Date.now() + 60_000;
    while (
      !(await fetch(`${url}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      ))
    ) {
      if (Date.now() > until) throw new Error('the API was not ready in time');
      await delay(200);
    }
    const asked = await tell(url);
    await delay(5_000); // for the work that ends on its own
    const balances = {};
    for (const account of ['ada', 'ben', ...(lately ? ['cleo', 'dan'] : [])])
      balances[account] = JSON.parse((await call(url, ['GET', `/v1/accounts/${account}/balance`])).text);
    for (const child of processes) child.kill('SIGTERM');
    await Promise.all(processes.map((child) => new Promise((resolve) => child.once('exit', resolve))));
    writeFileSync(path.join(fixtures, `${name}.sql`), await dump(postgres.url));
    writeFileSync(
      path.join(fixtures, `${name}.json`),
      `${JSON.stringify({ at: new Date().toISOString(), asked, balances }, null, 1)}\n`,
    );
  } finally {
    for (const child of processes) child.kill('SIGKILL');
    await Promise.all([temporal.stop(), postgres.stop()]);
    rmSync(work, { recursive: true, force: true });
  }
}

/** Every request with its key and its answer. */
async function tell(url) {
  const said = {};
  const asked = [];
  for (const step of STORY) {
    const [method, at, given, key] = typeof step === 'function' ? step(said) : step;
    const body = typeof given === 'function' ? given() : given;
    const { status, text } = await call(url, [method, at, body, key]);
    console.log(status, method, at, key ?? '', status < 300 ? '' : text);
    if (key === null) continue;
    said[key] = JSON.parse(text);
    asked.push({ method, path: at, body, key, status, text });
  }
  return asked;
}

async function call(url, [method, at, body, key]) {
  const response = await fetch(url + at, {
    method,
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined || key === null ? {} : { 'idempotency-key': key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, text: await response.text() };
}

/** The release's own SQL for the schema, then its rows. Restored by a superuser, in an empty database, at any later time. */
async function dump(url) {
  const functions = path.join(migrations, 'functions');
  const sql = numbers.toSorted().map((file) => readFileSync(path.join(migrations, file), 'utf8'));
  if (existsSync(functions))
    for (const file of readdirSync(functions).toSorted())
      sql.push(readFileSync(path.join(functions, file), 'utf8'));
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows: books } = await client.query(`
    SELECT c.relname AS name FROM pg_class c WHERE c.relnamespace = 'holdfast'::regnamespace AND c.relkind = 'r'
       AND c.relname IN ('migrations', 'migrations_lock', 'schema_compatibility', 'schema_functions') ORDER BY 1`);
  for (const { name: book } of books) sql.push(await tableLike(client, book));
  const { rows: months } = await client.query(`
    SELECT to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY_MM') AS name, to_char(date_trunc('month', recorded_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD') AS first
      FROM ledger.journal GROUP BY 1, 2`);
  for (const { name: month, first } of months)
    sql.push(`DO $$ BEGIN IF to_regclass('ledger.journal_${month}') IS NULL THEN
      CREATE TABLE ledger.journal_${month} PARTITION OF ledger.journal FOR VALUES FROM ('${first} 00:00+00') TO ('${first} 00:00+00'::timestamptz + interval '1 month');
    END IF; END $$;`);
  sql.push('SET session_replication_role = replica;');
  const { rows: tables } = await client.query(`
    SELECT c.oid::regclass::text AS name,
           (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') AS columns
      FROM pg_class c WHERE c.relnamespace IN ('ledger'::regnamespace, 'holdfast'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
     ORDER BY 1`);
  for (const { name: table, columns } of tables) {
    const { rows } = await client.query(`SELECT to_jsonb(t)::text AS row FROM ${table} t ORDER BY 1`);
    if (rows.length === 0) continue;
    const serial = await client.query(`SELECT pg_get_serial_sequence($1, $2) AS name`, [
      table,
      columns.split(', ')[0],
    ]);
    const lines = rows.map(({ row }) => row).join(',\n');
    sql.push(
      `INSERT INTO ${table} (${columns}) SELECT ${columns} FROM jsonb_populate_recordset(NULL::${table}, $rows$[\n${lines}\n]$rows$);`,
    );
    const sequence = serial.rows[0].name;
    if (sequence !== null) sql.push(`SELECT setval('${sequence}', ${rows.length});`);
  }
  sql.push('RESET session_replication_role;');
  await client.end();
  return `${sql.join('\n')}\n`;
}

/** The tables that say what is in the database, as the release made them. */
async function tableLike(client, table) {
  const { rows } = await client.query(
    `SELECT quote_ident(attname) || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
            || coalesce((SELECT ' DEFAULT ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum AND pg_get_serial_sequence($1, attname) IS NULL), '')
            || coalesce((SELECT ' PRIMARY KEY' FROM pg_index i WHERE i.indrelid = attrelid AND i.indisprimary AND attnum = ANY (i.indkey)), '') AS column,
            pg_get_serial_sequence($1, attname) IS NOT NULL AS serial
       FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [`holdfast.${table}`],
  );
  const columns = rows.map(({ column, serial }) =>
    serial ? column.replace(' integer NOT NULL', ' serial') : column,
  );
  const grant = table.startsWith('schema_') ? `\nGRANT SELECT ON holdfast.${table} TO PUBLIC;` : '';
  return `CREATE TABLE holdfast.${table} (${columns.join(', ')});${grant}`;
}

await main();
process.exit(0);
