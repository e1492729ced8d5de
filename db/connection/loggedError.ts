/**
 * What a log has of an error. pg hangs more on its errors than a log should have: `detail` quotes the values of a key that exists
 * already, `where` and `internalQuery` the statements of a function. Which rule was broken, and where, is in what is left.
 */
const FIELDS = ['code', 'severity', 'routine', 'schema', 'table', 'column', 'constraint'];

export function loggedError(error: unknown): unknown {
  // Not `instanceof`: errors of another realm are errors too.
  if (error === null || typeof error !== 'object' || typeof Reflect.get(error, 'message') !== 'string')
    return error;
  const { name, message, stack, cause } = error as Error; // the line above
  // What kind of failure it is, by Temporal's own `type`; `type` of a line is the class.
  const failure: unknown = Reflect.get(error, 'type');
  const fields = FIELDS.flatMap((field) => {
    const value: unknown = Reflect.get(error, field);
    return value === undefined ? [] : [[field, value] as const];
  });
  return {
    type: name,
    message,
    stack,
    ...Object.fromEntries(fields),
    ...(typeof failure === 'string' ? { failure } : {}),
    ...(cause === undefined ? {} : { cause: loggedError(cause) }),
  };
}
