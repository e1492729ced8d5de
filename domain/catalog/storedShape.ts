import { z } from 'zod';

/**
 * A shape without its limits: types and defaults stay; patterns, bounds, refinements and the ban on unknown fields go. What
 * was stored once is read by it for ever, however much stricter the shape becomes for what is new (rule 33). Throws for a
 * kind of schema it does not know, which is a fault of the program.
 */
export function withoutLimits(schema: z.core.$ZodType): z.ZodType {
  const { def } = (schema as z.core.$ZodTypes)._zod; // all kinds there are, told apart by def.type
  switch (def.type) {
    case 'object': {
      const fields = Object.entries(def.shape).map(([name, field]) => [name, withoutLimits(field)] as const);
      return z.looseObject(Object.fromEntries(fields));
    }
    case 'array':
      return z.array(withoutLimits(def.element));
    case 'record':
      return z.record(z.string(), withoutLimits(def.valueType));
    case 'union':
      return z.union(def.options.map(withoutLimits));
    case 'optional':
      return z.optional(withoutLimits(def.innerType));
    case 'nullable':
      return z.nullable(withoutLimits(def.innerType));
    case 'default':
      return withoutLimits(def.innerType).default(def.defaultValue);
    case 'prefault':
      return withoutLimits(def.innerType).prefault(def.defaultValue);
    case 'string':
      return z.string();
    case 'number':
      return z.number();
    case 'boolean':
      return z.boolean();
    case 'enum':
      return z.enum(def.entries);
    case 'literal':
      return z.literal(def.values);
    case 'unknown':
      return z.unknown();
    default:
      throw new Error(`a schema of kind ${def.type} has no reading without limits yet: add it here`);
  }
}
