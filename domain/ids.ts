import { sha256 } from 'js-sha256';

/**
 * Ids carry their account, so a route that takes a bare id still knows which account, and so which
 * shard, it belongs to. Pure: workflow code may call these (test vectors in docs/temporal.md).
 */

export const ACCOUNT_ID = /^[A-Za-z0-9_-]{1,64}$/;
export const MAX_KEY_LENGTH = 255;

/** `gen_<account>.<first 32 hex digits of sha256(key)>`: also the id of the generation's workflow. */
export function generationId(account: string, key: string): string {
  return `gen_${account}.${sha256(key).slice(0, 32)}`;
}

/** A purchase made under an idempotency key: asked for twice, it is the same purchase. */
export function purchaseId(account: string, key: string): string {
  return `pur_${account}.${sha256(key).slice(0, 32)}`;
}

/** The one hold a generation may have. */
export function holdIdOf(generation: string): string {
  return generation.replace(/^gen_/, 'hold_');
}

/** The one charge that late work of a generation may come to. */
export function lateChargeIdOf(generation: string): string {
  return `${holdIdOf(generation)}-late`;
}

/** The account workflow's id. */
export function accountWorkflowId(account: string): string {
  return `acct_${account}`;
}

export const TEST_CLOCK_ID = /^tc_[0-9a-f]{24}$/;

/** The id of the workflow that moves a test clock. */
export function clockWorkflowId(clock: string): string {
  return `clock_${clock}`;
}

/** The account inside `gen_<account>.<...>`, `hold_<account>.<...>` or `qt_<account>.<...>`; null if malformed. */
export function accountOf(id: string): string | null {
  return /^(?:gen|hold|qt|pur)_([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{1,64}$/.exec(id)?.[1] ?? null;
}

/**
 * JSON with object keys sorted (by UTF-16 units), so that two spellings of one request hash alike. Kept hashes are compared with
 * it for ever: one other byte, and every key that was ever used is a conflict. test/domain/ids.test.ts pins it.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

/** sha256 (hex) over method, route and body. `confirm` is not part of a request's identity (rule 1). */
export function requestHash(request: { method: string; route: string; body: unknown }): string {
  const { method, route, body } = request;
  const identity =
    body !== null && typeof body === 'object' && !Array.isArray(body)
      ? Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'confirm'))
      : body;
  return sha256(`${method} ${route}\n${canonicalJson(identity)}`);
}
