import { z } from 'zod';
import { commonErrors } from './commonErrors';
import { MAX_KEY_LENGTH } from '../domain/ids';
import { PROBLEMS, type ProblemCode } from './problemKinds';
import { problemKind } from './problems';
import { type Route, route } from './route';

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
  })
  .meta({ id: 'Problem', description: 'RFC 9457, with a `code` from a closed list: see /docs/problems' });

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
      description:
        'Credits for products that sell AI generations: reserve, run, capture or give back. ' +
        'Every problem code is explained at [/docs/problems](/docs/problems).',
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: components.schemas,
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

function requestBody({ body }: Route, components: Components): Json {
  if (body === null) return {};
  const required = !body.safeParse({}).success;
  return {
    requestBody: { required, content: { 'application/json': { schema: components.schemaOf(body) } } },
  };
}

/** `GET /v1/accounts/{id}/balance` → `getAccountsIdBalance`. */
function operationId({ method, path }: Route): string {
  const words = path.replace(/^\/v1/, '').match(/[A-Za-z0-9]+/g) ?? [];
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function parameters(each: Route, components: Components): Json[] {
  const inPath = fields(each.params, components).map((field) => ({ ...field, in: 'path', required: true }));
  const inQuery = fields(each.query, components).map((field) => ({ ...field, in: 'query' }));
  if (each.idempotency === 'none') return [...inPath, ...inQuery];
  const key = {
    name: 'Idempotency-Key',
    in: 'header',
    required: each.idempotency === 'required',
    description: 'Of your own making. The same key and request get the same answer, with one effect.',
    schema: { type: 'string', minLength: 1, maxLength: MAX_KEY_LENGTH },
  };
  return [...inPath, ...inQuery, key];
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
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

function answers(each: Route, components: Components): Record<string, Json> {
  const replayed =
    each.idempotency === 'none'
      ? {}
      : {
          headers: {
            'Idempotent-Replayed': {
              description: '`true` for an answer given before',
              schema: { type: 'string' },
            },
          },
        };
  return Object.fromEntries(
    Object.entries(each.responses).map(([status, schema]) => {
      const type = schema instanceof z.ZodString ? 'text/plain' : 'application/json';
      const csv = each.csv === true ? { 'text/csv': { schema: { type: 'string' } } } : {};
      const content = { [type]: { schema: components.schemaOf(schema) }, ...csv };
      return [status, { description: each.summary, ...replayed, content }];
    }),
  );
}

/** One entry per status; the codes behind it are listed in its description. */
function problems(each: Route): Record<string, Json> {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of new Set([...commonErrors(each), ...each.errors])) {
    const { status } = problemKind(code);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => {
      const description = codes.map((code) => `\`${code}\`: ${problemKind(code).title}`).join('\n\n');
      return [String(status), { description, content }];
    }),
  );
}

/** Schemas with an id (`.meta({ id })`) are written once, under components; everything else stays in place. */
class Components {
  readonly schemas: Record<string, unknown> = {};

  schemaOf(schema: z.ZodType): Json {
    // Of a schema that transforms, `input` is what travels over the wire.
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

/** zod points at `#/$defs/<id>`; the document keeps them under its components. */
function pointed(schema: object): Json {
  const text = JSON.stringify(schema, (name, value: unknown) =>
    name === '$ref' && typeof value === 'string' ? value.replace('#/$defs/', '#/components/schemas/') : value,
  );
  return JSON.parse(text) as Json;
}
