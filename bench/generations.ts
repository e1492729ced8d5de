import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Work } from './bare/bare';

/** Generations as a pipeline makes them: ordered over HTTP, and waited for to the end. */

export interface HttpOptions {
  /** Where the API listens, without a slash at the end. */
  baseUrl: string;
  adminKey: string;
}

/** The cheapest priced work, done by a provider that takes no time: what is left is the engine. */
export const ORDER = {
  action: 'image',
  model: 'nano-banana-2',
  provider: { type: 'simulated', delayMs: 0 },
} as const;

const CREDITS_PER_ACCOUNT = 1_000_000;
const Generation = z.object({ id: z.string(), status: z.string() });

/** Opens one account per client, with credits enough for the whole bench. Returns their ids. */
export async function openAccounts(http: HttpOptions, count: number): Promise<string[]> {
  const run = randomUUID().slice(0, 8);
  const accounts = Array.from({ length: count }, (_, client) => `bench-${run}-${client}`);
  for (const id of accounts) {
    await post(http, '/v1/accounts', { id, catalog: 'imagineart', plan: 'standard' });
    const body = { bucket: 'plan', credits: CREDITS_PER_ACCOUNT, reason: 'bench' };
    await post(http, `/v1/accounts/${id}/adjustments`, body);
  }
  return accounts;
}

/** A unit is one generation: `POST`, which answers once the credits are held, then waiting until it succeeded. */
export function generationsOverHttp(
  http: HttpOptions,
  accounts: readonly string[],
  /** Milliseconds until the credits were held. */
  onAnswer: (ms: number) => void = () => undefined,
): Work {
  return async (client) => {
    const account = accounts[client % accounts.length];
    const askedMs = performance.now();
    const started = Generation.parse(await post(http, '/v1/generations', { account, ...ORDER }));
    onAnswer(performance.now() - askedMs);
    const url = `${http.baseUrl}/v1/generations/${started.id}?wait=30`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${http.adminKey}` } });
    const ended = Generation.parse(await bodyOf(response));
    if (ended.status !== 'succeeded') throw new Error(`generation ${ended.id} ended as ${ended.status}`);
  };
}

/** A unit is a reservation: `POST`, which answers once the credits are held. What becomes of the work is not waited for. */
export function ordersOverHttp(http: HttpOptions, accounts: readonly string[]): Work {
  return async (client) => {
    await post(http, '/v1/generations', { account: accounts[client % accounts.length], ...ORDER });
  };
}

async function post({ baseUrl, adminKey }: HttpOptions, route: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${baseUrl}${route}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${adminKey}`,
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
    },
    body: JSON.stringify(body),
  });
  return bodyOf(response);
}

async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}
