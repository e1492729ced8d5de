import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import type { TextAnswer } from './route';

/** How an answer leaves that was decided upon. */

export function sendHead(response: Response, { status, contentType, headers, replayed }: TextAnswer): void {
  const type = contentType ?? (status >= 400 ? 'application/problem+json' : 'application/json');
  if (headers !== undefined) response.set(headers);
  if (replayed === true) response.set('Idempotent-Replayed', 'true');
  // Express would add a charset, which JSON does not have.
  response.setHeader('Content-Type', type);
  response.status(status);
}

/**
 * An answer that is longer than one text. The next part is read when the client has room for it, and none once it has left.
 * Throws what reading throws; the connection is cut by then, so that no client takes what it has for the whole.
 */
export async function sendLong(
  response: Response,
  answer: TextAnswer & { more: AsyncIterable<string> },
): Promise<void> {
  sendHead(response, answer);
  if (response.req.method === 'HEAD') {
    response.end();
    return;
  }
  let failed = false;
  const parts = Readable.from(
    (async function* () {
      yield answer.text;
      try {
        yield* answer.more;
      } catch (error) {
        failed = true;
        throw error;
      }
    })(),
    { highWaterMark: 1 },
  );
  try {
    await pipeline(parts, response);
  } catch (error) {
    if (failed) throw error;
    // Otherwise it is the client who left: there is nobody to tell.
  }
}
