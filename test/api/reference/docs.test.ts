import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { commonErrors, OUTSIDE_ROUTES } from '../../../api/reference/routeErrors';
import { openApiDocument } from '../../../api/reference/openapi';
import { PROBLEMS } from '../../../api/problems/kinds';
import { markdown, problemTable, routeTable, scopeTable } from '../../../api/reference/tables';
import { testDatabase } from '../../support/database';
import { startApp } from '../app';
import { describedRoutes } from './describedRoutes';

const routes = describedRoutes();
const everything = routes.filter(({ path }) => path !== '/openapi.json');
const document = openApiDocument(routes);

const DOCS = join(__dirname, '../../../docs/api.md');

const SECTIONS = {
  problems: markdown(problemTable()),
  scopes: markdown(scopeTable()),
  routes: markdown(routeTable(everything)),
};

/** docs/api.md with the text between each pair of markers made again. */
function rendered(current: string): string {
  return Object.entries(SECTIONS).reduce(
    (text, [name, section]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`),
        (_whole, open: string, close: string) => `${open}${section}\n${close}`,
      ),
    current,
  );
}

test('docs/api.md says what the code does (UPDATE_DOCS=1 writes it again)', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOCS, rendered(readFileSync(DOCS, 'utf8')));
  const current = readFileSync(DOCS, 'utf8');
  for (const section of Object.values(SECTIONS)) expect(current).toContain(section);
  expect(current).toBe(rendered(current));
});

test('every problem code can be answered somewhere, and every code answered is in the list', () => {
  const answered = new Set([
    ...everything.flatMap((each) => [...commonErrors(each), ...each.errors]),
    ...OUTSIDE_ROUTES,
  ]);
  expect([...answered].toSorted()).toEqual(Object.keys(PROBLEMS).toSorted());
});

test('the OpenAPI document has every code, every route, and only references that resolve', () => {
  const text = JSON.stringify(document);
  for (const { path, method } of everything) {
    expect(document).toHaveProperty(['paths', path, method.toLowerCase(), 'operationId']);
  }
  const codes = everything.flatMap((each) => [...commonErrors(each), ...each.errors]);
  for (const code of codes) expect(text).toContain(`\`${code}\`: `);
  for (const [, reference = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    expect(document).toHaveProperty(reference.split('/'));
  }
  expect(document).toMatchObject({ openapi: '3.1.0' });
  expect(document).toHaveProperty(['components', 'schemas', 'Problem', 'properties', 'code', 'enum']);
});

test('the OpenAPI document says where an answer can be CSV', () => {
  const content = ['get', 'responses', '200', 'content', 'text/csv'];
  expect(document).toHaveProperty(['paths', '/v1/accounts/{id}/statement', ...content]);
  expect(document).not.toHaveProperty(['paths', '/v1/accounts/{id}/balance', ...content]);
});

test('operation ids are unique', () => {
  const ids = Object.values(
    document['paths'] as Record<string, Record<string, { operationId: string }>>,
  ).flatMap((methods) => Object.values(methods).map(({ operationId }) => operationId));
  expect(new Set(ids).size).toBe(ids.length);
});

describe.each(everything.map((each) => [`${each.method} ${each.path}`, each] as const))(
  '%s',
  (_name, each) => {
    test('has a schema for exactly the parameters of its path', () => {
      const inPath = [...each.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const operation = openApiDocument([each])['paths'] as Record<
        string,
        Record<string, { parameters: { in: string; name: string }[] }>
      >;
      const described = operation[each.path]?.[each.method.toLowerCase()]?.parameters ?? [];
      expect(described.filter((one) => one.in === 'path').map((one) => one.name)).toEqual(inPath);
    });

    test('rejects fields that it does not know, but for the query of a probe', () => {
      const query = each.tag === 'Health' ? null : each.query;
      for (const schema of [query, each.body].filter((one) => one !== null)) {
        const whole = z.toJSONSchema(schema, { io: 'input' });
        // A named schema comes as a reference to its definition.
        const json = whole.$ref === undefined ? whole : (Object.values(whole.$defs ?? {})[0] ?? whole);
        for (const branch of json.anyOf ?? [json])
          expect(branch).toMatchObject({ additionalProperties: false });
      }
    });

    test('takes an Idempotency-Key exactly when it is a POST, from a caller, kept in one place', () => {
      const takesKey = each.idempotency !== 'none';
      expect(takesKey).toBe(each.method === 'POST');
      expect(takesKey && each.scope === 'none').toBe(false);
      expect(each.replay !== undefined && each.keptBy === 'api-key').toBe(false);
    });
  },
);

describe('the pages', () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  let database: Awaited<ReturnType<typeof testDatabase>>;
  beforeAll(async () => {
    database = await testDatabase();
    app = await startApp({ db: database.db, routes: routes.filter(({ path }) => path.startsWith('/v1')) });
  });
  afterAll(async () => {
    await app.close();
    await database.close();
  });
  const get = (path: string) => app.call('GET', path, { key: null });

  test('/docs needs nothing but this server, under a policy that allows nothing else', async () => {
    const reply = await get('/docs');
    expect(reply.status).toBe(200);
    expect(reply.headers.get('content-security-policy')).toContain("default-src 'self'");
    const addresses = [...reply.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address = '']) => address);
    expect(addresses.length).toBeGreaterThan(3);
    for (const address of addresses) {
      expect(address).toMatch(/^\/docs\//);
      expect((await get(address)).status).toBe(200);
    }
    expect(reply.text).not.toMatch(/<script>/);
  });

  test('/openapi.json is served and describes itself', async () => {
    const reply = await get('/openapi.json');
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(reply.body['paths']).toHaveProperty(['/openapi.json']);
  });

  test('the type of every problem points at its row of /docs/problems', async () => {
    const reply = await get('/docs/problems');
    for (const code of Object.keys(PROBLEMS)) expect(reply.text).toContain(`<tr id="${code}">`);
  });
});

