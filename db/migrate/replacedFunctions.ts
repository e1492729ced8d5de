/**
 * A release replaces the ledger's functions under calls that are at work. Such a call fails where it next looks up a type,
 * a function or a plan that is gone; all of it is rolled back, and asked again it meets the new ones.
 */

/** Seen under load: a type or function looked up by its old number, internal_error. */
const GONE =
  /(cache lookup failed for (type|function) \d+|could not open relation with OID \d+|cached plan must not change result type)$/;

/** undefined_function and undefined_object, where what is missing is the ledger's own. */
const UNDEFINED = new Set(['42883', '42704']);

/** Whether a call failed because other functions took the place of those it ran in: nothing was written. */
export function metReplacement(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code: unknown = Reflect.get(error, 'code');
  if (code === 'XX000' || code === '0A000') return GONE.test(error.message);
  return (
    typeof code === 'string' && UNDEFINED.has(code) && / ledger\.\w+.* does not exist$/.test(error.message)
  );
}

/** Carries a call out that is one transaction; once more if it met a replacement. */
export async function throughReplacement<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!metReplacement(error)) throw error;
    return call();
  }
}
