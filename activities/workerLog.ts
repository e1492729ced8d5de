import { DefaultLogger } from '@temporalio/worker';
import { type DestinationStream, type Logger, pino } from 'pino';
import { loggedError } from '../db/connection/loggedError';

/** What a worker says of itself: our own lines, and those of Temporal's SDK, which calls an error `error` where we say `err`. */

export function createWorkerLog(level: string, destination?: DestinationStream): Logger {
  const options = { name: 'worker', level, serializers: { err: loggedError, error: loggedError } };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** The SDK's lines, written to ours; what it tells of single tasks is `debug`. */
export function sdkLogger(log: Logger): DefaultLogger {
  return new DefaultLogger('INFO', ({ level, message, meta }) => {
    const line = { ...meta };
    if (level === 'ERROR') log.error(line, message);
    else if (level === 'WARN') log.warn(line, message);
    else log.debug(line, message);
  });
}
