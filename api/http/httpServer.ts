import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { ProblemCode } from '../problems/kinds';
import { problemDocument, problemKind } from '../problems/problem';

/** The HTTP server itself: how long it waits for whom, and what it says where no request ever came to the app. */

/** Longer than the load balancers in front of it, which must be the ones to close a connection. */
const KEEP_ALIVE_MS = 75_000;
/** A client that is slow, or says nothing, keeps a connection no longer. */
const HEADERS_WITHIN_MS = 10_000;
const REQUEST_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 2_000;

/** Node's names for what its parser refuses; all else is not HTTP. */
const PROBLEMS: Readonly<Record<string, ProblemCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

/** After it was told why, a client may read that for so long, and then the connection ends, whatever the client does. */
const LAST_WORDS_MS = 1_000;

/** Connections whose client was told that nothing was looked at: what still comes on them is not looked at. */
const givenUp = new WeakSet<Socket>();
export const isGivenUp = ({ socket }: IncomingMessage): boolean => givenUp.has(socket);

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

export function createHttpServer(options: { app: RequestListener; logger: Logger }): Server {
  const { logger } = options;
  const exchanges = new WeakMap<Socket, Set<Exchange>>();
  const app: RequestListener = (request, response) => {
    const { socket } = request;
    if (givenUp.has(socket)) {
      socket.destroy();
      return;
    }
    const exchange = { request, response };
    const open = exchanges.get(socket) ?? new Set();
    exchanges.set(socket, open.add(exchange));
    response.on('close', () => open.delete(exchange));
    options.app(request, response);
  };
  /** Nobody may say of a request that is at work that it was not looked at, nor write into an answer that has begun. */
  const isAnswering = (socket: Socket) =>
    [...(exchanges.get(socket) ?? [])].some(
      ({ request, response }) => request.complete || response.headersSent,
    );
  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_WITHIN_MS,
      requestTimeout: REQUEST_WITHIN_MS,
      connectionsCheckingInterval: LOOK_EVERY_MS,
    },
    app,
  );
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable || givenUp.has(socket) || isAnswering(socket)) {
      socket.destroy();
      return;
    }
    givenUp.add(socket);
    setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref();
    const { status, text } = problem(PROBLEMS[error.code ?? ''] ?? 'bad_request', { logger, cause: error });
    socket.end(
      [
        `HTTP/1.1 ${status} ${REASONS[status] ?? 'Bad Request'}`,
        'Content-Type: application/problem+json',
        `Content-Length: ${Buffer.byteLength(text)}`,
        'Connection: close',
        '',
        text,
      ].join('\r\n'),
    );
  });
  // Whether the rest of it is wanted is known once the key is (body.ts).
  server.on('checkContinue', app);
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const { status, text } = problem('expectation_failed', { logger });
    response.writeHead(status, { 'Content-Type': 'application/problem+json', Connection: 'close' }).end(text);
  });
  return server;
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
};

function problem(code: ProblemCode, { logger, cause }: { logger: Logger; cause?: Error }) {
  const id = randomUUID();
  const { status, meaning } = problemKind(code);
  logger.info({ requestId: id, status, err: cause }, 'a request that could not be read');
  const detail = meaning.replaceAll('`', '');
  return {
    status,
    text: JSON.stringify(problemDocument(code, { detail, instance: `urn:holdfast:request:${id}` })),
  };
}
