/** Who can be asked to do the work. HTTP checks a request's choice; a plain Temporal client's and a catalog's are checked here. */
export const PROVIDERS = ['simulated', 'external'] as const;

/** What is wrong with a catalog's provider, by field; null: nothing. */
export function providerProblem(provider: {
  type: string;
  deadlineSeconds?: unknown;
}): { field: string; message: string } | null {
  const { type, deadlineSeconds } = provider;
  if (!PROVIDERS.some((known) => known === type))
    return { field: 'type', message: `there is no provider ${type}; use one of: ${PROVIDERS.join(', ')}` };
  if (type === 'external' && !isSeconds(deadlineSeconds))
    return { field: 'deadlineSeconds', message: 'an external provider needs whole seconds, at least 1' };
  return null;
}

function isSeconds(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1;
}
