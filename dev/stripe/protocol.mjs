import { randomBytes } from 'node:crypto';
import express from 'express';

/** How Stripe answers, whatever the object: keys, idempotency, lists, errors, and no parameter that it does not know. */

/** A refusal as Stripe words it. */
export class StripeRefusal extends Error {
  constructor(message, { status = 400, type = 'invalid_request_error', code, param } = {}) {
    super(message);
    this.status = status;
    this.body = { error: { type, message, ...(code && { code }), ...(param && { param }) } };
  }
}

export const missing = (what, id) =>
  new StripeRefusal(`No such ${what}: '${id}'`, { status: 404, code: 'resource_missing', param: 'id' });

/** An id as Stripe makes them: prod_…, price_…. */
export const newId = (prefix) => `${prefix}_${randomBytes(12).toString('hex')}`;

export const seconds = () => Math.floor(Date.now() / 1000);

/** The server's frame. `addRoutes` gets the application; each handler returns what is answered. */
export function stripeServer(addRoutes) {
  const app = express();
  app.disable('x-powered-by');
  app.set('query parser', 'extended');
  app.use(express.urlencoded({ extended: true, limit: '1mb' }));
  app.use((request, _response, next) => {
    const key = /^Bearer ((sk|rk)_test_\w+)$/.exec(request.get('authorization') ?? '');
    if (key === null)
      throw new StripeRefusal('Invalid API Key provided: the stand-in takes test keys only.', {
        status: 401,
      });
    next();
  });
  app.use(idempotency());
  addRoutes(app);
  app.use((request) => {
    throw new StripeRefusal(`Unrecognized request URL (${request.method}: ${request.path}).`, {
      status: 404,
    });
  });
  app.use((error, _request, response, _next) => {
    if (error instanceof StripeRefusal) {
      response.status(error.status).json(error.body);
      return;
    }
    console.error(error);
    response.status(500).json({ error: { type: 'api_error', message: String(error) } });
  });
  return app;
}

/** The first answer to a key is the answer to it; other parameters under it are an error. */
function idempotency() {
  const answers = new Map();
  return (request, response, next) => {
    const key = request.method === 'POST' ? request.get('idempotency-key') : undefined;
    const asked = JSON.stringify([request.path, request.body]);
    const first = key === undefined ? undefined : answers.get(key);
    if (first !== undefined && first.asked !== asked)
      throw new StripeRefusal(
        `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}'.`,
        { type: 'idempotency_error' },
      );
    if (first !== undefined) {
      response.set('idempotent-replayed', 'true').status(first.status).json(first.body);
      return;
    }
    const json = response.json.bind(response);
    response.json = (body) => {
      if (key !== undefined) answers.set(key, { asked, status: response.statusCode, body });
      return json(body);
    };
    next();
  };
}

/** The parameters of a request; one that is not listed is refused, as Stripe does. */
export function parameters(request, known) {
  const given = request.method === 'GET' ? request.query : (request.body ?? {});
  const strange = Object.keys(given).find((name) => !known.includes(name));
  if (strange !== undefined)
    throw new StripeRefusal(`Received unknown parameter: ${strange}`, {
      code: 'parameter_unknown',
      param: strange,
    });
  return given;
}

/** A page of Stripe's lists: the newest first, on from `starting_after`. */
export function listOf(objects, request, { limit = '10', starting_after: after }) {
  const newest = [...objects].reverse();
  const from = after === undefined ? 0 : newest.findIndex(({ id }) => id === after) + 1;
  if (after !== undefined && from === 0) throw missing('object', after);
  const data = newest.slice(from, from + Number(limit));
  return { object: 'list', data, has_more: from + data.length < newest.length, url: request.path };
}

/** Metadata after a change: an empty value takes a name away. */
export function mergedMetadata(before, change = {}) {
  return Object.fromEntries(Object.entries({ ...before, ...change }).filter(([, value]) => value !== ''));
}
