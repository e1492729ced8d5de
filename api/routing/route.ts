import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { z } from 'zod';
import { accountOf } from '../../domain/ids';
import type { Caller, RequiredScope } from './authenticate';
import type { ProblemCode } from '../problems/kinds';
import { validate, validateParams } from './validate';

/** What a row of the routes table is. The router, validation, OpenAPI and the docs all read the same rows. */

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Whether the request may or must carry an Idempotency-Key. Every POST takes one. */
export type KeyNeed = 'none' | 'optional' | 'required';

/** Whose the key is: the account's, or that of the API key that sent it. */
export type KeptBy = 'account' | 'api-key';

/** The request before anything but its JSON syntax was checked. */
export interface RawRequest {
  params: Readonly<Record<string, string>>;
  query: Readonly<Record<string, unknown>>;
  body: unknown;
}

/** A request with a key, before its shape is checked: enough to find an answer that was given already. */
export interface KeyedRequest extends RawRequest {
  account: string;
  key: string;
  hash: string;
  caller: Caller;
}

/**
 * Which account a request is about, so that a key bound to one account reaches no other:
 * a function (see accountFrom), `shared` for what belongs to everyone, `all` for what spans accounts.
 */
export type AccountOf = 'shared' | 'all' | ((request: RawRequest) => string | null);

/** What a handler gets beside the validated parts of the request. */
export interface BareContext {
  requestId: string;
  /** When it came in, in monotonic milliseconds of this process. */
  arrivedMs: number;
  caller: Caller;
  logger: Logger;
  /** Aborted when the client goes away before it was answered. */
  signal: AbortSignal;
  /** By its Accept header, the client would rather have text/csv than JSON. */
  prefersCsv: boolean;
  key: string | null;
  /** The request's identity for its key (rule 1). */
  hash: string;
  transaction: Knex.Transaction | null;
}

export interface Context<P, Q, B, N extends KeyNeed, K extends KeptBy>
  extends Omit<BareContext, 'key' | 'transaction'> {
  params: P;
  query: Q;
  body: B;
  key: N extends 'required' ? string : N extends 'optional' ? string | null : null;
  /** Where `keptBy` is `api-key`: the effect goes into the transaction that keeps its answer. */
  transaction: K extends 'api-key' ? Knex.Transaction : null;
}

interface AnswerExtras {
  headers?: Record<string, string>;
  /** An answer that was given before: sent with `Idempotent-Replayed: true`. */
  replayed?: boolean;
  /** What the answer waits for once its transaction, if it has one, is committed: no connection is held meanwhile. */
  afterCommit?: () => Promise<void>;
}

/** Text that is sent byte for byte, such as a stored answer. JSON, or a problem from status 400, unless said. */
export interface TextAnswer extends AnswerExtras {
  status: number;
  text: string;
  contentType?: string;
  /** What follows the text, read as fast as the client takes it; of routes that keep no answers. */
  more?: AsyncIterable<string>;
}

export type Responses = Record<number, z.ZodType>;

/**
 * One of the statuses that the route declares, with the body that belongs to it.
 * The `text` that is never there lets TypeScript tell it from a TextAnswer, and so keep `status: 201` exact.
 */
type BodyAnswer<R extends Responses> = {
  [S in keyof R & number]: AnswerExtras & { status: S; body: z.output<R[S]>; text?: undefined };
}[keyof R & number];

export type Answer<R extends Responses> = BodyAnswer<R> | TextAnswer;

interface RouteFacts {
  method: Method;
  /** In full, with parameters in braces: `/v1/accounts/{id}`. */
  path: string;
  summary: string;
  description?: string;
  tag: string;
  scope: RequiredScope;
  account: AccountOf;
  /** The codes this route can answer beyond those that every route can (see `commonErrors`). */
  errors: readonly ProblemCode[];
  /** What it reads grows with what there is, or with what is asked: it goes through the gate, and reads through `db.reports`. */
  load?: 'report' | ((request: RawRequest) => boolean);
  /** Also answers text/csv, to who asks with Accept or `?format=csv` (see csv.ts). */
  csv?: true;
  /**
   * Renders the answer from what the ledger keeps under the account's key, where no text of it is kept. It is asked
   * before the shape is checked (rule 1), and the key is known to have come with this very request.
   */
  replay?: (request: KeyedRequest) => Promise<TextAnswer | null>;
  /**
   * By default the router keeps the text of a keyed answer of an account's. `facts`: the ledger keeps, in the
   * operation's own transaction, all that `replay` makes the same bytes of.
   */
  keptAs?: 'facts';
  /** What it answers moves no credits: the text that is kept of it goes after 30 days, and its key is new again (rule 38). */
  passing?: true;
  /**
   * The ledger looks its keys up on its own, so that asking before is only worth a round trip for requests that are
   * refused before they get there. All routes whose answers are kept as facts ask then; these ask only then.
   */
  replayOnRefusal?: true;
}

