import { type DestinationStream, type Logger, pino } from 'pino';
import { loggedError } from '../../db/connection/loggedError';

/** JSON lines. What could let somebody in is removed wherever it appears at the usual places. */
const SECRETS = [
  'authorization',
  'headers.authorization',
  'req.headers.authorization',
  'request.headers.authorization',
  '*.secret',
  '*.password',
  '*.adminKey',
  '*.apiKey',
  'connectionString',
  '*.connectionString',
];

export function createLogger(
  { name, level }: { name: string; level: string },
  destination?: DestinationStream,
): Logger {
  const options = {
    name,
    level,
    redact: { paths: SECRETS, censor: '[redacted]' },
    serializers: { err: loggedError },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
