import { z } from 'zod';
import { SCOPES } from '../routing/authenticate';
import { commonErrors, OUTSIDE_ROUTES } from './routeErrors';
import { digestible, isObject } from './digestible';
import { EXAMPLES } from './examples';
import { MAX_KEY_LENGTH } from '../../domain/ids';
import { PROBLEMS, type ProblemCode } from '../problems/kinds';
import { problemKind } from '../problems/problem';
import { paywall } from '../resources/generations/paywallSchema';
import { quote } from '../resources/generations/quotes';
import { type Route, route } from '../routing/route';
import { creditsOut, instantOut } from '../routing/schemas';
import { defined } from '../../domain/defined';

/** The OpenAPI 3.1 document, made from the routes table. */

type Json = Record<string, unknown>;

/** The version of the interface, not of the package: clients are written against it. */
const API_VERSION = '1.0.0';

const problem = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    instance: z.string().optional(),
    code: z.enum(Object.keys(PROBLEMS)),
    retryable: z.boolean(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    retryWithNewKey: z
      .boolean()
      .optional()
      .describe('The refusal stays the answer to its key; send the order again under a new one'),
    required: creditsOut.optional(),
    available: creditsOut.optional(),
    shortfall: creditsOut.optional(),
    paywall: paywall.optional(),
    quote: quote.optional().describe('With `confirmation_required`: what is to be confirmed'),
    quota: z.string().optional(),
    limit: z.number().nullable().optional(),
    used: z.number().optional(),
    resetsAt: instantOut.nullable().optional(),
    requiredPlan: z.string().nullable().optional(),
    requiredScope: z.enum(SCOPES).optional(),
    until: z.string().optional().describe('With `history_archived`: from then on it is known'),
    target: z.string().optional().describe('With `test_clock_advancing`: where the clock goes'),
    charge: z.string().optional().describe('With `late_report_applied`: the charge it was booked as'),
    checks: z
      .record(z.string(), z.enum(['ok', 'failing']))
      .optional()
      .describe('For `/readyz`: what works and what does not'),
  })
  .meta({
    id: 'Problem',
    description: 'RFC 9457, with a `code` from a closed list: see /docs/problems',
    examples: OUTSIDE_ROUTES.map((code) => EXAMPLES.problems[code]?.response.body),
  });

/** `GET /openapi.json`, which describes itself too. */
export function openApiRoute(routes: readonly Route[]): Route {
  const itself: Route = route({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    tag: 'Docs',
    scope: 'none',
    account: 'shared',
    errors: [],
    responses: { 200: z.looseObject({ openapi: z.string() }) },
  }).handle(() => Promise.resolve({ status: 200, text: document }));
  const document = JSON.stringify(openApiDocument([...routes, itself]));
  return itself;
}

/** What each part of the docs page is about. */
const TAGS: Readonly<Record<string, string>> = {
  Accounts: 'Whose credits they are, and by which plan',
  Generations: 'Work that costs credits: ordered, watched, reported, repaired',
  Balance: 'What can be spent, by bucket, now and at any instant before',
  'Holds and charges': 'Credits that a caller holds and captures itself, without a workflow',
  Prices: 'What things cost: catalogs, prices, quotes, estimates',
  Ledger: 'What happened to credits, row by row',
  Plans: 'Changes of plan, and what they would do',
  Operations: 'For whoever looks after the engine',
  'Test clocks': 'Time that stands still until it is told to move',
  'API keys': 'Who may do what',
  Health: 'For load balancers and Prometheus',
  Docs: 'This document',
};

export function openApiDocument(routes: readonly Route[]): Json {
  const components = new Components();
  components.schemaOf(problem);
  const paths: Record<string, Json> = {};
  for (const each of routes) {
    paths[each.path] = { ...paths[each.path], [each.method.toLowerCase()]: operation(each, components) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Holdfast',
      version: API_VERSION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'Credits for products that sell AI generations: reserve, run, capture or give back. ' +
        'Every problem code is explained at [/docs/problems](/docs/problems).',
    },
    servers: [{ url: '/', description: 'Where this document was read' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({
      name,
      description: TAGS[name],
    })),
    paths,
    components: {
      schemas: components.schemas,
      examples: problemExamples(routes),
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'The admin key, or one of /v1/api-keys' },
      },
    },
  };
}

