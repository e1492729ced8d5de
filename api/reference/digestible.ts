type Json = Record<string, unknown>;

/** The same set of strings; few dialects of regular expressions know the classes of Unicode. */
const NO_CONTROL_CHARACTERS = {
  unicode: String.raw`^\P{Cc}*$`,
  plain: String.raw`^[^\u0000-\u001f\u007f-\u009f]*$`,
};

/**
 * What generators stop at, said in a way they take: a pair as an array of two (of anything, if they may be null: Go has
 * no name for such an array within a union, and a union of its items is nothing that Python reads), a default that is an object left out (which means what an empty one does),
 * no type that is null alone, numbers with the width they need.
 */
export function digestible(schema: Json): Json {
  const { prefixItems, default: preset, ...rest } = schema;
  const said: Json = { ...rest };
  if (preset !== undefined && !isObject(preset)) said['default'] = preset;
  if (Array.isArray(prefixItems)) {
    const kinds = new Map(prefixItems.map((item) => [JSON.stringify(item), item as unknown]));
    const [only] = kinds.values();
    said['items'] = kinds.size > 1 ? { anyOf: [...kinds.values()] } : mayBeNull(only) ? {} : only;
    said['minItems'] = prefixItems.length;
    said['maxItems'] = prefixItems.length;
  }
  const format = numberFormat(rest);
  if (format !== undefined) said['format'] = format;
  if (rest['pattern'] === NO_CONTROL_CHARACTERS.unicode) said['pattern'] = NO_CONTROL_CHARACTERS.plain;
  const properties = rest['properties'];
  if (isObject(properties))
    said['properties'] = Object.fromEntries(
      Object.entries(properties).map(([name, field]) => [
        name,
        isNullAlone(field) ? { ...field, type: ['string', 'null'] } : field,
      ]),
    );
  return said;
}

/** Without it a client in Go has 24 bits for credits, and 32 for what counts. */
function numberFormat({ type, format, maximum = Infinity }: Json): string | undefined {
  const types: unknown[] = Array.isArray(type) ? type : [type];
  if (format !== undefined) return undefined;
  if (types.includes('number')) return 'double';
  return types.includes('integer') && Number(maximum) > 0x7fffffff ? 'int64' : undefined;
}

function mayBeNull(schema: unknown): boolean {
  return isObject(schema) && [schema['type']].flat().includes('null');
}

function isNullAlone(schema: unknown): schema is Json {
  return isObject(schema) && schema['type'] === 'null';
}

export function isObject(value: unknown): value is Json {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
