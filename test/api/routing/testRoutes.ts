import { z } from 'zod';
import { ProblemError } from '../../../api/problems/problem';
import { accountFrom, type Route, route } from '../../../api/routing/route';
import { accountId, creditsIn } from '../../../api/routing/schemas';
import { LedgerOverloaded } from '../../../db/ledger/accountQueue';

/** Routes to try the router on. */

const order = z.strictObject({
  account: accountId,
  credits: creditsIn,
  params: z.strictObject({ seconds: z.number().int() }).optional(),
});
const thing = z.object({ id: z.string() });

const FALLS = {
  refused: () => new ProblemError('unavailable', { detail: 'The die fell off.' }),
  begun: () => new ProblemError('unavailable', { detail: 'The die rolls on.', begun: true }),
  overloaded: () => new LedgerOverloaded('too many dice'),
  crash: () => new Error('nobody knows'),
};

let rolls = 0;

/** One of each sort there is. `failure`: what the route that fails throws. */
export function testRoutes(failure: () => unknown): Route[] {
  const common = { tag: 'Test', errors: [] } as const;
  return [
    route({
      ...common,
      method: 'POST',
      path: '/v1/orders',
      summary: 'Takes a key that the account keeps',
      scope: 'generate',
      account: accountFrom.body('account'),
      idempotency: 'required',
      body: order,
      responses: { 201: z.object({ milli: z.number(), key: z.string() }) },
      replay: ({ account, hash }) =>
        Promise.resolve({ status: 402, text: `{"of":"${account}","hash":"${hash}"}`, replayed: true }),
      keptAs: 'facts',
    }).handle(({ body, key }) => Promise.resolve({ status: 201, body: { milli: body.credits, key } })),
    route({
      ...common,
      method: 'POST',
      path: '/v1/dice',
      summary: 'Takes a key whose answer the router keeps',
      scope: 'generate',
      account: accountFrom.body('account'),
      idempotency: 'optional',
      body: z.strictObject({
        account: accountId,
        fail: z.enum(['refused', 'overloaded', 'begun', 'crash']).optional(),
      }),
      responses: { 200: z.object({ roll: z.number() }) },
    }).handle(({ body }) => {
      rolls += 1;
      if (body.fail !== undefined) throw FALLS[body.fail]();
      return Promise.resolve({ status: 200, body: { roll: rolls } });
    }),
    route({
      ...common,
      method: 'GET',
      path: '/v1/things/{id}',
      summary: 'Has an id in its path',
      errors: ['unknown_generation'],
      scope: 'read',
      account: accountFrom.idParam('id'),
      params: z.strictObject({ id: z.string().regex(/^gen_/) }),
      responses: { 200: thing },
    }).handle(({ params }) => Promise.resolve({ status: 200, body: { id: params.id } })),
    route({
      ...common,
      method: 'GET',
      path: '/v1/failing',
      summary: 'Throws what the test says',
      scope: 'read',
      account: 'shared',
      responses: { 200: thing },
    }).handle(() => Promise.reject(failure())),
    route({
      ...common,
      method: 'GET',
      path: '/v1/everything',
      summary: 'Spans accounts',
      scope: 'read',
      account: 'all',
      query: z.strictObject({ limit: z.coerce.number().int().max(3).default(1) }),
      responses: { 200: z.object({ limit: z.number() }) },
    }).handle(({ query }) => Promise.resolve({ status: 200, body: { limit: query.limit } })),
  ];
}