function operation(each: Route, components: Components): Json {
  const scope = each.scope === 'none' ? 'Needs no key.' : `Needs scope \`${each.scope}\`.`;
  return {
    operationId: operationId(each),
    summary: each.summary,
    description: [each.description, scope].filter((text) => text !== undefined).join('\n\n'),
    tags: [each.tag],
    security: each.scope === 'none' ? [] : [{ key: [] }],
    parameters: parameters(each, components),
    ...requestBody(each, components),
    responses: { ...answers(each, components), ...problems(each) },
  };
}

/** One real request and answer of it. */
function exampleOf({ method, path }: Route) {
  return EXAMPLES.routes[`${method} ${path}`];
}

function requestBody(each: Route, components: Components): Json {
  const { body } = each;
  if (body === null) return {};
  const required = !body.safeParse({}).success;
  const example = exampleOf(each)?.request?.body;
  const content = { schema: components.schemaOf(body), ...defined({ example }) };
  return { requestBody: { required, content: { 'application/json': content } } };
}

/** `GET /v1/accounts/{id}/balance` → `getAccountsIdBalance`. */
function operationId({ method, path }: Route): string {
  const words = path.replace(/^\/v1/, '').match(/[A-Za-z0-9]+/g) ?? [];
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function parameters(each: Route, components: Components): Json[] {
  const shown = shownParameters(each);
  const shownIn = (place: 'path' | 'query', field: Json): Json => {
    const { type } = field['schema'] as Json; // as fields() makes them
    const value = shown.get(String(field['name']));
    const isText = type === 'string' || type === undefined;
    const example = value === undefined ? {} : { example: isText ? value : (JSON.parse(value) as unknown) };
    return { ...field, in: place, ...(place === 'path' ? { required: true } : {}), ...example };
  };
  const inPath = fields(each.params, components).map((field) => shownIn('path', field));
  const inQuery = fields(each.query, components).map((field) => shownIn('query', field));
  if (each.idempotency === 'none') return [...inPath, ...inQuery];
  const key = {
    name: 'Idempotency-Key',
    in: 'header',
    required: each.idempotency === 'required',
    description:
      'A value that the caller makes. The same key and request get the same answer, with one effect.',
    schema: { type: 'string', minLength: 1, maxLength: MAX_KEY_LENGTH },
  };
  return [...inPath, ...inQuery, key];
}

/** What parameters are that mean the same wherever they stand; a schema's own words come first. */
const PARAMETERS: Readonly<Record<string, string>> = {
  id: 'The id, as the answer had it that made it',
  limit: 'How many at most',
  q: 'An account’s id or e-mail address, a Stripe customer, a generation or a purchase',
  lots: 'Whether each lot is listed too',
  member: 'A member of the account, by the caller’s own id',
  purchase: 'The id of the purchase',
  catalog: 'The catalog, by its name',
  report: 'The `reportId` of the late report',
  status: 'Only those with this status',
  action: 'Only of this action',
  model: 'Only of this model',
  project: 'Only of this project, as the order named it',
  feature: 'Only of this feature, as the order named it',
  resolution: 'Only of this resolution',
  bucket: 'Only from this bucket',
  provider: 'Only work that this type of provider does',
  key: 'Only what has this Idempotency-Key',
  wait: 'Seconds that the answer may wait for the end of the generation',
  orphaned: '`true`: only holds whose workflow is gone; `false`: only the others',
  kind: 'Only rows of this kind',
  generation: 'Only rows of this generation, by its id',
  lot: 'Only rows that moved this lot, by its number',
  type: 'Only events of this type',
  account: 'The account, by its id',
};

/** The parameters of path and query of the route's example, by name. */
function shownParameters(each: Route): Map<string, string> {
  const shown = exampleOf(each)?.request?.path;
  if (shown === undefined) return new Map();
  const { pathname, searchParams } = new URL(shown, 'http://example');
  const names = [...each.path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const values = new RegExp(`^${each.path.replaceAll(/\{\w+\}/g, '([^/]+)')}$`).exec(pathname) ?? [];
  return new Map([
    ...names.map((name, index): [string, string] => [name, values[index + 1] ?? '']),
    ...searchParams,
  ]);
}

function fields(schema: z.ZodType | null, components: Components): Json[] {
  if (schema === null) return [];
  const { properties = {}, required = [] } = components.schemaOf(schema) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, field]) => {
    const { description, ...rest } = field;
    return {
      name,
      required: required.includes(name),
      description: description ?? PARAMETERS[name] ?? '',
      schema: rest,
    };
  });
}

