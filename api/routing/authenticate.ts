import { createHash, timingSafeEqual } from 'node:crypto';
import { ProblemError } from '../problems/problem';

/** Who is calling, and whether that is enough. Keys are looked up for every request: a deleted one ends at once. */

export const SCOPES = ['read', 'generate', 'billing', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];
/** `none`: the route is open to everyone. */
export type RequiredScope = Scope | 'none';

/** What a key with a scope may do beside that scope itself. */
export const SCOPE_INCLUDES: Readonly<Record<Scope, readonly Scope[]>> = {
  read: [],
  generate: ['read'],
  billing: ['read'],
  admin: ['read', 'generate', 'billing'],
};

/** Who sent a request. */
export interface Caller {
  /** `admin` for HOLDFAST_ADMIN_KEY, `anonymous` on open routes, else the key's id. */
  keyId: string;
  /** With everything they include. */
  scopes: ReadonlySet<Scope>;
  /** The one account a bound key may touch; null: all of them. */
  account: string | null;
}

/** A caller with the key it showed. The key stays in the router: it seals kept answers, handlers never see it. */
export interface Authenticated {
  caller: Caller;
  bearer: string;
}

export type Authenticate = (authorization: string | undefined) => Promise<Authenticated>;

export type FindKey = (
  id: string,
) => Promise<{ secretSha256: Buffer; scopes: readonly string[]; account: string | null } | null>;

export const ANONYMOUS: Authenticated = {
  caller: { keyId: 'anonymous', scopes: new Set(), account: null },
  bearer: '',
};

/** `hf_<id>_<secret>`: the id finds the row, the hash of the whole proves the secret. */
const KEY_FORM = /^hf_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Throws `unauthorized` without a valid key. */
export function createAuthenticate({
  adminKey,
  findKey,
}: {
  adminKey: string;
  findKey: FindKey;
}): Authenticate {
  const adminHash = sha256(adminKey);
  const admin: Caller = { keyId: 'admin', scopes: new Set(SCOPES), account: null };

  return async (authorization) => {
    const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    if (bearer === undefined) throw unauthorized('Send a key as `Authorization: Bearer <key>`.');
    // Hashes have one length whatever was sent, so the comparison takes the same time for every guess.
    const hash = sha256(bearer);
    if (timingSafeEqual(hash, adminHash)) return { caller: admin, bearer };
    const keyId = KEY_FORM.exec(bearer)?.[1];
    const row = keyId === undefined ? null : await findKey(keyId);
    if (keyId === undefined || row === null || !timingSafeEqual(hash, row.secretSha256)) {
      throw unauthorized('The key is unknown or was deleted.');
    }
    return { caller: { keyId, scopes: withIncluded(row.scopes), account: row.account }, bearer };
  };
}

/**
 * Throws `scope_missing` when the key is too small for the route, or bound to an account that is not the
 * request's. The answer is the same whether that other account exists or not.
 */
export function authorize(
  caller: Caller,
  { scope, account }: { scope: RequiredScope; account: 'shared' | 'all' | { id: string | null } },
): void {
  if (scope === 'none') return;
  if (!caller.scopes.has(scope)) {
    throw new ProblemError('scope_missing', {
      detail: `This needs a key with scope \`${scope}\`.`,
      extensions: { requiredScope: scope },
    });
  }
  if (caller.account === null || account === 'shared') return;
  if (account === 'all' || account.id !== caller.account) {
    throw new ProblemError('scope_missing', {
      detail: `This key is bound to account \`${caller.account}\`, and the request is not about that account.`,
      extensions: { requiredScope: scope },
    });
  }
}

function withIncluded(scopes: readonly string[]): ReadonlySet<Scope> {
  const known = SCOPES.filter((scope) => scopes.includes(scope));
  return new Set([...known, ...known.flatMap((scope) => SCOPE_INCLUDES[scope])]);
}

function unauthorized(detail: string): ProblemError {
  return new ProblemError('unauthorized', {
    detail,
    headers: { 'WWW-Authenticate': 'Bearer realm="holdfast"' },
  });
}
