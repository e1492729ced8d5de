import recorded from './examples.json';

/** One real request and answer for each route, and one for each problem; test/api/reference/examples.test.ts records and checks them. */

export interface Example {
  request?: { method: string; path: string; idempotencyKey?: string; body?: unknown };
  response: { status: number; body: unknown };
}

export interface Examples {
  /** By `GET /v1/accounts/{id}`. */
  routes: Record<string, Example>;
  /** By code. */
  problems: Record<string, Example>;
}

export const EXAMPLES: Examples = recorded;
