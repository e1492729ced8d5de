import { randomUUID } from 'node:crypto';
import type { Engine } from '../engine';
import { median } from '../kit/measure';
import { processorMs } from '../kit/processor';
import { columns } from '../kit/report';

/** What a request costs the API in processor time, by how far it gets. */

interface Step {
  name: string;
  status: number;
  send: (engine: Engine) => Promise<Response>;
}

const CALLERS = 8;
const REQUESTS = 2_000;
const ROUNDS = 3;

const STEPS: readonly Step[] = [
  {
    name: 'answered from memory, without a key: Express, security headers, log',
    status: 200,
    send: ({ baseUrl }) => fetch(`${baseUrl}/healthz`),
  },
  {
    name: 'authenticated, its body read and found wrong, the problem rendered',
    status: 422,
    send: (engine) => post(engine, '/v1/holds', { account: 'hot-0' }),
  },
  {
    name: 'decided and written by the ledger, the answer rendered: a charge',
    status: 201,
    send: (engine) => post(engine, '/v1/charges', { account: 'hot-0', credits: 1 }),
  },
];

/** One line for each step: processor milliseconds of the API, and those of Postgres, for one request. */
export async function requestParts(engine: Engine): Promise<string> {
  const { api, postgres } = engine.processes;
  const measured = STEPS.map((step) => ({ step, api: [] as number[], postgres: [] as number[] }));
  for (let round = 0; round <= ROUNDS; round += 1)
    for (const one of measured) {
      const before = [processorMs(api), processorMs(postgres)];
      await Promise.all(Array.from({ length: CALLERS }, () => askOften(engine, one.step)));
      if (round === 0) continue; // it warms up
      one.api.push(perRequest(before[0], processorMs(api)));
      one.postgres.push(perRequest(before[1], processorMs(postgres)));
    }
  return columns([
    ['API ms', 'Postgres ms', 'a request that is'],
    ...measured.map((one) => [shown(one.api), shown(one.postgres), one.step.name]),
  ]);
}

async function askOften(engine: Engine, { send, status, name }: Step): Promise<void> {
  for (let n = 0; n < REQUESTS / CALLERS; n += 1) {
    const response = await send(engine);
    const text = await response.text();
    if (response.status !== status) throw new Error(`${name}: ${response.status} ${text}`);
  }
}

function post({ baseUrl, adminKey }: Engine, route: string, body: unknown): Promise<Response> {
  return fetch(`${baseUrl}${route}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${adminKey}`,
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
    },
    body: JSON.stringify(body),
  });
}

function perRequest(before: number | null | undefined, after: number | null): number {
  return before === null || before === undefined || after === null ? Number.NaN : (after - before) / REQUESTS;
}

/** Not known where the system does not tell what a process used. */
function shown(values: readonly number[]): string {
  const middle = median(values);
  return Number.isNaN(middle) ? 'not known' : middle.toFixed(2);
}