describe('the document is taken by common generators', () => {
  /** Every object in it, with where it is. */
  function* objects(value: unknown, at = ''): Generator<[string, Record<string, unknown>]> {
    if (value === null || typeof value !== 'object') return;
    if (!Array.isArray(value)) yield [at, value as Record<string, unknown>]; // it is JSON
    for (const [name, inner] of Object.entries(value)) yield* objects(inner, `${at}/${name}`);
  }
  /** Schemas only: what is called `properties` has schemas by names that may be anything. */
  const schemas = [...objects(document)].filter(([at]) => !at.endsWith('/properties'));
  const where = (is: (schema: Record<string, unknown>) => boolean) =>
    schemas.filter(([, schema]) => is(schema)).map(([at]) => at);
  const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

  test('no schema has what they stop at', () => {
    expect(where((schema) => 'prefixItems' in schema || schema['items'] === false)).toEqual([]);
    expect(where(({ default: preset }) => isObject(preset))).toEqual([]);
    expect(where(({ pattern }) => typeof pattern === 'string' && /\\[pP]\{/.test(pattern))).toEqual([]);
    const alone = where(({ type }) => type === 'null');
    expect(alone.filter((at) => !/\/(anyOf|oneOf)\/\d+$/.test(at))).toEqual([]);
  });

  test('a client in Go had 24 bits for credits: every number says how wide it is', () => {
    const numbers = where(({ type }) => [type].flat().includes('number'));
    expect(numbers.length).toBeGreaterThan(100);
    const doubles = new Set(where(({ format }) => format === 'double'));
    expect(numbers.filter((at) => !doubles.has(at))).toEqual([]);
    const wide = (schema: Record<string, unknown>) =>
      [schema['type']].flat().includes('integer') && Number(schema['maximum'] ?? Infinity) > 0x7fffffff;
    const narrow = where((schema) => wide(schema) && schema['format'] !== 'int64');
    expect(narrow.filter((at) => !at.includes('/headers/'))).toEqual([]);
  });

  test('a client in Go did not compile: no array within a union has items that may be null', () => {
    const inUnions = schemas.filter(([at]) => /\/anyOf\/\d+\/items$/.test(at));
    expect(inUnions.filter(([, { type }]) => [type].flat().includes('null')).map(([at]) => at)).toEqual([]);
    expect(inUnions.length).toBeGreaterThan(0);
  });

  test('no component has the name of another one’s constructor, and every tag is described', () => {
    const names = Object.keys((document['components'] as { schemas: object }).schemas);
    expect(names.filter((name) => name.startsWith('New') && names.includes(name.slice(3)))).toEqual([]);
    for (const tag of document['tags'] as { description?: string }[]) expect(tag.description).toBeTruthy();
  });

  test('the linter that most people run finds nothing, in the examples too', () => {
    const linter = join(__dirname, 'lintOpenapi.mjs');
    const found = execFileSync(process.execPath, [linter], { input: JSON.stringify(document) });
    expect(JSON.parse(found.toString())).toEqual([]);
  });

  test('every parameter is described, and shown where the example has it', () => {
    const described = [...objects(document)].filter(([at]) => /\/parameters\/\d+$/.test(at));
    expect(described.length).toBeGreaterThan(100);
    expect(described.filter(([, { description }]) => !description).map(([at]) => at)).toEqual([]);
    const inPaths = described.filter(([, parameter]) => parameter['in'] === 'path');
    expect(inPaths.filter(([, { example }]) => !example).map(([at]) => at)).toEqual([]);
  });

  test('what callers need most is typed: catalogs, paywalls, and what problems are read for', () => {
    const { schemas: components } = document['components'] as {
      schemas: Record<string, { properties: Record<string, unknown> }>;
    };
    for (const name of ['plans', 'packs', 'buckets', 'actions', 'rules'])
      expect(components['Catalog']?.properties).toHaveProperty(name);
    expect(components['Paywall']?.properties).toHaveProperty('packs');
    expect(components['Problem']?.properties).toMatchObject({
      paywall: { $ref: '#/components/schemas/Paywall' },
      quote: expect.anything() as unknown,
      shortfall: expect.anything() as unknown,
    });
  });
});
