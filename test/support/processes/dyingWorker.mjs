/**
 * The built worker, which is killed with -9 at one step of its work: DIE is `{"when": "before" | "after", "sql": <pattern>}`,
 * the first statement to the database that matches it.
 */
import { openDatabase } from '../../../dist/db/connection/connection.js';
import { parseSettings } from '../../../dist/domain/settings.js';
import { startWorkers } from '../../../dist/activities/worker.js';
import { pino } from 'pino';

const { when, sql } = JSON.parse(process.env.DIE);
const pattern = new RegExp(sql);
const die = () => process.kill(process.pid, 'SIGKILL');

const settings = parseSettings(process.env);
const database = openDatabase({ url: settings.databaseUrl, max: settings.dbPool });

const query = database.pool.query.bind(database.pool);
database.pool.query = async (request, ...rest) => {
  const matches = pattern.test(`${request.text ?? request} ${JSON.stringify(request.values ?? rest)}`);
  if (matches && when === 'before') die();
  const result = await query(request, ...rest);
  if (matches) die();
  return result;
};
database.knex.on(when === 'before' ? 'query' : 'query-response', (...seen) => {
  const { sql: text } = seen.find((one) => typeof one?.sql === 'string');
  if (pattern.test(text)) die();
});

const log = pino({ level: 'silent' });
const worker = await startWorkers({ settings, database, log, crash: die });
process.stdout.write('worker is running\n');
await worker.done;
