import * as fc from 'fast-check';
import { z } from 'zod';

/** Bodies and queries that a route's schema lets through, or nearly: made from the schema, then spoiled in one or two places. */

interface Json {
  $ref?: string;
  $defs?: Record<string, Json>;
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: (Json | boolean)[];
  oneOf?: (Json | boolean)[];
  allOf?: (Json | boolean)[];
  properties?: Record<string, Json | boolean>;
  required?: string[];
  items?: Json | boolean;
  minimum?: number;
  maximum?: number;
}

/** What no careful client sends: the numbers, years and words at which programs break. */
export const ABSURD: readonly unknown[] = [
  null,
  true,
  '',
  0,
  -0,
  -1,
  0.0005,
  1e-300,
  2 ** 31,
  2 ** 31 - 1,
  2 ** 53 - 1,
  2 ** 53,
  1e21,
  1e308,
  -1e308,
  [],
  {},
  [[]],
  '__proto__',
  'constructor',
  'toString',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '9999-12-31T23:59:59-23:59',
  '2026-02-30T00:00:00Z',
  '+275760-09-13T00:00:00Z',
  'P1Y',
  'Factory',
  'Etc/GMT+12',
  '%00',
  "'; DROP TABLE ledger.lots; --",
  '😀'.repeat(64),
  'x'.repeat(300),
];

/** By a field's name, what is there: so that requests get past the first check. */
export type Known = Readonly<Record<string, readonly unknown[]>>;

export function bodiesOf(schema: z.ZodType, known: Known): fc.Arbitrary<unknown> {
  const whole = schemaOf(schema);
  const good = valid(whole, { known, defs: whole.$defs ?? {}, name: '' });
  return fc.oneof({ weight: 3, arbitrary: good.chain(spoiled) }, { weight: 1, arbitrary: good });
}

/** Query strings with one of a route's own fields and something absurd in it: all there are. */
export function queriesOf(schema: z.ZodType): string[] {
  const names = Object.keys(schemaOf(schema).properties ?? {});
  return names.flatMap((name) =>
    ABSURD.map((value) => new URLSearchParams({ [name]: String(value) }).toString()),
  );
}

function schemaOf(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json; // as zod describes it
}

interface Place {
  known: Known;
  defs: Record<string, Json>;
  name: string;
}

function valid(schema: Json | boolean, place: Place): fc.Arbitrary<unknown> {
  const { known, defs, name } = place;
  if (typeof schema === 'boolean') return absurd();
  const here = known[name];
  if (here !== undefined) return fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...here) }, absurd());
  const { $ref: reference } = schema;
  if (reference !== undefined) return valid(defs[reference.replace('#/$defs/', '')] ?? {}, place);
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices !== undefined) return fc.oneof(...choices.map((one) => valid(one, place)));
  switch (schema.type) {
    case 'object': {
      const fields = Object.entries(schema.properties ?? {});
      if (fields.length === 0) return fc.dictionary(words(), fc.oneof(absurd(), words()), { maxKeys: 3 });
      const required = new Set(schema.required ?? []);
      const optional = fields.map(([field]) => field).filter((field) => !required.has(field));
      // Few at a time, so that most of what is sent is wrong in one place only.
      return fc
        .subarray(optional, { maxLength: Math.min(2, optional.length) })
        .chain((chosen) =>
          fc.record(
            Object.fromEntries(
              fields
                .filter(([field]) => required.has(field) || chosen.includes(field))
                .map(([field, one]) => [field, valid(one, { ...place, name: field })]),
            ),
          ),
        );
    }
    case 'array':
      return fc.array(valid(schema.items ?? {}, { ...place, name: '' }), { maxLength: 3 });
    case 'string':
      return fc.oneof(
        words(),
        fc.constantFrom('2031-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '9999-12-31T23:00:00Z'),
      );
    case 'integer':
    case 'number': {
      const { minimum = 0, maximum = 1e9 } = schema;
      const [from, to] = [Math.max(minimum, -1e9), Math.min(maximum, 1e9)];
      return fc.oneof(fc.constantFrom(from, to), fc.integer({ min: Math.ceil(from), max: Math.floor(to) }));
    }
    case 'boolean':
      return fc.boolean();
    default:
      return fc.oneof(absurd(), words());
  }
}

const words = () =>
  fc.oneof(fc.constantFrom('daily', 'pack', 'image', 'a', 'x'.repeat(64)), fc.string({ maxLength: 12 }));
const absurd = (): fc.Arbitrary<unknown> => fc.constantFrom(...ABSURD);

/** One value somewhere in it becomes absurd, or an object gains a field that nobody expects. */
function spoiled(body: unknown): fc.Arbitrary<unknown> {
  const places = placesIn(body);
  return fc
    .tuple(fc.constantFrom(...places), absurd(), fc.constantFrom('put', 'put', 'put', 'proto', 'extra'))
    .map(([at, value, how]) => (how === 'put' ? put(body, at, value) : put(body, at, odd(how, value))));
}

/** As JSON.parse makes it: `__proto__` is a field like any other. */
function odd(how: string, value: unknown): unknown {
  const name = how === 'proto' ? '__proto__' : 'constructor';
  return JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value) ?? 'null'}}`);
}

function placesIn(value: unknown, at: readonly string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return [[...at]];
  return [[...at], ...Object.entries(value).flatMap(([name, one]) => placesIn(one, [...at, name]))];
}

function put(body: unknown, at: readonly string[], value: unknown): unknown {
  const [name, ...rest] = at;
  if (name === undefined) return value;
  if (Array.isArray(body))
    return body.map((one: unknown, n) => (String(n) === name ? put(one, rest, value) : one));
  const entries = Object.entries(body as object); // placesIn came by here
  return Object.fromEntries(
    entries.map(([field, one]) => [field, field === name ? put(one, rest, value) : one]),
  );
}