function answers(each: Route, components: Components): Record<string, Json> {
  const headers = {
    ...REQUEST_ID,
    ...(each.idempotency === 'none'
      ? {}
      : { 'Idempotent-Replayed': header('`true` for an answer given before', { type: 'string' }) }),
  };
  return Object.fromEntries(
    Object.entries(each.responses).map(([status, schema]) => {
      const type = schema instanceof z.ZodString ? 'text/plain' : 'application/json';
      const csv = each.csv === true ? { 'text/csv': { schema: { type: 'string' } } } : {};
      const shown = exampleOf(each)?.response;
      const example = String(shown?.status) === status ? { example: shown?.body } : {};
      const content = { [type]: { schema: components.schemaOf(schema), ...example }, ...csv };
      return [status, { description: each.summary, headers, content }];
    }),
  );
}

/** By code, those that some route names; the schema of a problem shows the others. */
function problemExamples(routes: readonly Route[]): Json {
  const codes = new Set(routes.flatMap((each) => [...commonErrors(each), ...each.errors]));
  return Object.fromEntries(
    [...codes].map((code) => [
      code,
      { summary: PROBLEMS[code].title, value: EXAMPLES.problems[code]?.response.body },
    ]),
  );
}

/** One entry per status; the codes behind it are listed in its description. */
function problems(each: Route): Record<string, Json> {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of new Set([...commonErrors(each), ...each.errors])) {
    const { status } = problemKind(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => {
      const examples = Object.fromEntries(
        codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
      );
      const schema = { $ref: '#/components/schemas/Problem' };
      const content = { 'application/problem+json': { schema, examples } };
      const description = codes.map((code) => `\`${code}\`: ${problemKind(code).title}`).join('\n\n');
      return [String(status), { description, headers: problemHeaders(status, codes), content }];
    }),
  );
}

function header(description: string, schema: Json): Json {
  return { description, schema };
}

const REQUEST_ID = {
  'X-Request-Id': header('The id the client sent, or one that was made: the log has it', { type: 'string' }),
};

function problemHeaders(status: number, codes: readonly ProblemCode[]): Json {
  const waits = codes.some((code) => problemKind(code).retryAfterSeconds !== undefined);
  return {
    ...REQUEST_ID,
    ...(waits ? { 'Retry-After': header('Seconds', { type: 'integer', minimum: 0 }) } : {}),
    ...(status === 401
      ? { 'WWW-Authenticate': header('Which kind of key is wanted', { type: 'string' }) }
      : {}),
  };
}

/** Schemas with an id (`.meta({ id })`) are written once, under components; everything else stays in place. */
class Components {
  readonly schemas: Record<string, unknown> = {};

  schemaOf(schema: z.ZodType): Json {
    // Where a schema transforms, `input` is what travels over the wire.
    const {
      $schema: _dialect,
      $defs,
      ...rest
    } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'throw' });
    for (const [id, definition] of Object.entries($defs ?? {})) this.add(id, pointed(definition));
    return pointed(rest);
  }

  private add(id: string, definition: Json): void {
    const known = this.schemas[id];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(definition)) {
      throw new Error(`two different schemas are called ${id}: give one of them another meta id`);
    }
    this.schemas[id] = definition;
  }
}

/** zod points at `#/$defs/<id>`; the document keeps them under its components. And says no more than common generators take. */
function pointed(schema: object): Json {
  const text = JSON.stringify(schema, (name, value: unknown) => {
    if (name === '$ref' && typeof value === 'string')
      return value.replace('#/$defs/', '#/components/schemas/');
    // What is called `properties` is not a schema, but has some.
    return isObject(value) && name !== 'properties' ? digestible(value) : value;
  });
  return JSON.parse(text) as Json;
}