interface Definition<
  P extends z.ZodType,
  Q extends z.ZodType,
  B extends z.ZodType,
  R extends Responses,
  N extends KeyNeed,
  K extends KeptBy,
> extends RouteFacts {
  params?: P;
  query?: Q;
  body?: B;
  idempotency?: N;
  keptBy?: K;
  responses: R;
}

/** A row of the table, its types settled: what the router and the document need. */
export interface Route extends RouteFacts {
  params: z.ZodType | null;
  query: z.ZodType | null;
  body: z.ZodType | null;
  responses: Responses;
  idempotency: KeyNeed;
  keptBy: KeptBy;
  /** Checks the request's shape (throws a ProblemError) and returns what runs the handler. */
  accept: (request: RawRequest) => (context: BareContext) => Promise<TextAnswer>;
}

const noFields = z.strictObject({});
type NoFields = typeof noFields;

/**
 * Makes a row: `route({ …facts and schemas }).handle(async (context) => …)`. The handler comes second so that
 * its arguments and answers are typed by schemas that are settled by then.
 */
export function route<
  R extends Responses,
  P extends z.ZodType = NoFields,
  Q extends z.ZodType = NoFields,
  B extends z.ZodType = NoFields,
  N extends KeyNeed = 'none',
  K extends KeptBy = 'account',
>(definition: Definition<P, Q, B, R, N, K>) {
  type FullContext = Context<z.output<P>, z.output<Q>, z.output<B>, N, K>;
  const { params, query, body, idempotency, keptBy, ...facts } = definition;

  function handle(handler: (context: FullContext) => Promise<Answer<R>>): Route {
    return {
      ...facts,
      params: params ?? null,
      query: query ?? null,
      body: body ?? null,
      idempotency: idempotency ?? 'none',
      keptBy: keptBy ?? 'account',
      accept(request) {
        // A schema is left out exactly where its type parameter is NoFields, which TypeScript cannot see.
        const checked = {
          params: validateParams((params ?? noFields) as P, request.params, definition.errors),
          ...validate({ query: (query ?? noFields) as Q, body: (body ?? noFields) as B }, request),
        };
        return async (context) => {
          // The router gives key and transaction as `idempotency` and `keptBy` say; the types follow from them.
          const full = { ...context, ...checked } as FullContext;
          return asText(await handler(full));
        };
      },
    };
  }
  return { handle };
}

function asText<R extends Responses>(answer: Answer<R>): TextAnswer {
  if (answer.text !== undefined) return answer;
  const { status, body, headers = {}, replayed = false, afterCommit } = answer;
  const rest = afterCommit === undefined ? {} : { afterCommit };
  return { status, text: JSON.stringify(body), headers, replayed, ...rest };
}

function textAt(container: unknown, name: string): string | null {
  if (container === null || typeof container !== 'object' || !Object.hasOwn(container, name)) return null;
  const value: unknown = Reflect.get(container, name);
  return typeof value === 'string' ? value : null;
}

/** Where a request names its account. */
export const accountFrom = {
  /** `/v1/accounts/{id}/…` */
  param:
    (name: string): AccountOf =>
    ({ params }) =>
      textAt(params, name),
  /** `{ "account": "…" }` */
  body:
    (name: string): AccountOf =>
    ({ body }) =>
      textAt(body, name),
  /** `?account=…` */
  query:
    (name: string): AccountOf =>
    ({ query }) =>
      textAt(query, name),
  /** An id in the path that carries its account: `gen_<account>.<…>`. */
  idParam:
    (name: string): AccountOf =>
    ({ params }) => {
      const id = textAt(params, name);
      return id === null ? null : accountOf(id);
    },
} as const;
