import { createConnection } from 'node:net';
import type { Example, Examples } from '../../../api/reference/examples';
import type { PROBLEMS } from '../../../api/problems/kinds';
import type { Route } from '../../../api/routing/route';
import type { Engine } from '../../support/processes/engine';
import { defined } from '../../../domain/defined';

export interface Sent {
  body?: unknown;
  /** Idempotency-Key: one of its own where the route needs one and none is said; null: none. */
  key?: string | null;
  apiKey?: string;
}
type Json = Record<string, unknown>;

/** Asks a running engine, and keeps the first answer of each route and of each problem in `now`. */
export function createRecorder(routes: readonly Route[], engine: () => Engine) {
  const now: Examples = { routes: {}, problems: {} };
  let orders = 0;

  const routeOf = (method: string, at: string) =>
    routes.find((each) => each.method === method && pattern(each.path).test(at.replace(/\?.*/, '')));

  async function send(method: string, at: string, { body, key, apiKey }: Sent): Promise<Json> {
    const needsKey = routeOf(method, at)?.idempotency === 'required';
    const idempotencyKey = key === undefined && needsKey ? `order-${(orders += 1)}` : (key ?? undefined);
    const keyed = idempotencyKey === undefined ? {} : { idempotencyKey };
    const request = { method, path: at, ...keyed, ...defined({ body }) };
    const as = apiKey === undefined ? {} : { apiKey };
    const reply = await engine().call<Json>(method, at, { ...request, ...as });
    const isText = Object.keys(reply.body).length === 0;
    keep(request, reply.status, isText ? excerpt(reply.text) : reply.body);
    return reply.body;
  }

  function keep(request: NonNullable<Example['request']>, status: number, answer: Json | string): void {
    const example = { request, response: { status, body: answer } };
    if (typeof answer !== 'string' && typeof answer['code'] === 'string')
      now.problems[answer['code']] ??= example;
    const route = status < 400 ? routeOf(request.method, request.path) : undefined;
    if (route !== undefined) now.routes[`${route.method} ${route.path}`] ??= example;
  }

  /** What must be answered without a problem. */
  async function ask(method: string, at: string, sent: Sent = {}): Promise<Json> {
    const answer = await send(method, at, sent);
    expect([at, answer['code']]).toEqual([at, undefined]);
    return answer;
  }

  async function refused(code: keyof typeof PROBLEMS, method: string, at: string, sent: Sent = {}) {
    const body = await send(method, at, sent);
    expect([at, body['code']]).toEqual([at, code]);
  }

  /** Sends bytes as they are, and keeps the problem that comes back. */
  async function raw(sent: string): Promise<void> {
    const { hostname, port } = new URL(engine().url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = createConnection(Number(port), hostname);
      let all = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => (all += chunk));
      socket.on('error', reject).on('close', () => resolve(all));
      socket.write(sent);
    });
    const body = JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as Json; // a problem
    now.problems[String(body['code'])] ??= { response: { status: Number(body['status']), body } };
  }

  return { now, ask, send, refused, raw, keep };
}

function pattern(template: string): RegExp {
  return new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
}

/** For /metrics the lines of one gauge. */
function excerpt(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.includes('holdfast_pg_pool_connections'))
    .map((line) => `${line}\n`)
    .join('');
}

/** What of a value is the same in every run: which fields there are, and of what kind. */
export function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])];
  if (value === null || typeof value !== 'object') return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shape(each)]));
}
