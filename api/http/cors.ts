import corsOf from 'cors';
import type { RequestHandler } from 'express';

/** Lets the pages of HOLDFAST_CORS_ORIGINS call the API. Keys travel in a header, so no credentials are allowed. */
export function cors(origins: readonly string[]): RequestHandler {
  const allowed = new Set(origins);
  const forListed = corsOf({
    // False continues as if there were no CORS: other origins, and requests without one, are told nothing.
    origin: (origin, done) => done(null, origin !== undefined && allowed.has(origin) ? origin : false),
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID', 'X-Request-Id'],
    exposedHeaders: ['Idempotent-Replayed', 'Retry-After', 'X-Request-Id'],
    maxAge: 600,
  });
  return (request, response, next) => {
    response.vary('Origin'); // caches must tell the two apart
    forListed(request, response, next);
  };
}
